//! The tables, as the machine sees them.

use std::cmp::Reverse;

use machine::Tx;
use machine::budget::Lines;
use machine::rows::{
    Approval, ApprovalState, BudgetKey, EntryKind, EntryMark, FlowNodeState, GateKey, Grant, Halt,
    InboxKind, InboxRow, InboxState, LaneName, Lifecycle, Node, NodeState, Session, Step, StepKind,
    StepState, Task, TaskKind, Timer,
};
use types::{
    AgentId, FlowId, Hash, MessageId, NodeId, RunId, SessionId, SessionKey, Spend, TaskId,
    Timestamp,
};
use uuid::Uuid;

use super::tables::Tables;
use crate::commit::Savepoints;
use crate::error::StoreError;
use crate::view::{EntryView, JournalView};

const TASK_MIN: TaskId = TaskId::new(Uuid::nil());
const TASK_MAX: TaskId = TaskId::new(Uuid::max());
pub(super) const RUN_MIN: RunId = RunId::new(Uuid::nil());
const RUN_MAX: RunId = RunId::new(Uuid::max());

impl Savepoints for Tables {
    fn savepoint(&mut self) -> Result<(), StoreError> {
        self.mark();
        Ok(())
    }

    fn release(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn roll_back(&mut self) -> Result<(), StoreError> {
        self.undo();
        Ok(())
    }

    fn next_wake(&mut self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.timers.values().map(|timer| timer.due).min())
    }
}

impl Tables {
    fn open_children_of(&self, requester: &SessionKey) -> impl Iterator<Item = TaskId> {
        let range = (requester.clone(), TASK_MIN)..=(requester.clone(), TASK_MAX);
        self.children.range(range).map(|((_, id), ())| *id)
    }

    fn tasks_of<'a>(&'a self, requester: &'a SessionKey) -> impl Iterator<Item = &'a Task> {
        self.tasks.values().filter(move |task| task.requester_key == *requester)
    }

    /// What a run wrote before its step `step`, newest first.
    fn written_before(&self, run: RunId, step: u32) -> impl Iterator<Item = &EntryView> {
        let steps = self.written.range((run, 0)..(run, step)).rev();
        steps.filter_map(move |((_, _), seq)| {
            let session = self.runs.get(&run)?.session_id;
            self.entries.get(&(session, *seq))
        })
    }

    fn is_cancelled(&self, id: TaskId) -> bool {
        self.tasks.get(&id).is_some_and(|task| task.cancelled.is_some())
    }
}

impl Tx for Tables {
    fn pending_approvals(&mut self, run: RunId) -> Vec<Approval> {
        let pending = |row: &&Approval| row.run == run && row.state == ApprovalState::Pending;
        let mut found: Vec<Approval> = self.approvals.values().filter(pending).cloned().collect();
        found.sort_by_key(|row| row.step);
        found
    }

    fn grants(&mut self, agent: &AgentId, limit: usize) -> Vec<Grant> {
        self.grants_of(Some(agent), limit)
    }

    fn open_halts(&mut self, root: Option<&SessionKey>, limit: usize) -> Vec<Halt> {
        self.halts_open(root, limit)
    }

    fn spent(&mut self, key: &BudgetKey) -> Spend {
        let mut spent = Spend::default();
        for row in self.ledger.values() {
            let above = |id: TaskId| {
                let task = self.tasks.get(&id).expect("a ledger row names a task");
                (task.parent, task.requester_key.clone())
            };
            if Lines::of_row(row, above).count_under(key) {
                spent += Spend { usd: row.cost, tokens: row.usage.total() };
            }
        }
        spent
    }

    fn budgeted_runs(&mut self, key: &BudgetKey, limit: usize) -> Vec<RunId> {
        let range = (key.clone(), RUN_MIN)..=(key.clone(), RUN_MAX);
        self.budgeted.range(range).map(|((_, run), ())| *run).take(limit).collect()
    }

