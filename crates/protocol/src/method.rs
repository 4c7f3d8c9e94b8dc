//! The method table: every call that we know, what it needs, and where it comes from.

use serde_json::Value;

use crate::error::ErrorShape;
use crate::fields::{Fields, InvalidField};
use crate::scope::Scope;
use crate::{
    administer, agent, agents, approvals, audit, card, chat, config, context, flows, handshake,
    health, models, receipt, sessions, spawn, tasks, tools, usage,
};

/// Parameters of one method.
pub trait Params: Sized {
    fn read(fields: &Fields<'_>) -> Result<Self, InvalidField>;
}

/// Makes [`Method`] and [`Call`] out of the one table.
macro_rules! methods {
    ($($variant:ident($params:ty) = $name:literal, $scope:expr, $since:literal;)+) => {
        types::word_enum! {
            /// A method that we know by name.
            pub enum Method { $($variant = $name,)+ }
        }

        impl Method {
            /// The right that a connection needs; `None` for `connect`, which grants them.
            pub const fn scope(self) -> Option<Scope> {
                match self { $(Method::$variant => $scope,)+ }
            }

            /// The first release that had it: OpenClaw's, or our own with the word before it.
            pub const fn since(self) -> &'static str {
                match self { $(Method::$variant => $since,)+ }
            }
        }

        /// A call whose parameters have been read.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Call { $($variant($params),)+ }

        impl Call {
            /// Reads the call that a request makes.
            pub fn parse(method: &str, params: &Value) -> Result<Call, ErrorShape> {
                let known = method.parse().map_err(|_| ErrorShape::unknown_method(method))?;
                let call = Fields::of(params).and_then(|fields| match known {
                    $(Method::$variant => Params::read(&fields).map(Call::$variant),)+
                });
                call.map_err(|invalid| invalid.refusal(method))
            }

            pub const fn method(&self) -> Method {
                match self { $(Call::$variant(_) => Method::$variant,)+ }
            }
        }
    };
}

const READ: Option<Scope> = Some(Scope::Read);
const WRITE: Option<Scope> = Some(Scope::Write);
const ADMIN: Option<Scope> = Some(Scope::Admin);
const APPROVALS: Option<Scope> = Some(Scope::Approvals);

