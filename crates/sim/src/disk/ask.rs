//! What the machine asks about many rows of the simulated disk.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use machine::Tx;
use machine::rows::{
    Approval, ApprovalState, BudgetKey, EntryMark, FlowNode, FlowNodeState, GateKey, Grant, Halt,
    HaltState, InboxKind, InboxRow, InboxState, LaneName, Lifecycle, Node, NodeState, Run, Session,
    StepState, Task, TaskKind, Timer,
};
use types::{
    AgentId, FlowId, Hash, MessageId, NodeId, RunId, SessionId, SessionKey, Spend, TaskId,
    Timestamp,
};

use super::Disk;

impl Tx for Disk {
    fn pending_approvals(&mut self, run: RunId) -> Vec<Approval> {
        let pending = |row: &&Approval| row.run == run && row.state == ApprovalState::Pending;
        let mut found: Vec<_> = self.world.approvals.iter().filter(pending).cloned().collect();
        found.sort_by_key(|row| row.step);
        found
    }

    fn grants(&mut self, agent: &AgentId, limit: usize) -> Vec<Grant> {
        let mut found: Vec<_> =
            self.world.grants.iter().filter(|row| row.agent == *agent).cloned().collect();
        found.sort_by(|a, b| a.pattern.cmp(&b.pattern));
        found.truncate(limit);
        found
    }

    fn open_halts(&mut self, root: Option<&SessionKey>, limit: usize) -> Vec<Halt> {
        let open = self.world.halts.iter().filter(|halt| halt.state != HaltState::Stopped);
        let of_tree = |halt: &&Halt| root.is_none_or(|root| halt.root_key == *root);
        let mut open: Vec<Halt> = open.filter(of_tree).cloned().collect();
        open.sort_by_key(|halt| halt.run);
        open.truncate(limit);
        open
    }

    fn spent(&mut self, key: &BudgetKey) -> Spend {
        machine::check::spent(&self.world, key)
    }

    fn budgeted_runs(&mut self, key: &BudgetKey, limit: usize) -> Vec<RunId> {
        let runs = self.open_runs.iter().map(|id| &self.world.runs[self.runs[id]]);
        runs.filter(|run| run.budget.as_ref() == Some(key)).map(|run| run.id).take(limit).collect()
    }

    fn budgets_waited_for(&mut self) -> Vec<BudgetKey> {
        let runs = self.open_runs.iter().map(|id| &self.world.runs[self.runs[id]]);
        let keys: BTreeSet<BudgetKey> = runs.filter_map(|run| run.budget.clone()).collect();
        keys.into_iter().collect()
    }

    fn answer_before(&mut self, run: RunId, step: u32) -> Option<(u32, String)> {
        let mut answers = self.answers.range((run, 0)..(run, step));
        answers.next_back().map(|((_, step), body)| (*step, body.clone()))
    }

    fn open_flows(&mut self, after: Option<FlowId>, limit: usize) -> Vec<FlowId> {
        let open = self.open_tasks_where(|task| task.kind == TaskKind::Flow);
        let flows = open.iter().filter_map(|id| self.world.tasks[self.tasks[id]].flow);
        let mut flows: Vec<FlowId> = flows.filter(|id| Some(*id) > after).collect();
        flows.sort_unstable();
        flows.truncate(limit);
        flows
    }

    fn inbox_by_idem(&mut self, session: &SessionKey, idem_key: &str) -> Option<i64> {
        self.idem.get(&(session.clone(), idem_key.to_owned())).copied()
    }

    fn inbox_by_id(&mut self, message: MessageId) -> Option<i64> {
        self.messages.get(&message).copied()
    }

    fn heard_by(&mut self, run: RunId) -> Vec<i64> {
        let heard = |row: &&InboxRow| {
            let taken_in = row.state == InboxState::Consumed && row.run == Some(run);
            taken_in && row.kind == InboxKind::Agent
        };
        self.world.inbox.iter().filter(heard).map(|row| row.seq).collect()
    }

    fn queued_rows(&mut self, session: &SessionKey, limit: usize) -> Vec<i64> {
        let rows = self.queued.get(session);
        rows.map_or_else(Vec::new, |rows| rows.iter().copied().take(limit).collect())
    }

