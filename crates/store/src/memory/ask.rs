//! The questions of readers, put to the tables.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use machine::check::{EntryHead, World};
use machine::rows::{
    Approval, BudgetKey, BudgetScope, CommandRow, EntryKind, Episode, Flow, FlowNode, GateState,
    Grant, Halt, InboxState, LedgerRow, NodeState, Run, Session, Step, StepKind, StepState, Task,
    Transcript,
};
use machine::status::{Activity, activity};
use types::{
    AgentId, FlowId, Hash, MessageId, RunId, SessionId, SessionKey, SpendBy, TaskId, Timestamp,
};

use super::tables::Tables;
use crate::error::StoreError;
use crate::query::Query;
use crate::view::{
    ApprovalFilter, Below, BudgetView, Ends, EntryView, GateView, HistoryPage, InputView,
    JournalView, LaneView, LedgerScope, LedgerTotal, LineView, MessageView, NodeView, QueuedView,
    RunFacts, RunView, SentView, SessionFilter, SessionView, SpendFilter, SpendView, Tally,
    TaskFilter, TaskView, TranscriptView,
};

impl Tables {
    fn lease_until(&self, run: &Run) -> Option<Timestamp> {
        run.slot?;
        let node = self.nodes.get(&run.node?)?;
        (node.state != NodeState::Down).then_some(node.lease_until)
    }

    fn facts(&self, run: &Run) -> RunFacts {
        RunFacts::new(run.clone(), self.lease_until(run))
    }

    fn run_view(&self, run: &Run) -> Option<RunView> {
        let agent = self.sessions.get(&run.session_key)?.agent.clone();
        Some(RunView::new(run.clone(), agent, self.lease_until(run)))
    }

    fn session_view(&self, session: &Session) -> SessionView {
        let key = &session.key;
        let ended = |run: &&Run| run.session_key == *key && run.phase.ended();
        let last_run = self.runs.values().filter(ended).max_by_key(|run| (run.ended, run.id));
        let open_run = session.open_run.and_then(|id| self.runs.get(&id));
        let waiting = self.waiting.keys().filter(|(session, _)| session == key).count();
        let children = self.children.keys().filter(|(session, _)| session == key).count();
        let transcript = self.transcripts.get(&session.session_id);
        let session = session.clone();
        SessionView {
            usage: self.sum(|row| row.session_key == *key).usage,
            open_run: open_run.map(|run| self.facts(run)),
            last_run: last_run.map(|run| self.facts(run)),
            queued: u32::try_from(waiting).unwrap_or(u32::MAX),
            open_children: u32::try_from(children).unwrap_or(u32::MAX),
            context_tokens: transcript.map_or(0, |transcript| transcript.context_tokens),
            told: transcript.and_then(|transcript| transcript.gauge.told.clone()),
            key: session.key,
            session_id: session.session_id,
            agent: session.agent,
            owner: session.owner,
            parent_key: session.parent_key,
            root_key: session.root_key,
            depth: session.depth,
            lifecycle: session.lifecycle,
            label: session.label,
            model: session.model,
            thinking: session.thinking,
            cwd: session.cwd,
            rev: session.rev,
            created: session.created,
            active: session.active,
            archived: session.archived,
            access: session.access,
            policy_hash: session.policy_hash,
            declared: session.declared,
            queue: session.queue,
            reasoning: session.reasoning,
            footer: session.footer,
            card: session.card,
        }
    }

    fn task_view(&self, task: &Task) -> TaskView {
        TaskView::new(task.clone(), self.runs.get(&task.run).map(|run| self.facts(run)))
    }

    fn tasks_below(&self, top: &Below) -> BTreeSet<TaskId> {
        let mut below = BTreeSet::new();
        // A task comes after the one that asked for it.
        for task in self.tasks.values() {
            let own = match top {
                Below::Session(key) => task.requester_key == *key,
                Below::Task(id) => task.parent == Some(*id),
            };
            if own || task.parent.is_some_and(|parent| below.contains(&parent)) {
                below.insert(task.id);
            }
        }
        below
    }

    fn sum(&self, counts: impl Fn(&LedgerRow) -> bool) -> LedgerTotal {
        let mut total = LedgerTotal::default();
        for row in self.ledger.values().filter(|row| counts(row)) {
            total.usage += row.usage;
            total.rows += 1;
            total.estimated += u64::from(row.estimated);
        }
        total
    }
}

