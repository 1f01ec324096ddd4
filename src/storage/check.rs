//! Looking through the data directory of a stopped broker: what waits, what is damaged, and what that costs.
//!
//! [`check`] reads everything and changes nothing. What it keeps in memory grows with the pieces of queues and the
//! damage, never with messages.

mod repair;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use super::QueueId;
use super::checkpoint::{self, CHECKPOINT_FILE, Checkpoint, CheckpointError};
use super::core::State;
use super::disk::Disk;
use super::format::{self, Block, EntryView, FileKind, HeadError, Scanned, Scanner, Target};
use super::full::RESERVE;
use super::index::{FileInfo, Place, QueueIndex};
use super::lock::LOCK_FILE;
use super::ranges::Ranges;
use super::recovery::{self, Damage, Found, OpenError};

pub use repair::{Mending, Repaired, repair};

/// The name of a checkpoint that a repair has replaced.
pub const SET_ASIDE: &str = "checkpoint.damaged";

/// What waits in a queue with all its lanes, and how much of it can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueReport {
    pub messages: u64,
    /// Of their records.
    pub bytes: u64,
    /// Messages that should be there and cannot be read; not among `messages`.
    pub lost: u64,
    /// Those of them that the index still has, by lane.
    lost_ranges: Vec<(QueueId, u64, u64)>,
}

/// One file of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReport {
    pub name: String,
    pub bytes: u64,
    /// Of the records in it that wait; those that wait in several queues count for each.
    pub waiting_bytes: u64,
    pub role: FileRole,
}

/// What a file of the directory is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileRole {
    Needed,
    /// Nothing refers to it; the next start removes it.
    Unneeded,
    /// What a repair has set aside.
    SetAside,
    /// None of ours.
    Unknown,
}

/// What is in a data directory.
#[derive(Debug, Default)]
pub struct Report {
    /// By key, as the broker wrote them.
    pub definitions: BTreeMap<Vec<u8>, Vec<u8>>,
    pub queues: BTreeMap<QueueId, QueueReport>,
    pub files: Vec<FileReport>,
    pub damage: Vec<Damage>,
    /// Damage where nothing is that anybody needs.
    pub harmless: Vec<Damage>,
    /// The end of the journal, if it was never confirmed: the file, and how many bytes are to be cut.
    pub torn: Option<(String, u64)>,
    /// The checkpoint cannot be read: all this is only what the other files tell.
    pub is_without_checkpoint: bool,
}

impl Report {
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty() && self.queues.values().all(|queue| queue.lost == 0)
    }
}

/// Why a directory cannot be looked through at all.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error("{0} is not a data directory: it has neither a checkpoint nor a journal")]
    NoDataDirectory(String),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A repair could not be finished.
    #[error("the repair is not finished: {0}")]
    Unfinished(String),
}

/// Reads everything and changes nothing.
pub fn check(disk: &Arc<dyn Disk>) -> Result<Report, CheckError> {
    let contents =
        read_checkpoint(disk, || Checkpoint::open_copy(disk)).map(|read| read.map(|(_, contents)| contents))?;
    examine(disk, contents).map(|(_, report)| report)
}

/// What the checkpoint says, or what is wrong with it if a repair can help.
fn read_checkpoint(
    disk: &Arc<dyn Disk>,
    open: impl FnOnce() -> Result<Checkpoint, CheckpointError>,
) -> Result<Result<(Checkpoint, checkpoint::Contents), Damage>, CheckError> {
    refuse_foreign(disk)?;
    let damage = |what: String| Damage { path: disk.path(CHECKPOINT_FILE), offset: 0, what, lost: BTreeMap::new() };
    if !names(disk)?.iter().any(|(name, _)| name == CHECKPOINT_FILE) {
        return Ok(Err(damage("the file is missing".into())));
    }
    let read = open().and_then(|checkpoint| checkpoint.read().map(|contents| (checkpoint, contents)));
    match read {
        Err(CheckpointError::Damaged { why, .. }) => Ok(Err(damage(why))),
        read => Ok(Ok(read?)),
    }
}

/// A directory with none of our files in it is something else.
pub fn refuse_foreign(disk: &Arc<dyn Disk>) -> Result<(), CheckError> {
    let is_ours = |name: &str| name == CHECKPOINT_FILE || FileKind::of_name(name).is_some();
    if names(disk)?.iter().any(|(name, _)| is_ours(name)) {
        return Ok(());
    }
    Err(CheckError::NoDataDirectory(disk.path("").trim_end_matches('/').into()))
}

