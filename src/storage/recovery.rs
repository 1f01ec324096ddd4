//! From the files of a data directory to the state of the store: the checkpoint, and what the journal says behind it.
//!
//! Reading changes nothing: [`read`] also says what is to be cut and removed, and [`Found::tidy`] does it. Only the end of
//! the journal is ever cut, and only from an epoch on that nobody was told is kept: each block tells up to which epoch
//! everything was synced when it was written. Damage before that is reported, and costs only what it touches.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io;
use std::sync::Arc;

use super::checkpoint::{self, CHECKPOINT_FILE};
use super::core::State;
use super::disk::{Disk, DiskFile};
use super::format::{self, Block, Enqueue, EntryView, FILE_HEAD_BYTES, FileKind, HeadError, Scanned, Scanner, Target};
use super::index::{Piece, Place, QueueIndex};
use super::ranges::Ranges;
use super::{Epoch, QueueId, queue_key, record};

/// Why a data directory cannot be used. The text names the file.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot read {path}: {error}")]
    Io { path: String, error: io::Error },
    #[error("{path} cannot be used: {why}")]
    Head { path: String, why: HeadError },
    #[error("{path} is missing, and messages were in it; bring it back, or let `leveret check --repair` give them up")]
    Missing { path: String },
    #[error(
        "{path} is shorter than it was when it was last written to; bring it back as it was, or let `leveret check \
         --repair` give up what was in the rest"
    )]
    Short { path: String },
    #[error("{0}")]
    Checkpoint(String),
    #[error("{path} has a row for queue {queue} that cannot be read")]
    Row { path: String, queue: u64 },
}

/// Something that cannot be read and is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub path: String,
    pub offset: u64,
    /// What is wrong there, in words.
    pub what: String,
    /// Messages that are lost there, as far as it is known; those of lanes count for their queue.
    pub lost: BTreeMap<QueueId, u64>,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: damage at byte {}: {}", self.path, self.offset, self.what)?;
        self.lost.iter().try_for_each(|(queue, count)| write!(f, "; {count} messages of queue {queue} are lost"))
    }
}

/// What is in a data directory.
pub struct Found {
    pub state: State,
    pub definitions: BTreeMap<Vec<u8>, Vec<u8>>,
    pub damage: Vec<Damage>,
    /// Messages of the journal that cannot be read, and that nothing has settled.
    pub lost: BTreeMap<QueueId, Ranges>,
    /// An end of the journal that was never confirmed: the file, what is left of it, and what goes.
    pub torn: Option<(String, u64, u64)>,
    /// Files that nothing refers to.
    pub unneeded: Vec<String>,
    /// No epoch has had this number or a higher one.
    pub next_epoch: Epoch,
    /// No file has had this number or a higher one.
    pub next_file: u64,
    /// Files of the journal, and from where on nothing says that they are synced.
    unsynced: Vec<(String, u64)>,
    /// Bytes of the journal that had to be read.
    pub replayed_bytes: u64,
    /// The checkpoint says nothing yet.
    pub is_new: bool,
}

/// The numbered files of a directory.
struct Files<'d> {
    disk: &'d Arc<dyn Disk>,
    by_number: BTreeMap<u64, (FileKind, u64)>,
}

impl Files<'_> {
    fn list(disk: &Arc<dyn Disk>) -> Result<Files<'_>, OpenError> {
        let names = disk.list().map_err(|error| OpenError::Io { path: disk.path(""), error })?;
        let by_number = names
            .into_iter()
            .filter_map(|(name, len)| FileKind::of_name(&name).map(|(kind, number)| (number, (kind, len))))
            .collect();
        Ok(Files { disk, by_number })
    }

    fn name(&self, number: u64) -> String {
        self.by_number.get(&number).map_or(FileKind::Journal, |(kind, _)| *kind).file_name(number)
    }

    fn path(&self, number: u64) -> String {
        self.disk.path(&self.name(number))
    }

    fn failed(&self, number: u64) -> impl Fn(io::Error) -> OpenError {
        let path = self.path(number);
        move |error| OpenError::Io { path: path.clone(), error }
    }

    fn open(&self, number: u64) -> Result<Arc<dyn DiskFile>, OpenError> {
        let (kind, _) = self.by_number[&number];
        self.disk.open(&kind.file_name(number)).map_err(self.failed(number))
    }
}

