//! The questions that readers ask. None of them changes a row, and none is for a decision.
//!
//! [`Query`] is one snapshot of the rows, asked in the thread that has it; [`Reads`] asks a store
//! for a snapshot and puts one question to it.

use async_trait::async_trait;
use machine::check::World;
use machine::rows::CommandRow;
use machine::run::WaitKind;
use types::{
    AgentId, AssistantMessage, FlowId, FlowTarget, Hash, MessageId, RunId, SessionId, SessionKey,
    TaskId, Timestamp,
};

use crate::error::StoreError;
use crate::view::{
    ApprovalFilter, BudgetView, EntryView, FlowNodeView, FlowView, GateView, HistoryPage,
    InputView, JournalView, LaneView, LedgerScope, LedgerTotal, LineView, MessageView, NodeView,
    QueuedView, RunFacts, RunView, SentView, SessionFilter, SessionView, SpendFilter, SpendView,
    Tally, TaskFilter, TaskView, TranscriptView, WaitView,
};
use machine::rows::{Approval, Episode, Flow, FlowNode, Grant, Halt};

/// Rows as they are between two commits.
pub trait Query {
    /// Entries of a transcript from `from_seq` on, ascending.
    fn entries(
        &self,
        session: SessionId,
        from_seq: i64,
        limit: usize,
    ) -> Result<Vec<EntryView>, StoreError>;

    /// The entry that a step has written: a model's answer, or a tool's result.
    fn entry_of_step(&self, run: RunId, step: u32) -> Result<Option<EntryView>, StoreError>;

    /// The newest entries before `before_seq`, or of all, ascending.
    fn history(
        &self,
        session: SessionId,
        before_seq: Option<i64>,
        limit: usize,
    ) -> Result<HistoryPage, StoreError>;

    /// The body under a hash.
    fn blob(&self, hash: Hash) -> Result<Option<String>, StoreError>;

    /// A text that is kept whole for a tree.
    fn kept(&self, root: &SessionKey, hash: Hash) -> Result<Option<String>, StoreError>;

    fn sessions(&self, filter: &SessionFilter) -> Result<Vec<SessionView>, StoreError>;

    /// How many sessions there are of those that `filter` wants, on all pages.
    fn count_sessions(&self, filter: &SessionFilter) -> Result<u64, StoreError>;

    /// Keys of the sessions that one has asked for, newest first.
    fn child_keys(&self, parent: &SessionKey, limit: usize) -> Result<Vec<SessionKey>, StoreError>;

    /// The session that was given an input under this key, if it is kept still.
    fn session_of_input(&self, idem_key: &str) -> Result<Option<SessionKey>, StoreError>;

    /// Counts by what is being done at `now`.
    fn tally(&self, now: Timestamp) -> Result<Tally, StoreError>;
    fn session(&self, key: &SessionKey) -> Result<Option<SessionView>, StoreError>;
    fn run(&self, id: RunId) -> Result<Option<RunView>, StoreError>;
    /// Runs that have not ended, each with its agent.
    fn open_runs(&self) -> Result<Vec<(RunId, AgentId)>, StoreError>;
    fn run_by_wire(&self, wire_id: &str) -> Result<Option<RunView>, StoreError>;
    fn input(&self, session: &SessionKey, idem_key: &str) -> Result<Option<InputView>, StoreError>;

    /// Messages that a run has sent to other sessions, in their order.
    fn sent(&self, run: RunId) -> Result<Vec<SentView>, StoreError>;

    fn message(&self, id: MessageId) -> Result<Option<MessageView>, StoreError>;

    /// Open tasks whose end a run waits for, oldest first.
    fn waited_tasks(&self, run: RunId) -> Result<Vec<TaskId>, StoreError>;

    /// What a run waits for, if it waits. The view `v_sessions` says the same.
    fn wait(&self, run: &RunFacts) -> Result<Option<WaitView>, StoreError> {
        let Some(kind) = run.wait_kind else { return Ok(None) };
        let tasks = match kind {
            WaitKind::Children => self.waited_tasks(run.id)?,
            _ => Vec::new(),
        };
        let mut sent = match kind {
            WaitKind::Reply | WaitKind::Children => self.sent(run.id)?,
            _ => Vec::new(),
        };
        sent.retain(|sent| match kind {
            WaitKind::Reply => sent.waits,
            // One that has yielded with no sub-agents waits until it is answered.
            _ => tasks.is_empty() && !sent.settled,
        });
        let messages = sent.into_iter().map(|sent| sent.message).collect();
        Ok(Some(WaitView { kind, need: run.wait_need, tasks, messages }))
    }

    /// Inputs of a session that wait, oldest first.
    fn queued(&self, session: &SessionKey, limit: usize) -> Result<Vec<QueuedView>, StoreError>;

