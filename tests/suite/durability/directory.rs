//! The data directory: who may use it, and what a damaged one is worth.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::durability::node::Stop;
use crate::durability::process::{Directory, Process};
use crate::durability::publisher::*;
use crate::leveret_only;
use crate::support::peer::*;

const REASON: &str = "its data directory is looked at";

/// The start must fail with exit code 1 and say all of this.
#[track_caller]
fn expect_refused(mut process: Process, parts: &[&str]) {
    assert!(!process.is_ready(), "it should not have started:\n{}", process.output());
    let code = process.wait_for_exit().code();
    let output = process.output();
    assert_eq!(code, Some(1), "{output}");
    for part in parts {
        assert!(output.contains(part), "no {part:?} in:\n{output}");
    }
    assert!(!output.contains("panicked"), "{output}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("a file's name in UTF-8")
}

// ---- one process ----

#[test]
fn a_directory_belongs_to_one_process() {
    leveret_only!(REASON);
    let directory = Directory::new();
    let mut first = Process::start(&directory);
    let mut publisher = Publisher::on(Login::new().connect(first.address));
    publisher.call(2, &durable_queue("q"));
    expect_refused(Process::spawn(&directory), &[&first.pid().to_string(), text(&directory.path())]);
    publisher.keep("q", &["the first goes on"]);
    first.end(Stop::Kill);
    // What the killed process left does not lock anybody out.
    let mut second = Process::start(&directory);
    expect_refused(Process::spawn(&directory), &[&second.pid().to_string(), text(&directory.path())]);
    assert_eq!(Login::new().connect(second.address).drain(1, "q"), ["the first goes on"]);
    second.end(Stop::Orderly);
    Process::start(&directory).end(Stop::Orderly);
}

// ---- no place to write ----

#[test]
fn a_file_in_place_of_the_directory() {
    leveret_only!(REASON);
    let parent = tempfile::tempdir().expect("a temporary directory");
    let path = parent.path().join("a-file");
    std::fs::write(&path, "not ours").expect("a file");
    expect_refused(Process::spawn_on(&path), &[text(&path)]);
    let below = path.join("data");
    expect_refused(Process::spawn_on(&below), &[text(&below)]);
    assert_eq!(std::fs::read_to_string(&path).expect("the file"), "not ours");
}

#[test]
fn a_place_where_no_directory_can_be() {
    leveret_only!(REASON);
    expect_refused(Process::spawn_on(Path::new("/proc/leveret-data")), &["/proc/leveret-data"]);
}

#[test]
fn a_directory_that_may_only_be_read() {
    leveret_only!(REASON);
    let directory = Directory::new();
    Process::start(&directory).end(Stop::Orderly);
    let files = directory.files();
    set_mode(&[directory.path()], 0o555);
    set_mode(&files, 0o444);
    let outcome = std::panic::catch_unwind(|| {
        let path = directory.path();
        if let Some(wrapper) = without_privileges(&path) {
            expect_refused(Process::spawn_by(&wrapper, &path), &[text(&path)]);
        } else {
            eprintln!("skipped: permissions do not bind this user");
        }
    });
    set_mode(&[directory.path()], 0o755);
    set_mode(&files, 0o644);
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    Process::start(&directory).end(Stop::Orderly);
}

fn set_mode(paths: &[PathBuf], mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    for path in paths {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a file of ours");
    }
}

/// The words before a command that make it obey permissions; for root it has to give up its capabilities.
fn without_privileges(read_only: &Path) -> Option<Vec<&'static str>> {
    let wrappers = [&[][..], &["setpriv", "--bounding-set=-all", "--inh-caps=-all"]];
    let obeys = |wrapper: &&&[&str]| {
        let command = [wrapper, &["touch"][..]].concat();
        let mut touch = Command::new(command[0]);
        touch.args(&command[1..]).arg(read_only.join("probe")).stderr(std::process::Stdio::null());
        let refused = touch.status().is_ok_and(|status| status.code() == Some(1));
        let _ = std::fs::remove_file(read_only.join("probe"));
        refused
    };
    wrappers.iter().find(obeys).map(|wrapper| wrapper.to_vec())
}

// ---- damage ----

const MESSAGES: usize = 400;

fn bodies() -> Vec<String> {
    (0..MESSAGES).map(|number| format!("{number:0>500}")).collect()
}

/// A directory that a broker has left in this way, with [`bodies`] in the queue `q`.
#[track_caller]
fn left_behind(stop: Stop) -> Directory {
    let directory = Directory::new();
    let mut process = Process::start(&directory);
    let mut publisher = Publisher::on(Login::new().connect(process.address));
    publisher.call(2, &durable_queue("q"));
    let bodies = bodies();
    publisher.keep("q", &bodies.iter().map(String::as_str).collect::<Vec<_>>());
    process.end(stop);
    directory
}

/// Files that hold data, by the ends of their names.
fn data_files(directory: &Directory) -> Vec<PathBuf> {
    let is_data = |path: &PathBuf| name(path) == "checkpoint" || is_journal(path) || name(path).ends_with(".segment");
    let files: Vec<_> = directory.files().into_iter().filter(is_data).collect();
    assert!(!files.is_empty(), "no data in {:?}", directory.files());
    files
}