/// A directory with messages in it and no checkpoint is not a new one: to begin anew would remove what is there.
pub fn refuse_without_checkpoint(disk: &Arc<dyn Disk>) -> Result<(), OpenError> {
    let names = disk.list().map_err(|error| OpenError::Io { path: disk.path(""), error })?;
    let has_files =
        names.iter().any(|(name, _)| FileKind::of_name(name).is_some_and(|(kind, _)| kind != FileKind::Spill));
    match names.iter().any(|(name, _)| name == CHECKPOINT_FILE) || !has_files {
        true => Ok(()),
        false => Err(OpenError::Missing { path: disk.path(CHECKPOINT_FILE) }),
    }
}

/// Reads a data directory whose checkpoint has these contents.
pub fn read(disk: &Arc<dyn Disk>, checkpoint: checkpoint::Contents) -> Result<Found, OpenError> {
    let files = Files::list(disk)?;
    let mut state = State { epoch: Epoch(checkpoint.numbers.epoch), ..State::default() };
    state.index.raise_next_queue_id(checkpoint.numbers.next_queue_id.max(1));
    add_files(&files, &mut state);
    restore_queues(&files, &mut state, &checkpoint)?;
    go_on(&files, state, checkpoint)
}

/// Reads a data directory whose checkpoint is of no use: what the segments have, and all of the journal that is there.
///
/// What was settled in parts of the journal that are gone is not known to be; definitions of such parts are not there.
pub fn read_without_checkpoint(disk: &Arc<dyn Disk>) -> Result<Found, OpenError> {
    let files = Files::list(disk)?;
    let mut state = State::default();
    state.index.raise_next_queue_id(1);
    add_files(&files, &mut state);
    // Of two that have the same messages, the newer has fewer that are settled.
    let segments = files.by_number.iter().rev().filter(|(_, (kind, _))| *kind == FileKind::Segment);
    for (&number, &(_, len)) in segments {
        restore_segment(&files, &mut state, number, len)?;
    }
    go_on(&files, state, checkpoint::Contents::default())
}

fn add_files(files: &Files<'_>, state: &mut State) {
    for (&number, &(kind, len)) in files.by_number.iter().filter(|(_, (kind, _))| *kind != FileKind::Spill) {
        state.index.add_file(number, kind, len);
    }
}

fn restore_segment(files: &Files<'_>, state: &mut State, number: u64, len: u64) -> Result<(), OpenError> {
    let file = files.open(number)?;
    let mut scanner = Scanner::new(&*file, number, FILE_HEAD_BYTES, len);
    while let Some(scanned) = scanner.next_block().map_err(files.failed(number))? {
        let (Scanned::Block { offset, head }, Some(block)) = (scanned, scanner.block()) else { continue };
        let place = Place { file: number, offset, len: head.block_bytes() as u64 };
        for entry in block.entries() {
            if let EntryView::Enqueue(enqueue) = entry {
                enter(state, &enqueue, place);
            }
        }
    }
    Ok(())
}

/// Enters the messages that can be read.
fn enter(state: &mut State, enqueue: &Enqueue<'_>, place: Place) {
    for records in enqueue.intact() {
        let has_expirations = record::some_expires(records.bytes);
        for &Target { queue, first_seq, ttl_ms } in &enqueue.targets {
            let piece = Piece::new(first_seq + records.first, records.count, place, records.bytes.len() as u64);
            state.index.enqueue_unknown(queue, piece);
            if has_expirations || ttl_ms.is_some() {
                state.index.note_expiring(queue);
            }
        }
    }
}

