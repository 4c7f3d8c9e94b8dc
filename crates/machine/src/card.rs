//! What an agent shows beside its answer: its plan, and words to its person while it works.
//!
//! The newest card is kept with the session until another takes its place, the conversation begins
//! anew, or the session is taken for another task. Words to a person are kept by the call that says
//! them, which is in the transcript.

use serde_json::json;
use types::{Card, Hash};

use crate::effect::Notice;
use crate::internal::{Caller, Reply};
use crate::state::State;

/// Puts a card up, or takes it down if it is empty.
pub fn put(state: &mut State<'_>, caller: &Caller, card: &Card) -> Reply {
    let hash = (!card.is_empty()).then(|| {
        let body = serde_json::to_string(card).expect("a card is JSON");
        let hash = Hash::of(&body);
        state.tx().add_blob(hash, &body);
        hash
    });
    let session = state.session_mut(&caller.session);
    session.card = hash;
    session.rev += 1;
    let session = caller.session.clone();
    state.notices.push(Notice::SessionChanged { session, what: "card" });
    if card.is_empty() {
        return Reply::ok(json!({ "status": "removed" }));
    }
    Reply::ok(json!({ "status": "shown", "completed": card.done(), "steps": card.plan.len() }))
}

/// Says something to the person of the session, at once.
pub fn say(state: &mut State<'_>, caller: &Caller, text: &str) -> Reply {
    let session = caller.session.clone();
    if state.session(&session).parent_key.is_some() {
        let why = "a sub-agent speaks to whoever asked for it, by its answer; only a session of a \
                   person's own has a person to write to";
        return Reply::error("no_person", why);
    }
    state.notices.push(Notice::Told {
        source: session.clone(),
        session,
        task: None,
        text: text.to_owned(),
    });
    Reply::ok(json!({ "status": "sent", "channel": "chat" }))
}