fn is_journal(path: &Path) -> bool {
    name(path).ends_with(".journal")
}

/// Damages a file of a copy of what a broker left, and starts a broker on it: it refuses and names the file, or it
/// starts and lacks nothing, or it starts and names the file in its log.
#[track_caller]
fn check_damage(stop: Stop, damage: impl Fn(&Path)) {
    for at in 0..data_files(&left_behind(stop)).len() {
        let directory = left_behind(stop);
        let Some(path) = data_files(&directory).into_iter().nth(at) else { continue };
        damage(&path);
        let mut process = Process::spawn(&directory);
        if !process.is_ready() {
            expect_refused(process, &[name(&path)]);
            continue;
        }
        let is_reported = process.output().contains(name(&path));
        let found = Login::new().connect(process.address).found("q");
        assert!(
            found == bodies() || is_reported,
            "{} is damaged and nothing is said:\n{}",
            name(&path),
            process.output()
        );
        let all = bodies();
        assert!(found.iter().all(|body| all.contains(body)), "something is invented");
        process.end(Stop::Kill);
    }
}

trait Found {
    fn found(self, queue: &str) -> Vec<String>;
}

impl Found for Peer {
    /// All messages of a queue that may be gone.
    #[track_caller]
    fn found(mut self, queue: &str) -> Vec<String> {
        self.call(1, &durable_queue(queue));
        self.drain(1, queue)
    }
}

/// Bytes that are different each time, and the same in each run.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = |state: &mut u64| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state as u8
    };
    (0..count).map(|_| next(&mut state)).collect()
}

#[test]
fn garbage_in_place_of_a_file_is_refused_by_name() {
    leveret_only!(REASON);
    for stop in [Stop::Orderly, Stop::Kill] {
        for at in 0..data_files(&left_behind(stop)).len() {
            let directory = left_behind(stop);
            let Some(path) = data_files(&directory).into_iter().nth(at) else { continue };
            let length = path.metadata().expect("a file").len() as usize;
            if length == 0 {
                continue;
            }
            std::fs::write(&path, noise(length)).expect("a file of ours");
            expect_refused(Process::spawn(&directory), &[name(&path)]);
            let after = std::fs::read(&path).expect("the file is still there");
            assert!(after == noise(length), "what could not be read is left as it was");
        }
    }
}

#[test]
fn a_file_that_is_cut_or_empty_is_no_silent_loss() {
    leveret_only!(REASON);
    for stop in [Stop::Orderly, Stop::Kill] {
        for share in [0, 1, 3, 7] {
            check_damage(stop, |path| {
                let length = path.metadata().expect("a file").len();
                let file = std::fs::OpenOptions::new().write(true).open(path).expect("a file of ours");
                file.set_len(length * share / 8).expect("a file of ours");
            });
        }
    }
}

#[test]
fn a_file_that_is_missing_is_no_silent_loss() {
    leveret_only!(REASON);
    for stop in [Stop::Orderly, Stop::Kill] {
        check_damage(stop, |path| std::fs::remove_file(path).expect("a file of ours"));
    }
}

#[test]
fn changed_bytes_are_no_silent_loss() {
    leveret_only!(REASON);
    for eighth in 0..8 {
        check_damage(Stop::Kill, |path| {
            let mut bytes = std::fs::read(path).expect("a file of ours");
            let at = bytes.len() * eighth / 8;
            bytes.iter_mut().skip(at).take(16).for_each(|byte| *byte ^= 0x55);
            std::fs::write(path, bytes).expect("a file of ours");
        });
    }
}

// ---- the torn tail ----

/// What a write that did not come to its end may leave.
#[track_caller]
fn check_torn_tail(tail: &[u8]) {
    let directory = left_behind(Stop::Kill);
    let mut expected = bodies();
    for round in 0..2 {
        let journal = data_files(&directory).into_iter().rfind(|path| is_journal(path)).expect("a journal");
        let mut file = std::fs::OpenOptions::new().append(true).open(journal).expect("a file of ours");
        file.write_all(tail).expect("a file of ours");
        let mut process = Process::start(&directory);
        let mut publisher = Publisher::on(Login::new().connect(process.address));
        publisher.expect_counts(2, "q", (expected.len() as u64, 0));
        let behind = format!("behind tail {round}");
        publisher.keep("q", &[&behind]);
        expected.push(behind);
        process.end(Stop::Kill);
    }
    let process = Process::start(&directory);
    assert_eq!(Login::new().connect(process.address).drain(1, "q"), expected, "behind {} bytes", tail.len());
}

#[test]
fn a_torn_tail_of_the_journal_costs_nothing_that_was_confirmed() {
    leveret_only!(REASON);
    for length in [1, 7, 100, 5000] {
        check_torn_tail(&noise(length));
    }
    check_torn_tail(&[0; 4096]);
    check_torn_tail(&[0xff; 40]);
}
