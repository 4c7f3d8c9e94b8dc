//! What the stub was asked, and how each answer ended: for assertions from outside.
//!
//! # Invariants
//!
//! - A request has one entry, from its arrival on; its `outcome` changes once.
//! - Texts are cut, and the oldest entries go, so memory is bounded whatever is asked.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cache::Usage;

/// Most entries kept.
const ENTRIES_MAX: usize = 100_000;

/// Most bytes of entries kept, roughly: long conversations repeat their tool results.
const BYTES_MAX: usize = 256 * 1024 * 1024;

/// Characters of a text that an entry keeps.
pub const TEXT_CHARS: usize = 300;

/// One request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Entry {
    pub seq: u64,
    pub at_ms: u64,
    /// When the answer ended.
    pub end_ms: Option<u64>,
    pub wire: String,
    pub model: String,
    pub stream: bool,
    pub key_hash: String,
    pub idempotency_key: Option<String>,
    pub body_hash: String,
    pub body_bytes: usize,
    /// Names tools and system prompt.
    pub prefix_hash: String,
    /// Names the messages, whatever their cache marks.
    pub conversation: String,
    pub messages: usize,
    pub newest_text: String,
    /// What was said of thinking, as JSON in the words of the wire; empty if nothing was.
    pub thinking: String,
    /// How the answer was to be drawn, and how long it may be, in the words of the wire.
    pub sampling: BTreeMap<String, Value>,
    /// The tools that were offered.
    pub tools: Vec<String>,
    pub tool_results: Vec<SeenToolResult>,
    /// The tasks whose results the conversation holds, in order, doubles included.
    pub results: Vec<String>,
    /// `ok`, or what was wrong with the request.
    pub verdict: String,
    pub status: u16,
    pub answer: Answered,
    /// The kinds of the faults that struck.
    pub faults: Vec<String>,
    pub usage: Usage,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SeenToolResult {
    pub call_id: String,
    pub name: String,
    pub text: String,
}

/// Who decided the answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Answered {
    /// `rule`, `directive`, `echo`, or empty for a refused request.
    pub kind: String,
    pub rule: Option<usize>,
    pub step: Option<usize>,
    pub text: String,
    /// The tools it calls.
    pub calls: Vec<String>,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It has not yet.
    #[default]
    Open,
    /// Sent to its end.
    Completed,
    /// The client left before.
    Aborted,
    /// The stub broke it off: a fault, or its own stop.
    Cut,
    /// A fault made it an error.
    Failed,
    /// The request was invalid.
    Refused,
}

/// All that `GET /journal` tells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    pub requests: Vec<Entry>,
    pub open_streams: usize,
    /// Refused requests, also those whose entries are gone.
    pub invalid: u64,
    /// Entries that were dropped for room.
    pub dropped: u64,
}

impl Snapshot {
    /// Returns the conversations that were answered to the end more than once. Requests with
    /// different idempotency keys are different questions, even in the same words.
    pub fn answered_twice(&self) -> Vec<&Entry> {
        let mut seen: BTreeMap<(&str, &str, Option<&str>), u32> = BTreeMap::new();
        let completed = self.requests.iter().filter(|e| e.outcome == Outcome::Completed);
        completed
            .filter(|entry| {
                let key = entry.idempotency_key.as_deref();
                let count = seen.entry((&entry.prefix_hash, &entry.conversation, key)).or_default();
                *count += 1;
                *count == 2
            })
            .collect()
    }
}

