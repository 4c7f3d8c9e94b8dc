//! Which model a call goes to: the one that was chosen for the run, or one in its place.
//!
//! ```text
//!  asked: account, account … ─▶ first fallback: account … ─▶ second fallback …
//!         the first that takes calls, or will in a moment
//! ```
//!
//! It is looked before each call, by the gates and nothing else. So what one run has found out
//! holds for all, and a run is back at its first choice with the next call that this one takes.
//!
//! | a call fails by | the gate | the run |
//! |---|---|---|
//! | rate limit, quota, overload | is closed | waits a moment; longer than that, goes elsewhere |
//! | network | is closed after two retries | goes elsewhere |
//! | auth, unknown model | is closed | goes elsewhere |
//! | anything else | stays | tries again, or ends |
//!
//! The last two close a gate only if there is another place to go to.
//!
//! # Invariants
//!
//! - What is wrong with the store, the request, the answer or a budget closes no gate, and never
//!   changes a model.
//! - Our own limits of a provider let a run wait, or take another account. They change no model.
//! - A model that a person or a spawn has named, and that is not the agent's own, has no others in
//!   its place.
//! - Nobody waits at a gate that only a person can open.

use std::time::Duration;

use serde_json::{Value, json};
use types::{AgentId, FailureClass, RunId, SessionKey, Thinking, Timestamp};

use crate::effect::Notice;
use crate::finish::{End, finish};
use crate::gate::{self, Stands};
use crate::limits::Limits;
use crate::rows::{GateKey, GateKind, Outcome, Session};
use crate::state::State;

/// A gate that opens within this is waited for: the model is the one that was chosen, and its
/// provider has the conversation in its cache.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// The model of a session: its own, or its agent's, also if that is gone.
pub fn model_of(limits: &Limits, session: &Session) -> String {
    let limits = limits.of_agent(&session.agent);
    let of_agent = || limits.agents.get(&session.agent).map(|agent| agent.model.clone());
    session.model.clone().or_else(of_agent).unwrap_or_default()
}

/// The models that calls may go to in the place of `asked`.
pub fn fallbacks<'l>(limits: &'l Limits, session: &Session, asked: &str) -> &'l [String] {
    let Some(agent) = limits.agents.get(&session.agent) else { return &[] };
    if session.depth > 0 && agent.child_model.as_deref() == Some(asked) {
        &agent.child_fallbacks
    } else if agent.model == asked {
        &agent.fallbacks
    } else {
        &[]
    }
}

/// What calls of a model go to: its provider's accounts, in their order.
fn accounts(limits: &Limits, model: &str) -> Vec<String> {
    let provider = GateKey::of_model(model).provider;
    let accounts = limits.accounts.get(&provider).map(Vec::as_slice).unwrap_or_default();
    if accounts.is_empty() || GateKey::base(model) != model {
        return vec![model.to_owned()];
    }
    accounts.iter().map(|account| GateKey::target(model, account)).collect()
}

/// All that calls may go to, model by model.
pub fn targets(limits: &Limits, session: &Session, asked: &str) -> Vec<Vec<String>> {
    let others = fallbacks(limits, session, asked).iter().map(String::as_str);
    std::iter::once(asked).chain(others).map(|model| accounts(limits, model)).collect()
}

/// Is there another place to which calls of this run may go?
pub fn has_others(state: &mut State<'_>, run: RunId) -> bool {
    of_run(state, run).iter().map(Vec::len).sum::<usize>() > 1
}

fn of_run(state: &mut State<'_>, run: RunId) -> Vec<Vec<String>> {
    let (key, asked) = {
        let row = state.run(&run);
        (row.session_key.clone(), row.asked.clone())
    };
    let session = state.session(&key).clone();
    targets(state.limits_of(run), &session, &asked)
}

/// Where the next call of a run goes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    /// There, though it may have to wait. `passed` are the places before it, each with the reason.
    To { target: String, passed: Vec<(String, String)> },
    /// Nowhere: what is wrong is not over by itself.
    Nowhere { class: FailureClass, passed: Vec<(String, String)> },
}