fn wants(filter: &SessionFilter, row: &Session) -> bool {
    let label = row.label.as_deref();
    let found = |search: &str| {
        let search = search.to_ascii_lowercase();
        row.key.to_string().to_ascii_lowercase().contains(&search)
            || label.is_some_and(|label| label.to_ascii_lowercase().contains(&search))
    };
    row.deleted.is_none()
        && filter.agent.as_ref().is_none_or(|agent| *agent == row.agent)
        && filter.owner.as_ref().is_none_or(|owner| *owner == row.owner)
        && filter.active_since.is_none_or(|since| row.active >= since)
        && filter.parent.as_ref().is_none_or(|key| row.parent_key.as_ref() == Some(key))
        && filter.session_id.is_none_or(|id| row.session_id == id)
        && (filter.kinds.is_empty() || filter.kinds.contains(&row.key.scope.kind()))
        && filter.label.as_ref().is_none_or(|wanted| label == Some(wanted))
        && filter.search.as_deref().is_none_or(found)
        && filter.lifecycle.is_none_or(|lifecycle| lifecycle == row.lifecycle)
        && (!filter.open_only || row.open_run.is_some())
}

fn wants_task(filter: &TaskFilter, task: &Task) -> bool {
    let of_session = |key: &SessionKey| *key == task.requester_key || *key == task.session_key;
    let stands = |ends: &Ends| match task.outcome {
        None => ends.open,
        Some(outcome) => ends.outcomes.contains(&outcome),
    };
    filter.root.as_ref().is_none_or(|root| *root == task.root_key)
        && filter.requester.as_ref().is_none_or(|key| *key == task.requester_key)
        && filter.session.as_ref().is_none_or(of_session)
        && filter.agent.as_ref().is_none_or(|agent| *agent == task.session_key.agent)
        && filter.before.is_none_or(|before| task.id < before)
        && filter.kind.is_none_or(|kind| task.kind == kind)
        && filter.ends.as_ref().is_none_or(stands)
        && filter.ended_since.is_none_or(|since| task.ended.is_none_or(|ended| ended >= since))
        && !(filter.open_only && task.outcome.is_some())
}

impl Query for Tables {
    fn entries(
        &self,
        session: SessionId,
        from_seq: i64,
        limit: usize,
    ) -> Result<Vec<EntryView>, StoreError> {
        let range = (session, from_seq)..=(session, i64::MAX);
        Ok(self.entries.range(range).map(|(_, entry)| entry.clone()).take(limit).collect())
    }

    fn entry_of_step(&self, run: RunId, step: u32) -> Result<Option<EntryView>, StoreError> {
        let Some(seq) = self.written.get(&(run, step)) else { return Ok(None) };
        let session = self.runs.get(&run).map(|run| run.session_id);
        Ok(session.and_then(|session| self.entries.get(&(session, *seq)).cloned()))
    }

    fn history(
        &self,
        session: SessionId,
        before_seq: Option<i64>,
        limit: usize,
    ) -> Result<HistoryPage, StoreError> {
        let all = self.entries.range((session, i64::MIN)..=(session, i64::MAX));
        let total = i64::try_from(all.count()).unwrap_or(i64::MAX);
        let before = before_seq.unwrap_or(i64::MAX);
        let earlier = self.entries.range((session, i64::MIN)..(session, before));
        let mut entries: Vec<EntryView> =
            earlier.rev().take(limit).map(|(_, entry)| entry.clone()).collect();
        entries.reverse();
        Ok(HistoryPage { total, entries })
    }

    fn blob(&self, hash: Hash) -> Result<Option<String>, StoreError> {
        Ok(self.blobs.get(&hash).cloned())
    }

    fn sessions(&self, filter: &SessionFilter) -> Result<Vec<SessionView>, StoreError> {
        let mut found: Vec<&Session> =
            self.sessions.values().filter(|row| wants(filter, row)).collect();
        found.sort_by_cached_key(|session| (Reverse(session.active), session.key.to_string()));
        let page = found.into_iter().skip(filter.offset).take(filter.limit);
        Ok(page.map(|session| self.session_view(session)).collect())
    }

    fn count_sessions(&self, filter: &SessionFilter) -> Result<u64, StoreError> {
        Ok(self.sessions.values().filter(|row| wants(filter, row)).count() as u64)
    }