/// Replays the journal behind a state.
fn go_on(files: &Files<'_>, state: State, checkpoint: checkpoint::Contents) -> Result<Found, OpenError> {
    // What the checkpoint refers to stays until the next one, even if the journal has settled it since.
    let needed: HashSet<u64> =
        state.index.files().iter().filter(|(_, file)| file.pieces > 0).map(|(&number, _)| number).collect();
    let next_file =
        files.by_number.keys().next_back().map_or(1, |last| last + 1).max(checkpoint.numbers.next_file).max(1);
    let mut replay = Replay::new(files, state, checkpoint.numbers.journal_file);
    replay.run(checkpoint.numbers.journal_file, checkpoint.numbers.journal_offset)?;
    let Replay { state, damage, lost, torn, next_epoch, replayed_bytes, unsynced, .. } = replay;
    let mut unsynced = unsynced.into_files(torn);
    let last = files.by_number.iter().rfind(|(_, (kind, _))| *kind == FileKind::Journal);
    if let Some((&number, &(_, len))) = last.filter(|_| torn.is_none())
        && unsynced.last().is_none_or(|(last, _)| *last < number)
    {
        // Perhaps what was written in part has been cut off, and nobody knows that for good.
        unsynced.push((number, len));
    }
    let is_new = checkpoint.numbers.journal_file == 0;
    let mut definitions = checkpoint.definitions;
    for (key, value) in &state.definitions {
        match value {
            Some(value) => definitions.insert(key.clone(), value.clone()),
            None => definitions.remove(key),
        };
    }
    let mut unneeded = unneeded(files, &state, checkpoint.numbers.journal_file, torn.map(|torn| torn.0));
    unneeded.retain(|number| !needed.contains(number));
    let unneeded = unneeded.into_iter().map(|number| files.name(number)).collect();
    let unsynced = unsynced.into_iter().map(|(number, from)| (FileKind::Journal.file_name(number), from)).collect();
    let torn = torn.map(|(number, left, gone)| (FileKind::Journal.file_name(number), left, gone));
    Ok(Found {
        state,
        definitions,
        damage,
        lost,
        torn,
        unneeded,
        next_epoch,
        next_file,
        unsynced,
        replayed_bytes,
        is_new,
    })
}

fn restore_queues(files: &Files<'_>, state: &mut State, checkpoint: &checkpoint::Contents) -> Result<(), OpenError> {
    for (&id, row) in &checkpoint.queues {
        let unreadable = || OpenError::Row { path: files.disk.path(CHECKPOINT_FILE), queue: id };
        let missing = state.index.restore(QueueId(id), row).ok_or_else(unreadable)?;
        if let Some(number) = missing {
            let path = files.disk.path(&FileKind::Journal.file_name(number));
            return Err(OpenError::Missing { path: format!("{path} (or .segment)") });
        }
    }
    Ok(())
}

/// Refuses files that are shorter than the checkpoint says: they were cut, and what was in the rest was kept once.
pub fn refuse_short_files(disk: &Arc<dyn Disk>, checkpoint: &checkpoint::Contents) -> Result<(), OpenError> {
    let files = Files::list(disk)?;
    let ends = ends(checkpoint);
    let short = ends.iter().find(|(number, end)| files.by_number.get(number).is_some_and(|(_, len)| len < *end));
    short.map_or(Ok(()), |(&number, _)| Err(OpenError::Short { path: files.path(number) }))
}

/// How long files must be, by what the checkpoint says is in them.
fn ends(checkpoint: &checkpoint::Contents) -> BTreeMap<u64, u64> {
    let mut ends = BTreeMap::from([(checkpoint.numbers.journal_file, checkpoint.numbers.journal_offset)]);
    let places = checkpoint.queues.values().flat_map(|row| QueueIndex::places(row));
    for place in places {
        let end = ends.entry(place.file).or_default();
        *end = place.end().max(*end);
    }
    ends
}

fn unneeded(files: &Files<'_>, state: &State, journal_file: u64, torn_in: Option<u64>) -> Vec<u64> {
    let is_unneeded = |number: u64, kind: FileKind| match kind {
        FileKind::Spill => true,
        FileKind::Journal if torn_in.is_some_and(|torn| number > torn) => true,
        FileKind::Journal if number >= journal_file => false,
        _ => state.index.files().get(&number).is_none_or(|file| file.pieces == 0),
    };
    let numbered = files.by_number.iter().map(|(&number, &(kind, _))| (number, kind));
    numbered.filter(|&(number, kind)| is_unneeded(number, kind)).map(|(number, _)| number).collect()
}

