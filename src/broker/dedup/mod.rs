//! Deduplication: a message whose header has a value that came before is dropped, and counts as taken.
//!
//! A queue or an exchange that deduplicates has a [`Window`] of the keys that came last. Those of messages that are kept
//! are kept with them, in the same epoch: after a crash a key is remembered if its message was not lost, and forgotten if
//! it was, so that a publisher who tries again is neither taken twice nor dropped for nothing. A duplicate is confirmed
//! when what it is a duplicate of is kept.

mod admission;
mod key;
mod line;
#[cfg(test)]
mod tests;
mod window;

pub use self::admission::Admission;
#[cfg(test)]
pub use self::key::Key;
pub use self::key::Mark;
use self::line::Kept;
pub use self::line::Line;
use self::window::{FOREVER, Window};
use crate::broker::policy::effective::Dedup;
use crate::storage::Epoch;

/// What a queue or an exchange needs to tell duplicates.
pub struct Deduplication {
    /// None if nothing asks for it: the window was found at start, and the policy that wants it has not been applied yet.
    settings: Option<Dedup>,
    window: Window,
    /// None if what is remembered ends with the process.
    line: Option<Line>,
    /// Noted in the window and not yet in the line.
    unlogged: Vec<Kept>,
    /// How many in the line are forgotten and not yet settled.
    forgotten: u64,
}

impl Deduplication {
    fn new(settings: Option<Dedup>, line: Option<Line>) -> Deduplication {
        Deduplication { settings, window: Window::default(), line, unlogged: Vec::new(), forgotten: 0 }
    }

    /// What was found at start, the oldest first.
    pub fn recovered(line: Line, keys: impl IntoIterator<Item = (key::Key, u64)>) -> Deduplication {
        let mut found = Deduplication::new(None, Some(line));
        for (key, until_ms) in keys {
            // What came twice had outlived its time when it came again.
            found.window.remember(key, until_ms, true);
        }
        found
    }

    /// Does as settings now say. Without any, what was remembered is forgotten, unless it was found just now and the
    /// settings are yet to come. `line` is for a window that is to be kept.
    pub fn follow(
        current: Option<Box<Deduplication>>,
        settings: Option<Dedup>,
        line: impl FnOnce() -> Option<Line>,
    ) -> Option<Box<Deduplication>> {
        let Some(settings) = settings else {
            return current.and_then(|mut unwanted| match unwanted.settings {
                Some(_) => {
                    unwanted.remove();
                    None
                }
                None => Some(unwanted),
            });
        };
        let mut followed = current.unwrap_or_else(|| Box::new(Deduplication::new(None, None)));
        if settings.in_memory {
            followed.remove();
        } else if followed.line.is_none() {
            followed.line = line();
        }
        followed.settings = Some(settings);
        Some(followed)
    }

    /// What was found at start comes in front of nothing: `self` has been made by the arguments and is empty.
    pub fn restored(self: Box<Deduplication>, found: Deduplication) -> Box<Deduplication> {
        debug_assert!(self.window.len() == 0, "nothing is published before everything is restored");
        let wants_line = self.line.is_some() || self.settings.is_none();
        let mut restored = Box::new(Deduplication { settings: self.settings, ..found });
        if !wants_line {
            restored.remove();
        }
        restored
    }

    /// Nothing to do with it any more: what is on disk goes.
    pub fn remove(&mut self) {
        if let Some(mut line) = self.line.take() {
            line.remove();
        }
        self.window.forsake();
        self.unlogged.clear();
        self.forgotten = 0;
    }

    /// The header that is compared, if one is.
    pub fn header(&self) -> Option<&str> {
        self.settings.as_ref().map(|settings| &*settings.header)
    }

    pub fn is_duplicate(&self, mark: &Mark, now_ms: u64) -> bool {
        self.window.contains(mark.key, now_ms)
    }

    /// The epoch with which every key is kept that is remembered and is to be; none if none is.
    pub fn epoch(&self) -> Epoch {
        self.line.as_ref().map_or(Epoch::NONE, Line::epoch)
    }

    /// Remembers a message that is taken, unless it is remembered already. `is_kept` says whether the message is.
    pub fn note(&mut self, mark: &Mark, is_kept: bool, now_ms: u64) {
        let Some(settings) = &self.settings else { return };
        if self.window.contains(mark.key, now_ms) {
            return;
        }
        let ttl_ms = mark.ttl_ms.or(settings.cache_ttl_ms);
        let until_ms = ttl_ms.map_or(FOREVER, |ttl| now_ms.saturating_add(ttl));
        let is_kept = is_kept && self.line.is_some();
        self.window.remember(mark.key, until_ms, is_kept);
        if is_kept {
            self.unlogged.push((mark.key, until_ms));
        }
        self.forgotten += self.window.trim(settings.cache_size, now_ms);
    }

    /// Whether [`log`](Self::log) has something to do.
    pub fn is_behind(&self) -> bool {
        !self.unlogged.is_empty() || self.forgotten > 0
    }

    /// Logs what has been noted and forgotten since the last time. The messages are logged under the same hold.
    pub fn log(&mut self) {
        if let Some(line) = &mut self.line {
            line.append(self.unlogged.drain(..));
            line.settle(std::mem::take(&mut self.forgotten));
        }
    }

    #[cfg(test)]
    pub fn remembers(&self) -> Vec<key::Key> {
        self.window.kept().map(|(key, _)| key).collect()
    }
}
