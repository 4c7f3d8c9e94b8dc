//! `tasks.flow.start`, `.list`, `.get`, `.cancel`: declared flows, started and looked at.

use machine::event::Asked;
use machine::rows::{FlowNodeState, TaskKind};
use machine::{Answer, Event};
use protocol::ErrorShape;
use protocol::flows::{
    FlowParams, FlowSummary, GetResult, ListParams, ListResult, NodeRow, NodeState, StartParams,
    StartResult,
};
use protocol::tasks::TaskCancelResult;
use serde_json::Value;
use store::StoreError;
use store::query::{Query, ask};
use store::view::{FlowNodeView, FlowView, TaskFilter};
use types::{FlowTarget, InternalCall, SessionKey, Timestamp};

use crate::gateway::{Gateway, unreadable};
use crate::methods::chat::{ORIGIN, OWNER};
use crate::methods::tasks::{self, task_status};
use crate::refusal::{not_submitted, refused, unexpected};
use crate::view;

/// Longest excerpt of a result, in characters.
const SUMMARY_CHARS_MAX: usize = 400;

/// `tasks.flow.start`
pub async fn start(gateway: &Gateway, params: StartParams) -> Result<StartResult, ErrorShape> {
    let agent = &gateway.default_agent();
    let session = match params.session {
        Some(session) => session.resolve(agent),
        None => SessionKey::main(agent.clone()),
    };
    let told = told(gateway, session, InternalCall::StartFlow(Box::new(params.flow))).await?;
    serde_json::from_value(told).map_err(|error| {
        tracing::error!(%error, "the start of a flow is answered with something else");
        ErrorShape::unavailable("internal error, a bug")
    })
}

/// Does what an agent would do with a tool, in the name of a session. A refusal is an error.
pub async fn told(
    gateway: &Gateway,
    session: SessionKey,
    call: InternalCall,
) -> Result<Value, ErrorShape> {
    let asked = Asked {
        session,
        owner: OWNER.to_owned(),
        origin: ORIGIN.to_owned(),
        mark: format!("call:{}", gateway.now().ms()),
        call,
    };
    let (text, is_error) = match gateway.handle.submit(Event::Ask(asked)).await {
        Ok(Answer::Told { text, is_error }) => (text, is_error),
        Ok(Answer::Refused(refusal)) => return Err(refused(&refusal)),
        Ok(answer) => return Err(unexpected(&answer)),
        Err(error) => return Err(not_submitted(&error)),
    };
    let value: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    if !is_error {
        return Ok(value);
    }
    let word = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let why = format!("{} ({})", word("error"), word("code"));
    match word("code").as_str() {
        "draining" => Err(refused(&machine::Refusal::Draining)),
        _ => Err(ErrorShape::invalid_request(why)),
    }
}

/// `tasks.flow.list`
pub async fn list(gateway: &Gateway, params: ListParams) -> Result<ListResult, ErrorShape> {
    let now = gateway.now();
    let requester = params.session.clone().map(|key| key.resolve(&gateway.default_agent()));
    ask(gateway.handle.store(), move |rows| page(rows, &params, requester, now))
        .await
        .map_err(unreadable)
}

fn page(
    rows: &dyn Query,
    params: &ListParams,
    requester: Option<SessionKey>,
    now: Timestamp,
) -> Result<ListResult, StoreError> {
    let open_only = !params.status.is_empty() && params.status.iter().all(|s| s.is_open());
    let limit = usize::try_from(params.limit).unwrap_or(usize::MAX);
    let kind = Some(TaskKind::Flow);
    let mut filter = TaskFilter { requester, open_only, kind, limit, ..TaskFilter::default() };
    let mut flows = Vec::new();
    while flows.len() < limit {
        let tasks = rows.tasks(&filter)?;
        let Some(last) = tasks.last().map(|task| task.id) else { break };
        filter.before = Some(last);
        for task in tasks {
            let status = task_status(&task, now);
            if !params.status.is_empty() && !params.status.contains(&status) {
                continue;
            }
            if let Some(flow) = rows.flow(FlowTarget::Task(task.id))? {
                flows.push(summary(&flow, now));
            }
        }
    }
    flows.truncate(limit);
    Ok(ListResult { flows })
}