/// Looks at the gates in order.
fn way(state: &mut State<'_>, run: RunId) -> Way {
    let session_id = state.run(&run).session_id;
    let tokens = state.transcript(&session_id).context_tokens;
    let now = state.now();
    let mut passed = Vec::new();
    let mut soonest: Option<(Timestamp, String)> = None;
    let mut class = FailureClass::Auth;
    for (n, model) in of_run(state, run).into_iter().enumerate() {
        let (mut full, mut soon) = (None, None);
        for target in model {
            match gate::stands(state, &target, tokens) {
                Stands::Free => return Way::To { target, passed },
                Stands::Full => {
                    passed.push((target.clone(), "its account's limits are full".to_owned()));
                    full = full.or(Some(target));
                }
                Stands::Closed { kind, until, reason } => {
                    passed.push((target.clone(), format!("{kind}: {reason}")));
                    if kind.lasts() {
                        let unknown = n == 0 && kind == GateKind::UnknownModel;
                        class = if unknown { FailureClass::UnknownModel } else { class };
                        continue;
                    }
                    let earlier = |best: &Option<(Timestamp, String)>| {
                        best.as_ref().is_none_or(|(best, _)| until < *best)
                    };
                    if until <= now + PATIENCE && soon.is_none() {
                        soon = Some(target.clone());
                    }
                    if earlier(&soonest) {
                        soonest = Some((until, target));
                    }
                }
            }
        }
        if let Some(target) = full.or(soon) {
            passed.retain(|(other, _)| *other != target);
            return Way::To { target, passed };
        }
    }
    match soonest {
        Some((_, target)) => {
            passed.retain(|(other, _)| *other != target);
            Way::To { target, passed }
        }
        None => Way::Nowhere { class, passed },
    }
}

/// Chooses where the next call of the run goes. One that can go nowhere ends: false.
pub fn choose(state: &mut State<'_>, run: RunId) -> bool {
    match way(state, run) {
        Way::To { target, passed } => {
            take(state, run, target, &passed);
            true
        }
        Way::Nowhere { class, passed } => {
            let error = Some((class, words(&passed)));
            let outcome = Outcome::Failed;
            finish(state, run, End { outcome, text: None, error, quiet: false });
            false
        }
    }
}

/// Would the next call of the run go elsewhere than the one that has just been refused?
pub fn leads_elsewhere(state: &mut State<'_>, run: RunId) -> bool {
    match way(state, run) {
        Way::To { target, .. } => state.run(&run).model != target,
        Way::Nowhere { .. } => true,
    }
}

fn words(passed: &[(String, String)]) -> String {
    let words: Vec<String> = passed.iter().map(|(to, why)| format!("{to} ({why})")).collect();
    words.join("; ")
}

/// Lets the run call `to`, and says so if it is another place than before.
fn take(state: &mut State<'_>, run: RunId, to: String, passed: &[(String, String)]) {
    let row = state.run(&run);
    if row.model == to {
        return;
    }
    let (asked, from, session) = (row.asked.clone(), row.model.clone(), row.session_key.clone());
    let first = passed.is_empty();
    // At the beginning a run has a model and no account yet: that is no change.
    let begins = first && GateKey::base(&from) == GateKey::base(&to);
    let reason = match first {
        true => format!("{asked} was chosen, and takes calls"),
        false => words(passed),
    };
    let row = state.run_mut(&run);
    row.model = to.clone();
    if !first {
        row.switched = Some(reason.clone());
    }
    if !begins {
        state.notices.push(Notice::ModelSwitched { run, session, asked, from, to, reason });
    }
}

/// Another model was chosen for a session: its open run asks it from the next call on. One that
/// waits at a gate need not wait any more.
pub fn on_chosen(state: &mut State<'_>, key: &SessionKey) {
    let session = state.session(key).clone();
    let Some(run) = session.open_run else { return };
    state.run_mut(&run).asked = model_of(state.limits, &session);
    gate::back_in_line(state, run);
}

