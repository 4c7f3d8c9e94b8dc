//! From what happens to the sockets of those who watch.
//!
//! One task reads the runtime's news and drafts, turns them into events, encodes each once, and
//! puts it into the outbox of every connection that gets it. It waits for no client: see
//! [`crate::outbox`]. Text is sent at most every [`FLUSH`], however fast it comes.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use machine::Notice;
use machine::effect::RunEnded;
use machine::finish::said;
use machine::rows::Outcome;
use protocol::agent::RunPhase;
use protocol::chat::{ChatEvent, ChatState};
use protocol::event::{Shutdown, Tick};
use protocol::notice::ProgressCardChanged;
use protocol::sessions::SessionsChanged;
use protocol::{Event, Policy};
use runtime::LiveEvent;
use runtime::live::Delta;
use serde_json::Value;
use store::StoreError;
use store::query::ask;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use types::{Reasoning, RunId, SessionKey, Timestamp, ToolCall};

use crate::feed::{self, Audience, Call, Facts, Feed, Names, Out};
use crate::footer;
use crate::gateway::Gateway;
use crate::methods::approvals;
use crate::notice;
use crate::outbox::{Close, Outbox};
use crate::phase;
use crate::view;

/// Pause between two deltas of one run, and two notes of one session's change: faster than people
/// read, and slow enough that an answer costs each client some ten frames a second.
const FLUSH: Duration = Duration::from_millis(100);

/// Ends that a waiting call may lag behind before it looks for itself.
const SETTLED: usize = 1_024;

/// Longest tool result that is shown live, in characters; the history has the whole.
const RESULT_CHARS_MAX: usize = 8_192;

/// Those who watch.
#[derive(Debug)]
pub struct Hub {
    clients: Mutex<HashMap<u64, Arc<Subscriber>>>,
    next: AtomicU64,
    settled: broadcast::Sender<SessionKey>,
    draining: AtomicBool,
}

/// One connection that gets events.
#[derive(Debug)]
pub struct Subscriber {
    pub outbox: Outbox,
    /// May it see what is said?
    pub reads: bool,
    /// May it answer what waits to be allowed?
    pub approves: bool,
    /// Does it want to see tools?
    pub tools: bool,
    /// Does it want to see what models think?
    pub thoughts: bool,
    /// Has it asked for `sessions.changed`?
    pub sessions: AtomicBool,
}

/// Takes a subscriber off the list when its connection ends.
#[derive(Debug)]
pub struct Registration {
    gateway: Arc<Gateway>,
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.gateway.hub.locked().remove(&self.id);
    }
}

impl Default for Hub {
    fn default() -> Hub {
        Hub {
            clients: Mutex::default(),
            next: AtomicU64::new(0),
            settled: broadcast::channel(SETTLED).0,
            draining: AtomicBool::new(false),
        }
    }
}

impl Hub {
    fn locked(&self) -> MutexGuard<'_, HashMap<u64, Arc<Subscriber>>> {
        // The map is consistent between any two of its calls, so a poisoned lock is usable.
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of every session in which a run has ended or a message was dropped.
    pub fn settled(&self) -> broadcast::Receiver<SessionKey> {
        self.settled.subscribe()
    }

    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Says once, to everybody, that the gateway goes down.
    pub fn shut_down(&self) {
        if !self.draining.swap(true, Ordering::Relaxed) {
            let reason = "gateway stopping".to_owned();
            self.send(&Event::Shutdown(Shutdown { reason, restart_expected_ms: None }), |_| true);
        }
    }

    pub fn close_all(&self, why: &Close) {
        for client in self.locked().values() {
            client.outbox.close(why.clone());
        }
    }

    fn send(&self, event: &Event, to: impl Fn(&Subscriber) -> bool) {
        let clients: Vec<_> = self.locked().values().filter(|c| to(c)).cloned().collect();
        if clients.is_empty() {
            return;
        }
        let (payload, draft) = (event.encode(), event.is_draft());
        for client in clients {
            client.outbox.event(event.name(), Arc::clone(&payload), draft);
        }
    }