    fn child_keys(&self, parent: &SessionKey, limit: usize) -> Result<Vec<SessionKey>, StoreError> {
        let children = self
            .sessions
            .values()
            .filter(|row| row.parent_key.as_ref() == Some(parent) && row.deleted.is_none());
        let mut children: Vec<&Session> = children.collect();
        children.sort_by_key(|row| Reverse(row.session_id));
        Ok(children.into_iter().take(limit).map(|row| row.key.clone()).collect())
    }

    fn session_of_input(&self, idem_key: &str) -> Result<Option<SessionKey>, StoreError> {
        let newest = self.inbox.values().rev().find(|row| row.idem_key == idem_key);
        let typed = || self.commands.values().filter(|row| row.idem_key == idem_key);
        let typed = || typed().max_by_key(|row| row.at).map(|row| row.session_key.clone());
        Ok(newest.map(|row| row.session_key.clone()).or_else(typed))
    }

    fn tally(&self, now: Timestamp) -> Result<Tally, StoreError> {
        let mut tally = Tally {
            sessions: self.sessions.values().filter(|row| row.deleted.is_none()).count() as u64,
            tasks_open: self.trees.keys().count() as u64,
            dead_letters: self.inbox.values().filter(|row| row.state == InboxState::Dead).count()
                as u64,
            ..Tally::default()
        };
        (tally.approvals, tally.approval_since) = self.pending_approvals_of_all();
        tally.tasks_ended = self.tasks.values().count() as u64 - tally.tasks_open;
        for id in self.open_runs.values() {
            let Some(run) = self.runs.get(id) else { continue };
            let live = self.lease_until(run).is_some_and(|until| until > now);
            *match activity(Some(run.phase), live) {
                Activity::Idle => continue,
                Activity::Queued => &mut tally.runs_queued,
                Activity::Running => &mut tally.runs_running,
                Activity::Waiting => &mut tally.runs_waiting,
                Activity::Recovering => &mut tally.runs_recovering,
            } += 1;
        }
        Ok(tally)
    }

    fn session(&self, key: &SessionKey) -> Result<Option<SessionView>, StoreError> {
        let session = self.sessions.get(key).filter(|session| session.deleted.is_none());
        Ok(session.map(|session| self.session_view(session)))
    }

    fn run(&self, id: RunId) -> Result<Option<RunView>, StoreError> {
        Ok(self.runs.get(&id).and_then(|run| self.run_view(run)))
    }

    fn open_runs(&self) -> Result<Vec<(RunId, AgentId)>, StoreError> {
        let open = self.runs.values().filter(|run| !run.phase.ended());
        Ok(open.map(|run| (run.id, run.session_key.agent.clone())).collect())
    }

    fn run_by_wire(&self, wire_id: &str) -> Result<Option<RunView>, StoreError> {
        self.wire_ids.get(wire_id).map_or(Ok(None), |id| Query::run(self, *id))
    }

    fn sent(&self, run: RunId) -> Result<Vec<SentView>, StoreError> {
        let ended = |id| self.runs.get(&id).is_none_or(|run| run.phase.ended());
        let sent = self.steps_of(run).filter_map(|step| {
            let row = self.inbox.get(self.messages.get(&step.waits_on?)?)?;
            let settled = match row.state {
                InboxState::Queued => false,
                InboxState::Consumed => row.run.is_none_or(ended),
                _ => true,
            };
            let (message, session_key) = (row.id, row.session_key.clone());
            let waits = step.state == StepState::Waiting;
            Some(SentView { message, session_key, waits, settled })
        });
        Ok(sent.collect())
    }

    fn message(&self, id: MessageId) -> Result<Option<MessageView>, StoreError> {
        let Some(row) = self.messages.get(&id).and_then(|seq| self.inbox.get(seq)) else {
            return Ok(None);
        };
        let run = row.run.and_then(|run| self.runs.get(&run));
        let called = |run: &Run| {
            let since = |step: &Step| row.done.is_some_and(|done| step.started >= done);
            self.steps_of(run.id).any(|step| step.kind == StepKind::Model && since(step))
        };
        Ok(Some(MessageView {
            message: row.id,
            session_key: row.session_key.clone(),
            kind: row.kind,
            state: row.state,
            sender: row.sender.clone(),
            task: row.task,
            run: row.run,
            outcome: run.and_then(|run| run.phase.outcome()),
            called: run.is_some_and(called),
            at: row.at,
            done: row.done,
        }))
    }