fn summary(flow: &FlowView, now: Timestamp) -> FlowSummary {
    use FlowNodeState::{Cancelled, Completed, Failed, Running, Skipped};

    FlowSummary {
        flow_id: flow.id,
        task_id: flow.task.id,
        name: flow.name.clone(),
        status: status(flow, now),
        session_key: flow.task.requester_key.clone(),
        max_parallel: flow.max_parallel,
        on_failure: flow.on_failure,
        tasks: u32::try_from(flow.nodes.len()).unwrap_or(u32::MAX),
        completed: flow.count(&[Completed]),
        running: flow.count(&[Running]),
        lost: flow.count(&[Failed, Skipped, Cancelled]),
        created_at: flow.created,
        ended_at: flow.task.ended,
    }
}

/// A flow has no executor of its own: it runs as long as one of its tasks does.
fn status(flow: &FlowView, now: Timestamp) -> protocol::tasks::TaskStatus {
    use protocol::tasks::TaskStatus;

    let own = task_status(&flow.task, now);
    let runs = |node: &FlowNodeView| {
        node.task.as_ref().is_some_and(|task| task_status(task, now) == TaskStatus::Running)
    };
    match own.is_open() && flow.nodes.iter().any(runs) {
        true => TaskStatus::Running,
        false => own,
    }
}

/// `tasks.flow.get`
pub async fn get(gateway: &Gateway, params: FlowParams) -> Result<GetResult, ErrorShape> {
    let now = gateway.now();
    let found = ask(gateway.handle.store(), move |rows| {
        let Some(flow) = rows.flow(params.flow)? else { return Ok(None) };
        let mut nodes = Vec::with_capacity(flow.nodes.len());
        for node in &flow.nodes {
            nodes.push(row(rows, node, now)?);
        }
        let result = match flow.task.result_hash {
            Some(hash) => rows.blob(hash)?,
            None => None,
        };
        Ok(Some(GetResult { flow: summary(&flow, now), nodes, result }))
    });
    found.await.map_err(unreadable)?.ok_or_else(|| unknown(params.flow))
}

fn unknown(flow: FlowTarget) -> ErrorShape {
    ErrorShape::invalid_request(format!("no flow `{flow}`; tasks.flow.list shows those there are"))
}

fn row(rows: &dyn Query, node: &FlowNodeView, now: Timestamp) -> Result<NodeRow, StoreError> {
    let task = node.task.as_ref();
    let run = task.and_then(|task| task.run.as_ref());
    let result = match task.and_then(|task| task.result_hash) {
        Some(hash) => rows.blob(hash)?,
        None => None,
    };
    let state = match node.state {
        FlowNodeState::Pending => NodeState::Pending,
        FlowNodeState::Running => NodeState::Running,
        FlowNodeState::Completed => NodeState::Completed,
        FlowNodeState::Failed => NodeState::Failed,
        FlowNodeState::Skipped => NodeState::Skipped,
        FlowNodeState::Cancelled => NodeState::Cancelled,
    };
    let open = task.filter(|task| task.outcome.is_none());
    let words = open.map(|task| task.words(machine::rows::Lifecycle::Open, now));
    Ok(NodeRow {
        id: node.name.clone(),
        state,
        depends_on: node.after.clone(),
        agent_id: node.agent.clone(),
        access: node.access,
        label: node.label.clone(),
        attempt: node.attempt,
        retries: node.retries,
        activity: words.map(|words| words.activity.to_string()),
        task_id: task.map(|task| task.id),
        session_key: task.map(|task| task.session_key.clone()),
        started_at: run.and_then(|run| run.started),
        ended_at: task.and_then(|task| task.ended),
        error: node.error.clone().or_else(|| run.and_then(|run| run.error.clone())),
        summary: result.map(|text| view::clip(&text, SUMMARY_CHARS_MAX)),
    })
}

/// `tasks.flow.cancel`
pub async fn cancel(gateway: &Gateway, params: FlowParams) -> Result<TaskCancelResult, ErrorShape> {
    let flow = ask(gateway.handle.store(), move |rows| rows.flow(params.flow));
    let flow = flow.await.map_err(unreadable)?.ok_or_else(|| unknown(params.flow))?;
    tasks::cancel(gateway, flow.task.id).await
}