/// Cuts a text to what an entry keeps.
pub fn bounded(text: &str) -> String {
    text.chars().take(TEXT_CHARS).collect()
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[derive(Debug, Default)]
struct Inner {
    entries: VecDeque<Entry>,
    bytes: usize,
    next_seq: u64,
    invalid: u64,
    dropped: u64,
    open: usize,
    file: Option<File>,
}

/// The journal. Clones are the same journal.
#[derive(Clone, Debug, Default)]
pub struct Journal(Arc<Mutex<Inner>>);

impl Journal {
    /// A journal that also appends each entry to a file when its answer has ended.
    pub fn with_file(path: Option<&Path>) -> io::Result<Journal> {
        let open = |path| OpenOptions::new().create(true).append(true).open(path);
        let file = path.map(open).transpose()?;
        Ok(Journal(Arc::new(Mutex::new(Inner { file, ..Inner::default() }))))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves whole entries behind: each change here is one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the number of the next request.
    pub fn next_seq(&self) -> u64 {
        let mut inner = self.lock();
        inner.next_seq += 1;
        inner.next_seq
    }

    /// Enters a request whose answer is about to begin.
    pub fn begin(&self, entry: Entry) -> Open {
        let seq = entry.seq;
        let mut inner = self.lock();
        inner.open += 1;
        inner.push(Entry { outcome: Outcome::Open, ..entry });
        Open { journal: self.clone(), seq: Some(seq) }
    }

    /// Enters a request that is refused.
    pub fn refuse(&self, entry: Entry) {
        let mut inner = self.lock();
        inner.invalid += 1;
        let entry = Entry { outcome: Outcome::Refused, end_ms: Some(now_ms()), ..entry };
        inner.write(&entry);
        inner.push(entry);
    }

    /// Returns the entries after number `since`.
    pub fn snapshot(&self, since: u64) -> Snapshot {
        let inner = self.lock();
        Snapshot {
            requests: inner.entries.iter().filter(|e| e.seq > since).cloned().collect(),
            open_streams: inner.open,
            invalid: inner.invalid,
            dropped: inner.dropped,
        }
    }

    /// Forgets all entries. Numbers go on, and answers under way stay counted.
    pub fn reset(&self) {
        let mut inner = self.lock();
        inner.entries.clear();
        (inner.bytes, inner.invalid, inner.dropped) = (0, 0, 0);
    }
}

impl Inner {
    fn push(&mut self, entry: Entry) {
        self.bytes += size(&entry);
        self.entries.push_back(entry);
        while self.entries.len() > ENTRIES_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(size(&oldest));
            self.dropped += 1;
        }
    }

    fn write(&mut self, entry: &Entry) {
        let Some(file) = &mut self.file else { return };
        let Ok(mut line) = serde_json::to_string(entry) else { return };
        line.push('\n');
        // One write a line, straight to the file: a reader never sees half a line for long.
        if let Err(error) = file.write_all(line.as_bytes()) {
            let words = format!("windlass-stub: the journal file cannot be written: {error}\n");
            let _ = io::stderr().write_all(words.as_bytes());
            self.file = None;
        }
    }

    fn end(&mut self, seq: u64, outcome: Outcome) {
        self.open = self.open.saturating_sub(1);
        // Numbers are taken before entries are pushed, so two may have swapped places.
        let Some(at) = self.entries.iter().rposition(|entry| entry.seq == seq) else { return };
        let Some(entry) = self.entries.get_mut(at) else { return };
        entry.outcome = outcome;
        entry.end_ms = Some(now_ms());
        if self.file.is_some() {
            let entry = entry.clone();
            self.write(&entry);
        }
    }
}

/// The rough size of an entry in memory.
fn size(entry: &Entry) -> usize {
    let results: usize =
        entry.tool_results.iter().map(|r| 72 + r.call_id.len() + r.name.len() + r.text.len()).sum();
    let words: usize = entry.tools.iter().chain(&entry.results).map(|word| 24 + word.len()).sum();
    1_000 + results + words + entry.newest_text.len() + entry.answer.text.len()
}

/// An answer under way. Dropped without an end, it was left by its client.
#[derive(Debug)]
pub struct Open {
    journal: Journal,
    seq: Option<u64>,
}

impl Open {
    /// Records how the answer ended; only the first end counts.
    pub fn end(&mut self, outcome: Outcome) {
        if let Some(seq) = self.seq.take() {
            self.journal.lock().end(seq, outcome);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.end(Outcome::Aborted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(journal: &Journal, conversation: &str) -> Entry {
        let seq = journal.next_seq();
        Entry { seq, conversation: conversation.to_owned(), ..Entry::default() }
    }

    #[test]
    fn an_entry_ends_once_and_a_dropped_one_was_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let journal = Journal::with_file(Some(&path)).unwrap();
        let mut first = journal.begin(entry(&journal, "a"));
        let second = journal.begin(entry(&journal, "b"));
        assert_eq!(journal.snapshot(0).open_streams, 2);
        first.end(Outcome::Completed);
        drop(first);
        drop(second);
        journal.refuse(entry(&journal, "c"));
        let snapshot = journal.snapshot(0);
        let outcomes: Vec<_> = snapshot.requests.iter().map(|entry| entry.outcome).collect();
        assert_eq!(outcomes, [Outcome::Completed, Outcome::Aborted, Outcome::Refused]);
        assert_eq!((snapshot.open_streams, snapshot.invalid), (0, 1));
        assert_eq!(journal.snapshot(2).requests.len(), 1);
        let lines = std::fs::read_to_string(path).unwrap();
        let written: Vec<Entry> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(written, snapshot.requests);
    }

    #[test]
    fn a_conversation_that_was_answered_twice_is_found() {
        let journal = Journal::default();
        for (conversation, key, outcome) in [
            ("a", None, Outcome::Completed),
            ("a", None, Outcome::Aborted),
            ("b", None, Outcome::Cut),
            ("b", None, Outcome::Completed),
            ("c", Some("1"), Outcome::Completed),
            ("c", Some("2"), Outcome::Completed),
            ("c", Some("2"), Outcome::Completed),
            ("c", Some("2"), Outcome::Completed),
        ] {
            let idempotency_key = key.map(str::to_owned);
            let entry = Entry { idempotency_key, ..entry(&journal, conversation) };
            journal.begin(entry).end(outcome);
        }
        let snapshot = journal.snapshot(0);
        let twice: Vec<u64> = snapshot.answered_twice().iter().map(|entry| entry.seq).collect();
        assert_eq!(twice, [7]);
    }

    #[test]
    fn the_oldest_entries_make_room() {
        let journal = Journal::default();
        let big = "x".repeat(BYTES_MAX / 2);
        for _ in 0..3 {
            journal.refuse(Entry { newest_text: big.clone(), ..entry(&journal, "a") });
        }
        let snapshot = journal.snapshot(0);
        assert_eq!((snapshot.requests.len(), snapshot.dropped, snapshot.invalid), (1, 2, 3));
    }
}