    fn waited_tasks(&self, run: RunId) -> Result<Vec<TaskId>, StoreError> {
        let waited = |task: &&Task| task.waited_by == Some(run) && task.outcome.is_none();
        Ok(self.tasks.values().filter(waited).map(|task| task.id).collect())
    }

    fn input(&self, session: &SessionKey, idem_key: &str) -> Result<Option<InputView>, StoreError> {
        let seq = self.inputs.get(&(session.clone(), idem_key.to_owned()));
        let row = seq.and_then(|seq| self.inbox.get(seq));
        Ok(row.map(|row| InputView { message: row.id, state: row.state, run: row.run }))
    }

    fn queued(&self, session: &SessionKey, limit: usize) -> Result<Vec<QueuedView>, StoreError> {
        let waiting = (session.clone(), i64::MIN)..=(session.clone(), i64::MAX);
        let rows = self.waiting.range(waiting).take(limit);
        let rows = rows.filter_map(|((_, seq), ())| self.inbox.get(seq));
        Ok(rows
            .map(|row| QueuedView {
                message: row.id,
                kind: row.kind,
                place: row.place,
                idem_key: row.idem_key.clone(),
                body: self.bodies.get(&row.seq).cloned().unwrap_or_default(),
                run: row.run,
                sender: row.sender.clone(),
                at: row.at,
            })
            .collect())
    }

    fn transcripts(
        &self,
        session: &SessionKey,
        limit: usize,
    ) -> Result<Vec<TranscriptView>, StoreError> {
        let head = self.sessions.get(session).filter(|session| session.deleted.is_none());
        let Some(born) = head.map(|session| session.created) else { return Ok(Vec::new()) };
        // What was before belongs to a conversation that was deleted.
        let shown = |row: &&Transcript| row.ended.is_none_or(|(at, _)| at > born);
        let own = self.transcripts.values().filter(|row| row.session_key == *session);
        let own = own.filter(shown);
        let mut rows: Vec<TranscriptView> = own.cloned().map(TranscriptView::new).collect();
        rows.sort_by_key(|row| (row.ended.is_some(), Reverse((row.started, row.session_id))));
        rows.truncate(limit);
        Ok(rows)
    }

    fn newest_episode(&self, session: SessionId) -> Result<Option<Episode>, StoreError> {
        let own = self.episodes.values().filter(|episode| episode.session_id == session);
        Ok(own.max_by_key(|episode| episode.n).cloned())
    }

    fn command(
        &self,
        session: &SessionKey,
        idem_key: &str,
    ) -> Result<Option<CommandRow>, StoreError> {
        Ok(self.commands.get(&(session.clone(), idem_key.to_owned())).cloned())
    }

    fn commands(&self, transcript: SessionId, limit: usize) -> Result<Vec<CommandRow>, StoreError> {
        let own = self.commands.values().filter(|row| row.session_id == transcript);
        let mut rows: Vec<CommandRow> = own.cloned().collect();
        rows.sort_by_key(|row| Reverse((row.before_seq, row.at)));
        rows.truncate(limit);
        Ok(rows)
    }

    fn last_answer(&self, run: RunId) -> Result<Option<String>, StoreError> {
        let Some(row) = self.runs.get(&run) else { return Ok(None) };
        let written = self.written.range((run, 0)..=(run, u32::MAX)).rev();
        let mut entries = written.filter_map(|(_, seq)| self.entries.get(&(row.session_id, *seq)));
        let answer = entries.find(|entry| entry.kind == EntryKind::Assistant && !entry.silent);
        Ok(answer.map(|entry| entry.body.clone()))
    }

    fn tasks(&self, filter: &TaskFilter) -> Result<Vec<TaskView>, StoreError> {
        let below = filter.below.as_ref().map(|top| self.tasks_below(top));
        let wanted = |task: &&Task| {
            wants_task(filter, task) && below.as_ref().is_none_or(|ids| ids.contains(&task.id))
        };
        let newest = self.tasks.values().rev().filter(wanted).take(filter.limit);
        Ok(newest.map(|task| self.task_view(task)).collect())
    }

    fn task(&self, id: TaskId) -> Result<Option<TaskView>, StoreError> {
        Ok(self.tasks.get(&id).map(|task| self.task_view(task)))
    }

    fn flow_rows(&self, id: FlowId) -> Result<Option<(Flow, Vec<FlowNode>)>, StoreError> {
        let flow = self.flows.get(&id).cloned();
        Ok(flow.map(|flow| (flow, self.nodes_of(id).cloned().collect())))
    }

