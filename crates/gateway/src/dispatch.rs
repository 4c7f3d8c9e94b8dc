//! From a request to its answer: the method, the right to call it, its parameters, the function.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;

use futures::FutureExt;
use protocol::sessions::SubscribeResult;
use protocol::{Call, ErrorShape, Method, Request, Response, Scopes};
use serde::Serialize;
use serde_json::Value;

use crate::gateway::Gateway;
use crate::methods::{
    administer, agent_files, agents, approvals, audit, chat, context, flows, health, history,
    models, runs, sessions, spawn, tasks, tools, usage,
};
use crate::subscribe::Subscriber;

/// The methods that clients are told of: all but the one that they have called to hear of it.
pub fn served() -> Vec<Method> {
    Method::ALL.iter().copied().filter(|method| *method != Method::Connect).collect()
}

/// Answers a request, also when its work panics.
pub async fn answer(
    gateway: &Gateway,
    client: &Subscriber,
    scopes: &Scopes,
    request: Request,
) -> Response {
    let id = request.id.clone();
    let method = request.method.clone();
    let work = AssertUnwindSafe(answer_unguarded(gateway, client, scopes, request));
    work.catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(method, "a call panicked");
        let error = ErrorShape::unavailable(format!("internal error in {method}, a bug"));
        Response::err(id, ErrorShape { retryable: Some(false), ..error })
    })
}

async fn answer_unguarded(
    gateway: &Gateway,
    client: &Subscriber,
    scopes: &Scopes,
    request: Request,
) -> Response {
    let Request { id, method, params } = request;
    let call = match permitted(&method, &params, scopes) {
        Ok(call) => call,
        Err(error) => return Response::err(id, error),
    };
    match call {
        Call::Agent(params) => runs::agent(gateway, &client.outbox, &id, params).await,
        call => match result(gateway, client, call).await {
            Ok(payload) => Response { payload: Some(payload), ..Response::ok(id, &()) },
            Err(error) => Response::err(id, error),
        },
    }
}

/// The one place where scopes are checked. Who may not call a method is not told how to.
fn permitted(method: &str, params: &Value, scopes: &Scopes) -> Result<Call, ErrorShape> {
    let known: Method = method.parse().map_err(|_| ErrorShape::unknown_method(method))?;
    match known.scope() {
        None => Err(ErrorShape::invalid_request("this connection is connected already")),
        Some(scope) if !scopes.allow(scope) => {
            Err(ErrorShape::missing_scope(method, scope, scopes))
        }
        Some(_) => Call::parse(method, params),
    }
}