    fn dead_rows(&mut self, session: &SessionKey, limit: usize) -> Vec<i64> {
        let rows = self.world.inbox.iter();
        let dead = rows.filter(|row| row.state == InboxState::Dead && row.session_key == *session);
        dead.map(|row| row.seq).take(limit).collect()
    }

    fn run_by_wire_id(&mut self, wire_id: &str) -> Option<RunId> {
        self.wire.get(wire_id).copied()
    }

    fn open_steps(&mut self, run: RunId) -> Vec<u32> {
        self.open_steps.get(&run).map_or_else(Vec::new, |steps| steps.iter().copied().collect())
    }

    fn waiting_steps(&mut self, run: RunId) -> Vec<u32> {
        let steps = self.steps.range((run, 0)..=(run, u32::MAX));
        let steps = steps.map(|(_, &at)| &self.world.steps[at]);
        steps.filter(|step| step.state == StepState::Waiting).map(|step| step.n).collect()
    }

    fn messages_of(&mut self, run: RunId) -> Vec<MessageId> {
        let steps = self.steps.range((run, 0)..=(run, u32::MAX));
        steps.filter_map(|(_, &at)| self.world.steps[at].waits_on).collect()
    }

    fn step_that_sent(&mut self, message: MessageId) -> Option<(RunId, u32)> {
        self.sent.get(&message).copied()
    }

    fn sessions_labelled(&mut self, owner: &str, label: &str, limit: usize) -> Vec<SessionKey> {
        let named = |row: &&Session| row.owner == owner && row.label.as_deref() == Some(label);
        let mut keys: Vec<SessionKey> =
            self.world.sessions.iter().filter(named).map(|row| row.key.clone()).collect();
        keys.sort_by_key(SessionKey::to_string);
        keys.truncate(limit);
        keys
    }

    fn open_children(&mut self, requester: &SessionKey) -> Vec<TaskId> {
        let asked = |task: &Task| task.requester_key == *requester;
        self.open_tasks_where(|task| asked(task) && task.kind != TaskKind::FlowNode)
    }

    fn count_open_children(&mut self, requester: &SessionKey) -> u32 {
        self.open_children(requester).len() as u32
    }

    fn open_tasks_by_hash(&mut self, requester: &SessionKey, dup_hash: Hash) -> Vec<TaskId> {
        self.open_tasks_where(|t| t.requester_key == *requester && t.dup_hash == dup_hash)
    }

    fn open_task_by_name(&mut self, requester: &SessionKey, name: &str) -> Option<TaskId> {
        let named = |t: &Task| t.task_name.as_deref() == Some(name);
        self.open_tasks_where(|t| t.requester_key == *requester && named(t)).first().copied()
    }

    fn last_task_by_name(&mut self, requester: &SessionKey, name: &str) -> Option<TaskId> {
        let named = |t: &&Task| t.task_name.as_deref() == Some(name);
        let tasks = self.world.tasks.iter().filter(|t| t.requester_key == *requester);
        tasks.filter(named).map(|task| task.id).max()
    }

    fn last_task_by_hash(&mut self, requester: &SessionKey, dup_hash: Hash) -> Option<TaskId> {
        let tasks = self.world.tasks.iter().filter(|t| t.requester_key == *requester);
        tasks.filter(|task| task.dup_hash == dup_hash).map(|task| task.id).max()
    }

    fn task_by_idem(&mut self, requester: &SessionKey, idem_key: &str) -> Option<TaskId> {
        let keyed = |t: &&Task| t.idem_key.as_deref() == Some(idem_key);
        let mut tasks = self.world.tasks.iter().filter(|t| t.requester_key == *requester);
        tasks.find(keyed).map(|task| task.id)
    }

    fn task_of_session(&mut self, session: &SessionKey) -> Option<TaskId> {
        let mut tasks = self.world.tasks.iter().rev();
        let carried = |t: &&Task| t.session_key == *session && t.kind != TaskKind::Flow;
        tasks.find(carried).map(|task| task.id)
    }