    fn lanes(&self) -> Result<Vec<LaneView>, StoreError> {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let mut lanes: Vec<LaneView> = self
            .lanes
            .values()
            .map(|lane| LaneView {
                name: lane.name,
                capacity: lane.capacity,
                held: count(self.slots.keys().filter(|(name, _)| *name == lane.name).count()),
                queued: count(self.queue.keys().filter(|(name, ..)| *name == lane.name).count()),
                holders: self
                    .slots
                    .range((lane.name, 0)..=(lane.name, u32::MAX))
                    .filter_map(|(_, id)| Some(self.runs.get(id)?.session_key.clone()))
                    .collect(),
            })
            .collect();
        lanes.sort_by_key(|lane| lane.name.as_str());
        Ok(lanes)
    }

    fn lines(&self, before: Timestamp, limit: usize) -> Result<Vec<LineView>, StoreError> {
        Ok(self.in_line(before, limit))
    }

    fn kept(&self, root: &SessionKey, hash: Hash) -> Result<Option<String>, StoreError> {
        Ok(self.kept.get(&(root.clone(), hash)).map(|(_, text)| text.clone()))
    }

    fn approvals(&self, filter: &ApprovalFilter) -> Result<Vec<Approval>, StoreError> {
        Ok(self.approvals_like(filter))
    }

    fn grants(&self, limit: usize) -> Result<Vec<Grant>, StoreError> {
        Ok(self.grants_of(None, limit))
    }

    fn halt(&self, run: RunId) -> Result<Option<Halt>, StoreError> {
        Ok(self.halts.get(&run).cloned())
    }

    fn open_halts(&self, limit: usize) -> Result<Vec<Halt>, StoreError> {
        Ok(self.halts_open(None, limit))
    }

    fn gates(&self) -> Result<Vec<GateView>, StoreError> {
        let shut = self.gates.values().filter(|gate| gate.state != GateState::Open);
        Ok(shut
            .map(|gate| {
                let model = gate.key.reference();
                let waiting = self.gated.keys().filter(|(of, _)| *of == model).count() as u64;
                GateView {
                    gate: gate.key.to_string(),
                    state: gate.state,
                    kind: gate.kind,
                    reopen: gate.reopen,
                    reason: gate.reason.clone(),
                    waiting,
                }
            })
            .collect())
    }

    fn nodes(&self, limit: usize) -> Result<Vec<NodeView>, StoreError> {
        let newest = self.nodes.values().rev().take(limit).cloned();
        Ok(newest
            .map(|node| NodeView {
                id: node.id,
                pid: node.pid,
                version: node.version,
                state: node.state,
                beat: node.beat,
                lease_until: node.lease_until,
                started: node.started,
            })
            .collect())
    }

    fn ledger(&self, scope: &LedgerScope) -> Result<LedgerTotal, StoreError> {
        Ok(match scope {
            LedgerScope::All => self.sum(|_| true),
            LedgerScope::Session(key) => self.sum(|row| row.session_key == *key),
            LedgerScope::Tree(key) => self.sum(|row| row.root_key == *key),
        })
    }

    fn spending(&self, filter: &SpendFilter) -> Result<Vec<SpendView>, StoreError> {
        let mut groups: BTreeMap<String, SpendView> = BTreeMap::new();
        for row in self.ledger.values().filter(|row| row.at >= filter.since) {
            let subject = match filter.by {
                SpendBy::Agent => row.agent.to_string(),
                SpendBy::Session => row.session_key.to_string(),
                SpendBy::Tree => row.root_key.to_string(),
                SpendBy::Model => row.model.clone(),
                SpendBy::Run => row.run.to_string(),
                SpendBy::Day => row.at.day(),
            };
            if filter.subject.as_ref().is_some_and(|wanted| *wanted != subject) {
                continue;
            }
            let group = groups.entry(subject.clone()).or_default();
            group.subject = subject;
            group.usage += row.usage;
            group.calls += 1;
            group.estimated += u64::from(row.estimated);
            group.unpriced += u64::from(!row.priced);
            group.cost += row.cost;
        }
        let mut groups: Vec<SpendView> = groups.into_values().collect();
        if filter.by == SpendBy::Day {
            groups.reverse();
        } else {
            groups.sort_by_key(|group| Reverse((group.cost, group.usage.total())));
        }
        groups.truncate(filter.limit);
        Ok(groups)
    }

