//! What a start says of the life before: the gateways that were lost, and one message to each owner
//! whose work was cut.
//!
//! All of it follows from the journal: the lines since this start say which runs were taken over,
//! and what they were doing. So it is said once, however often the sweep is cut itself.

use std::collections::BTreeMap;

use types::{RunId, SessionKey};

use crate::effect::{Cut, Notice};
use crate::inbox;
use crate::limits::SWEEP_PAGE;
use crate::person;
use crate::rows::{Lifecycle, NodeState};
use crate::state::State;

/// Runs that one restart is asked for. More than lanes have slots would be a bug.
const RUNS_MAX: usize = 10_000;

/// Says that the gateways before are down: nothing is left that they had. A page at a time;
/// returns whether there may be more.
pub fn bury(state: &mut State<'_>) -> bool {
    let (now, here) = (state.now(), state.at.node);
    let lost = state.tx().other_nodes(here, SWEEP_PAGE);
    for node in &lost {
        let row = state.node_mut(node);
        row.state = NodeState::Down;
        row.lease_until = row.lease_until.min(now);
        state.notices.push(Notice::NodeLost { node: *node });
    }
    !lost.is_empty()
}

/// A run that was at work when its gateway was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted {
    pub run: RunId,
    /// Take-overs in a row, with this one.
    pub recoveries: u32,
    pub cut: Cut,
}

/// Reads a line of a take-over: its subject and detail.
pub fn interrupted(subject: &str, detail: &str) -> Option<Interrupted> {
    #[derive(serde::Deserialize)]
    struct Line {
        #[serde(default)]
        recoveries: u32,
    }
    let recoveries = serde_json::from_str(detail).map_or(0, |line: Line| line.recoveries);
    Some(Interrupted { run: subject.parse().ok()?, recoveries, cut: cut_of(detail) })
}

/// What was cut of one owner's work.
#[derive(Debug, Default)]
struct Work {
    runs: u64,
    cut: Cut,
    given_up: u64,
    /// Where a run's answer goes, and the session at the head of its tree.
    to: Option<(String, SessionKey)>,
}

/// Tells each owner, once, what this restart has cut of his work. It wakes nobody.
pub fn tell(state: &mut State<'_>) {
    let node = state.at.node;
    let lines = state.tx().lines_since_start("run.recovered", RUNS_MAX);
    let mut owners: BTreeMap<String, Work> = BTreeMap::new();
    for (subject, detail) in lines {
        let Some(Interrupted { run, cut, .. }) = interrupted(&subject, &detail) else { continue };
        let Some(row) = state.find_run(&run).cloned() else { continue };
        let owner = state.session(&row.session_key).owner.clone();
        let work = owners.entry(owner).or_default();
        work.runs += 1;
        work.cut.calls += cut.calls;
        work.cut.tokens += cut.tokens;
        work.cut.unknown += cut.unknown;
        work.given_up += u64::from(cut.given_up);
        work.to.get_or_insert((row.origin, row.root_key));
    }
    for (owner, work) in owners {
        let Some((origin, head)) = &work.to else { continue };
        if let Some(place) = place(state, &owner, head) {
            let key = format!("{}{node}", person::RESTART);
            person::hold(state, &place, origin, key, words(&work));
        }
    }
}

/// Where an owner is told: in the main session of the agent, made if need be, or where the work was
/// asked for, if that one is archived.
fn place(state: &mut State<'_>, owner: &str, head: &SessionKey) -> Option<SessionKey> {
    let main = SessionKey::main(head.agent.clone());
    if inbox::open_session(state, &main, owner).is_ok() && state.session(&main).owner == owner {
        return Some(main);
    }
    let open = state.session(head).lifecycle == Lifecycle::Open;
    open.then(|| head.clone())
}

/// What a line of a take-over says was cut.
fn cut_of(detail: &str) -> Cut {
    #[derive(serde::Deserialize)]
    struct Line {
        #[serde(default)]
        cut: Cut,
    }
    serde_json::from_str(detail).map_or_else(|_| Cut::default(), |line: Line| line.cut)
}

fn words(work: &Work) -> String {
    let Work { runs, cut, given_up, .. } = work;
    let went_on = runs - given_up;
    let mut body = format!(
        "[System] The gateway was restarted. Runs that were at work: {runs}; gone on by \
         themselves: {went_on}."
    );
    if *given_up > 0 {
        body += &format!(" Given up: {given_up}; their sessions can be continued.");
    }
    if cut.calls > 0 {
        let Cut { calls, tokens, .. } = cut;
        body += &format!(" Model calls cut: {calls}, about {tokens} tokens.");
    }
    if cut.unknown > 0 {
        let unknown = cut.unknown;
        body += &format!(" Tool calls whose outcome is unknown: {unknown}; the agents were told.");
    }
    body + " `windlass status --last-restart` shows each, and what is left to you."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_cut_is_said() {
        let cut = Cut { calls: 2, tokens: 900, unknown: 1, given_up: false };
        let work = Work { runs: 3, cut, given_up: 1, to: None };
        assert_eq!(
            words(&work),
            "[System] The gateway was restarted. Runs that were at work: 3; gone on by themselves: \
             2. Given up: 1; their sessions can be continued. Model calls cut: 2, about 900 \
             tokens. Tool calls whose outcome is unknown: 1; the agents were told. `windlass \
             status --last-restart` shows each, and what is left to you."
        );
        let quiet = Work { runs: 1, ..Work::default() };
        assert!(!words(&quiet).contains("cut") && !words(&quiet).contains("Given up"));
    }

    #[test]
    fn a_line_of_an_older_version_cuts_nothing() {
        assert_eq!(cut_of(r#"{"recoveries":1}"#), Cut::default());
        let line = r#"{"recoveries":1,"cut":{"calls":1,"tokens":7,"unknown":0,"givenUp":true}}"#;
        assert_eq!(cut_of(line), Cut { calls: 1, tokens: 7, unknown: 0, given_up: true });
        let run = "run_0193a5f06c7e7cc2a1b2d3e4f5a6b7c8";
        let read = interrupted(run, line).unwrap();
        assert_eq!((read.run.to_string(), read.recoveries), (run.to_owned(), 1));
        assert_eq!(interrupted("no run", line), None);
    }
}