async fn result(gateway: &Gateway, client: &Subscriber, call: Call) -> Result<Value, ErrorShape> {
    match call {
        Call::Health(params) => json(&health::health(gateway, &params).await?),
        Call::Status(params) => json(&health::status(gateway, &params).await?),
        Call::AgentWait(params) => json(&runs::wait(gateway, params).await?),
        Call::ChatSend(params) => chat::send(gateway, params).await,
        Call::ChatHistory(params) => json(&history::history(gateway, params).await?),
        Call::ChatAbort(params) => json(&chat::abort(gateway, params).await?),
        Call::SessionsList(params) => json(&sessions::list(gateway, params).await?),
        Call::SessionsDescribe(params) => json(&sessions::describe(gateway, params).await?),
        Call::SessionsSubscribe(_) => {
            client.sessions.store(true, Ordering::Relaxed);
            json(&SubscribeResult { subscribed: true })
        }
        Call::SessionsPreview(params) => json(&administer::preview(gateway, params).await?),
        Call::SessionsResolve(params) => json(&administer::resolve(gateway, params).await?),
        Call::SessionsPatch(params) => json(&administer::patch(gateway, params).await?),
        Call::SessionsAbort(params) => json(&administer::abort(gateway, params).await?),
        Call::SessionsReset(params) => json(&administer::reset(gateway, params).await?),
        Call::SessionsDelete(params) => json(&administer::delete(gateway, params).await?),
        Call::SessionsCompact(params) => json(&administer::compact(gateway, params).await?),
        Call::SessionsMessage(params) => json(&sessions::message(gateway, params).await?),
        Call::SessionsSpawn(params) => spawn::spawn(gateway, params).await,
        Call::SessionsContext(params) => json(&context::context(gateway, params).await?),
        Call::ProgressCardGet(params) => json(&sessions::card(gateway, params).await?),
        Call::AgentsList(_) => json(&agents::list(gateway)),
        Call::AgentsCreate(params) => json(&agents::create(gateway, params).await?),
        Call::AgentsUpdate(params) => json(&agents::update(gateway, params).await?),
        Call::AgentsDelete(params) => json(&agents::delete(gateway, params).await?),
        Call::AgentsFilesList(params) => json(&agent_files::list(gateway, params).await?),
        Call::AgentsFilesGet(params) => json(&agent_files::get(gateway, params).await?),
        Call::AgentsFilesSet(params) => json(&agent_files::set(gateway, params).await?),
        Call::ModelsList(params) => json(&models::list_result(gateway, &params)),
        Call::ModelsAuthStatus(_) => json(&models::auth_status(gateway)),
        Call::ToolsEffective(params) => json(&tools::effective(gateway, params).await?),
        Call::ToolsCatalog(params) => json(&tools::catalog(gateway, params)?),
        Call::TasksList(params) => json(&tasks::list(gateway, params).await?),
        Call::TasksGet(params) => json(&tasks::get(gateway, params.task).await?),
        Call::TasksCancel(params) => json(&tasks::cancel(gateway, params.task).await?),
        Call::TasksRetry(params) => tasks::retry(gateway, params).await,
        Call::TasksAudit(_) => json(&audit::audit(gateway).await?),
        Call::TasksRedeliver(params) => audit::redeliver(gateway, params.task).await,
        Call::ExecApprovalList(params) => json(&approvals::list(gateway, params).await?),
        Call::ExecApprovalGet(params) => json(&approvals::get(gateway, params).await?),
        Call::ExecApprovalResolve(params) => json(&approvals::resolve(gateway, params).await?),
        Call::ExecApprovalGrantsList(_) => json(&approvals::grants(gateway).await?),
        Call::ExecApprovalGrantsRevoke(params) => json(&approvals::revoke(gateway, params).await?),
        Call::UsageReport(params) => json(&usage::report(gateway, params).await?),
        Call::BudgetsList(_) => json(&usage::budgets(gateway).await?),
        Call::BudgetsRaise(params) => json(&usage::raise(gateway, params).await?),
        Call::ConfigReload(params) => json(&gateway.info.configured.reload(params.dry_run).await),
        Call::TasksFlowStart(params) => json(&flows::start(gateway, params).await?),
        Call::TasksFlowList(params) => json(&flows::list(gateway, params).await?),
        Call::TasksFlowGet(params) => json(&flows::get(gateway, params).await?),
        Call::TasksFlowCancel(params) => json(&flows::cancel(gateway, params).await?),
        Call::SubagentsList(params) => json(&tasks::subagents(gateway, params).await?),
        // Answered elsewhere: `agent` twice, `connect` once.
        Call::Agent(_) | Call::Connect(_) => Err(ErrorShape::unknown_method("connect")),
    }
}

fn json(result: &impl Serialize) -> Result<Value, ErrorShape> {
    serde_json::to_value(result).map_err(|error| {
        let error = ErrorShape::unavailable(format!("the result is no JSON, a bug: {error}"));
        ErrorShape { retryable: Some(false), ..error }
    })
}

#[cfg(test)]
mod tests {
    use protocol::Scope;
    use serde_json::json;

    use super::*;

    #[test]
    fn rights_come_before_parameters() {
        let read = Scopes::from_iter([Scope::Read]);
        let refusal = |method, params, scopes: &Scopes| {
            permitted(method, &params, scopes).map_err(|error| error.message)
        };
        let none = Scopes::default();
        for (method, scopes, told) in [
            ("no.such", &read, "unknown method: no.such"),
            ("chat.send", &read, "missing scope: operator.write (`chat.send`"),
            ("health", &none, "missing scope: operator.read (`health`"),
            ("connect", &read, "this connection is connected already"),
        ] {
            let refused = refusal(method, json!({}), scopes).unwrap_err();
            assert!(refused.starts_with(told), "{refused}");
        }
        assert!(refusal("health", json!({}), &read).is_ok());
    }

    #[test]
    fn what_is_listed_has_a_scope() {
        assert!(served().iter().all(|method| method.scope().is_some()));
        assert!(served().contains(&Method::Agent));
    }
}
