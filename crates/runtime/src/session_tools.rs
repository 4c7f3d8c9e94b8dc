//! Questions of agents about sessions and tasks, answered from the store.
//!
//! An agent sees what belongs to the owner of its own session, and of tasks those below itself.
//! What it is told of a run is derived by `machine::status`, as everywhere.

use std::collections::BTreeSet;
use std::ops::Range;

use machine::limits::{AllowAgents, Relation};
use machine::rows::{EntryKind, FlowNodeState, Lifecycle, TaskKind};
use machine::run::{Phase, WaitKind};
use serde_json::{Value, json};
use store::StoreError;
use store::query::ask;
use store::view::{
    EntryView, FlowNodeView, FlowView, RunFacts, SentView, SessionFilter, SessionView, TaskFilter,
    TaskView,
};
use tools::ToolOutput;
use tools::sessions::{ListRequest, SessionsRead};
use types::{AssistantMessage, FlowTarget, SessionKey, TaskTarget, Timestamp, ToolResult};

use crate::perform::Shared;
use crate::redact::redact;
use crate::shown;

/// Bytes of one message in a long page of a history.
const MESSAGE_BYTES_MIN: usize = 4_000;

/// Bytes of a page, which its messages share: one that is asked for alone is there whole, also an
/// answer that was too long for its announce.
const PAGE_BYTES: usize = 128 * 1024;

/// Sessions that are read at a time to fill a page.
const PAGE_ROWS: usize = 200;

/// Runs that stand in line, among which the place of one is looked for.
const LINES_MAX: usize = 1_000;

/// Tasks that a tree is searched for, and trees that one session has worked for.
const TASKS_MAX: usize = 1_000;
const TREES_MAX: usize = 100;

/// Why a question has no answer: words for the model.
struct Unanswered(String);

impl From<StoreError> for Unanswered {
    fn from(error: StoreError) -> Unanswered {
        Unanswered(format!("The store could not be read: {error}"))
    }
}

type Told = Result<Value, Unanswered>;

/// Answers a question of the session `caller`.
pub async fn read(shared: &Shared, caller: &SessionKey, question: SessionsRead) -> ToolOutput {
    let asked = Asked { shared, caller };
    let told = match question {
        SessionsRead::List(request) => asked.list(request).await,
        SessionsRead::Status { session_key } => asked.status(session_key.as_deref()).await,
        SessionsRead::Agents => Ok(asked.agents()),
        SessionsRead::History { session_key, limit, include_tools, offset } => {
            asked.history(&session_key, limit, include_tools, offset).await
        }
        SessionsRead::Message { session_key, seq, from_byte } => {
            asked.message(&session_key, seq, from_byte as usize).await
        }
        SessionsRead::SubagentsList { recent_minutes } => asked.subagents(recent_minutes).await,
        SessionsRead::FlowsList => asked.flows().await,
        SessionsRead::FlowsShow { flow } => asked.flow(flow).await,
        SessionsRead::SubagentsInfo { target } => asked.info(&target).await,
        SessionsRead::SubagentsLog { target, limit } => asked.log(&target, limit).await,
    };
    match told {
        Ok(value) => ToolOutput::ok(value.to_string()),
        Err(Unanswered(why)) => ToolOutput::error(why),
    }
}

/// Who asks, and where the answers are.
struct Asked<'a> {
    shared: &'a Shared,
    caller: &'a SessionKey,
}

