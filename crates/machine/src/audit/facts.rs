//! The rows of an audit, by what they are asked for.

use std::collections::{BTreeMap, BTreeSet};

use types::{MessageId, RunId, SessionKey, TaskId, Timestamp};

use super::is_draining;
use crate::check::World;
use crate::rows::{
    InboxKind, InboxRow, InboxState, Lifecycle, NodeState, Run, Session, Step, Task, TimerKind,
};

pub(super) struct Facts<'w> {
    pub world: &'w World,
    pub now: Timestamp,
    /// What has ended before may be forgotten.
    pub since: Timestamp,
    pub tasks: BTreeMap<TaskId, &'w Task>,
    pub runs: BTreeMap<RunId, &'w Run>,
    pub sessions: BTreeMap<&'w SessionKey, &'w Session>,
    pub messages: BTreeMap<MessageId, &'w InboxRow>,
    pub steps: BTreeMap<RunId, Vec<&'w Step>>,
    /// Tasks whose brief waits in a session.
    pub briefs: BTreeSet<TaskId>,
    /// Its gateway ends, or has ended: nothing is begun, and no timer is looked at.
    pub draining: bool,
    timers: BTreeSet<(TimerKind, &'w str)>,
}

impl<'w> Facts<'w> {
    pub fn of(world: &'w World, now: Timestamp, since: Timestamp) -> Facts<'w> {
        let mut steps: BTreeMap<RunId, Vec<&Step>> = BTreeMap::new();
        for step in &world.steps {
            steps.entry(step.run).or_default().push(step);
        }
        let brief =
            |row: &&InboxRow| row.kind == InboxKind::Brief && row.state == InboxState::Queued;
        Facts {
            world,
            now,
            since,
            tasks: world.tasks.iter().map(|task| (task.id, task)).collect(),
            runs: world.runs.iter().map(|run| (run.id, run)).collect(),
            sessions: world.sessions.iter().map(|session| (&session.key, session)).collect(),
            messages: world.inbox.iter().map(|row| (row.id, row)).collect(),
            steps,
            briefs: world.inbox.iter().filter(brief).filter_map(|row| row.task).collect(),
            draining: is_draining(world),
            timers: world.timers.iter().map(|timer| (timer.kind, &timer.subject[..])).collect(),
        }
    }

    pub fn has_timer(&self, kind: TimerKind, subject: impl ToString) -> bool {
        self.timers.contains(&(kind, subject.to_string().as_str()))
    }

    pub fn lease_live(&self, run: &Run) -> bool {
        let node = self.world.nodes.iter().find(|node| Some(node.id) == run.node);
        node.is_some_and(|node| node.state != NodeState::Down && node.lease_until > self.now)
    }

    /// Is this task, or one above it, stopped?
    pub fn is_stopped(&self, task: &Task) -> bool {
        let mut next = Some(task.id);
        while let Some(task) = next.and_then(|id| self.tasks.get(&id)) {
            if task.cancelled.is_some() {
                return true;
            }
            next = task.parent;
        }
        false
    }

    /// Would anybody take what comes for this session: itself, one above it, or the owner's main
    /// session?
    pub fn has_taker(&self, requester: &SessionKey, root: &SessionKey) -> bool {
        let mut next = Some(requester);
        while let Some(session) = next.and_then(|key| self.sessions.get(key)) {
            if session.lifecycle == Lifecycle::Open {
                return true;
            }
            next = session.parent_key.as_ref();
        }
        let owner = self.sessions.get(requester).map(|session| &session.owner);
        let main = self.sessions.get(&SessionKey::main(root.agent.clone()));
        main.is_some_and(|main| main.lifecycle == Lifecycle::Open && Some(&main.owner) == owner)
    }
}