    fn budgets_waited_for(&mut self) -> Vec<BudgetKey> {
        let mut keys: Vec<BudgetKey> = self.budgeted.keys().map(|(key, _)| key.clone()).collect();
        keys.dedup();
        keys
    }

    fn answer_before(&mut self, run: RunId, step: u32) -> Option<(u32, String)> {
        let mut written = self.written_before(run, step);
        let said = |e: &&EntryView| e.kind == EntryKind::Assistant && !e.silent;
        written.find(said).and_then(|entry| {
            let step = entry.step?;
            Some((step, entry.body.clone()))
        })
    }

    fn open_flows(&mut self, after: Option<FlowId>, limit: usize) -> Vec<FlowId> {
        let later = |id: &&FlowId| after.is_none_or(|after| **id > after);
        self.open_flows.keys().filter(later).take(limit).copied().collect()
    }

    fn inbox_by_idem(&mut self, session: &SessionKey, idem_key: &str) -> Option<i64> {
        self.inputs.get(&(session.clone(), idem_key.to_owned())).copied()
    }

    fn inbox_by_id(&mut self, message: MessageId) -> Option<i64> {
        self.messages.get(&message).copied()
    }

    fn heard_by(&mut self, run: RunId) -> Vec<i64> {
        let heard = |row: &&InboxRow| {
            let taken_in = row.state == InboxState::Consumed && row.run == Some(run);
            taken_in && row.kind == InboxKind::Agent
        };
        self.inbox.values().filter(heard).map(|row| row.seq).collect()
    }

    fn queued_rows(&mut self, session: &SessionKey, limit: usize) -> Vec<i64> {
        let range = (session.clone(), i64::MIN)..=(session.clone(), i64::MAX);
        self.waiting.range(range).map(|((_, seq), ())| *seq).take(limit).collect()
    }

    fn dead_rows(&mut self, session: &SessionKey, limit: usize) -> Vec<i64> {
        let dead = |row: &&InboxRow| row.state == InboxState::Dead && row.session_key == *session;
        self.inbox.values().filter(dead).map(|row| row.seq).take(limit).collect()
    }

    fn run_by_wire_id(&mut self, wire_id: &str) -> Option<RunId> {
        self.wire_ids.get(wire_id).copied()
    }

    fn open_steps(&mut self, run: RunId) -> Vec<u32> {
        let open = |step: &&Step| step.state == StepState::Intent;
        self.steps_of(run).filter(open).map(|step| step.n).collect()
    }

    fn waiting_steps(&mut self, run: RunId) -> Vec<u32> {
        let waiting = |step: &&Step| step.state == StepState::Waiting;
        self.steps_of(run).filter(waiting).map(|step| step.n).collect()
    }

    fn messages_of(&mut self, run: RunId) -> Vec<MessageId> {
        self.steps_of(run).filter_map(|step| step.waits_on).collect()
    }

    fn step_that_sent(&mut self, message: MessageId) -> Option<(RunId, u32)> {
        self.sent.get(&message).copied()
    }

    fn sessions_labelled(&mut self, owner: &str, label: &str, limit: usize) -> Vec<SessionKey> {
        let named = |row: &&Session| row.owner == owner && row.label.as_deref() == Some(label);
        // As the database sorts: by the text of the key.
        let mut keys: Vec<SessionKey> =
            self.sessions.values().filter(named).map(|row| row.key.clone()).collect();
        keys.sort_by_key(SessionKey::to_string);
        keys.truncate(limit);
        keys
    }

    fn open_children(&mut self, requester: &SessionKey) -> Vec<TaskId> {
        self.open_children_of(requester).collect()
    }

    fn count_open_children(&mut self, requester: &SessionKey) -> u32 {
        u32::try_from(self.open_children_of(requester).count()).unwrap_or(u32::MAX)
    }

