//! Circles: who waits for whom, so that nobody waits for himself.
//!
//! A run waits for the session that it has written to, and for those of its open children. What
//! waits in the inbox of a session waits for its open run. So the question is one of sessions:
//! does a way lead from here back to there?
//!
//! A wait that would close a circle is refused before anything is sent. Only a run that rests for
//! its children may close one later, because it has to wait: then the call inside the circle that
//! waits for it is answered at once, as if its time were over.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use types::{RunId, SessionKey, TaskId};

use crate::reply;
use crate::rows::TaskKind;
use crate::state::State;

/// Sessions that a search looks at. A longer chain of waits is beyond `hops_max` many times over;
/// whoever waits there has a timer.
const SESSIONS_MAX: usize = 1_000;

/// The way from `from` to `to` along those who wait, if there is one: `from` first, `to` last.
pub fn path(state: &mut State<'_>, from: &SessionKey, to: &SessionKey) -> Option<Vec<SessionKey>> {
    let came_from = search(state, from, waits_for);
    let mut at = to;
    let mut path = vec![to.clone()];
    while at != from {
        at = came_from.get(at)?;
        path.push(at.clone());
    }
    path.reverse();
    Some(path)
}

/// Does `from` wait for `to`, or would it, if it were given a task: for what it has asked for?
pub fn owes(state: &mut State<'_>, from: &SessionKey, to: &SessionKey) -> bool {
    from == to || search(state, from, may_wait_for).contains_key(to)
}

/// All sessions that `from` waits for, each with the one that led to it.
fn search(
    state: &mut State<'_>,
    from: &SessionKey,
    edges: fn(&mut State<'_>, &SessionKey) -> Vec<SessionKey>,
) -> BTreeMap<SessionKey, SessionKey> {
    let mut came_from = BTreeMap::new();
    let mut seen = BTreeSet::from([from.clone()]);
    let mut next = VecDeque::from([from.clone()]);
    while let Some(key) = next.pop_front() {
        for other in edges(state, &key) {
            if seen.len() < SESSIONS_MAX && seen.insert(other.clone()) {
                came_from.insert(other.clone(), key.clone());
                next.push_back(other);
            }
        }
    }
    came_from
}

/// Sessions without which the open run of `key` cannot go on.
fn waits_for(state: &mut State<'_>, key: &SessionKey) -> Vec<SessionKey> {
    let Some(run) = state.find_session(key).and_then(|session| session.open_run) else {
        return Vec::new();
    };
    let mut others = Vec::new();
    for n in state.tx().waiting_steps(run) {
        others.extend(reply::target_of(state, run, n));
    }
    if state.run(&run).wait_need == 0 {
        return others;
    }
    let mut children = Vec::new();
    for child in state.tx().open_children(key) {
        if state.task(&child).waited_by == Some(run) {
            children.extend(workers(state, child));
        }
    }
    if children.is_empty() {
        others.extend(reply::outstanding(state, run));
    }
    others.extend(children);
    others
}

/// Those, and all that work for it: a task does not end before they have.
fn may_wait_for(state: &mut State<'_>, key: &SessionKey) -> Vec<SessionKey> {
    let mut others = waits_for(state, key);
    for child in state.tx().open_children(key) {
        others.extend(workers(state, child));
    }
    others
}

/// The session that carries a task, or those of the nodes of a flow.
fn workers(state: &mut State<'_>, task: TaskId) -> Vec<SessionKey> {
    let task = state.task(&task).clone();
    let flow = task.flow.filter(|_| task.kind == TaskKind::Flow);
    let Some(flow) = flow else { return vec![task.session_key] };
    let nodes = state.tx().flow_nodes(flow);
    let tasks: Vec<TaskId> = nodes.into_iter().filter_map(|node| node.task).collect();
    let open = tasks.into_iter().map(|id| state.task(&id).clone());
    open.filter(|task| task.outcome.is_none()).map(|task| task.session_key).collect()
}

/// A run has begun to rest. If that has closed circles, whoever in them waits for an answer gets it
/// now: that there is none yet.
pub fn open_up(state: &mut State<'_>, run: RunId) {
    let key = state.run(&run).session_key.clone();
    // Each round ends a wait, or was the last.
    for _ in 0..SESSIONS_MAX {
        if !state.run(&run).phase.waits() {
            return;
        }
        let ways = waits_for(state, &key);
        let Some(back) = ways.iter().find_map(|other| path(state, other, &key)) else { return };
        let first = std::iter::once(key.clone()).chain(back.clone());
        let ended = first.zip(back).any(|(one, other)| let_go(state, &one, &other));
        if !ended {
            return;
        }
    }
}

/// Ends what makes `one` wait for an answer of `other`, if that is what it does.
fn let_go(state: &mut State<'_>, one: &SessionKey, other: &SessionKey) -> bool {
    let Some(run) = state.find_session(one).and_then(|session| session.open_run) else {
        return false;
    };
    let mut ended = false;
    for n in state.tx().waiting_steps(run) {
        if reply::target_of(state, run, n).as_ref() == Some(other) {
            let why = "it waits for you by now, so you do not wait for it";
            reply::give_up(state, run, n, why);
            ended = true;
        }
    }
    ended || reply::look_again(state, run, Some(other))
}
