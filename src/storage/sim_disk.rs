//! A disk of the tests, in memory: it loses what was not synced, tears writes and fails on demand.
//!
//! What a process sees is what it wrote. Beside it the disk keeps what is durable: of each file the content at its last
//! sync and the changes since, of the directory the names at its last sync and the changes since. After
//! [`crash`](SimDisk::crash) each change may be there or not, whatever its order; after [`kill`](SimDisk::kill) all of
//! them are there, and a crash can still lose them. Both give a new disk: code that goes on with the old one, or a
//! thread that still has it, disturbs nothing, and one disk can crash many times.

mod faults;
mod inode;
mod names;
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

pub(crate) use faults::Operation;
use faults::{Faults, Verdict};
use inode::Inode;
use names::Names;

use super::disk::{Disk, DiskFile};
use crate::model_testing::Random;

type InodeId = u64;

/// Names and contents; what is removed stays, as a crash may bring it back.
#[derive(Clone, Default)]
struct State {
    names: Names,
    inodes: BTreeMap<InodeId, Inode>,
    faults: Faults,
    capacity: Option<u64>,
    written_bytes: u64,
    syncs: u64,
}

pub(crate) struct SimDisk {
    state: Arc<Mutex<State>>,
}

struct SimFile {
    state: Arc<Mutex<State>>,
    id: InodeId,
    name: String,
}

impl SimDisk {
    pub(crate) fn new() -> Arc<SimDisk> {
        SimDisk::with(State::default())
    }

    fn with(state: State) -> Arc<SimDisk> {
        Arc::new(SimDisk { state: Arc::new(Mutex::new(state)) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The disk after a power cut: of what was not synced, each write is there, or not, or torn, and each change of a
    /// name is there or not. No faults are planned for the new disk; it has the same capacity, and counts from 0.
    pub(crate) fn crash(&self, random: &mut Random) -> Arc<SimDisk> {
        let state = self.state();
        let names = state.names.after_crash(random);
        let survivors = state.inodes.iter().filter(|(id, _)| names.refers_to(**id));
        let inodes = survivors.map(|(id, inode)| (*id, inode.after_crash(random))).collect();
        SimDisk::with(State { names, inodes, capacity: state.capacity, ..State::default() })
    }

    /// The disk after the process was killed: all that it wrote is there, and not one bit more of it durable.
    pub(crate) fn kill(&self) -> Arc<SimDisk> {
        let state = self.state();
        let (names, inodes) = (state.names.clone(), state.inodes.clone());
        SimDisk::with(State { names, inodes, capacity: state.capacity, ..State::default() })
    }

    /// The `nth` operation of this kind from now on fails, once; 1 is the next. A write that fails has written the
    /// first half; after a sync that fails nobody knows what is durable, nor does a later sync help.
    pub(crate) fn fail(&self, operation: Operation, nth: u64, kind: io::ErrorKind) {
        self.state().faults.fail(operation, nth, kind);
    }

    /// Every operation of this kind fails, until [`heal`](SimDisk::heal).
    pub(crate) fn fail_always(&self, operation: Operation, kind: io::ErrorKind) {
        self.state().faults.fail_always(operation, kind);
    }

    /// Takes back all faults that are planned, and that it has stopped.
    pub(crate) fn heal(&self) {
        self.state().faults.heal();
    }

    /// After `n` more operations that change something (reads do not count), every operation fails, so that the code
    /// under test can be left there, and the disk crashed or killed.
    pub(crate) fn stop_after(&self, n: u64) {
        self.state().faults.stop_after(n);
    }

    /// Whether an operation has failed because of [`stop_after`](SimDisk::stop_after).
    pub(crate) fn is_stopped(&self) -> bool {
        self.state().faults.is_stopped()
    }

    /// The files together can be so many bytes long; `None` is no limit. A write that does not fit writes what fits.
    pub(crate) fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// The lengths of all files.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.state().used_bytes()
    }

    /// Since this disk was made, of all files.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.state().written_bytes
    }

    /// Syncs of files and of the directory that succeeded.
    pub(crate) fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Operations that change something.
    pub(crate) fn changes(&self) -> u64 {
        self.state().faults.changes()
    }

    /// All of a file, as a process sees it; for tests that look, or damage it. No fault, and not counted.
    pub(crate) fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.find(name).map(|id| state.inodes[&id].content().to_vec())
    }