/// Who wants a model to think: a session of an agent, at a depth, with a wish of its own or none.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    agent: &'a AgentId,
    depth: u32,
    own: Option<Thinking>,
}

impl<'a> Wanted<'a> {
    pub fn new(agent: &'a AgentId, depth: u32, own: Option<Thinking>) -> Wanted<'a> {
        Wanted { agent, depth, own }
    }

    /// How long a model is to think, whether it can or not: the nearest word counts.
    pub fn of(self, limits: &Limits, model: &str) -> Option<Thinking> {
        let agent = limits.agents.get(self.agent);
        let of_children = agent.filter(|_| self.depth > 0).and_then(|agent| agent.child_thinking);
        let of_model = limits.traits.get(GateKey::base(model)).and_then(|traits| traits.thinking);
        let of_agent = agent.and_then(|agent| {
            let of_its_model = agent.model_thinking.get(GateKey::base(model)).copied();
            of_its_model.or(agent.thinking)
        });
        self.own.or(of_children).or(of_agent).or(of_model).or(limits.thinking)
    }
}

fn wanted(limits: &Limits, session: &Session, model: &str) -> Option<Thinking> {
    Wanted::new(&session.agent, session.depth, session.thinking).of(limits, model)
}

/// Can a model be told how long to think?
pub fn thinks(limits: &Limits, model: &str) -> bool {
    limits.traits.get(GateKey::base(model)).is_none_or(|traits| traits.thinks)
}

/// What a call to `target` says of thinking: nothing to a model that cannot be told.
pub fn thinking(limits: &Limits, session: &Session, target: &str) -> Option<Thinking> {
    wanted(limits, session, target).filter(|_| thinks(limits, target))
}

/// The same for a reader: `null` if nothing is said, and why a level has no effect.
pub fn thinking_words(limits: &Limits, session: &Session) -> Value {
    let model = model_of(limits, session);
    match (wanted(limits, session, &model), thinks(limits, &model)) {
        (None, _) => Value::Null,
        (Some(level), true) => json!(level),
        (Some(level), false) => {
            json!(format!("{level}, without effect: {model} cannot be told how long to think"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{AgentLimits, Traits};

    /// Who says how long a model thinks: the first of these that says anything.
    #[test]
    fn the_nearest_wish_counts() {
        use Thinking::{High, Low, Max, Medium, Minimal, Xhigh};

        let mut limits = Limits { thinking: Some(Minimal), ..Limits::default() };
        let of = |limits: &Limits, depth, own, model| {
            Wanted::new(&AgentId::main(), depth, own).of(limits, model)
        };
        assert_eq!(of(&limits, 0, None, "p/m"), Some(Minimal));
        limits.traits.insert("p/m".to_owned(), Traits { thinks: true, thinking: Some(Low) });
        assert_eq!(of(&limits, 0, None, "p/m"), Some(Low));
        let agent = AgentLimits { thinking: Some(Medium), ..AgentLimits::of("p/m") };
        limits.agents.insert(AgentId::main(), agent.clone());
        assert_eq!(of(&limits, 0, None, "p/m"), Some(Medium));
        // What an agent says of one model is nearer than what it says of all.
        let model_thinking = [("p/m".to_owned(), High)].into();
        let agent = AgentLimits { model_thinking, ..agent };
        limits.agents.insert(AgentId::main(), agent.clone());
        assert_eq!(of(&limits, 0, None, "p/m#account"), Some(High));
        assert_eq!(of(&limits, 0, None, "p/other"), Some(Medium));
        let agent = AgentLimits { child_thinking: Some(Xhigh), ..agent };
        limits.agents.insert(AgentId::main(), agent);
        assert_eq!(of(&limits, 1, None, "p/m"), Some(Xhigh));
        assert_eq!(of(&limits, 1, Some(Max), "p/m"), Some(Max));
    }
}
