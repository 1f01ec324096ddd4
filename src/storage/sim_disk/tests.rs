//! The simulated disk against what it promises, by what it can become after many crashes.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use super::*;

const CRASHES: u64 = 400;

fn disk_with(name: &str, content: &[u8]) -> (Arc<SimDisk>, Arc<dyn DiskFile>) {
    let disk = SimDisk::new();
    disk.set_content(name, content.to_vec());
    let file = disk.open(name).unwrap();
    (disk, file)
}

/// What a file can be after a crash; `None` is that there is none.
fn outcomes(disk: &SimDisk, name: &str) -> BTreeSet<Option<Vec<u8>>> {
    (0..CRASHES).map(|seed| disk.crash(&mut Random::new(seed)).content(name)).collect()
}

fn directories(disk: &SimDisk) -> BTreeSet<Vec<(String, u64)>> {
    (0..CRASHES).map(|seed| disk.crash(&mut Random::new(seed)).list().unwrap()).collect()
}

fn some(contents: &[&[u8]]) -> BTreeSet<Option<Vec<u8>>> {
    contents.iter().map(|content| Some(content.to_vec())).collect()
}

fn kind<T>(result: io::Result<T>) -> ErrorKind {
    result.err().expect("an error").kind()
}

#[test]
fn a_process_reads_what_it_wrote() {
    let disk = SimDisk::new();
    let file = disk.create("a").unwrap();
    file.write_all_at(b"cd", 2).unwrap();
    file.write_all_at(b"b", 1).unwrap();
    let mut read = [9; 4];
    disk.open("a").unwrap().read_exact_at(&mut read, 0).unwrap();
    assert_eq!(&read, b"\0bcd");
    assert_eq!(kind(file.read_exact_at(&mut read, 1)), ErrorKind::UnexpectedEof);
    file.set_len(2).unwrap();
    assert_eq!(file.len().unwrap(), 2);
    assert_eq!(disk.list().unwrap(), [("a".to_owned(), 2)]);
}

#[test]
fn what_was_synced_survives_and_what_was_not_may() {
    let (disk, file) = disk_with("a", b"");
    file.write_all_at(b"x", 0).unwrap();
    assert_eq!(outcomes(&disk, "a"), some(&[b"", b"\0", b"x"]));
    file.sync().unwrap();
    assert_eq!(outcomes(&disk, "a"), some(&[b"x"]));
}

#[test]
fn writes_survive_in_any_order() {
    let (disk, file) = disk_with("a", b"__");
    file.write_all_at(b"1", 0).unwrap();
    file.write_all_at(b"2", 1).unwrap();
    assert_eq!(outcomes(&disk, "a"), some(&[b"__", b"1_", b"_2", b"12"]));
}

#[test]
fn a_write_tears_at_any_byte_and_keeps_old_content_beside_it() {
    let (disk, file) = disk_with("a", b"___");
    file.write_all_at(b"abc", 0).unwrap();
    assert_eq!(outcomes(&disk, "a"), some(&[b"___", b"a__", b"ab_", b"abc", b"_bc", b"__c", b"a_c"]));
}

#[test]
fn what_a_torn_write_adds_to_a_file_is_missing_or_zeros() {
    let (disk, file) = disk_with("a", b"_");
    file.write_all_at(b"ab", 1).unwrap();
    assert_eq!(outcomes(&disk, "a"), some(&[b"_", b"_\0\0", b"_a", b"_a\0", b"_ab", b"_\0b"]));
}

#[test]
fn a_length_that_was_not_synced_may_be_the_old_one() {
    let (disk, file) = disk_with("a", b"abc");
    file.set_len(1).unwrap();
    file.set_len(2).unwrap();
    assert_eq!(outcomes(&disk, "a"), some(&[b"abc", b"ab", b"a", b"a\0"]).into_iter().collect());
}

#[test]
fn a_kill_keeps_everything_and_makes_nothing_durable() {
    let (disk, file) = disk_with("a", b"");
    file.write_all_at(b"x", 0).unwrap();
    disk.create("b").unwrap();
    let killed = disk.kill();
    assert_eq!(killed.content("a"), Some(b"x".to_vec()));
    assert_eq!(killed.content("b"), Some(vec![]));
    assert_eq!(outcomes(&killed, "a"), some(&[b"", b"\0", b"x"]));
    assert_eq!(outcomes(&killed, "b"), BTreeSet::from([None, Some(vec![])]));
    file.write_all_at(b"y", 0).unwrap();
    assert_eq!(killed.content("a"), Some(b"x".to_vec()), "the killed process's files are not those of the new one");
}

#[test]
fn a_name_is_durable_once_the_directory_is_synced() {
    let disk = SimDisk::new();
    let file = disk.create("a").unwrap();
    file.write_all_at(b"x", 0).unwrap();
    file.sync().unwrap();
    assert_eq!(outcomes(&disk, "a"), BTreeSet::from([None, Some(b"x".to_vec())]));
    disk.sync_dir().unwrap();
    assert_eq!(outcomes(&disk, "a"), some(&[b"x"]));
    disk.remove("a").unwrap();
    assert_eq!(outcomes(&disk, "a"), BTreeSet::from([None, Some(b"x".to_vec())]));
    disk.sync_dir().unwrap();
    assert_eq!(outcomes(&disk, "a"), BTreeSet::from([None]));
}

#[test]
fn a_rename_replaces_and_loses_neither_file_before_it_is_durable() {
    let disk = SimDisk::new();
    disk.set_content("old", vec![0; 1]);
    disk.set_content("new", vec![0; 2]);
    disk.rename("new", "old").unwrap();
    let entry = |name: &str, bytes| (name.to_owned(), bytes);
    let (before, after) = (vec![entry("new", 2), entry("old", 1)], vec![entry("old", 2)]);
    assert_eq!(directories(&disk), BTreeSet::from([before, after.clone()]));
    disk.sync_dir().unwrap();
    assert_eq!(directories(&disk), BTreeSet::from([after]));
}