    /// Makes a file with this content, or replaces that of the one there is; durable. No fault, and not counted.
    pub(crate) fn set_content(&self, name: &str, content: Vec<u8>) {
        let mut state = self.state();
        let id = state.names.find(name).unwrap_or_else(|| state.new_inode());
        state.inodes.insert(id, Inode::durable(content));
        state.names.put_durably(name, id);
    }

    fn file(&self, id: InodeId, name: &str) -> Arc<dyn DiskFile> {
        Arc::new(SimFile { state: self.state.clone(), id, name: name.to_owned() })
    }
}

impl State {
    fn new_inode(&mut self) -> InodeId {
        let id = self.inodes.last_key_value().map_or(0, |(id, _)| id + 1);
        self.inodes.insert(id, Inode::default());
        id
    }

    fn find(&self, name: &str) -> io::Result<InodeId> {
        self.names.find(name).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no file {name}")))
    }

    fn used_bytes(&self) -> u64 {
        self.names.ids().map(|id| self.inodes[&id].len()).sum()
    }

    fn free_bytes(&self) -> Option<u64> {
        self.capacity.map(|capacity| capacity.saturating_sub(self.used_bytes()))
    }

    /// How far a file may grow to hold `end` bytes.
    fn end_that_fits(&self, id: InodeId, end: u64) -> u64 {
        let free = self.free_bytes().unwrap_or(u64::MAX);
        end.min(self.inodes[&id].len().saturating_add(free))
    }

    fn inode(&mut self, id: InodeId) -> &mut Inode {
        self.inodes.get_mut(&id).expect("a file that is open exists")
    }

    fn write(&mut self, id: InodeId, bytes: &[u8], offset: u64) {
        self.written_bytes += bytes.len() as u64;
        self.inode(id).write(bytes, offset);
    }
}

fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut state = self.state();
        state.faults.check(Operation::List)?;
        Ok(state.names.iter().map(|(name, id)| (name.clone(), state.inodes[id].len())).collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.faults.check(Operation::Create)?;
        if state.names.find(name).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = state.new_inode();
        state.names.create(name, id);
        Ok(self.file(id, name))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.faults.check(Operation::Open)?;
        Ok(self.file(state.find(name)?, name))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.faults.check(Operation::Remove)?;
        state.find(name)?;
        state.names.remove(name);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.faults.check(Operation::Rename)?;
        let id = state.find(from)?;
        state.names.rename(id, to);
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.state();
        state.faults.check(Operation::SyncDir)?;
        state.names.sync();
        state.syncs += 1;
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        Ok(self.state().free_bytes())
    }

    fn path(&self, name: &str) -> String {
        format!("/simulated/{name}")
    }
}

impl SimFile {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl std::fmt::Debug for SimFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimFile({})", self.name)
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        let mut state = self.state();
        state.faults.check(Operation::Len)?;
        Ok(state.inode(self.id).len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.state();
        state.faults.check(Operation::Read)?;
        state.inode(self.id).read(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state();
        match state.faults.verdict(Operation::Write) {
            Verdict::Go => {}
            Verdict::Fail(error) => {
                state.write(self.id, &bytes[..bytes.len() / 2], offset);
                return Err(error);
            }
            Verdict::Stopped(error) => return Err(error),
        }
        let end = offset + bytes.len() as u64;
        let fits = state.end_that_fits(self.id, end).saturating_sub(offset).min(bytes.len() as u64);
        state.write(self.id, &bytes[..fits as usize], offset);
        if fits < bytes.len() as u64 { Err(full()) } else { Ok(()) }
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.state();
        state.faults.check(Operation::SetLen)?;
        if state.end_that_fits(self.id, bytes) < bytes {
            return Err(full());
        }
        state.inode(self.id).set_len(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        match state.faults.verdict(Operation::Sync) {
            Verdict::Go => {}
            Verdict::Fail(error) => {
                state.inode(self.id).sync_failed();
                return Err(error);
            }
            Verdict::Stopped(error) => return Err(error),
        }
        state.inode(self.id).sync();
        state.syncs += 1;
        Ok(())
    }
}