    fn open_tasks_by_hash(&mut self, requester: &SessionKey, dup_hash: Hash) -> Vec<TaskId> {
        let equal = |id: &TaskId| self.tasks.get(id).is_some_and(|task| task.dup_hash == dup_hash);
        self.open_children_of(requester).filter(equal).collect()
    }

    fn open_task_by_name(&mut self, requester: &SessionKey, name: &str) -> Option<TaskId> {
        self.open_names.get(&(requester.clone(), name.to_owned())).copied()
    }

    fn last_task_by_name(&mut self, requester: &SessionKey, name: &str) -> Option<TaskId> {
        let named = |task: &&Task| task.task_name.as_deref() == Some(name);
        self.tasks_of(requester).filter(named).map(|task| task.id).max()
    }

    fn last_task_by_hash(&mut self, requester: &SessionKey, dup_hash: Hash) -> Option<TaskId> {
        let equal = |task: &&Task| task.dup_hash == dup_hash;
        self.tasks_of(requester).filter(equal).map(|task| task.id).max()
    }

    fn task_by_idem(&mut self, requester: &SessionKey, idem_key: &str) -> Option<TaskId> {
        self.task_keys.get(&(requester.clone(), idem_key.to_owned())).copied()
    }

    fn task_of_session(&mut self, session: &SessionKey) -> Option<TaskId> {
        let range = (session.clone(), TASK_MIN)..=(session.clone(), TASK_MAX);
        self.carried.range(range).next_back().map(|((_, id), ())| *id)
    }

    fn tasks_of_session(&mut self, session: &SessionKey, limit: usize) -> Vec<TaskId> {
        let range = (session.clone(), TASK_MIN)..=(session.clone(), TASK_MAX);
        self.carried.range(range).rev().map(|((_, id), ())| *id).take(limit).collect()
    }

    fn attempt_after(&mut self, task: TaskId) -> Option<TaskId> {
        self.attempts.get(&task).copied()
    }

    fn pooled(&mut self, pool_key: Hash, since: Timestamp, limit: usize) -> Vec<SessionKey> {
        let idle = |session: &&Session| {
            session.pool_key == Some(pool_key)
                && session.open_run.is_none()
                && session.lifecycle == Lifecycle::Open
                && session.active >= since
        };
        let mut found: Vec<&Session> = self.sessions.values().filter(idle).collect();
        // As the database sorts: by the text of the keys.
        found.sort_by_key(|session| (Reverse(session.active), session.key.to_string()));
        found.iter().map(|session| session.key.clone()).take(limit).collect()
    }

    fn seq_of_step(&mut self, run: RunId, step: u32) -> Option<i64> {
        self.written.get(&(run, step)).copied()
    }

    fn marks(&mut self, id: SessionId, first: i64, before: i64, limit: usize) -> Vec<EntryMark> {
        let (first, before) = ((id, first), (id, before));
        if first >= before {
            return Vec::new();
        }
        let newest = self.entries.range(first..before).rev().take(limit);
        let mark = |entry: &EntryView| {
            let EntryView { seq, kind, tokens, silent, .. } = *entry;
            EntryMark { seq, kind, tokens, silent }
        };
        newest.map(|(_, entry)| mark(entry)).collect()
    }

    fn tokens_between(&mut self, id: SessionId, first: i64, last: i64) -> u64 {
        if first > last {
            return 0;
        }
        let entries = self.entries.range((id, first)..=(id, last)).map(|(_, entry)| entry);
        entries.filter(|entry| !entry.silent).map(|entry| entry.tokens).sum()
    }