impl Found {
    /// Cuts the torn end of the journal and removes what nothing refers to. What was found is durable when it returns: a
    /// process that was killed leaves much that only the system's memory has.
    pub fn tidy(&mut self, disk: &Arc<dyn Disk>) -> Result<(), OpenError> {
        let failed = |name: &str| {
            let path = disk.path(name);
            move |error| OpenError::Io { path, error }
        };
        if let Some((name, left, _)) = &self.torn {
            let file = disk.open(name).map_err(failed(name))?;
            file.set_len(*left).map_err(failed(name))?;
            if let Some((_, number)) = FileKind::of_name(name) {
                self.state.index.set_file_len(number, *left);
            }
        }
        for (name, from) in &self.unsynced {
            write_again(disk, name, *from).map_err(failed(name))?;
        }
        for name in &self.unneeded {
            disk.remove(name).map_err(failed(name))?;
            if let Some((_, number)) = FileKind::of_name(name) {
                self.state.index.remove_file(number);
            }
        }
        disk.sync_dir().map_err(failed(""))
    }
}

/// Writes the end of a file once more, and syncs it. A plain sync would not do: if one has failed before, the system may
/// take for written what is only in its memory.
fn write_again(disk: &Arc<dyn Disk>, name: &str, from: u64) -> io::Result<()> {
    const PART_BYTES: u64 = 1024 * 1024;
    let file = disk.open(name)?;
    let end = file.len()?;
    file.set_len(end)?;
    let mut at = from;
    let mut part = Vec::new();
    while at < end {
        part.resize(PART_BYTES.min(end - at) as usize, 0);
        file.read_exact_at(&mut part, at)?;
        file.write_all_at(&part, at)?;
        at += part.len() as u64;
    }
    file.sync()
}

/// Where the journal begins of which nothing says that it is synced.
#[derive(Default)]
struct Unsynced {
    synced: Epoch,
    /// Epochs behind that, with where they begin.
    epochs: VecDeque<(Epoch, u64, u64)>,
}

impl Unsynced {
    fn see(&mut self, epoch: Epoch, synced: Epoch, number: u64, offset: u64) {
        self.synced = self.synced.max(synced);
        while self.epochs.front().is_some_and(|(epoch, ..)| *epoch <= self.synced) {
            self.epochs.pop_front();
        }
        if epoch > self.synced && self.epochs.back().is_none_or(|(last, ..)| *last < epoch) {
            self.epochs.push_back((epoch, number, offset));
        }
    }

    /// Each file once, from its first such epoch on.
    fn into_files(self, torn: Option<(u64, u64, u64)>) -> Vec<(u64, u64)> {
        let mut files: Vec<(u64, u64)> = self.epochs.into_iter().map(|(_, number, offset)| (number, offset)).collect();
        files.extend(torn.map(|(number, left, _)| (number, left)));
        files.sort_unstable();
        files.dedup_by_key(|(number, _)| *number);
        files.retain(|(number, _)| torn.is_none_or(|(last, ..)| *number <= last));
        files
    }
}

/// The journal behind the checkpoint, epoch by epoch.
struct Replay<'f, 'd> {
    files: &'f Files<'d>,
    first_file: u64,
    state: State,
    damage: Vec<Damage>,
    lost: BTreeMap<QueueId, Ranges>,
    torn: Option<(u64, u64, u64)>,
    /// Everything up to here was synced, as far as later blocks tell; read when it is first needed.
    synced: Option<Epoch>,
    next_epoch: Epoch,
    unsynced: Unsynced,
    replayed_bytes: u64,
}

/// The blocks of an epoch that have been found so far.
#[derive(Clone, Copy)]
struct Partial {
    epoch: Epoch,
    offset: u64,
    blocks: u32,
}

impl<'f, 'd> Replay<'f, 'd> {
    fn new(files: &'f Files<'d>, state: State, first_file: u64) -> Replay<'f, 'd> {
        let next_epoch = Epoch(state.epoch.0 + 1);
        let (damage, torn, synced) = (Vec::new(), None, None);
        Replay {
            files,
            first_file,
            state,
            damage,
            lost: BTreeMap::new(),
            torn,
            synced,
            next_epoch,
            unsynced: Unsynced::default(),
            replayed_bytes: 0,
        }
    }

    fn journals(&self) -> impl Iterator<Item = (u64, u64)> + use<'f, 'd> {
        let from = self.first_file;
        let journals = self.files.by_number.range(from..).filter(|(_, (kind, _))| *kind == FileKind::Journal);
        journals.map(|(&number, &(_, len))| (number, len))
    }