    /// Transcripts of a session, newest first: `/new` and `/reset` begin others.
    fn transcripts(
        &self,
        session: &SessionKey,
        limit: usize,
    ) -> Result<Vec<TranscriptView>, StoreError>;

    /// The present episode of a transcript.
    fn newest_episode(&self, session: SessionId) -> Result<Option<Episode>, StoreError>;

    /// The command of this key in this session.
    fn command(
        &self,
        session: &SessionKey,
        idem_key: &str,
    ) -> Result<Option<CommandRow>, StoreError>;

    /// Commands of a transcript, newest first.
    fn commands(&self, transcript: SessionId, limit: usize) -> Result<Vec<CommandRow>, StoreError>;

    /// Body of the last answer of a run, as JSON.
    fn last_answer(&self, run: RunId) -> Result<Option<String>, StoreError>;

    fn tasks(&self, filter: &TaskFilter) -> Result<Vec<TaskView>, StoreError>;
    fn task(&self, id: TaskId) -> Result<Option<TaskView>, StoreError>;
    /// A flow, and its nodes in the order of the declaration.
    fn flow_rows(&self, id: FlowId) -> Result<Option<(Flow, Vec<FlowNode>)>, StoreError>;
    fn lanes(&self) -> Result<Vec<LaneView>, StoreError>;

    /// Runs that have stood in line since `before`, longest first.
    fn lines(&self, before: Timestamp, limit: usize) -> Result<Vec<LineView>, StoreError>;

    /// Calls that wait, or have waited, until a person allows them; newest first.
    fn approvals(&self, filter: &ApprovalFilter) -> Result<Vec<Approval>, StoreError>;

    /// What was allowed for good, by agent and pattern.
    fn grants(&self, limit: usize) -> Result<Vec<Grant>, StoreError>;

    /// What is left of a run that was ended with calls out.
    fn halt(&self, run: RunId) -> Result<Option<Halt>, StoreError>;

    /// Runs of which it is not proved that nothing is left, by id.
    fn open_halts(&self, limit: usize) -> Result<Vec<Halt>, StoreError>;

    /// Gates of models that are not open.
    fn gates(&self) -> Result<Vec<GateView>, StoreError>;

    /// Starts of gateways, newest first.
    fn nodes(&self, limit: usize) -> Result<Vec<NodeView>, StoreError>;
    fn ledger(&self, scope: &LedgerScope) -> Result<LedgerTotal, StoreError>;

    /// Model calls from `since` on, added up, the dearest first; days newest first.
    fn spending(&self, filter: &SpendFilter) -> Result<Vec<SpendView>, StoreError>;

    /// Budgets under which something was counted: those of open tasks, and all others. Those for
    /// which runs wait come first.
    fn budgets(&self, limit: usize) -> Result<Vec<BudgetView>, StoreError>;

    /// Lines of history after the line `after_seq`, ascending.
    fn journal(&self, after_seq: i64, limit: usize) -> Result<Vec<JournalView>, StoreError>;

    /// Lines of history about the newest start of a gateway, from its own on: what was lost, and
    /// what it has taken over.
    fn restart_lines(&self, limit: usize) -> Result<Vec<JournalView>, StoreError>;

    /// All rows, for checks of the invariants. Each table by its key.
    fn snapshot(&self) -> Result<World, StoreError>;

    /// Of the same, what an audit looks at: what is open, what that names, and what has ended since
    /// and is not yet as it should be.
    fn open_rows(&self, since: Timestamp) -> Result<World, StoreError>;

    /// A flow with its tasks, by its own id or by that of its task.
    fn flow(&self, target: FlowTarget) -> Result<Option<FlowView>, StoreError> {
        let id = match target {
            FlowTarget::Flow(id) => Some(id),
            FlowTarget::Task(task) => self.task(task)?.and_then(|task| task.flow),
        };
        let Some(id) = id else { return Ok(None) };
        let Some((flow, nodes)) = self.flow_rows(id)? else { return Ok(None) };
        let Some(task) = self.task(flow.task)? else { return Ok(None) };
        let mut views = Vec::with_capacity(nodes.len());
        for node in nodes {
            let task = match node.task {
                Some(task) => self.task(task)?,
                None => None,
            };
            views.push(FlowNodeView::new(node, task));
        }
        Ok(Some(FlowView::new(flow, task, views)))
    }

    /// Text of the last answer of a run. None if it has given none.
    fn final_text(&self, run: RunId) -> Result<Option<String>, StoreError> {
        let Some(body) = self.last_answer(run)? else { return Ok(None) };
        let message: AssistantMessage = serde_json::from_str(&body)
            .map_err(|error| StoreError::Broken(format!("answer of {run}: {error}")))?;
        Ok(Some(message.text))
    }
}

/// One piece of work on a snapshot.
pub type Job = Box<dyn FnOnce(&dyn Query) + Send>;