fn names(disk: &Arc<dyn Disk>) -> Result<Vec<(String, u64)>, CheckError> {
    let mut names = disk.list().map_err(|error| io_error(disk, "", error))?;
    names.sort();
    Ok(names)
}

fn io_error(disk: &Arc<dyn Disk>, name: &str, error: io::Error) -> OpenError {
    OpenError::Io { path: disk.path(name), error }
}

/// Reads all files, with what the checkpoint says or without.
fn examine(
    disk: &Arc<dyn Disk>,
    contents: Result<checkpoint::Contents, Damage>,
) -> Result<(Found, Report), CheckError> {
    let mut report = Report::default();
    let found = match contents {
        Ok(mut contents) => {
            let touched = give_up_missing(disk, &mut contents, &mut report)?;
            let mut found = recovery::read(disk, contents)?;
            // The next checkpoint must have them as they are now.
            found.state.index.put_back_changes(touched);
            found
        }
        Err(damage) => {
            report.damage.push(damage);
            report.is_without_checkpoint = true;
            recovery::read_without_checkpoint(disk)?
        }
    };
    report.definitions = found.definitions.clone();
    report.torn = found.torn.as_ref().map(|(name, _, gone)| (disk.path(name), *gone));
    report.files = files(disk, &found)?;
    read_files(disk, &found, &mut report)?;
    Ok((found, report))
}

/// Takes what lies in files that are gone, and rows that cannot be read, out of the checkpoint's contents.
fn give_up_missing(
    disk: &Arc<dyn Disk>,
    contents: &mut checkpoint::Contents,
    report: &mut Report,
) -> Result<Vec<u64>, CheckError> {
    let present: BTreeMap<u64, (FileKind, u64)> = names(disk)?
        .into_iter()
        .filter_map(|(name, len)| FileKind::of_name(&name).map(|(kind, number)| (number, (kind, len))))
        .filter(|(_, (kind, _))| *kind != FileKind::Spill)
        .collect();
    let mut touched = Vec::new();
    let mut missing: BTreeMap<u64, BTreeMap<QueueId, u64>> = BTreeMap::new();
    contents.queues.retain(|&id, row| {
        let queue = QueueId(id).base();
        let Some((kept, lost)) = QueueIndex::without_files(row, |file| !present.contains_key(&file)) else {
            report.damage.push(Damage {
                path: disk.path(CHECKPOINT_FILE),
                offset: 0,
                what: format!("the row of queue {queue} cannot be read: all its messages of before are lost"),
                lost: BTreeMap::new(),
            });
            touched.push(id);
            return false;
        };
        if !lost.is_empty() {
            touched.push(id);
        }
        for (file, count) in lost {
            *missing.entry(file).or_default().entry(queue).or_default() += count;
            report.queues.entry(queue).or_default().lost += count;
        }
        *row = kept;
        true
    });
    let journal = contents.numbers.journal_file;
    if journal != 0 && !present.contains_key(&journal) {
        missing.entry(journal).or_default();
        let numbers = &mut contents.numbers;
        (numbers.journal_file, numbers.journal_offset) = journal_after(&present, journal);
    }
    for (number, lost) in missing {
        let path = disk.path(&format!("{number:012}.*"));
        report.damage.push(Damage { path, offset: 0, what: "the file is missing".into(), lost });
    }
    Ok(touched)
}

/// Where to go on when a file of the journal is missing: in the next one. If there is none, at the end of the one
/// before, for what that says has been read.
fn journal_after(present: &BTreeMap<u64, (FileKind, u64)>, missing: u64) -> (u64, u64) {
    let mut journals = present.iter().filter(|(_, (kind, _))| *kind == FileKind::Journal);
    let next = journals.clone().find(|(number, _)| **number > missing);
    match (next, journals.next_back()) {
        (Some((&number, _)), _) => (number, format::FILE_HEAD_BYTES),
        (None, Some((&number, &(_, len)))) => (number, len),
        (None, None) => (0, format::FILE_HEAD_BYTES),
    }
}

