//! Answers that were cut at the output limit of their model: who reads on is told.
//!
//! Whatever did not fit is gone, and nobody but the provider's word for the end of the answer says
//! so: a call that was not made looks like one that nobody wanted, half a report like a short one.

use types::{FailureClass, RunId};

use crate::event::Inbound;
use crate::inbox;
use crate::rows::{InboxRow, Place};
use crate::state::State;

/// The key of every note begins with this.
const NOTE: &str = "output-limit:";

/// Tells a run that its last answer, with so many calls, was cut. It reads that with what comes
/// of the calls.
pub fn note(state: &mut State<'_>, run: RunId, step: u32, calls: usize, limit: u32) {
    let row = state.run(&run).clone();
    let body = format!(
        "[System] Your last answer was cut at its output limit of {limit} tokens (`maxTokens` of \
         the model, in the configuration). {calls} of its calls have come through, the last of \
         them perhaps in part; what you wanted to say or call after that was lost. Say it again, \
         in more and smaller answers."
    );
    let key = format!("{NOTE}{run}-{step}");
    let inbound = Inbound::system(row.session_key, row.origin, key, body);
    let seq = inbox::put(state, &inbound, Place::Steer);
    // It is for this run and no other.
    state.inbox_mut(&seq).run = Some(run);
}

/// Is this row such a note? It ends with its run.
pub fn is_note(row: &InboxRow) -> bool {
    row.idem_key.starts_with(NOTE)
}

/// What is said of a run whose last words were cut.
pub fn why(limit: u32) -> (FailureClass, String) {
    let why = format!(
        "its answer was cut at the output limit of {limit} tokens (`maxTokens` of its model)"
    );
    (FailureClass::Internal, why)
}
