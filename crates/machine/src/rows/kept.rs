//! The row of a text that is kept whole because a transcript holds only its ends.

use types::{Hash, RunId, SessionKey, Timestamp};

/// A text of a tree of sessions. The same text in two trees is two rows: who may read one is a
/// matter of its tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub root_key: SessionKey,
    pub hash: Hash,
    /// The run that has brought it in last.
    pub run: RunId,
    pub bytes: u64,
    /// When that was: from then on it is kept for as long as what is done with.
    pub at: Timestamp,
}
