//! `leveret check` on the directory of a broker that was killed.

use std::path::Path;
use std::process::{Command, Output};

fn check(directory: &Path, flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_leveret")).arg("check").arg(directory).args(flags).output().unwrap()
}

#[test]
fn what_is_no_data_directory_ends_with_2_and_stays_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path().to_owned(), directory.path().join("none")] {
        for flags in [&[][..], &["--repair"], &["--json"]] {
            let output = check(&path, flags);
            assert_eq!(output.status.code(), Some(2));
            assert!(String::from_utf8_lossy(&output.stderr).contains("is not a data directory"));
        }
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}