    fn open_tasks_of_tree(&mut self, root: &SessionKey) -> u32 {
        let range = (root.clone(), TASK_MIN)..=(root.clone(), TASK_MAX);
        let open: Vec<TaskId> = self.trees.range(range).map(|((_, id), ())| *id).collect();
        let flows = open.iter().filter_map(|id| self.tasks.get(id));
        let flows = flows.filter(|task| task.kind == TaskKind::Flow).filter_map(|task| task.flow);
        let waiting =
            |flow| self.nodes_of(flow).filter(|node| node.state == FlowNodeState::Pending).count();
        let reserved: usize = flows.map(waiting).sum();
        u32::try_from(open.len() + reserved).unwrap_or(u32::MAX)
    }

    fn queued_runs(&mut self, lane: LaneName, limit: usize) -> Vec<RunId> {
        let range = (lane, i64::MIN, RUN_MIN)..=(lane, i64::MAX, RUN_MAX);
        self.queue.range(range).map(|((_, _, id), _)| *id).take(limit).collect()
    }

    fn last_rank(&mut self, lane: LaneName, root: &SessionKey) -> Option<i64> {
        let range = (lane, i64::MIN, RUN_MIN)..=(lane, i64::MAX, RUN_MAX);
        let mut queue = self.queue.range(range).rev();
        queue.find(|(_, tree)| *tree == root).map(|((_, rank, _), _)| *rank)
    }

    fn held_slots(&mut self, lane: LaneName) -> Vec<u32> {
        self.slots.range((lane, 0)..=(lane, u32::MAX)).map(|((_, slot), _)| *slot).collect()
    }

    fn slot_holders(&mut self, lane: LaneName) -> Vec<RunId> {
        self.slots.range((lane, 0)..=(lane, u32::MAX)).map(|(_, run)| *run).collect()
    }

    fn place_in_line(&mut self, lane: LaneName, rank: i64, run: RunId) -> u32 {
        let ahead = self.queue.range((lane, i64::MIN, RUN_MIN)..(lane, rank, run)).count();
        u32::try_from(ahead).unwrap_or(u32::MAX).saturating_add(1)
    }

    fn gated_runs(&mut self, model: &str, limit: usize) -> Vec<RunId> {
        let range = (model.to_owned(), RUN_MIN)..=(model.to_owned(), RUN_MAX);
        self.gated.range(range).map(|((_, run), ())| *run).take(limit).collect()
    }

    fn gated_models(&mut self) -> Vec<String> {
        let mut models: Vec<String> = self.gated.keys().map(|(model, _)| model.clone()).collect();
        models.dedup();
        models
    }

    fn open_calls(&mut self, account: &GateKey) -> u32 {
        let of = |model: &String| GateKey::of_model(model).account_wide() == *account;
        let out = |step: &&Step| {
            step.kind == StepKind::Model
                && step.state == StepState::Intent
                && step.model.as_ref().is_some_and(of)
        };
        u32::try_from(self.steps.values().filter(out).count()).unwrap_or(u32::MAX)
    }

    fn forget_inbox(&mut self, before: Timestamp, limit: usize) -> usize {
        let last = self.inbox.keys().next_back().copied();
        let settled = |row: &&InboxRow| {
            let run = row.run.and_then(|run| self.runs.get(&run));
            let task = row.task.and_then(|task| self.tasks.get(&task));
            !matches!(row.state, InboxState::Queued | InboxState::Dead)
                && row.done.is_some_and(|done| done < before)
                && run.is_none_or(|run| run.ended.is_some_and(|ended| ended < before))
                && task.is_none_or(|task| task.ended.is_some_and(|ended| ended < before))
                && Some(row.seq) < last
        };
        let mut old: Vec<InboxRow> = self.inbox.values().filter(settled).cloned().collect();
        old.sort_by_key(|row| (row.done, row.seq));
        old.truncate(limit);
        for row in &old {
            self.inbox.remove(&row.seq);
            self.bodies.remove(&row.seq);
            self.inputs.remove(&(row.session_key.clone(), row.idem_key.clone()));
            self.messages.remove(&row.id);
        }
        old.len()
    }

