//! What an import did.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// What an import did, kind by kind, and what it left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// By the names of the sections: `queues`, `policies` …
    pub kinds: BTreeMap<&'static str, Counts>,
    /// What was not understood, was left alone, or is kept without effect, in the order in which it came.
    pub notes: Vec<Note>,
}

/// How much of one kind was imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub created: usize,
    /// Was there, and is now as the document says.
    pub changed: usize,
    /// Was there as the document says.
    pub existed: usize,
    /// Was not imported: each has a note.
    pub skipped: usize,
}

/// Something that whoever imports should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// `queue 'q' in vhost '/'`
    pub what: String,
    pub text: String,
}

/// What became of one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Created,
    Changed,
    Existed,
    Skipped,
}

impl Report {
    pub(super) fn count(&mut self, kind: &'static str, outcome: Outcome) {
        let counts = self.kinds.entry(kind).or_default();
        match outcome {
            Outcome::Created => counts.created += 1,
            Outcome::Changed => counts.changed += 1,
            Outcome::Existed => counts.existed += 1,
            Outcome::Skipped => counts.skipped += 1,
        }
    }

    pub(super) fn note(&mut self, what: impl Into<String>, text: impl Into<String>) {
        let note = Note { what: what.into(), text: text.into() };
        tracing::warn!("importing definitions: {note}");
        self.notes.push(note);
    }

    pub(super) fn skip(&mut self, kind: &'static str, what: impl Into<String>, text: impl Into<String>) {
        self.count(kind, Outcome::Skipped);
        self.note(what, text);
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.text)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, Counts { created, changed, existed, skipped }) in &self.kinds {
            writeln!(f, "{kind}: {created} created, {changed} changed, {existed} existed, {skipped} skipped")?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}