    fn budgets(&self, limit: usize) -> Result<Vec<BudgetView>, StoreError> {
        let open = |key: &BudgetKey| {
            let task = key.subject.parse().ok().and_then(|id: TaskId| self.tasks.get(&id));
            key.scope != BudgetScope::Task || task.is_some_and(|task| task.ended.is_none())
        };
        let rows = self.budgets.values().filter(|row| open(&row.key));
        let mut views: Vec<BudgetView> = rows
            .map(|row| {
                let waiting = self.budgeted.keys().filter(|(key, _)| *key == row.key).count();
                BudgetView { row: row.clone(), waiting: waiting as u64 }
            })
            .collect();
        views.sort_by(|a, b| {
            let key = |view: &BudgetView| (view.waiting, Reverse(view.row.key.scope.as_str()));
            key(b).cmp(&key(a)).then_with(|| b.row.key.subject.cmp(&a.row.key.subject))
        });
        views.truncate(limit);
        Ok(views)
    }

    fn journal(&self, after_seq: i64, limit: usize) -> Result<Vec<JournalView>, StoreError> {
        let after = (std::ops::Bound::Excluded(after_seq), std::ops::Bound::Unbounded);
        Ok(self.journal.range(after).map(|(_, line)| line.clone()).take(limit).collect())
    }

    fn restart_lines(&self, limit: usize) -> Result<Vec<JournalView>, StoreError> {
        let about = ["node.started", "node.lost", "run.recovered"];
        let lines = self.journal.values().filter(|line| about.contains(&line.kind.as_str()));
        let lines: Vec<&JournalView> = lines.collect();
        let start = lines.iter().rposition(|line| line.kind == "node.started").unwrap_or(0);
        Ok(lines[start..].iter().take(limit).map(|line| (*line).clone()).collect())
    }

    fn snapshot(&self) -> Result<World, StoreError> {
        let head = |entry: &EntryView| EntryHead {
            session_id: entry.session_id,
            seq: entry.seq,
            run: entry.run,
            step: entry.step,
            kind: entry.kind,
            call_id: entry.call_id.clone(),
            tokens: entry.tokens,
            silent: entry.silent,
        };
        let named = self.sessions.values().filter_map(|session| session.policy_hash);
        let policies = named.filter_map(|hash| Some((hash, self.blobs.get(&hash)?.clone())));
        let mut world = World {
            policies: policies.collect(),
            lanes: self.lanes.values().cloned().collect(),
            nodes: self.nodes.values().cloned().collect(),
            sessions: self.sessions.values().cloned().collect(),
            transcripts: self.transcripts.values().cloned().collect(),
            episodes: self.episodes.values().cloned().collect(),
            entries: self.entries.values().map(head).collect(),
            inbox: self.inbox.values().cloned().collect(),
            runs: self.runs.values().cloned().collect(),
            steps: self.steps.values().cloned().collect(),
            tasks: self.tasks.values().cloned().collect(),
            timers: self.timers.values().cloned().collect(),
            ledger: self.ledger.values().cloned().collect(),
            flows: self.flows.values().cloned().collect(),
            flow_nodes: self.flow_nodes.values().cloned().collect(),
            gates: self.gates.values().cloned().collect(),
            approvals: self.approvals.values().cloned().collect(),
            grants: self.grants_of(None, usize::MAX),
            halts: self.halts.values().cloned().collect(),
            budgets: self.budgets.values().cloned().collect(),
            reservations: self.reservations.values().cloned().collect(),
            kept: self.kept.values().map(|(row, _)| row.clone()).collect(),
        };
        // As the database sorts: by the text of the keys.
        let text = |key: &BudgetKey| (key.scope.as_str(), key.subject.clone());
        world.budgets.sort_by_cached_key(|row| text(&row.key));
        world.reservations.sort_by_cached_key(|row| (row.run, text(&row.key)));
        world.lanes.sort_by_key(|lane| lane.name.as_str());
        world.kept.sort_by_cached_key(|row| (row.root_key.to_string(), row.hash));
        world.sessions.sort_by_cached_key(|session| session.key.to_string());
        world
            .timers
            .sort_by(|a, b| (a.kind.as_str(), &a.subject).cmp(&(b.kind.as_str(), &b.subject)));
        Ok(world)
    }

    fn open_rows(&self, _: Timestamp) -> Result<World, StoreError> {
        self.snapshot()
    }
}