impl Asked<'_> {
    fn store(&self) -> &dyn store::Store {
        self.shared.handle.store()
    }

    fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// A page of the sessions that the caller may see.
    async fn list(&self, request: ListRequest) -> Told {
        let now = self.now();
        let since = |minutes: u32| Timestamp(now.ms() - i64::from(minutes) * 60_000);
        let own = self.own().await?;
        let limit = request.limit as usize;
        let lifecycle = if request.archived { Lifecycle::Archived } else { Lifecycle::Open };
        let mut filter = SessionFilter {
            owner: Some(own.owner.clone()),
            agent: request.agent,
            active_since: request.active_minutes.map(since),
            kinds: request.kinds.unwrap_or_default(),
            label: request.label,
            search: request.search,
            lifecycle: Some(lifecycle),
            open_only: request.active_only,
            limit: PAGE_ROWS,
            offset: request.offset as usize,
            ..SessionFilter::default()
        };
        let mut rows = Vec::new();
        // What may not be seen is not counted; so the next offset is found on the way.
        loop {
            let page = self.store().sessions(filter.clone()).await?;
            for (at, session) in page.iter().enumerate() {
                if self.may_see(&own, session) {
                    if rows.len() == limit {
                        return Ok(json!({
                            "count": rows.len(), "hasMore": true,
                            "nextOffset": filter.offset + at, "sessions": rows,
                        }));
                    }
                    rows.push(session_row(session, now));
                }
            }
            if page.len() < filter.limit {
                return Ok(json!({ "count": rows.len(), "hasMore": false, "sessions": rows }));
            }
            filter.offset += page.len();
        }
    }

    /// The caller's own session.
    async fn own(&self) -> Result<SessionView, Unanswered> {
        let own = self.store().session(self.caller).await?;
        own.ok_or_else(|| Unanswered(format!("There is no session {}.", self.caller)))
    }

    /// May the caller see this session? One of another owner is not there.
    fn may_see(&self, own: &SessionView, other: &SessionView) -> bool {
        let visibility = self.shared.handle.config().limits.send.visibility;
        own.owner == other.owner && visibility.shows(relation(own), relation(other))
    }

    async fn find_session(&self, key: &str) -> Result<SessionView, Unanswered> {
        let key = SessionKey::resolve(key, &self.caller.agent)
            .map_err(|error| Unanswered(error.to_string()))?;
        let own = self.own().await?;
        let session = self.store().session(&key).await?;
        let session = session.filter(|session| session.owner == own.owner);
        let Some(session) = session else {
            return Err(Unanswered(format!("There is no session {key}.")));
        };
        if !self.may_see(&own, &session) {
            let visibility = self.shared.handle.config().limits.send.visibility;
            return Err(Unanswered(format!(
                "This session may not see {key}: tools.sessions.visibility is \"{visibility}\"."
            )));
        }
        Ok(session)
    }

    /// How a session stands, with what it waits for.
    async fn status(&self, key: Option<&str>) -> Told {
        let session = match key {
            Some(key) => self.find_session(key).await?,
            None => self.own().await?,
        };
        let now = self.now();
        let limits = self.shared.handle.limits();
        let limits = limits.of_agent(&session.agent);
        let mut row = session_row(&session, now);
        row["sessionKey"] = json!(session.key);
        row["agentId"] = json!(session.agent);
        row["usage"] = json!(session.usage);
        row["spent"] = shown::spent(self.store(), &session).await?;
        row["progressCard"] = shown::card(self.store(), &session.key).await?;
        row["queued"] = json!(session.queued);
        let agent = limits.agents.get(&session.agent);
        let model = session.model.clone().or_else(|| agent.map(|agent| agent.model.clone()));
        let configured = model.as_ref().and_then(|model| limits.models.get(model).copied());
        let told = model.as_ref().and_then(|model| session.told_window(model, configured));
        row["contextLimit"] = json!(told.or(configured));
        if told.is_some() {
            row["contextLimitConfigured"] = json!(configured);
        }
        row["model"] = json!(model);
        let children = TaskFilter {
            requester: Some(session.key.clone()),
            open_only: true,
            limit: TASKS_MAX,
            ..TaskFilter::default()
        };
        let children = self.store().tasks(children).await?;
        row["children"] = children.iter().map(|task| task_row(task, now)).collect();
        if let Some(open) = &session.open_run {
            row["runId"] = json!(open.wire_id);
            row["lane"] = json!(open.lane);
            if open.phase == Phase::Queued {
                let lines = ask(self.store(), move |rows| rows.lines(now, LINES_MAX)).await?;
                let place = lines.iter().find(|line| line.run == open.id).map(|line| line.place);
                row["lanePlace"] = json!(place);
            }
            let run = open.id;
            let sent = ask(self.store(), move |rows| rows.sent(run)).await?;
            row["waitsFor"] = waits(open, &children, &sent);
        }
        Ok(row)
    }

    /// The agents of this gateway, and which of them the caller may spawn.
    fn agents(&self) -> Value {
        let config = self.shared.handle.config();
        let own = &self.caller.agent;
        let allowed = config.limits.agents.get(own).map(|agent| &agent.allow_agents);
        let rows = config.limits.agents.iter().map(|(id, agent)| {
            let may = id == own
                || match allowed {
                    Some(AllowAgents::All) => true,
                    Some(AllowAgents::These(these)) => these.contains(id),
                    None => false,
                };
            let known = config.agents.get(id);
            let why_not =
                (!may).then(|| format!("it is not in agents.entries.{own}.subagents.allowAgents"));
            json!({
                "id": id,
                "name": known.and_then(|known| known.name.as_ref()),
                "description": known.and_then(|known| known.description.as_ref()),
                "model": agent.model,
                "maySpawn": may,
                "whyNot": why_not,
            })
        });
        let any = matches!(allowed, Some(AllowAgents::All));
        json!({ "requester": own, "allowAny": any, "agents": rows.collect::<Vec<_>>() })
    }

    async fn history(&self, key: &str, limit: u32, include_tools: bool, offset: u32) -> Told {
        let session = self.find_session(key).await?;
        self.transcript(&session, limit, include_tools, offset).await
    }

    /// One message, from one of its bytes on: so that of the longest none is lost.
    async fn message(&self, key: &str, seq: u32, from: usize) -> Told {
        let session = self.find_session(key).await?;
        let before = Some(i64::from(seq) + 1);
        let page = self.store().history(session.session_id, before, 1).await?;
        let entry = page.entries.first().filter(|entry| entry.seq == i64::from(seq));
        let shown = entry.and_then(|entry| message(entry, true, from..from + PAGE_BYTES));
        let shown = shown.ok_or_else(|| {
            Unanswered(format!(
                "{key} has no message {seq}: it has {}. sessions_history without `seq` shows the \
                 newest, with the number of each.",
                page.total
            ))
        })?;
        if let Some(bytes) = shown["bytes"].as_u64().filter(|bytes| from as u64 > *bytes) {
            return Err(Unanswered(format!(
                "Message {seq} has {bytes} bytes, and `fromByte` is {from}."
            )));
        }
        Ok(json!({ "sessionKey": session.key, "messages": [shown] }))
    }

    async fn transcript(
        &self,
        session: &SessionView,
        limit: u32,
        include_tools: bool,
        offset: u32,
    ) -> Told {
        let last = self.store().history(session.session_id, None, 0).await?.total;
        let before = last + 1 - i64::from(offset);
        let page = self.store().history(session.session_id, Some(before), limit as usize).await?;
        let bytes = share(page.entries.len());
        let messages: Vec<Value> = page
            .entries
            .iter()
            .filter_map(|entry| message(entry, include_tools, 0..bytes))
            .collect();
        let shown = page.entries.first().map_or(before, |entry| entry.seq);
        Ok(json!({
            "sessionKey": session.key,
            "messages": messages,
            "truncated": shown > 1,
            "nextOffset": (shown > 1).then(|| last + 1 - shown),
        }))
    }

    /// Tasks below the caller, oldest first.
    async fn below(&self) -> Result<Vec<TaskView>, Unanswered> {
        let Some(session) = self.store().session(self.caller).await? else {
            return Ok(Vec::new());
        };
        // A session with a name may work for a tree that it was not made in.
        let asked = TaskFilter {
            requester: Some(self.caller.clone()),
            limit: TASKS_MAX,
            ..TaskFilter::default()
        };
        let asked = self.store().tasks(asked).await?;
        let mut roots: BTreeSet<SessionKey> = asked.into_iter().map(|task| task.root_key).collect();
        roots.insert(session.root_key);
        let mut tasks = Vec::new();
        for root in roots.into_iter().take(TREES_MAX) {
            let filter = TaskFilter { root: Some(root), limit: TASKS_MAX, ..TaskFilter::default() };
            tasks.extend(self.store().tasks(filter).await?);
        }
        tasks.sort_by_key(|task| task.id);
        let mut below: Vec<TaskView> = Vec::new();
        for task in tasks {
            let child_of_ours = below.iter().any(|above| Some(above.id) == task.parent);
            if task.requester_key == *self.caller || child_of_ours {
                below.push(task);
            }
        }
        Ok(below)
    }

    async fn subagents(&self, recent_minutes: u32) -> Told {
        let now = self.now();
        let since = now.ms() - i64::from(recent_minutes) * 60_000;
        let (open, ended): (Vec<_>, Vec<_>) =
            self.below().await?.into_iter().partition(|task| task.ended.is_none());
        let recent = ended.iter().filter(|task| task.ended.is_some_and(|at| at.ms() >= since));
        Ok(json!({
            "requesterSessionKey": self.caller,
            "active": open.iter().map(|task| task_row(task, now)).collect::<Vec<_>>(),
            "recent": recent.map(|task| task_row(task, now)).collect::<Vec<_>>(),
        }))
    }

    async fn flows(&self) -> Told {
        let now = self.now();
        let mut rows = Vec::new();
        for task in self.below().await?.iter().filter(|task| task.kind == TaskKind::Flow) {
            let target = FlowTarget::Task(task.id);
            let flow = ask(self.store(), move |rows| rows.flow(target)).await?;
            rows.extend(flow.map(|flow| flow_row(&flow, now)));
        }
        Ok(json!({ "flows": rows }))
    }

    async fn flow(&self, target: FlowTarget) -> Told {
        let now = self.now();
        let flow = ask(self.store(), move |rows| rows.flow(target)).await?;
        let below = self.below().await?;
        let own = flow.filter(|flow| below.iter().any(|task| task.id == flow.task.id));
        let flow = own.ok_or_else(|| {
            Unanswered(format!(
                "There is no flow `{target}` below this session; the action \"list\" shows them."
            ))
        })?;
        let mut row = flow_row(&flow, now);
        row["nodes"] = flow.nodes.iter().map(|node| node_row(node, now)).collect();
        Ok(row)
    }

    async fn find(&self, target: &TaskTarget) -> Result<TaskView, Unanswered> {
        let text = target.0.as_str();
        let found = self.below().await?.into_iter().rev().find(|task| {
            task.id.to_string() == text
                || task.session_key.to_string() == text
                || task.task_name.as_deref() == Some(text)
        });
        found.ok_or_else(|| {
            Unanswered(format!(
                "There is no task `{text}` below this session. Name it by its taskId, its \
                 taskName, or its session key; subagents with action \"list\" shows them."
            ))
        })
    }

    async fn info(&self, target: &TaskTarget) -> Told {
        let task = self.find(target).await?;
        let mut row = task_row(&task, self.now());
        if let Some(run) = self.store().run(task.run_id).await? {
            row["model"] = json!(run.facts.model);
            row["askedModel"] = json!(run.facts.asked);
            row["fallbackReason"] = json!(run.facts.switched);
            row["usage"] = json!(run.usage);
            row["steps"] = json!(run.steps);
        }
        row["progressCard"] = shown::card(self.store(), &task.session_key).await?;
        let run = task.run_id;
        if let Some(halt) = ask(self.store(), move |rows| rows.halt(run)).await? {
            row["stop"] = json!({
                "state": halt.state, "pids": halt.pids, "calls": halt.calls,
                "askedAt": halt.asked, "lookedAt": halt.looked,
            });
        }
        Ok(row)
    }

    async fn log(&self, target: &TaskTarget, limit: u32) -> Told {
        let task = self.find(target).await?;
        let session = self.store().session(&task.session_key).await?;
        let session = session.ok_or_else(|| Unanswered("Its session is gone.".to_owned()))?;
        self.transcript(&session, limit, true, 0).await
    }
}

