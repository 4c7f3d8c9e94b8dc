//! The row of what a run had out when it was ended.

use types::{RunId, SessionKey, Timestamp, word_enum};

word_enum! {
    /// How far it is proved that nothing of a run is left.
    pub enum HaltState {
        /// The order has gone out, and nobody has looked yet.
        Stopping = "stopping",
        /// Its model stream is closed, its calls have come back, and no process carries its id.
        Stopped = "stopped",
        /// It was looked, after all that can be done was done, and something is there.
        Unproved = "unproved",
    }
}

/// What is known of the calls and processes of a run that was ended while some were out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    pub run: RunId,
    pub root_key: SessionKey,
    pub state: HaltState,
    /// When the run was ended.
    pub asked: Timestamp,
    /// The newest look; what an earlier one has seen is not true any more.
    pub looks: u32,
    /// When it was last looked.
    pub looked: Option<Timestamp>,
    /// Processes that were there then.
    pub pids: Vec<u32>,
    /// Calls that had not come back then.
    pub calls: u32,
}