#[test]
fn changes_of_different_names_survive_in_any_order() {
    let disk = SimDisk::new();
    disk.create("a").unwrap();
    disk.create("b").unwrap();
    disk.rename("a", "c").unwrap();
    let seen: BTreeSet<String> =
        directories(&disk).into_iter().map(|files| files.into_iter().map(|(name, _)| name).collect()).collect();
    assert_eq!(seen, ["", "a", "b", "c", "ab", "bc"].map(String::from).into());
}

#[test]
fn after_a_failed_sync_a_later_one_does_not_help() {
    let (disk, file) = disk_with("a", b"__");
    file.write_all_at(b"1", 0).unwrap();
    disk.fail(Operation::Sync, 1, ErrorKind::Other);
    assert_eq!(kind(file.sync()), ErrorKind::Other);
    file.write_all_at(b"2", 1).unwrap();
    file.sync().unwrap();
    assert_eq!(outcomes(&disk, "a"), some(&[b"_2", b"12"]));
}

#[test]
fn the_nth_operation_fails_once_with_the_error_asked_for() {
    let (disk, file) = disk_with("a", b"__");
    disk.fail(Operation::Write, 2, ErrorKind::StorageFull);
    disk.fail(Operation::Read, 1, ErrorKind::InvalidData);
    disk.fail(Operation::Create, 1, ErrorKind::PermissionDenied);
    disk.fail(Operation::Rename, 1, ErrorKind::Interrupted);
    file.write_all_at(b"ab", 0).unwrap();
    assert_eq!(kind(file.write_all_at(b"xy", 0)), ErrorKind::StorageFull);
    assert_eq!(disk.content("a").unwrap(), b"xb", "the first half was written");
    assert_eq!(kind(file.read_exact_at(&mut [0], 0)), ErrorKind::InvalidData);
    assert_eq!(kind(disk.create("b")), ErrorKind::PermissionDenied);
    assert_eq!(kind(disk.rename("a", "b")), ErrorKind::Interrupted);
    file.write_all_at(b"ab", 0).unwrap();
    file.read_exact_at(&mut [0], 0).unwrap();
    disk.rename("a", "b").unwrap();
}

#[test]
fn what_always_fails_fails_until_it_is_healed() {
    let (disk, file) = disk_with("a", b"");
    disk.fail_always(Operation::Sync, ErrorKind::Other);
    assert_eq!([kind(file.sync()), kind(file.sync())], [ErrorKind::Other; 2]);
    disk.heal();
    file.sync().unwrap();
}

#[test]
fn a_full_disk_takes_what_fits_and_more_when_something_is_removed() {
    let (disk, file) = disk_with("a", b"1234");
    disk.set_content("b", vec![0; 4]);
    disk.set_capacity(Some(10));
    assert_eq!(disk.free_bytes().unwrap(), Some(2));
    assert_eq!(kind(file.write_all_at(b"5678", 4)), ErrorKind::StorageFull);
    assert_eq!(disk.content("a").unwrap(), b"123456");
    file.write_all_at(b"abc", 0).expect("what is there can be written again");
    assert_eq!(kind(file.set_len(7)), ErrorKind::StorageFull);
    disk.remove("b").unwrap();
    assert_eq!((disk.free_bytes().unwrap(), disk.used_bytes()), (Some(4), 6));
    file.write_all_at(b"78", 6).unwrap();
    assert_eq!(disk.content("a").unwrap(), b"abc45678");
}

#[test]
fn after_it_stops_nothing_happens_any_more() {
    let (disk, file) = disk_with("a", b"_");
    disk.stop_after(1);
    file.read_exact_at(&mut [0], 0).unwrap();
    file.write_all_at(b"x", 0).unwrap();
    file.read_exact_at(&mut [0], 0).expect("reads go on until something is to change");
    assert!(!disk.is_stopped());
    assert_eq!(kind(file.sync()), ErrorKind::Other);
    assert!(disk.is_stopped());
    assert!(file.read_exact_at(&mut [0], 0).is_err());
    assert!(disk.create("b").is_err());
    assert_eq!(outcomes(&disk, "a"), some(&[b"_", b"x"]));
    disk.kill().create("b").expect("the new one works");
}

#[test]
fn counts_what_is_written_and_synced() {
    let (disk, file) = disk_with("a", b"");
    file.write_all_at(b"abc", 0).unwrap();
    file.write_all_at(b"d", 0).unwrap();
    file.sync().unwrap();
    disk.sync_dir().unwrap();
    assert_eq!((disk.written_bytes(), disk.syncs(), disk.changes()), (4, 2, 4));
}

#[test]
fn names_that_are_taken_or_missing_are_errors_and_open_files_outlive_their_names() {
    let (disk, file) = disk_with("a", b"x");
    assert_eq!(kind(disk.create("a")), ErrorKind::AlreadyExists);
    for missing in [disk.open("b").map(drop), disk.remove("b"), disk.rename("b", "c")] {
        assert_eq!(kind(missing), ErrorKind::NotFound);
    }
    disk.remove("a").unwrap();
    file.read_exact_at(&mut [0], 0).unwrap();
}

#[test]
fn the_same_seed_gives_the_same_crash() {
    let (disk, file) = disk_with("a", &[0; 64]);
    for n in 0..8 {
        file.write_all_at(&[n; 24], u64::from(n) * 7).unwrap();
    }
    let after = |seed| disk.crash(&mut Random::new(seed)).content("a");
    assert_eq!(after(1), after(1));
    assert_ne!(after(1), after(2));
}