    fn forget_journal(&mut self, before: Timestamp, limit: usize) -> usize {
        let last = self.journal.keys().next_back().copied();
        let first = self.journal.values().take(limit);
        let old = first.filter(|line| line.at < before && Some(line.seq) < last);
        let old: Vec<i64> = old.map(|line| line.seq).collect();
        for seq in &old {
            self.journal.remove(seq);
        }
        old.len()
    }

    fn forget_kept(&mut self, before: Timestamp, limit: usize) -> usize {
        let rows = self.kept.values().map(|(row, _)| row).filter(|row| row.at < before);
        let mut old: Vec<_> = rows.map(|row| (row.at, row.root_key.clone(), row.hash)).collect();
        // As the database sorts: by the texts.
        old.sort_by_cached_key(|(at, root, hash)| (*at, root.to_string(), *hash));
        old.truncate(limit);
        for (_, root, hash) in &old {
            self.kept.remove(&(root.clone(), *hash));
        }
        old.len()
    }

    fn stranded_runs(&mut self, node: NodeId, limit: usize) -> Vec<RunId> {
        let stranded = |id: &&RunId| self.runs.get(*id).is_some_and(|run| run.node != Some(node));
        // As the database sorts: by the words of the lanes.
        let mut lanes = LaneName::ALL.to_vec();
        lanes.sort_by_key(|lane| lane.as_str());
        lanes
            .iter()
            .flat_map(|lane| self.slots.range((*lane, 0)..=(*lane, u32::MAX)))
            .map(|(_, id)| id)
            .filter(stranded)
            .take(limit)
            .copied()
            .collect()
    }

    fn other_nodes(&mut self, node: NodeId, limit: usize) -> Vec<NodeId> {
        let up = |row: &&Node| row.state != NodeState::Down && row.id != node;
        let mut ids: Vec<NodeId> = self.nodes.values().filter(up).map(|row| row.id).collect();
        ids.sort_unstable();
        ids.truncate(limit);
        ids
    }

    fn lines_since_start(&mut self, kind: &str, limit: usize) -> Vec<(String, String)> {
        let mut lines: Vec<&JournalView> =
            self.journal.values().rev().take_while(|line| line.kind != "node.started").collect();
        lines.reverse();
        let lines = lines.into_iter().filter(|line| line.kind == kind).take(limit);
        lines.map(|line| (line.subject.clone(), line.detail.clone())).collect()
    }

    fn cancelled_open_tasks(&mut self, limit: usize) -> Vec<TaskId> {
        let cut = |id: &TaskId| {
            let parent = self.tasks.get(id).and_then(|task| task.parent);
            self.is_cancelled(*id) || parent.is_some_and(|id| self.is_cancelled(id))
        };
        let mut tasks: Vec<TaskId> = self.trees.keys().map(|(_, id)| *id).filter(cut).collect();
        tasks.sort_unstable();
        tasks.truncate(limit);
        tasks
    }

    fn orphans(&mut self) -> Vec<TaskId> {
        let left = |id: &TaskId| {
            let parent = self.tasks.get(id).and_then(|task| task.parent);
            let parent = parent.and_then(|parent| self.tasks.get(&parent));
            parent.is_some_and(|parent| parent.ended.is_some())
        };
        let mut tasks: Vec<TaskId> = self.trees.keys().map(|(_, id)| *id).filter(left).collect();
        tasks.sort_unstable();
        tasks
    }

    fn due_timers(&mut self, now: Timestamp, limit: usize) -> Vec<Timer> {
        let mut due: Vec<Timer> =
            self.timers.values().filter(|timer| timer.due <= now).cloned().collect();
        // As the database sorts: by the words of the kinds.
        due.sort_by(|a, b| {
            let key = |timer: &Timer| (timer.due, timer.kind.as_str());
            key(a).cmp(&key(b)).then_with(|| a.subject.cmp(&b.subject))
        });
        due.truncate(limit);
        due
    }
}