methods! {
    Connect(handshake::ConnectParams)         = "connect",            None,  "<=2026.7";
    Health(health::HealthParams)              = "health",             READ,  "<=2026.7";
    Status(health::StatusParams)              = "status",             READ,  "<=2026.7";
    Agent(agent::AgentParams)                 = "agent",              WRITE, "<=2026.7";
    AgentWait(agent::AgentWaitParams)         = "agent.wait",         WRITE, "<=2026.7";
    ChatSend(chat::ChatSendParams)            = "chat.send",          WRITE, "<=2026.7";
    ChatHistory(chat::ChatHistoryParams)      = "chat.history",       READ,  "<=2026.7";
    ChatAbort(chat::ChatAbortParams)          = "chat.abort",         WRITE, "<=2026.7";
    SessionsList(sessions::ListParams)        = "sessions.list",      READ,  "<=2026.7";
    SessionsDescribe(sessions::DescribeParams) = "sessions.describe", READ,  "<=2026.7";
    SessionsSubscribe(sessions::SubscribeParams) = "sessions.subscribe", READ, "<=2026.7";
    SessionsPreview(administer::PreviewParams) = "sessions.preview",  READ,  "<=2026.7";
    SessionsResolve(administer::ResolveParams) = "sessions.resolve",  READ,  "<=2026.7";
    SessionsPatch(administer::PatchParams)    = "sessions.patch",     WRITE, "<=2026.7";
    SessionsAbort(administer::AbortParams)    = "sessions.abort",     WRITE, "<=2026.7";
    SessionsReset(administer::ResetParams)    = "sessions.reset",     ADMIN, "<=2026.7";
    SessionsDelete(administer::DeleteParams)  = "sessions.delete",    ADMIN, "<=2026.7";
    SessionsCompact(administer::CompactParams) = "sessions.compact",  ADMIN, "<=2026.7";
    SessionsMessage(receipt::MessageParams)   = "sessions.message",   READ,  "windlass 0.1";
    SessionsSpawn(spawn::SpawnParams)         = "sessions.spawn",     WRITE, "windlass 0.1";
    SessionsContext(context::ContextParams)   = "sessions.context",   READ,  "windlass 0.1";
    ProgressCardGet(card::GetParams)          = "progressCard.get",   READ,  "2026.8";
    AgentsList(agents::ListParams)            = "agents.list",        READ,  "<=2026.7";
    AgentsCreate(agents::CreateParams)        = "agents.create",      ADMIN, "<=2026.7";
    AgentsUpdate(agents::UpdateParams)        = "agents.update",      ADMIN, "<=2026.7";
    AgentsDelete(agents::DeleteParams)        = "agents.delete",      ADMIN, "<=2026.7";
    AgentsFilesList(agents::FilesListParams)  = "agents.files.list",  READ,  "<=2026.7";
    AgentsFilesGet(agents::FilesGetParams)    = "agents.files.get",   READ,  "<=2026.7";
    AgentsFilesSet(agents::FilesSetParams)    = "agents.files.set",   ADMIN, "<=2026.7";
    ModelsList(models::ListParams)            = "models.list",        READ,  "<=2026.7";
    ModelsAuthStatus(models::AuthStatusParams) = "models.authStatus", READ,  "<=2026.7";
    ToolsEffective(tools::EffectiveParams)    = "tools.effective",    READ,  "<=2026.7";
    ToolsCatalog(tools::CatalogParams)        = "tools.catalog",      READ,  "<=2026.7";
    TasksList(tasks::TasksListParams)         = "tasks.list",         READ,  "<=2026.7";
    TasksAudit(audit::AuditParams)            = "tasks.audit",        READ,  "windlass 0.1";
    TasksRedeliver(tasks::TaskParams)         = "tasks.redeliver",    WRITE, "windlass 0.1";
    TasksFlowStart(flows::StartParams)        = "tasks.flow.start",   WRITE, "windlass 0.1";
    TasksFlowList(flows::ListParams)          = "tasks.flow.list",    READ,  "windlass 0.1";
    TasksFlowGet(flows::FlowParams)           = "tasks.flow.get",     READ,  "windlass 0.1";
    TasksFlowCancel(flows::FlowParams)        = "tasks.flow.cancel",  WRITE, "windlass 0.1";
    TasksGet(tasks::TaskParams)               = "tasks.get",          READ,  "<=2026.7";
    TasksCancel(tasks::TaskParams)            = "tasks.cancel",       WRITE, "<=2026.7";
    TasksRetry(tasks::RetryParams)            = "tasks.retry",        WRITE, "windlass 0.1";
    SubagentsList(tasks::SubagentsListParams) = "subagents.list",     READ,  "windlass 0.1";
    ExecApprovalList(approvals::ListParams)   = "exec.approval.list", APPROVALS, "<=2026.7";
    ExecApprovalGet(approvals::GetParams)     = "exec.approval.get",  APPROVALS, "<=2026.7";
    ExecApprovalResolve(approvals::ResolveParams) = "exec.approval.resolve", APPROVALS, "<=2026.7";
    ExecApprovalGrantsList(approvals::GrantsParams)
        = "exec.approval.grants.list", APPROVALS, "2026.9";
    ExecApprovalGrantsRevoke(approvals::RevokeParams)
        = "exec.approval.grants.revoke", APPROVALS, "2026.9";
    UsageReport(usage::ReportParams)          = "usage.report",       READ,  "windlass 0.1";
    BudgetsList(usage::BudgetsParams)         = "budgets.list",       READ,  "windlass 0.1";
    BudgetsRaise(usage::RaiseParams)          = "budgets.raise",      ADMIN, "windlass 0.1";
    ConfigReload(config::ReloadParams)        = "config.reload",      ADMIN, "windlass 0.1";
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_wrong_call_is_told_its_field() {
        let key = "agent:main:main";
        let calls = [
            ("sessions.fork", json!({})),
            ("health", json!([1])),
            ("agent", json!({})),
            ("agent", json!({"message": " ", "idempotencyKey": "k"})),
            ("agent", json!({"message": "hi"})),
            ("agent", json!({"message": "hi", "idempotencyKey": "k", "timeout": -1})),
            ("agent", json!({"message": "hi", "idempotencyKey": "k", "agentId": "-x"})),
            ("agent", json!({"message": "hi", "idempotencyKey": "k", "attachments": [{}]})),
            ("agent.wait", json!({"runId": 7})),
            ("chat.send", json!({"message": "hi", "idempotencyKey": "k"})),
            ("chat.send", json!({"sessionKey": "a b", "message": "hi", "idempotencyKey": "k"})),
            ("chat.send", json!({"sessionKey": key, "message": "hi"})),
            (
                "chat.send",
                json!({"sessionKey": key, "message": "hi", "idempotencyKey": "k",
                       "queueMode": "shout"}),
            ),
            (
                "chat.send",
                json!({"sessionKey": key, "agentId": "ops", "message": "hi",
                       "idempotencyKey": "k"}),
            ),
            ("chat.history", json!({"sessionKey": key, "limit": 1001})),
            ("chat.abort", json!({"sessionKey": "x".repeat(600)})),
            ("sessions.list", json!({"limit": "ten"})),
            ("sessions.describe", json!({"key": null})),
            ("chat.history", json!({"sessionKey": key, "sessionId": "7"})),
            ("tasks.list", json!({"status": ["running", "lost"]})),
            ("subagents.list", json!({"sessionKey": {}})),
        ];
        let told = calls.map(|(method, params)| Call::parse(method, &params).unwrap_err().message);
        assert_snapshot!(told.join("\n"), @r#"
        unknown method: sessions.fork
        invalid health params: `params`: expected an object, got an array of 1
        invalid agent params: `message` is missing: expected a string that is not empty
        invalid agent params: `message`: expected a string that is not empty, got the string " "
        invalid agent params: `idempotencyKey` is missing: expected a string that is not empty
        invalid agent params: `timeout`: expected an integer of at least 0, got -1
        invalid agent params: `agentId`: expected an agent id: a letter or digit, then up to 63 of `a-z 0-9 _ -`, got the string "-x"
        invalid agent params: `attachments`: expected nothing, it is not supported yet, got an array
        invalid agent.wait params: `runId`: expected a string that is not empty, got 7
        invalid chat.send params: `sessionKey` is missing: expected a session key such as `agent:main:main` or `thread:budget`
        invalid chat.send params: `sessionKey`: expected a session key such as `agent:main:main` or `thread:budget`, got the string "a b"
        invalid chat.send params: `idempotencyKey` is missing: expected a string that is not empty
        invalid chat.send params: `queueMode`: expected one of "steer", "followup", "collect", "interrupt", got the string "shout"
        invalid chat.send params: `agentId`: expected `main`, the agent of `sessionKey`, got `ops`
        invalid chat.history params: `limit`: expected an integer from 1 to 1000, got 1001
        invalid chat.abort params: `sessionKey`: expected a session key such as `agent:main:main` or `thread:budget`, got the string "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" and more
        invalid sessions.list params: `limit`: expected an integer of at least 1, got the string "ten"
        invalid sessions.describe params: `key` is missing: expected a session key such as `agent:main:main` or `thread:budget`
        invalid chat.history params: `sessionId`: expected a session id: `ses_` and 32 hex digits, got the string "7"
        invalid tasks.list params: `status`: expected one of "queued", "running", "completed", "failed", "cancelled", "timed_out", or an array of them, got an array of 2
        invalid subagents.list params: `sessionKey`: expected a session key such as `agent:main:main` or `thread:budget`, got an object
        "#);
    }

    #[test]
    fn every_wrong_change_of_a_session_is_told_its_field() {
        let key = "agent:main:main";
        let calls = [
            ("sessions.reset", json!({})),
            ("sessions.reset", json!({"key": key, "reason": "bored"})),
            ("sessions.patch", json!({"key": key, "label": 7})),
            ("sessions.patch", json!({"key": key, "thinkingLevel": "loud"})),
            ("sessions.patch", json!({"key": key, "queueMode": "shout"})),
            ("sessions.patch", json!({"key": key, "taskStatus": "in_progress"})),
            ("sessions.delete", json!({"key": key, "expectedSessionId": "x"})),
            ("sessions.compact", json!({"key": key, "maxLines": 100})),
            ("sessions.abort", json!({})),
            ("sessions.preview", json!({"keys": []})),
            ("sessions.preview", json!({"keys": ["a b"]})),
            ("sessions.resolve", json!({"agentId": "main"})),
        ];
        let told = calls.map(|(method, params)| Call::parse(method, &params).unwrap_err().message);
        assert_snapshot!(told.join("\n"), @r#"
        invalid sessions.reset params: `key` is missing: expected a session key such as `agent:main:main` or `thread:budget`
        invalid sessions.reset params: `reason`: expected one of "new", "reset", got the string "bored"
        invalid sessions.patch params: `label`: expected a string, got 7
        invalid sessions.patch params: `thinkingLevel`: expected one of "off", "minimal", "low", "medium", "high", "xhigh", "max", got the string "loud"
        invalid sessions.patch params: `queueMode`: expected one of "steer", "followup", "collect", "interrupt", got the string "shout"
        invalid sessions.patch params: `taskStatus`: expected one of "completed", "failed", "cancelled", "unknown", got the string "in_progress"
        invalid sessions.delete params: `expectedSessionId`: expected a session id: `ses_` and 32 hex digits, got the string "x"
        invalid sessions.compact params: `maxLines`: expected nothing, it is not supported yet, got a number
        invalid sessions.abort params: `key` is missing: expected a session key, or `runId`
        invalid sessions.preview params: `keys`: expected 1 to 64 session keys, such as `agent:main:main`, got 0 keys
        invalid sessions.preview params: `keys`: expected 1 to 64 session keys, such as `agent:main:main`, got "a b"
        invalid sessions.resolve params: `key` is missing: expected a session key, `sessionId` or `label`
        "#);
    }

    #[test]
    fn a_wrong_connect_is_told_its_field_and_shows_no_token() {
        let calls = [
            ("connect", json!({"minProtocol": 4})),
            (
                "connect",
                json!({"minProtocol": 4, "maxProtocol": 4, "client": {
                       "id": "cli", "version": "1", "platform": "linux", "mode": "operator"}}),
            ),
            (
                "connect",
                json!({"minProtocol": 4, "maxProtocol": 4, "auth": {"token": ["s3cret"]},
                       "client": {"id": "cli", "version": "1", "platform": "linux",
                       "mode": "cli"}}),
            ),
        ];
        let told = calls.map(|(method, params)| Call::parse(method, &params).unwrap_err().message);
        assert_snapshot!(told.join("\n"), @r#"
        invalid connect params: `client` is missing: expected an object
        invalid connect params: `client.mode`: expected one of "webchat", "cli", "ui", "backend", "node", "worker", "probe", "test", got the string "operator"
        invalid connect params: `auth.token`: expected a string, got an array
        "#);
    }

    #[test]
    fn a_refusal_repeats_the_field_for_programs() {
        let error = Call::parse("chat.history", &json!({"sessionKey": "main", "limit": 0}));
        assert_snapshot!(serde_json::to_string(&error.unwrap_err()).unwrap(), @r#"{"code":"INVALID_REQUEST","message":"invalid chat.history params: `limit`: expected an integer from 1 to 1000, got 0","details":{"code":"INVALID_FIELD","field":"limit","expected":"an integer from 1 to 1000","got":"0"}}"#);
    }

    #[test]
    fn fields_of_newer_clients_are_ignored() {
        let params = json!({"limit": 200, "includeDerivedTitles": true, "fromTheFuture": {}});
        let call = Call::parse("sessions.list", &params).unwrap();
        assert_eq!(call.method(), Method::SessionsList);
    }

    #[test]
    fn the_table() {
        let lines: Vec<String> = Method::ALL
            .iter()
            .map(|method| {
                let scope = method.scope().map_or("-", Scope::as_str);
                format!("{method:18} {scope:14} {}", method.since())
            })
            .collect();
        assert_snapshot!(lines.join("\n"), @r#"
        connect            -              <=2026.7
        health             operator.read  <=2026.7
        status             operator.read  <=2026.7
        agent              operator.write <=2026.7
        agent.wait         operator.write <=2026.7
        chat.send          operator.write <=2026.7
        chat.history       operator.read  <=2026.7
        chat.abort         operator.write <=2026.7
        sessions.list      operator.read  <=2026.7
        sessions.describe  operator.read  <=2026.7
        sessions.subscribe operator.read  <=2026.7
        sessions.preview   operator.read  <=2026.7
        sessions.resolve   operator.read  <=2026.7
        sessions.patch     operator.write <=2026.7
        sessions.abort     operator.write <=2026.7
        sessions.reset     operator.admin <=2026.7
        sessions.delete    operator.admin <=2026.7
        sessions.compact   operator.admin <=2026.7
        sessions.message   operator.read  windlass 0.1
        sessions.spawn     operator.write windlass 0.1
        sessions.context   operator.read  windlass 0.1
        progressCard.get   operator.read  2026.8
        agents.list        operator.read  <=2026.7
        agents.create      operator.admin <=2026.7
        agents.update      operator.admin <=2026.7
        agents.delete      operator.admin <=2026.7
        agents.files.list  operator.read  <=2026.7
        agents.files.get   operator.read  <=2026.7
        agents.files.set   operator.admin <=2026.7
        models.list        operator.read  <=2026.7
        models.authStatus  operator.read  <=2026.7
        tools.effective    operator.read  <=2026.7
        tools.catalog      operator.read  <=2026.7
        tasks.list         operator.read  <=2026.7
        tasks.audit        operator.read  windlass 0.1
        tasks.redeliver    operator.write windlass 0.1
        tasks.flow.start   operator.write windlass 0.1
        tasks.flow.list    operator.read  windlass 0.1
        tasks.flow.get     operator.read  windlass 0.1
        tasks.flow.cancel  operator.write windlass 0.1
        tasks.get          operator.read  <=2026.7
        tasks.cancel       operator.write <=2026.7
        tasks.retry        operator.write windlass 0.1
        subagents.list     operator.read  windlass 0.1
        exec.approval.list operator.approvals <=2026.7
        exec.approval.get  operator.approvals <=2026.7
        exec.approval.resolve operator.approvals <=2026.7
        exec.approval.grants.list operator.approvals 2026.9
        exec.approval.grants.revoke operator.approvals 2026.9
        usage.report       operator.read  windlass 0.1
        budgets.list       operator.read  windlass 0.1
        budgets.raise      operator.admin windlass 0.1
        config.reload      operator.admin windlass 0.1
        "#);
    }
}