fn files(disk: &Arc<dyn Disk>, found: &Found) -> Result<Vec<FileReport>, CheckError> {
    let role = |name: &str| match name {
        name if found.unneeded.iter().any(|of| of == name) => FileRole::Unneeded,
        CHECKPOINT_FILE | LOCK_FILE | RESERVE => FileRole::Needed,
        checkpoint::UNFINISHED_FILE => FileRole::Unneeded,
        SET_ASIDE => FileRole::SetAside,
        name if FileKind::of_name(name).is_some() => FileRole::Needed,
        _ => FileRole::Unknown,
    };
    let waiting = |name: &str| {
        let number = FileKind::of_name(name).map(|(_, number)| number);
        number.and_then(|number| found.state.index.files().get(&number)).map_or(0, |file| file.live_bytes)
    };
    let of =
        |(name, bytes): (String, u64)| FileReport { waiting_bytes: waiting(&name), role: role(&name), name, bytes };
    Ok(names(disk)?.into_iter().map(of).collect())
}

/// Bytes of a file that cannot be read.
struct Spot {
    offset: u64,
    end: u64,
    what: String,
    /// Messages that wait and are known to be there.
    known: BTreeMap<QueueId, Ranges>,
    /// By queue, its lanes together.
    lost: BTreeMap<QueueId, u64>,
}

impl Spot {
    fn new(offset: u64, end: u64, what: String) -> Spot {
        Spot { offset, end, what, known: BTreeMap::new(), lost: BTreeMap::new() }
    }
}

/// What all files together have.
struct Reading<'a> {
    disk: &'a Arc<dyn Disk>,
    state: &'a State,
    readable: HashMap<QueueId, Ranges>,
    spots: BTreeMap<u64, Vec<Spot>>,
}

fn read_files(disk: &Arc<dyn Disk>, found: &Found, report: &mut Report) -> Result<(), CheckError> {
    let mut reading = Reading { disk, state: &found.state, readable: HashMap::new(), spots: BTreeMap::new() };
    for (&number, file) in found.state.index.files() {
        let name = file.kind.file_name(number);
        reading.head(number, file)?;
        if file.pieces > 0 {
            reading.file(number, file).map_err(|error| io_error(disk, &name, error))?;
        }
    }
    for (id, queue) in found.state.index.queues() {
        let lost = reading.lost_of(id, queue);
        let lost_count: u64 = lost.iter().map(|(from, to)| to - from).sum();
        let replayed: u64 = found.lost.get(&id).map_or(0, Ranges::count);
        let (live, live_bytes) = (queue.live(), queue.live_bytes());
        let of = report.queues.entry(id.base()).or_default();
        of.messages += live - lost_count;
        of.bytes += (u128::from(live_bytes) * u128::from(live - lost_count) / u128::from(live.max(1))) as u64;
        of.lost += lost_count + replayed;
        of.lost_ranges.extend(lost.into_iter().map(|(from, to)| (id, from, to)));
    }
    report.damage.extend(found.damage.iter().cloned());
    reading.judge(report);
    Ok(())
}

