//! An order to compact a conversation: kept with it, and carried out when its run is at a model
//! boundary. If none is open, one is opened for that.

use crate::effect::Refusal;
use crate::event::Inbound;
use crate::inbox;
use crate::rows::{InboxKind, InboxRow, NodeState, Place};
use crate::state::State;
use crate::wait;
use types::SessionKey;

/// The key of the row that opens a run for nothing else begins with this.
const ORDER: &str = "compact:";

/// Bytes of what somebody says about it: a few sentences.
const HINT_BYTES_MAX: usize = 4_096;

/// Is this row such an order? No model is shown it.
pub fn is_order(row: &InboxRow) -> bool {
    row.kind == InboxKind::System && row.idem_key.starts_with(ORDER)
}

/// Takes an order. What is answered says when it will be carried out.
pub fn order(
    state: &mut State<'_>,
    key: &SessionKey,
    origin: &str,
    hint: &str,
) -> Result<String, Refusal> {
    if state.this_node().is_some_and(|node| node.state != NodeState::Up) {
        return Err(Refusal::Draining);
    }
    if hint.len() > HINT_BYTES_MAX {
        return Err(Refusal::TooLarge { bytes: hint.len(), limit: HINT_BYTES_MAX });
    }
    let session = state.session(key).clone();
    let transcript = state.transcript(&session.session_id).clone();
    if transcript.next_seq == 1 && transcript.base.is_none() {
        return Ok("There is nothing to compact: nothing has been said here yet.".to_owned());
    }
    state.transcript_mut(&session.session_id).gauge.fold.asked = Some(hint.to_owned());
    let size = transcript.context_tokens;
    if session.open_run.is_some() {
        return Ok(format!(
            "This conversation of about {size} tokens is compacted at the next step of its run."
        ));
    }
    open(state, key, origin.to_owned());
    Ok(format!("This conversation of about {size} tokens is being compacted."))
}

/// Opens a run that compacts.
fn open(state: &mut State<'_>, key: &SessionKey, origin: String) {
    let idem_key = format!("{ORDER}{}", state.at.mint());
    let body = "[System] A person has asked for this conversation to be compacted.".to_owned();
    let row = Inbound::system(key.clone(), origin, idem_key, body);
    let seq = inbox::put(state, &row, Place::Own);
    wait::wake(state, key, seq);
}

/// A run has ended before it could carry an order out: another one does, unless something opens
/// one anyway.
pub fn carry_on(state: &mut State<'_>, key: &SessionKey, origin: &str) {
    let session = state.session(key).clone();
    if session.open_run.is_some() || session.deleted.is_some() {
        return;
    }
    let transcript = state.transcript(&session.session_id);
    if transcript.gauge.fold.asked.is_some() && transcript.ended.is_none() {
        open(state, key, origin.to_owned());
    }
}
