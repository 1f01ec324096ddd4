//! Giving up what cannot be read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{CheckError, Report, SET_ASIDE, examine, io_error, read_checkpoint};
use crate::storage::checkpoint::Checkpoint;
use crate::storage::disk::Disk;
use crate::storage::format::FileKind;
use crate::storage::janitor::Extent;
use crate::storage::log::{Change, SyncPolicy};
use crate::storage::open::{Engine, Options, engine_of};
use crate::storage::{QueueId, compaction, queue_of_key};

/// What a repair did.
#[derive(Debug, Default)]
pub struct Repaired {
    /// What was given up, in words, a line each; nothing if there was nothing to do.
    pub given_up: Vec<String>,
}

/// What the definitions have to become, for the store does not know what they say.
pub struct Mending {
    pub change: Change,
    /// What that means, in words.
    pub why: String,
}

/// Definitions, queues that have messages and no definition, and whether the checkpoint is lost.
pub type Mend<'a> = dyn Fn(&BTreeMap<Vec<u8>, Vec<u8>>, &[QueueId], bool) -> Vec<Mending> + 'a;

/// Gives up what cannot be read, so that the broker starts without complaint; everything else stays.
///
/// A checkpoint that cannot be read is set aside and made anew from what the other files tell, which is not all that it
/// said. A crash on the way leaves a directory that can be repaired again.
pub fn repair(disk: &Arc<dyn Disk>, mend: &Mend<'_>) -> Result<Repaired, CheckError> {
    let mut repaired = Repaired::default();
    let read = read_checkpoint(disk, || Checkpoint::open(disk))?;
    let (checkpoint, contents) = match read {
        Ok((checkpoint, contents)) => (Some(checkpoint), Ok(contents)),
        Err(damage) => (None, Err(damage)),
    };
    let (mut found, report) = examine(disk, contents)?;
    let orphans = orphans(&report);
    let mendings = mend(&report.definitions, &orphans, report.is_without_checkpoint);
    if report.is_sound() && report.harmless.is_empty() && mendings.is_empty() && report.torn.is_none() {
        return Ok(repaired);
    }
    let is_new = checkpoint.is_none();
    let checkpoint = checkpoint.map_or_else(|| Checkpoint::create_beside(disk), Ok)?;
    found.tidy(disk)?;
    let engine = engine_of(disk, checkpoint, found, options())?;
    tell(&report, &mut repaired);
    go_on(engine, &report, mendings, &mut repaired).map_err(CheckError::Unfinished)?;
    if is_new {
        Checkpoint::replace(disk, SET_ASIDE)?;
        repaired.given_up.push(format!("the old checkpoint is now {}", disk.path(SET_ASIDE)));
    }
    disk.sync_dir().map_err(|error| io_error(disk, "", error))?;
    Ok(repaired)
}

fn orphans(report: &Report) -> Vec<QueueId> {
    let defined: BTreeSet<QueueId> = report.definitions.keys().filter_map(|key| queue_of_key(key)).collect();
    let waiting = report.queues.iter().filter(|(_, queue)| queue.messages > 0).map(|(&id, _)| id);
    waiting.filter(|id| !defined.contains(id)).collect()
}

fn tell(report: &Report, repaired: &mut Repaired) {
    if let Some((path, gone)) = &report.torn {
        repaired.given_up.push(format!("{path}: {gone} bytes at the end that were never confirmed"));
    }
    repaired.given_up.extend(report.damage.iter().map(ToString::to_string));
    let harmless = report.harmless.iter().map(|damage| format!("{damage}; nothing that waits was there"));
    repaired.given_up.extend(harmless);
}

fn go_on(mut engine: Engine, report: &Report, mendings: Vec<Mending>, repaired: &mut Repaired) -> Result<(), String> {
    for &(lane, from, to) in report.queues.values().flat_map(|queue| &queue.lost_ranges) {
        engine.core.log.settle(lane, from, to);
    }
    if !mendings.is_empty() {
        let (changes, why): (Vec<Change>, Vec<String>) =
            mendings.into_iter().map(|Mending { change, why }| (change, why)).unzip();
        engine.core.log.define(changes);
        repaired.given_up.extend(why);
    }
    engine.finish()?;
    // What can be read leaves the files that have damage.
    for number in damaged_files(&engine, report) {
        compaction::compact(&engine.core, number).map_err(|error| error.to_string())?;
    }
    engine.janitor.checkpoint(Extent::Everything).map_err(|error| error.to_string())
}

fn damaged_files(engine: &Engine, report: &Report) -> BTreeSet<u64> {
    let paths: BTreeSet<&str> =
        report.damage.iter().chain(&report.harmless).map(|damage| damage.path.as_str()).collect();
    let state = engine.core.state();
    let path = |number: u64, kind: FileKind| engine.core.disk.path(&kind.file_name(number));
    state
        .sealed_files()
        .filter(|(number, file)| paths.contains(path(*number, file.kind).as_str()))
        .map(|(number, _)| number)
        .collect()
}

fn options() -> Options {
    Options {
        sync: SyncPolicy::Always,
        unwritten_max_bytes: usize::MAX,
        queue_resident_bytes: 0,
        journal_file_bytes: Options::JOURNAL_FILE_BYTES,
        reserve_bytes: Options::RESERVE_BYTES,
    }
}