impl Reading<'_> {
    /// Each file has to be of a version that is known; damage of a head costs nothing.
    fn head(&mut self, number: u64, file: &FileInfo) -> Result<(), CheckError> {
        let name = file.kind.file_name(number);
        let head = self.disk.open(&name).and_then(|opened| format::check_file_head(&*opened, file.kind, number));
        match head.map_err(|error| io_error(self.disk, &name, error))? {
            Ok(()) => {}
            Err(HeadError::Missing) if file.pieces == 0 => {}
            Err(why @ HeadError::Version(_)) => {
                return Err(OpenError::Head { path: self.disk.path(&name), why }.into());
            }
            Err(why) => self.spot(number, Spot::new(0, format::FILE_HEAD_BYTES, why.to_string())),
        }
        Ok(())
    }

    fn spot(&mut self, number: u64, spot: Spot) {
        self.spots.entry(number).or_default().push(spot);
    }

    /// Notes which waiting messages of a file can be read, and what cannot.
    fn file(&mut self, number: u64, info: &FileInfo) -> io::Result<()> {
        let file = self.disk.open(&info.kind.file_name(number))?;
        let mut scanner = Scanner::new(&*file, number, format::FILE_HEAD_BYTES, info.len);
        while let Some(scanned) = scanner.next_block()? {
            match scanned {
                Scanned::Block { offset, .. } => {
                    if let Some(block) = scanner.block() {
                        self.block(&block, number, offset);
                    }
                }
                // The torn end of the journal is told apart.
                Scanned::Damage { offset, .. }
                    if number == self.state.journal_file && offset >= self.state.journal_end => {}
                Scanned::Damage { offset, len } => {
                    self.spot(number, Spot::new(offset, offset + len, format!("{len} bytes cannot be read")));
                }
            }
        }
        Ok(())
    }

    fn block(&mut self, block: &Block<'_>, number: u64, offset: u64) {
        let end = offset + block.head.block_bytes() as u64;
        let mut spot = Spot::new(offset, end, "a part of a block cannot be read".into());
        for entry in block.entries() {
            let EntryView::Enqueue(enqueue) = entry else { continue };
            let mut readable = Ranges::default();
            enqueue.intact().iter().for_each(|records| readable.insert(records.first, records.first + records.count));
            for &Target { queue, first_seq, .. } in &enqueue.targets {
                let waiting = |(from, to): (u64, u64)| {
                    self.state.index.unsettled_in(queue, first_seq + from, first_seq + to, number, offset)
                };
                let there = readable.to_vec().into_iter().flat_map(waiting);
                let there: Vec<(u64, u64)> = there.collect();
                let gone: Vec<(u64, u64)> = readable.gaps(0, enqueue.records).into_iter().flat_map(waiting).collect();
                insert_all(self.readable.entry(queue).or_default(), &there);
                insert_all(spot.known.entry(queue).or_default(), &gone);
            }
        }
        if !block.is_intact() {
            self.spot(number, spot);
        }
    }

    /// The messages of a queue that wait and cannot be read; each is charged to the damage that it lies in.
    fn lost_of(&mut self, id: QueueId, queue: &QueueIndex) -> Vec<(u64, u64)> {
        let none = Ranges::default();
        let readable = self.readable.get(&id).unwrap_or(&none);
        let mut all = Vec::new();
        let mut by_place = Vec::new();
        for piece in queue.pieces() {
            let waiting = self.state.index.unsettled(id, piece.first_seq, piece.end_seq);
            let lost: Vec<(u64, u64)> = waiting.iter().flat_map(|&(from, to)| readable.gaps(from, to)).collect();
            if !lost.is_empty() {
                all.extend_from_slice(&lost);
                by_place.push((piece.place, lost));
            }
        }
        by_place.iter().for_each(|(place, lost)| self.charge(id, *place, lost));
        all
    }

    fn charge(&mut self, id: QueueId, place: Place, lost: &[(u64, u64)]) {
        let mut rest = Ranges::default();
        insert_all(&mut rest, lost);
        let spots = self.spots.entry(place.file).or_default();
        let is_inside = |spot: &Spot| spot.offset < place.end() && place.offset < spot.end;
        for spot in spots.iter_mut().filter(|spot| is_inside(spot)) {
            let known = spot.known.get(&id).map(Ranges::to_vec).unwrap_or_default();
            for (from, to) in known {
                let here = rest.overlap(from, to);
                rest.remove(from, to);
                if here > 0 {
                    *spot.lost.entry(id.base()).or_default() += here;
                }
            }
        }
        if rest.is_empty() {
            return;
        }
        let at = spots.iter().position(is_inside).unwrap_or_else(|| {
            spots.push(Spot::new(place.offset, place.end(), "the messages that should be there are not".into()));
            spots.len() - 1
        });
        *spots[at].lost.entry(id.base()).or_default() += rest.count();
    }

    /// Tells damage from what nobody needs.
    fn judge(self, report: &mut Report) {
        for (number, spots) in self.spots {
            let Some(file) = self.state.index.files().get(&number) else { continue };
            let path = self.disk.path(&file.kind.file_name(number));
            for spot in spots {
                let known = report.damage.iter_mut().find(|known| known.path == path && known.offset == spot.offset);
                match known {
                    Some(known) => {
                        spot.lost.iter().for_each(|(&id, count)| *known.lost.entry(id).or_default() += count)
                    }
                    None => {
                        let is_harmless = spot.lost.is_empty();
                        let damage =
                            Damage { path: path.clone(), offset: spot.offset, what: spot.what, lost: spot.lost };
                        if is_harmless { &mut report.harmless } else { &mut report.damage }.push(damage);
                    }
                }
            }
        }
        report.damage.sort_by(|a, b| (&a.path, a.offset).cmp(&(&b.path, b.offset)));
    }
}

fn insert_all(ranges: &mut Ranges, some: &[(u64, u64)]) {
    some.iter().for_each(|&(from, to)| ranges.insert(from, to));
}

/// The path of the checkpoint in a directory.
pub fn checkpoint_path(directory: &str) -> String {
    format!("{directory}/{CHECKPOINT_FILE}")
}