/// What a run that waits is waiting for, by name.
fn waits(run: &RunFacts, children: &[TaskView], sent: &[SentView]) -> Value {
    let Some(kind) = run.wait_kind else { return Value::Null };
    let waited = children.iter().filter(|task| task.waited_by == Some(run.id));
    let waited: Vec<Value> = waited
        .map(|task| {
            json!({ "taskId": task.id, "taskName": task.task_name, "sessionKey": task.session_key })
        })
        .collect();
    // One that rests without children does so for whatever comes to its messages.
    let rests = kind == WaitKind::Children && waited.is_empty();
    let replies = sent.iter().filter(|message| message.waits || rests && !message.settled);
    let replies: Vec<Value> = replies
        .map(|message| json!({ "messageId": message.message, "sessionKey": message.session_key }))
        .collect();
    json!({ "kind": kind, "need": run.wait_need, "children": waited, "replies": replies })
}

fn relation(session: &SessionView) -> Relation<'_> {
    Relation { key: &session.key, parent: session.parent_key.as_ref(), root: &session.root_key }
}

fn session_row(session: &SessionView, now: Timestamp) -> Value {
    let mut row = json!(session.words(now));
    row["key"] = json!(session.key);
    row["kind"] = json!(session.key.scope.kind());
    row["label"] = json!(session.label);
    row["model"] = json!(session.model);
    row["contextTokens"] = json!(session.context_tokens);
    row["totalTokens"] = json!(session.usage.total());
    row["openChildren"] = json!(session.open_children);
    row["updatedAt"] = json!(session.active);
    row
}