    fn publish(&self, out: Vec<Out>) {
        for Out { audience, event } in out {
            self.send(&event, |client| {
                client.reads
                    && match audience {
                        Audience::Readers => true,
                        Audience::Approvers => client.approves,
                        Audience::Tools => client.tools,
                        Audience::Thoughts => client.thoughts,
                    }
            });
        }
    }

    /// So many events were lost: each client is told that some are missing.
    fn skip(&self, missed: u64) {
        for client in self.locked().values().filter(|client| client.reads) {
            client.outbox.skip(missed);
        }
    }

    fn any(&self, wants: impl Fn(&Subscriber) -> bool) -> bool {
        self.locked().values().any(|client| wants(client))
    }
}

/// Adds a connection to those who watch, until the registration is dropped.
pub fn register(gateway: &Arc<Gateway>, subscriber: Arc<Subscriber>) -> Registration {
    let id = gateway.hub.next.fetch_add(1, Ordering::Relaxed);
    gateway.hub.locked().insert(id, subscriber);
    Registration { gateway: Arc::clone(gateway), id }
}

/// A command's answer, as the end of a run that its message is the name of.
fn command_answer(session: &SessionKey, key: &str, answer: &str, now: Timestamp) -> Out {
    let event = ChatEvent {
        run_id: key.to_owned(),
        session_key: session.clone(),
        agent_id: Some(session.agent.clone()),
        spawned_by: None,
        seq: 1,
        state: ChatState::Final {
            message: Some(view::told(answer, now)),
            usage: None,
            stop_reason: Some("stop".to_owned()),
            yielded: false,
        },
    };
    Out { audience: Audience::Readers, event: Event::Chat(Box::new(event)) }
}

/// The task that reads the news.
#[derive(Debug)]
pub struct Publisher {
    gateway: Arc<Gateway>,
    feed: Feed,
    /// Sessions that have changed since the last flush: why, and by which run.
    changed: BTreeMap<SessionKey, (&'static str, Option<RunId>)>,
    /// Calls of the answer that was read last: one answer may have a thousand.
    calls: Option<(RunId, Vec<ToolCall>)>,
}

impl Publisher {
    pub fn new(gateway: Arc<Gateway>) -> Publisher {
        Publisher { gateway, feed: Feed::default(), changed: BTreeMap::new(), calls: None }
    }

    pub async fn run(
        mut self,
        mut live: broadcast::Receiver<Arc<LiveEvent>>,
        stop: CancellationToken,
    ) {
        let mut flush = tokio::time::interval(FLUSH);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let period = Duration::from_millis(Policy::default().tick_interval_ms);
        let mut tick = tokio::time::interval(period);
        tick.reset();
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let waiting = self.feed.dirty() || !self.changed.is_empty();
            tokio::select! {
                event = live.recv() => match event {
                    Ok(event) => self.on_live(&event).await,
                    Err(RecvError::Lagged(missed)) => self.on_missed(missed).await,
                    Err(RecvError::Closed) => return,
                },
                _ = flush.tick(), if waiting => self.flush().await,
                _ = tick.tick() => self.tick(),
                () = stop.cancelled() => return,
            }
        }
    }

    fn tick(&self) {
        let hub = &self.gateway.hub;
        hub.send(&Event::Tick(Tick { ts: self.gateway.now() }), |_| true);
        for client in hub.locked().values() {
            client.outbox.ping();
        }
    }

    /// Clients are told that something is missing. They read the store; and of runs that have
    /// ended meanwhile they are told here, since nobody else will.
    async fn on_missed(&mut self, missed: u64) {
        tracing::warn!(missed, "the news came faster than they could be sent");
        self.gateway.hub.skip(missed);
        for run in self.feed.missed() {
            match self.end_of(run).await {
                Ok(Some(end)) => {
                    let out = self.on_run_ended(&end).await;
                    self.gateway.hub.publish(out);
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%run, %error, "a run could not be read"),
            }
        }
    }