/// Asks a store without holding up its writer.
#[async_trait]
pub trait Reads: Send + Sync {
    /// Runs `job` on a snapshot: several questions in one see the same rows.
    async fn with_snapshot(&self, job: Job) -> Result<(), StoreError>;

    async fn entries(
        &self,
        session: SessionId,
        from_seq: i64,
        limit: usize,
    ) -> Result<Vec<EntryView>, StoreError> {
        ask(self, move |rows| rows.entries(session, from_seq, limit)).await
    }

    async fn entry_of_step(&self, run: RunId, step: u32) -> Result<Option<EntryView>, StoreError> {
        ask(self, move |rows| rows.entry_of_step(run, step)).await
    }

    async fn history(
        &self,
        session: SessionId,
        before_seq: Option<i64>,
        limit: usize,
    ) -> Result<HistoryPage, StoreError> {
        ask(self, move |rows| rows.history(session, before_seq, limit)).await
    }

    async fn blob(&self, hash: Hash) -> Result<Option<String>, StoreError> {
        ask(self, move |rows| rows.blob(hash)).await
    }

    async fn kept(&self, root: &SessionKey, hash: Hash) -> Result<Option<String>, StoreError> {
        let root = root.clone();
        ask(self, move |rows| rows.kept(&root, hash)).await
    }

    async fn sessions(&self, filter: SessionFilter) -> Result<Vec<SessionView>, StoreError> {
        ask(self, move |rows| rows.sessions(&filter)).await
    }

    async fn count_sessions(&self, filter: SessionFilter) -> Result<u64, StoreError> {
        ask(self, move |rows| rows.count_sessions(&filter)).await
    }

    async fn tally(&self, now: Timestamp) -> Result<Tally, StoreError> {
        ask(self, move |rows| rows.tally(now)).await
    }

    async fn session(&self, key: &SessionKey) -> Result<Option<SessionView>, StoreError> {
        let key = key.clone();
        ask(self, move |rows| rows.session(&key)).await
    }

    async fn run(&self, id: RunId) -> Result<Option<RunView>, StoreError> {
        ask(self, move |rows| rows.run(id)).await
    }

    /// Finds a run by the id that clients see, or by its own.
    async fn run_by_wire(&self, wire_id: &str) -> Result<Option<RunView>, StoreError> {
        let wire_id = wire_id.to_owned();
        ask(self, move |rows| match rows.run_by_wire(&wire_id)? {
            Some(run) => Ok(Some(run)),
            None => wire_id.parse().map_or(Ok(None), |id| rows.run(id)),
        })
        .await
    }

    async fn input(
        &self,
        session: &SessionKey,
        idem_key: &str,
    ) -> Result<Option<InputView>, StoreError> {
        let (session, idem_key) = (session.clone(), idem_key.to_owned());
        ask(self, move |rows| rows.input(&session, &idem_key)).await
    }

    async fn final_text(&self, run: RunId) -> Result<Option<String>, StoreError> {
        ask(self, move |rows| rows.final_text(run)).await
    }

    async fn tasks(&self, filter: TaskFilter) -> Result<Vec<TaskView>, StoreError> {
        ask(self, move |rows| rows.tasks(&filter)).await
    }

    async fn task(&self, id: TaskId) -> Result<Option<TaskView>, StoreError> {
        ask(self, move |rows| rows.task(id)).await
    }

    async fn lanes(&self) -> Result<Vec<LaneView>, StoreError> {
        ask(self, |rows| rows.lanes()).await
    }

    async fn gates(&self) -> Result<Vec<GateView>, StoreError> {
        ask(self, |rows| rows.gates()).await
    }

    async fn nodes(&self, limit: usize) -> Result<Vec<NodeView>, StoreError> {
        ask(self, move |rows| rows.nodes(limit)).await
    }

    async fn ledger(&self, scope: LedgerScope) -> Result<LedgerTotal, StoreError> {
        ask(self, move |rows| rows.ledger(&scope)).await
    }

    async fn journal(&self, after_seq: i64, limit: usize) -> Result<Vec<JournalView>, StoreError> {
        ask(self, move |rows| rows.journal(after_seq, limit)).await
    }

    async fn open_rows(&self, since: Timestamp) -> Result<World, StoreError> {
        ask(self, move |rows| rows.open_rows(since)).await
    }

    async fn snapshot(&self) -> Result<World, StoreError> {
        ask(self, |rows| rows.snapshot()).await
    }
}

/// Puts one question to a snapshot of `store`.
pub async fn ask<S, T>(
    store: &S,
    question: impl FnOnce(&dyn Query) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError>
where
    S: Reads + ?Sized,
    T: Send + 'static,
{
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let job: Job = Box::new(move |rows| {
        // The asker may have gone away; then nobody wants to know.
        let _ = sender.send(question(rows));
    });
    store.with_snapshot(job).await?;
    receiver.await.map_err(|_| StoreError::Broken("a question panicked".to_owned()))?
}