fn task_row(task: &TaskView, now: Timestamp) -> Value {
    let mut row = json!(task.words(Lifecycle::Open, now));
    row["taskId"] = json!(task.id);
    row["taskName"] = json!(task.task_name);
    row["label"] = json!(task.label);
    row["sessionKey"] = json!(task.session_key);
    row["parentTaskId"] = json!(task.parent);
    row["depth"] = json!(task.depth);
    row["error"] = json!(task.run.as_ref().and_then(|run| run.error.as_ref()));
    if let Some(started) = task.run.as_ref().and_then(|run| run.started) {
        let ended = task.ended.unwrap_or(now);
        row["runtimeMs"] = json!(ended.since(started).as_millis() as u64);
    }
    row
}

fn flow_row(flow: &FlowView, now: Timestamp) -> Value {
    let mut row = task_row(&flow.task, now);
    row["flowId"] = json!(flow.id);
    row["name"] = json!(flow.name);
    row["tasks"] = json!(flow.nodes.len());
    for state in FlowNodeState::ALL {
        row[state.as_str()] = json!(flow.count(&[*state]));
    }
    row
}

fn node_row(node: &FlowNodeView, now: Timestamp) -> Value {
    json!({
        "id": node.name,
        "state": node.state,
        "dependsOn": node.after,
        "agentId": node.agent,
        "attempt": node.attempt,
        "error": node.error,
        "task": node.task.as_ref().map(|task| task_row(task, now)),
    })
}

