//! The life of a gateway process: start, beat, drain, stop.

use std::time::Duration;

use types::NodeId;

use crate::budget;
use crate::effect::{Answer, Notice};
use crate::event::Event;
use crate::gate;
use crate::lane;
use crate::limits::LEASE;
use crate::rows::{LaneName, Node, NodeState, TimerKind};
use crate::state::State;
use crate::timer;

/// After a start, how long until it is looked for what is too old: recovery comes first.
const FIRST_LOOK: Duration = Duration::from_secs(60);

/// A gateway holds the lock of the store: it is the node, and takes over what others have left.
pub fn start(state: &mut State<'_>, id: NodeId, pid: u32, version: String) -> Answer {
    let now = state.now();
    state.add_node(Node {
        id,
        pid,
        version,
        state: NodeState::Up,
        beat: now,
        lease_until: now + LEASE,
        started: now,
    });
    for &name in LaneName::ALL {
        lane::fit(state, name);
        state.lane_mut(&name).generation += 1;
    }
    let first = FIRST_LOOK.min(state.limits.retention.every);
    state.set_timer(TimerKind::Retention, timer::ALONE, now + first);
    gate::look_at_all(state);
    budget::look_at_all(state);
    state.notices.push(Notice::NodeStarted { node: id });
    state.raised.push(Event::Recover);
    Answer::Done
}

/// The configuration has changed. What is open goes on with what it has ([`crate::held`]); who
/// waits for a slot, a provider or a budget is looked at again.
pub fn reconfigured(state: &mut State<'_>) -> Answer {
    lane::refit(state);
    gate::look_at_all(state);
    budget::look_at_all(state);
    Answer::Done
}

/// The node is alive, for readers of the file too.
pub fn beat(state: &mut State<'_>) -> Answer {
    let (now, id) = (state.now(), state.at.node);
    if state.find_node(&id).is_some() {
        let node = state.node_mut(&id);
        node.beat = now;
        node.lease_until = now + LEASE;
    }
    Answer::Done
}

/// From now on nothing is admitted, and runs go back in line at their next committed step.
pub fn drain(state: &mut State<'_>) -> Answer {
    let id = state.at.node;
    if state.find_node(&id).is_some_and(|node| node.state == NodeState::Up) {
        state.node_mut(&id).state = NodeState::Draining;
        state.notices.push(Notice::Draining { node: id });
    }
    Answer::Done
}

/// The node's lease ends now.
pub fn stop(state: &mut State<'_>) -> Answer {
    let (now, id) = (state.now(), state.at.node);
    if state.find_node(&id).is_some() {
        let node = state.node_mut(&id);
        node.state = NodeState::Down;
        node.lease_until = now;
    }
    Answer::Done
}
