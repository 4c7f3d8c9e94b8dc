//! Rows of a conversation: its transcripts, their stretches and entries.

use types::{Hash, RunId, SessionId, SessionKey, Timestamp};

use super::{EndReason, EntryKind, EpisodeReason, Gauge};

/// One transcript of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    pub session_id: SessionId,
    pub session_key: SessionKey,
    pub next_seq: i64,
    pub episode: u32,
    /// Tokens that the next prompt will hold: the provider's count, and estimates since.
    pub context_tokens: u64,
    /// What is known of its size, and where its compaction stands.
    pub gauge: Gauge,
    /// What it is a branch of.
    pub base: Option<Base>,
    pub started: Timestamp,
    /// Another transcript has taken its place under the key.
    pub ended: Option<(Timestamp, EndReason)>,
}

/// Entries of another transcript that a branch begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    pub session_id: SessionId,
    pub first_seq: i64,
    pub last_seq: i64,
    /// The episode of that transcript which they belong to: its head comes before them.
    pub episode: u32,
}

/// A stretch of a transcript that is sent behind one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Episode {
    pub session_id: SessionId,
    pub n: u32,
    /// From here on entries are sent.
    pub first_seq: i64,
    pub reason: EpisodeReason,
    /// Names the blob with what stands in the place of all that comes before: a summary.
    pub head: Option<Hash>,
    /// An input before `first_seq` that is sent all the same: what is worked on.
    pub anchor: Option<i64>,
    /// What is too long is cut.
    pub clip: Option<Clip>,
    /// Names the blob with the rendered prefix; none until the first run has pinned it.
    pub prefix_hash: Option<Hash>,
    pub prefix_tokens: u64,
    /// When it was rendered.
    pub pinned: Option<Timestamp>,
    pub at: Timestamp,
}

/// One entry of a transcript. Append only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub session_id: SessionId,
    pub seq: i64,
    pub run: RunId,
    /// The step that wrote it: an answer's model step, a result's tool step.
    pub step: Option<u32>,
    pub kind: EntryKind,
    pub call_id: Option<String>,
    pub body: Body,
    pub tokens: u64,
    /// It is part of the taking of notes: no other call is shown it.
    pub silent: bool,
    pub at: Timestamp,
}

/// Where the body of a new entry comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Text(String),
    /// Copied by the store from the inbox row of this number.
    Inbox(i64),
    /// The body of the inbox row of this number, with its middle left out.
    Shortened {
        inbox: i64,
        text: String,
    },
}

/// Entries before `before` are sent with `bytes` of text at most: inputs and results, since an
/// answer goes back as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clip {
    pub before: i64,
    pub bytes: u64,
}

/// What has to be known of an entry to tell whether it can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryMark {
    pub seq: i64,
    pub kind: EntryKind,
    pub tokens: u64,
    pub silent: bool,
}