    /// The end of a run, as the store has it.
    async fn end_of(&self, run: RunId) -> Result<Option<RunEnded>, StoreError> {
        let read = ask(self.gateway.handle.store(), move |rows| {
            let Some(row) = rows.run(run)? else { return Ok(None) };
            let Some(outcome) = row.facts.outcome else { return Ok(None) };
            let text = match outcome {
                Outcome::Completed => rows.final_text(run)?,
                _ => None,
            };
            Ok(Some(RunEnded {
                run,
                wire_id: row.facts.wire_id,
                session: row.session_key,
                session_id: row.session_id,
                outcome,
                text: text.and_then(said),
                error: row.facts.error,
            }))
        });
        read.await
    }

    async fn flush(&mut self) {
        let now = self.gateway.now();
        self.gateway.hub.publish(self.feed.flush(now));
        let changed = std::mem::take(&mut self.changed);
        let wanted = |c: &Subscriber| c.reads && c.sessions.load(Ordering::Relaxed);
        if changed.is_empty() || !self.gateway.hub.any(wanted) {
            return;
        }
        let keys: Vec<SessionKey> = changed.keys().cloned().collect();
        let read = ask(self.gateway.handle.store(), move |rows| {
            keys.iter().map(|key| view::session_row(rows, key, now)).collect::<Result<Vec<_>, _>>()
        });
        let rows = match read.await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(%error, "changed sessions could not be read");
                vec![None; changed.len()]
            }
        };
        for ((session_key, (reason, run)), session) in changed.into_iter().zip(rows) {
            let event = SessionsChanged {
                agent_id: session_key.agent.clone(),
                session_key,
                reason: reason.to_owned(),
                run_id: run.map(|run| run.to_string()),
                ts: now,
                session,
            };
            self.gateway.hub.send(&Event::SessionsChanged(Box::new(event)), wanted);
        }
    }

    async fn on_live(&mut self, event: &LiveEvent) {
        match event {
            LiveEvent::Notice(notice) => self.on_notice(notice).await,
            LiveEvent::Delta { run, wire_id, session, step, delta } => {
                if !self.feed.knows(*run) {
                    self.meet_late(*run, wire_id, session).await;
                }
                match delta {
                    Delta::Text(text) => self.feed.delta(*run, *step, text),
                    Delta::Thinking(text) => self.feed.thought(*run, *step, text),
                }
            }
            LiveEvent::Calling { run, model } => {
                let status = phase::status(RunPhase::StartingModel, Some(model.clone()));
                let out = self.feed.status(*run, status, self.gateway.now());
                self.gateway.hub.publish(out);
            }
            LiveEvent::Shutdown => self.gateway.hub.shut_down(),
        }
    }

    async fn on_notice(&mut self, notice: &Notice) {
        let now = self.gateway.now();
        if let Notice::RunQueued { run, wire_id, session, .. }
        | Notice::RunStarted { run, wire_id, session, .. } = notice
        {
            self.meet(*run, wire_id, session).await;
        }
        if let Some((session, reason, run)) = changed(notice) {
            self.note(session, reason, run);
        }
        let mut out = match notice {
            Notice::RunStarted { run, recovered: true, .. } => self.feed.dropped(*run, now),
            Notice::RunStarted { run, .. } => self.feed.started(*run, now),
            Notice::QueueWait { .. }
            | Notice::GateClosed { .. }
            | Notice::GateOpened { .. }
            | Notice::Compacting { .. }
            | Notice::Compacted { .. } => notice::held_up(notice, now),
            Notice::ModelCallFailed { run, .. } | Notice::Recovered { run, .. } => {
                self.feed.dropped(*run, now)
            }
            Notice::ToolStarted { run, call_id, name, .. } => {
                let call = self.call(*run, call_id, name).await;
                self.feed.tool_started(*run, call, now)
            }
            Notice::ToolFinished { run, call_id, name, is_error, .. } => {
                let call = self.call(*run, call_id, name).await;
                let result = (*is_error, self.result(*run, call_id).await);
                self.feed.tool_finished(*run, call, result, now)
            }
            Notice::Yielded { run, acknowledgment: Some(text), .. } => {
                self.feed.yielded(*run, text, now)
            }
            Notice::GaveWay { run, .. } => {
                self.feed.forget(*run);
                Vec::new()
            }
            Notice::RunEnded(end) => self.on_run_ended(end).await,
            Notice::Dropped { session, .. } => {
                // Nobody waiting for it is no error.
                let _ = self.gateway.hub.settled.send(session.clone());
                Vec::new()
            }
            Notice::Commanded { session, key, answer, .. } => {
                vec![command_answer(session, key, answer, now)]
            }
            Notice::ApprovalAsked(_) | Notice::ApprovalEnded(_) => approvals::told(notice, now),
            Notice::Told { session, task, source, text } => {
                let subject = task.map_or_else(|| session.to_string(), |task| task.to_string());
                vec![feed::told(session, &subject, source, text, now)]
            }
            Notice::SessionChanged { session, what: "card" } => self.card(session, now).await,
            Notice::SessionChanged { session, what: "patch" } => {
                let names = self.names("", session).await;
                self.feed.set_reasoning(session, names.reasoning);
                Vec::new()
            }
            // All that they say is what has changed.
            _ => Vec::new(),
        };
        if let Some((run, status)) = phase::of(notice) {
            out.extend(self.feed.status(run, status, now));
        }
        self.gateway.hub.publish(out);
    }

    fn note(&mut self, session: &SessionKey, reason: &'static str, run: Option<RunId>) {
        self.changed.insert(session.clone(), (reason, run));
    }

    async fn on_run_ended(&mut self, end: &RunEnded) -> Vec<Out> {
        self.note(&end.session, "agent.run.ended", Some(end.run));
        let _ = self.gateway.hub.settled.send(end.session.clone());
        // A run that was cut while it stood in line was never met.
        self.meet(end.run, &end.wire_id, &end.session).await;
        let facts = match self.gateway.handle.store().run(end.run).await {
            Ok(Some(run)) => Facts {
                usage: Some(run.usage.into()),
                error_class: run.facts.error_class,
                footer: footer::of_run(&self.gateway, &end.session, end.run).await,
            },
            _ => Facts::default(),
        };
        self.feed.ended(end, facts, self.gateway.now())
    }

    /// Learns the names of a run.
    async fn meet(&mut self, run: RunId, wire_id: &str, session: &SessionKey) {
        if !self.feed.knows(run) {
            let names = self.names(wire_id, session).await;
            self.feed.watch(run, names);
        }
    }

    /// Learns the names of a run that talks before we have heard of it, if it is not over.
    async fn meet_late(&mut self, run: RunId, wire_id: &str, session: &SessionKey) {
        if let Ok(Some(row)) = self.gateway.handle.store().run(run).await
            && !row.facts.phase.ended()
        {
            let names = self.names(wire_id, session).await;
            self.feed.watch_late(run, names);
        }
    }

    async fn names(&self, wire_id: &str, session: &SessionKey) -> Names {
        let row = self.gateway.handle.store().session(session).await.ok().flatten();
        Names {
            wire_id: wire_id.to_owned(),
            session: session.clone(),
            reasoning: row.as_ref().map_or(Reasoning::Off, |row| row.reasoning),
            spawned_by: row.and_then(|row| row.parent_key),
        }
    }

    /// The plan that a session shows from now on.
    async fn card(&self, key: &SessionKey, ts: Timestamp) -> Vec<Out> {
        let session = key.clone();
        let read = ask(self.gateway.handle.store(), move |rows| {
            let Some(session) = rows.session(&session)? else { return Ok(None) };
            view::progress_card(rows, &session)
        });
        let card = match read.await {
            Ok(card) => card,
            Err(error) => {
                tracing::warn!(%key, %error, "a card could not be read");
                return Vec::new();
            }
        };
        let (session_key, agent_id) = (key.clone(), key.agent.clone());
        let event = ProgressCardChanged { session_key, agent_id, card, ts };
        let event = Event::ProgressCard(Box::new(event));
        vec![Out { audience: Audience::Readers, event }]
    }

    fn shows_tools(&self) -> bool {
        self.gateway.hub.any(|client| client.reads && client.tools)
    }

    /// Reads what a tool was called with, if somebody watches and has not been told yet.
    async fn call(&mut self, run: RunId, id: &str, tool: &str) -> Call {
        let call = |args| Call { id: id.to_owned(), tool: tool.to_owned(), args };
        if self.feed.has_call(run, id) || !self.gateway.hub.any(|client| client.reads) {
            return call(Value::Null);
        }
        let known = self
            .calls
            .as_ref()
            .is_some_and(|(of, calls)| *of == run && calls.iter().any(|call| call.id == id));
        if !known {
            let read = ask(self.gateway.handle.store(), move |rows| view::calls(rows, run));
            self.calls = read.await.ok().map(|calls| (run, calls));
        }
        let calls = self.calls.iter().flat_map(|(_, calls)| calls);
        call(
            calls
                .filter(|call| call.id == id)
                .map(view::shown_arguments)
                .next()
                .unwrap_or_default(),
        )
    }

    /// Reads what a tool has returned, if somebody wants to see it.
    async fn result(&self, run: RunId, call_id: &str) -> Value {
        if !self.shows_tools() {
            return Value::Null;
        }
        let call_id = call_id.to_owned();
        let read = ask(self.gateway.handle.store(), move |rows| {
            view::tool_result(rows, run, &call_id, RESULT_CHARS_MAX)
        });
        read.await.ok().flatten().unwrap_or_default()
    }
}