    fn tasks_of_session(&mut self, session: &SessionKey, limit: usize) -> Vec<TaskId> {
        let carried = |t: &&Task| t.session_key == *session && t.kind != TaskKind::Flow;
        let tasks = self.world.tasks.iter().filter(carried);
        // Of one commit, the greater id is the newer.
        let ids: BTreeSet<TaskId> = tasks.map(|task| task.id).collect();
        ids.into_iter().rev().take(limit).collect()
    }

    fn attempt_after(&mut self, task: TaskId) -> Option<TaskId> {
        let mut tasks = self.world.tasks.iter();
        tasks.find(|row| row.retry_of == Some(task)).map(|row| row.id)
    }

    fn pooled(&mut self, pool_key: Hash, since: Timestamp, limit: usize) -> Vec<SessionKey> {
        let sessions = self.world.sessions.iter().filter(|session| {
            let idle = session.open_run.is_none() && session.lifecycle == Lifecycle::Open;
            idle && session.pool_key == Some(pool_key) && session.active >= since
        });
        let mut found: Vec<_> =
            sessions.map(|s| (Reverse(s.active), s.key.to_string(), s.key.clone())).collect();
        found.sort();
        found.into_iter().map(|(.., key)| key).take(limit).collect()
    }

    fn seq_of_step(&mut self, run: RunId, step: u32) -> Option<i64> {
        let mut entries = self.world.entries.iter().rev();
        entries.find(|e| e.run == run && e.step == Some(step)).map(|entry| entry.seq)
    }

    fn marks(&mut self, id: SessionId, first: i64, before: i64, limit: usize) -> Vec<EntryMark> {
        let mut marks: Vec<EntryMark> = self
            .world
            .entries
            .iter()
            .filter(|e| e.session_id == id && (first..before).contains(&e.seq))
            .map(|e| EntryMark { seq: e.seq, kind: e.kind, tokens: e.tokens, silent: e.silent })
            .collect();
        marks.sort_by_key(|mark| Reverse(mark.seq));
        marks.truncate(limit);
        marks
    }

    fn tokens_between(&mut self, id: SessionId, first: i64, last: i64) -> u64 {
        self.marks(id, first, last + 1, usize::MAX)
            .iter()
            .filter(|mark| !mark.silent)
            .map(|mark| mark.tokens)
            .sum()
    }

    fn open_tasks_of_tree(&mut self, root: &SessionKey) -> u32 {
        let open = self.open_tasks_where(|task| task.root_key == *root);
        let flows = open.iter().filter_map(|id| self.world.tasks[self.tasks[id]].flow);
        let flows: BTreeSet<FlowId> = flows.collect();
        let nodes = self.world.flow_nodes.iter();
        let waiting = |n: &&FlowNode| n.state == FlowNodeState::Pending && flows.contains(&n.flow);
        (open.len() + nodes.filter(waiting).count()) as u32
    }

    fn queued_runs(&mut self, lane: LaneName, limit: usize) -> Vec<RunId> {
        let ranked = self.queued_in(lane).filter_map(|run| Some((run.rank?, run.id)));
        let line: BTreeSet<(i64, RunId)> = ranked.collect();
        line.into_iter().map(|(_, id)| id).take(limit).collect()
    }

    fn last_rank(&mut self, lane: LaneName, root: &SessionKey) -> Option<i64> {
        self.queued_in(lane).filter(|run| run.root_key == *root).filter_map(|run| run.rank).max()
    }

    fn held_slots(&mut self, lane: LaneName) -> Vec<u32> {
        let runs = self.open_runs.iter().map(|id| &self.world.runs[self.runs[id]]);
        let slots: BTreeSet<u32> =
            runs.filter(|run| run.lane == lane).filter_map(|run| run.slot).collect();
        slots.into_iter().collect()
    }

    fn slot_holders(&mut self, lane: LaneName) -> Vec<RunId> {
        let runs = self.open_runs.iter().map(|id| &self.world.runs[self.runs[id]]);
        let held = runs.filter(|run| run.lane == lane).filter_map(|run| Some((run.slot?, run.id)));
        let held: BTreeSet<(u32, RunId)> = held.collect();
        held.into_iter().map(|(_, run)| run).collect()
    }