    fn run(&mut self, checkpoint_file: u64, checkpoint_offset: u64) -> Result<(), OpenError> {
        if checkpoint_file != 0 && !self.files.by_number.contains_key(&checkpoint_file) {
            let path = self.files.disk.path(&FileKind::Journal.file_name(checkpoint_file));
            return Err(OpenError::Missing { path });
        }
        for (number, len) in self.journals() {
            if self.torn.is_some() {
                break;
            }
            let from = if number == checkpoint_file { checkpoint_offset } else { FILE_HEAD_BYTES };
            let file = self.files.open(number)?;
            self.check_head(&*file, number, len)?;
            if number == checkpoint_file && len < from {
                self.report(number, len, format!("the file is cut: {} bytes are missing", from - len));
            }
            self.file(&*file, number, from, len)?;
        }
        Ok(())
    }

    fn check_head(&mut self, file: &dyn DiskFile, number: u64, len: u64) -> Result<(), OpenError> {
        let checked = format::check_file_head(file, FileKind::Journal, number).map_err(self.files.failed(number))?;
        match checked {
            // The process may have ended between making the file and writing its head.
            Err(HeadError::Missing | HeadError::Damaged) if len <= FILE_HEAD_BYTES && number != self.first_file => {
                tracing::warn!("{} was begun and has nothing in it", self.files.path(number));
                Ok(())
            }
            Err(why) => Err(OpenError::Head { path: self.files.path(number), why }),
            Ok(()) => Ok(()),
        }
    }

    fn report(&mut self, number: u64, offset: u64, what: String) {
        self.damage.push(Damage { path: self.files.path(number), offset, what, lost: BTreeMap::new() });
    }

    fn file(&mut self, file: &dyn DiskFile, number: u64, from: u64, len: u64) -> Result<(), OpenError> {
        let failed = self.files.failed(number);
        let mut scanner = Scanner::new(file, number, from, len);
        let mut partial: Option<Partial> = None;
        self.replayed_bytes += len.saturating_sub(from);
        while let Some(scanned) = scanner.next_block().map_err(&failed)? {
            let (offset, head) = match scanned {
                Scanned::Block { offset, head } => (offset, head),
                Scanned::Damage { offset, len: gone } => {
                    let start = partial.map_or(offset, |partial| partial.offset);
                    if self.is_torn(start, number, len)? {
                        return Ok(());
                    }
                    self.report(number, offset, format!("{gone} bytes cannot be read"));
                    self.finish(file, number, partial.take(), offset)?;
                    continue;
                }
            };
            self.next_epoch = self.next_epoch.max(Epoch(head.epoch.0 + 1));
            self.unsynced.see(head.epoch, head.synced, number, offset);
            let known = partial.filter(|known| known.epoch == head.epoch);
            let continues = known.map_or(head.index == 0, |known| known.blocks == head.index);
            if known.is_none()
                && let Some(broken) = partial
            {
                if self.is_torn(broken.offset, number, len)? {
                    return Ok(());
                }
                self.finish(file, number, partial.take(), offset)?;
            }
            let is_intact = scanner.block().is_some_and(|block| block.is_intact());
            let start = known.map_or(offset, |known| known.offset);
            if (!continues || !is_intact) && self.is_torn(start, number, len)? {
                return Ok(());
            }
            if head.last && known.is_none() {
                // By far the most: the epoch is one block.
                if let Some(block) = scanner.block() {
                    self.block(&block, number, offset);
                    self.state.epoch = self.state.epoch.max(head.epoch);
                }
                continue;
            }
            partial = Some(Partial { epoch: head.epoch, offset: start, blocks: head.index + 1 });
            if head.last {
                self.finish(file, number, partial.take(), scanner.at())?;
            }
        }
        if let Some(broken) = partial
            && !self.is_torn(broken.offset, number, len)?
        {
            self.finish(file, number, Some(broken), len)?;
        }
        (self.state.journal_file, self.state.journal_end) = (number, len);
        Ok(())
    }

    /// Applies the blocks of an epoch, which lie between two offsets.
    fn finish(&mut self, file: &dyn DiskFile, number: u64, epoch: Option<Partial>, end: u64) -> Result<(), OpenError> {
        let Some(Partial { epoch, offset, .. }) = epoch else { return Ok(()) };
        let mut scanner = Scanner::new(file, number, offset, end);
        while let Some(scanned) = scanner.next_block().map_err(self.files.failed(number))? {
            if let (Scanned::Block { offset, .. }, Some(block)) = (scanned, scanner.block()) {
                self.block(&block, number, offset);
            }
        }
        self.state.epoch = self.state.epoch.max(epoch);
        Ok(())
    }