/// The session that looks another way now, why, and in which run.
fn changed(notice: &Notice) -> Option<(&SessionKey, &'static str, Option<RunId>)> {
    Some(match notice {
        Notice::Accepted { session, .. } => (session, "send", None),
        Notice::RunQueued { run, session, .. } => (session, "agent.run.queued", Some(*run)),
        Notice::RunStarted { run, session, .. } => (session, "agent.run.started", Some(*run)),
        Notice::AtGate { run, session, .. } | Notice::Yielded { run, session, .. } => {
            (session, "agent.run.waiting", Some(*run))
        }
        Notice::TaskSpawned { requester, run, .. } => (requester, "spawn", Some(*run)),
        Notice::TaskEnded { requester, .. } => (requester, "task.ended", None),
        Notice::CallBlocked { run, session, .. } => (session, "tool.blocked", Some(*run)),
        Notice::Compacted { session, run, .. } => (session, "compact", Some(*run)),
        Notice::Dropped { session, .. } => (session, "message.dropped", None),
        Notice::SessionArchived { session, .. } => (session, "archived", None),
        Notice::SessionRestored { session, .. } => (session, "restored", None),
        Notice::Commanded { session, .. } => (session, "command", None),
        Notice::SessionChanged { session, what } => (session, what, None),
        Notice::Pinned { run, session, .. } => (session, "prefix.pinned", Some(*run)),
        Notice::Told { session, .. } => (session, "told", None),
        Notice::ApprovalAsked(row) => (&row.session_key, "approval.requested", Some(row.run)),
        Notice::ApprovalEnded(row) => (&row.session_key, "approval.resolved", Some(row.run)),
        Notice::FlowStarted { requester, .. } => (requester, "flow.started", None),
        Notice::FlowEnded { requester, .. } => (requester, "flow.ended", None),
        _ => return None,
    })
}
