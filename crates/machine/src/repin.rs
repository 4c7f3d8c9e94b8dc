//! A prefix that is rendered anew before anybody has used it, and one that has to do without.
//!
//! Tools may come from servers that were never asked what they have. The runtime asks them before
//! it renders the first prefix; when that has told it of tools, the machine decides anew who has
//! which of them.

use types::RunId;

use crate::effect::{Answer, Notice};
use crate::event::Token;
use crate::run::Phase;
use crate::state::State;
use crate::step::{drains_here, ends_here, is_current, pin};

/// Decides on the tools of the run's episode anew, and has its prefix rendered.
pub fn again(state: &mut State<'_>, run: RunId, life: Token) -> Answer {
    if !is_current(state, run, life, None) || state.run(&run).phase != Phase::Preparing {
        return Answer::Fenced;
    }
    // A stop or a drain may have come meanwhile, as before any other step.
    if !ends_here(state, run) && !drains_here(state, run) {
        pin(state, run);
    }
    Answer::Done
}

/// Says that a session begins its episode without the tools of some servers.
pub fn without(state: &mut State<'_>, run: RunId, servers: Vec<String>) -> Answer {
    if let Some(row) = state.find_run(&run) {
        let session = row.session_key.clone();
        state.notices.push(Notice::ToolsMissing { run, session, servers });
    }
    Answer::Done
}