    /// Whether what begins at `offset` and cannot be read as a whole was never confirmed; then it is to be cut.
    fn is_torn(&mut self, offset: u64, number: u64, len: u64) -> Result<bool, OpenError> {
        // A file is synced before the next one begins.
        if self.journals().any(|(later, _)| later > number) {
            return Ok(false);
        }
        let synced = match self.synced {
            Some(synced) => synced,
            None => self.last_synced()?,
        };
        self.synced = Some(synced);
        if self.state.epoch < synced {
            return Ok(false);
        }
        self.torn = Some((number, offset, len - offset));
        (self.state.journal_file, self.state.journal_end) = (number, offset);
        Ok(true)
    }

    /// The last epoch of which some block of the journal says that it is synced.
    fn last_synced(&mut self) -> Result<Epoch, OpenError> {
        let mut synced = Epoch::NONE;
        for (number, len) in self.journals() {
            let file = self.files.open(number)?;
            let mut scanner = Scanner::new(&*file, number, FILE_HEAD_BYTES, len);
            while let Some(scanned) = scanner.next_block().map_err(self.files.failed(number))? {
                if let Scanned::Block { head, .. } = scanned {
                    synced = synced.max(head.synced);
                    self.next_epoch = self.next_epoch.max(Epoch(head.epoch.0 + 1));
                }
            }
        }
        Ok(synced)
    }

    /// Applies what can be read of a block.
    fn block(&mut self, block: &Block<'_>, number: u64, offset: u64) {
        let place = Place { file: number, offset, len: block.head.block_bytes() as u64 };
        let mut entries = block.entries();
        let mut lost = BTreeMap::new();
        for entry in &mut entries {
            match entry {
                EntryView::Define(changes) => {
                    self.state.definitions.extend(changes.into_iter().map(|change| (change.key, change.value)));
                }
                EntryView::Enqueue(enqueue) => self.enqueue(&enqueue, place, &mut lost),
                EntryView::Settle(queue, ranges) => self.settle(queue, &ranges),
                EntryView::Deliver(queue, through) => self.state.index.deliver(queue, through),
                EntryView::Returns(queue, counts) => counts
                    .iter()
                    .for_each(|&(first, end, count)| self.state.index.count_returns(queue, first, end, count)),
                EntryView::DropQueue(queue) => {
                    self.state.index.drop_queue(queue);
                    self.forget_lost(queue);
                    self.state.definitions.insert(queue_key(queue), None);
                }
                EntryView::Footer(_) => {}
            }
        }
        if !block.is_intact() || entries.is_incomplete() {
            let what = match entries.is_incomplete() {
                true => {
                    "a part of a block cannot be read; what was in it (perhaps messages, settlements, definitions) is lost"
                }
                false => "a part of a block cannot be read",
            };
            self.damage.push(Damage { path: self.files.path(number), offset, what: what.into(), lost });
        }
    }

    fn forget_lost(&mut self, queue: QueueId) {
        while let Some((&lane, _)) = self.lost.range(queue.base()..=queue.lane(u8::MAX)).next() {
            self.lost.remove(&lane);
        }
    }

    fn settle(&mut self, queue: QueueId, ranges: &[(u64, u64)]) {
        ranges.iter().for_each(|&(first, end)| self.state.index.settle(queue, first, end));
        if let Some(lost) = self.lost.get_mut(&queue) {
            ranges.iter().for_each(|&(first, end)| lost.remove(first, end));
        }
    }

    /// Counts those that cannot be read in `lost`.
    fn enqueue(&mut self, enqueue: &Enqueue<'_>, place: Place, lost: &mut BTreeMap<QueueId, u64>) {
        enter(&mut self.state, enqueue, place);
        if enqueue.damaged.is_empty() {
            return;
        }
        let mut readable = Ranges::default();
        enqueue.intact().iter().for_each(|records| readable.insert(records.first, records.first + records.count));
        for &Target { queue, first_seq, .. } in &enqueue.targets {
            for (from, to) in readable.gaps(0, enqueue.records) {
                *lost.entry(queue.base()).or_default() += to - from;
                self.lost.entry(queue).or_default().insert(first_seq + from, first_seq + to);
            }
            self.state.index.raise_next_seq(queue, first_seq + enqueue.records);
        }
    }
}