    fn place_in_line(&mut self, lane: LaneName, rank: i64, run: RunId) -> u32 {
        let ranks = self.queued_in(lane).filter_map(|other| Some((other.rank?, other.id)));
        ranks.filter(|place| *place < (rank, run)).count() as u32 + 1
    }

    fn gated_runs(&mut self, model: &str, limit: usize) -> Vec<RunId> {
        self.gated().filter(|run| run.model == model).map(|run| run.id).take(limit).collect()
    }

    fn gated_models(&mut self) -> Vec<String> {
        let models: BTreeSet<String> = self.gated().map(|run| run.model.clone()).collect();
        models.into_iter().collect()
    }

    fn open_calls(&mut self, account: &GateKey) -> u32 {
        let keys = self.open_steps.iter().flat_map(|(run, steps)| steps.iter().map(|n| (*run, *n)));
        let steps = keys.map(|key| &self.world.steps[self.steps[&key]]);
        let models = steps.filter_map(|step| step.model.as_deref());
        models.filter(|model| GateKey::of_model(model).account_wide() == *account).count() as u32
    }

    fn forget_inbox(&mut self, before: Timestamp, limit: usize) -> usize {
        self.forget(before, limit)
    }

    fn forget_journal(&mut self, before: Timestamp, limit: usize) -> usize {
        self.forget_lines(before, limit)
    }

    fn forget_kept(&mut self, before: Timestamp, limit: usize) -> usize {
        let rows = self.world.kept.iter().filter(|row| row.at < before);
        let mut old: Vec<_> = rows.cloned().collect();
        old.sort_by_cached_key(|row| (row.at, row.root_key.to_string(), row.hash));
        old.truncate(limit);
        self.world.kept.retain(|row| !old.contains(row));
        old.len()
    }

    fn stranded_runs(&mut self, node: NodeId, limit: usize) -> Vec<RunId> {
        let runs = self.open_runs.iter().map(|id| &self.world.runs[self.runs[id]]);
        let stranded = runs.filter(|run| run.slot.is_some() && run.node != Some(node));
        let mut stranded: Vec<&Run> = stranded.collect();
        stranded.sort_by_key(|run| (run.lane.as_str(), run.slot));
        stranded.iter().map(|run| run.id).take(limit).collect()
    }

    fn other_nodes(&mut self, node: NodeId, limit: usize) -> Vec<NodeId> {
        let up = |row: &&Node| row.state != NodeState::Down && row.id != node;
        let mut ids: Vec<NodeId> = self.world.nodes.iter().filter(up).map(|row| row.id).collect();
        ids.sort_unstable();
        ids.truncate(limit);
        ids
    }

    fn lines_since_start(&mut self, kind: &str, limit: usize) -> Vec<(String, String)> {
        let start = self.journal.iter().rposition(|(kind, ..)| *kind == "node.started");
        let since = self.journal.iter().skip(start.map_or(0, |at| at + 1));
        let of_kind = since.filter(|(line, ..)| *line == kind).take(limit);
        of_kind.map(|(_, subject, detail)| (subject.clone(), detail.clone())).collect()
    }

    fn orphans(&mut self) -> Vec<TaskId> {
        let ended = |id: TaskId| self.world.tasks[self.tasks[&id]].ended.is_some();
        self.open_tasks_where(|task| task.parent.is_some_and(ended))
    }

    fn cancelled_open_tasks(&mut self, limit: usize) -> Vec<TaskId> {
        let parents = &self.world.tasks;
        let cancelled = |task: &Task| {
            let above = task.parent.map(|id| parents[self.tasks[&id]].cancelled);
            task.cancelled.or(above.flatten()).is_some()
        };
        let mut found = self.open_tasks_where(cancelled);
        found.truncate(limit);
        found
    }

    fn due_timers(&mut self, now: Timestamp, limit: usize) -> Vec<Timer> {
        let due = self.world.timers.iter().filter(|timer| timer.due <= now);
        let mut due: Vec<Timer> = due.cloned().collect();
        let place = |timer: &Timer| (timer.due, timer.kind.as_str(), timer.subject.clone());
        due.sort_by_key(place);
        due.truncate(limit);
        due
    }
}