/// How many bytes of each message fit into a page of so many.
fn share(messages: usize) -> usize {
    (PAGE_BYTES / messages.max(1)).max(MESSAGE_BYTES_MIN)
}

/// One message of a history, of which `bytes` are shown. Tool calls and results are shown only
/// where asked for.
fn message(entry: &EntryView, include_tools: bool, bytes: Range<usize>) -> Option<Value> {
    let (role, text) = match entry.kind {
        EntryKind::Assistant => {
            let answer: AssistantMessage = serde_json::from_str(&entry.body).ok()?;
            let calls = answer.calls.iter().map(|call| format!("[call {}]", call.name));
            let calls = calls.collect::<Vec<_>>().join(" ");
            match (answer.text.is_empty(), include_tools) {
                (true, false) => return None,
                (_, false) => ("assistant", answer.text),
                (_, true) => ("assistant", format!("{}{calls}", answer.text)),
            }
        }
        EntryKind::ToolResult if !include_tools => return None,
        EntryKind::ToolResult => {
            let result: ToolResult = serde_json::from_str(&entry.body).ok()?;
            ("toolResult", result.text)
        }
        kind => (kind.as_str(), entry.body.clone()),
    };
    // Before it is cut: half a key would not look like one.
    let covered = redact(&text);
    let redacted = covered.is_some();
    let text = covered.unwrap_or(text);
    let from = text.floor_char_boundary(bytes.start);
    let to = text.floor_char_boundary(bytes.end);
    let cut = to < text.len();
    let shown = &text[from..to];
    let mut row = json!({ "seq": entry.seq, "role": role, "text": shown, "truncated": cut });
    if cut || bytes.start > 0 {
        row["bytes"] = json!(text.len());
    }
    if cut {
        // What `fromByte` takes.
        row["nextByte"] = json!(to);
    }
    if redacted {
        row["redacted"] = json!(true);
    }
    Some(row)
}

#[cfg(test)]
mod tests {
    use types::{RunId, SessionId};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_message_that_is_asked_for_alone_is_there_whole() {
        let entry = EntryView {
            session_id: SessionId::new(Uuid::nil()),
            seq: 7,
            run: RunId::new(Uuid::nil()),
            step: None,
            kind: EntryKind::User,
            call_id: None,
            body: "x".repeat(100_000),
            tokens: 1,
            at: Timestamp(1),
            silent: false,
        };
        for (messages, bytes, cut) in
            [(1, 100_000, false), (2, 65_536, true), (1_000, MESSAGE_BYTES_MIN, true)]
        {
            let shown = message(&entry, false, 0..share(messages)).unwrap();
            assert_eq!(shown["text"].as_str().unwrap().len(), bytes, "one of {messages}");
            assert_eq!(shown["truncated"], cut, "one of {messages}");
        }
    }
    #[test]
    fn a_long_message_is_read_on_where_it_was_cut() {
        let text = "aé🜁".repeat(50_000);
        let entry = EntryView {
            session_id: SessionId::new(Uuid::nil()),
            seq: 7,
            run: RunId::new(Uuid::nil()),
            step: None,
            kind: EntryKind::User,
            call_id: None,
            body: text.clone(),
            tokens: 1,
            at: Timestamp(1),
            silent: false,
        };
        let (mut read, mut from) = (String::new(), Some(0));
        while let Some(next) = from {
            let page = message(&entry, false, next..next + PAGE_BYTES).unwrap();
            read += page["text"].as_str().unwrap();
            assert_eq!(page["bytes"], text.len());
            from = page["nextByte"].as_u64().map(|next| next as usize);
        }
        assert_eq!(read, text);
    }
}
