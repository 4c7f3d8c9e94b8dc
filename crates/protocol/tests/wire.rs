//! What we write, line by line, each after the name that it has in OpenClaw's published schema.
//! The lines were validated against the schema of `@openclaw/gateway-protocol` 2026.9.1, which
//! forbids unknown fields; after a change, validate them again.

use std::fmt::Write as _;

use insta::assert_snapshot;
use protocol::agent::{
    Accepted, AgentAccepted, AgentEvent, AgentFinal, AgentMeta, AgentResult, AgentStatus,
    AgentStream, AgentWaitResult, Disposition, Lifecycle, Payload, RunMeta, TerminalReply,
    ToolEvent,
};
use protocol::agents::{AgentModel, AgentRow};
use protocol::chat::{
    ChatAbortResult, ChatEvent, ChatHistoryResult, ChatSendResult, ChatState, ErrorDetail,
    ErrorKind, PendingInput, PendingInputs, PendingState, SendStatus,
};
use protocol::event::{Shutdown, Tick};
use protocol::handshake::{Client, ClientMode, ConnectAuth, Device, Role};
use protocol::health::{AgentHealth, Health, Heartbeat, RecentSession, SessionsHealth};
use protocol::hello::{Features, HelloAuth, PresenceEntry, Server, SessionDefaults, Snapshot};
use protocol::message::{Block, ChatRole};
use protocol::sessions::{SessionRow, SessionStatus, SessionsChanged};
use protocol::stop::StopReport;
use protocol::tasks::{DeliveryStatus, TaskStatus, TaskSummary, TasksListResult};
use protocol::{
    Challenge, ChatMessage, ConnectParams, ErrorShape, Event, EventFrame, HelloOk, Method, Request,
    Response, Scope, ServerFrame, StateVersion,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use types::{AgentId, FailureClass, SessionKey, Timestamp, ToolResult, Usage};

const AT: Timestamp = Timestamp(1_700_000_000_000);

/// Prints one line and checks that the other end reads the same back.
fn line<T: Serialize + DeserializeOwned>(lines: &mut String, schema: &str, value: &T) {
    let text = serde_json::to_string(value).unwrap();
    let back: T = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&back).unwrap(), text, "{schema}");
    writeln!(lines, "{schema} {text}").unwrap();
}

/// As [`line`], for what is only written.
fn written<T: Serialize>(lines: &mut String, schema: &str, value: &T) {
    writeln!(lines, "{schema} {}", serde_json::to_string(value).unwrap()).unwrap();
}

fn main_agent() -> AgentId {
    AgentId::main()
}

fn main_key() -> SessionKey {
    SessionKey::main(main_agent())
}

fn child_key() -> SessionKey {
    "agent:main:subagent:0193a5f0-6c7e-7cc2-a1b2-d3e4f5a6b7c8".parse().unwrap()
}

fn usage() -> Usage {
    Usage { input: 10, output: 5, cache_read: 100, cache_write: 0 }
}

fn said(text: &str) -> ChatMessage {
    ChatMessage::text(ChatRole::Assistant, text, AT)
}

fn health() -> Health {
    let sessions = SessionsHealth {
        path: "/state/windlass.db".to_owned(),
        count: 1,
        recent: vec![RecentSession { key: main_key(), updated_at: Some(AT), age: Some(5) }],
    };
    Health {
        ok: true,
        ts: AT,
        duration_ms: 1,
        channels: Default::default(),
        channel_order: Vec::new(),
        channel_labels: Default::default(),
        heartbeat_seconds: 0,
        default_agent_id: main_agent(),
        agents: vec![AgentHealth {
            agent_id: main_agent(),
            name: None,
            is_default: true,
            heartbeat: Heartbeat::off(),
            sessions: sessions.clone(),
        }],
        sessions,
    }
}

fn connect() -> ConnectParams {
    ConnectParams {
        min_protocol: 4,
        max_protocol: 4,
        client: Client {
            id: "cli".to_owned(),
            version: "0.1.0".to_owned(),
            platform: "linux".to_owned(),
            mode: ClientMode::Cli,
            display_name: Some("windlass".to_owned()),
            device_family: None,
            instance_id: None,
        },
        role: Role::Operator,
        scopes: [Scope::Read, Scope::Write].into_iter().collect(),
        caps: vec!["tool-events".to_owned()],
        auth: ConnectAuth { token: Some("t".to_owned()), password: None },
        device: Some(Device {
            id: "d".to_owned(),
            public_key: "k".to_owned(),
            signature: "s".to_owned(),
            signed_at: AT,
            nonce: "n".to_owned(),
        }),
    }
}

fn hello() -> HelloOk {
    let server = Server {
        version: "0.1.0".to_owned(),
        boot_id: Some("nod_1".to_owned()),
        conn_id: "c1".to_owned(),
    };
    let snapshot = Snapshot {
        presence: vec![PresenceEntry {
            mode: Some("cli".to_owned()),
            reason: Some("connect".to_owned()),
            ts: AT,
            ..PresenceEntry::default()
        }],
        health: health(),
        state_version: StateVersion { presence: 1, health: 1 },
        uptime_ms: 5,
        config_path: Some("/state/windlass.json".to_owned()),
        state_dir: Some("/state".to_owned()),
        session_defaults: SessionDefaults::of(main_agent(), true),
        auth_mode: "token".to_owned(),
    };
    let auth = HelloAuth {
        role: Role::Operator,
        scopes: [Scope::Read, Scope::Write].into_iter().collect(),
    };
    HelloOk::new(server, Features::of(&[Method::Health, Method::ChatSend]), snapshot, auth)
}

#[test]
fn the_handshake() {
    let mut lines = String::new();
    written(&mut lines, "ConnectParams", &connect());
    line(&mut lines, "HelloOk", &hello());
    let challenge = Event::Challenge(Challenge { nonce: "n".to_owned(), ts: AT });
    line(&mut lines, "EventFrame", &challenge.frame(None));
    assert_snapshot!(lines, @r#"
    ConnectParams {"minProtocol":4,"maxProtocol":4,"client":{"id":"cli","version":"0.1.0","platform":"linux","mode":"cli","displayName":"windlass"},"role":"operator","scopes":["operator.read","operator.write"],"caps":["tool-events"],"auth":{"token":"t"},"device":{"id":"d","publicKey":"k","signature":"s","signedAt":1700000000000,"nonce":"n"}}
    HelloOk {"type":"hello-ok","protocol":4,"server":{"version":"0.1.0","bootId":"nod_1","connId":"c1"},"features":{"methods":["health","chat.send"],"events":["connect.challenge","chat","agent","sessions.changed","tick","shutdown","health","queue.wait","provider.gate","gap","session.operation","progressCard.changed","exec.approval.requested","exec.approval.resolved"]},"snapshot":{"presence":[{"mode":"cli","reason":"connect","ts":1700000000000}],"health":{"ok":true,"ts":1700000000000,"durationMs":1,"channels":{},"channelOrder":[],"channelLabels":{},"heartbeatSeconds":0,"defaultAgentId":"main","agents":[{"agentId":"main","isDefault":true,"heartbeat":{"enabled":false,"every":"disabled","everyMs":null,"prompt":"","target":"none","ackMaxChars":0},"sessions":{"path":"/state/windlass.db","count":1,"recent":[{"key":"agent:main:main","updatedAt":1700000000000,"age":5}]}}],"sessions":{"path":"/state/windlass.db","count":1,"recent":[{"key":"agent:main:main","updatedAt":1700000000000,"age":5}]}},"stateVersion":{"presence":1,"health":1},"uptimeMs":5,"configPath":"/state/windlass.json","stateDir":"/state","sessionDefaults":{"defaultAgentId":"main","modelConfigured":true,"mainKey":"main","mainSessionKey":"agent:main:main","scope":"per-sender"},"authMode":"token"},"auth":{"role":"operator","scopes":["operator.read","operator.write"]},"policy":{"maxPayload":26214400,"maxBufferedBytes":52428800,"tickIntervalMs":30000}}
    EventFrame {"type":"event","event":"connect.challenge","payload":{"nonce":"n","ts":1700000000000}}
    "#);
}

#[test]
fn requests_and_responses() {
    let mut lines = String::new();
    let key = main_key();
    let send = json!({"sessionKey": key, "message": "hi", "idempotencyKey": "k1"});
    written(&mut lines, "ChatSendParams", &send);
    written(&mut lines, "RequestFrame", &Request::new("1", Method::ChatSend, send));
    let started = ChatSendResult { run_id: "k1".to_owned(), status: SendStatus::Started };
    line(&mut lines, "ResponseFrame", &Response::ok("1", &started));
    let refused = ErrorShape::unknown_method("sessions.fork");
    line(&mut lines, "ResponseFrame", &Response::err("2", refused));
    let held = [Scope::Read].into_iter().collect();
    let refused = ErrorShape::missing_scope("chat.send", Scope::Write, &held);
    written(&mut lines, "MissingScopeErrorDetails", refused.details.as_ref().unwrap());
    line(&mut lines, "ErrorShape", &refused);
    let unknown = ErrorShape::unknown_agent("ops");
    written(&mut lines, "UnknownAgentIdErrorDetails", unknown.details.as_ref().unwrap());
    line(&mut lines, "ErrorShape", &ErrorShape::starting(500));
    assert_snapshot!(lines, @r#"
    ChatSendParams {"sessionKey":"agent:main:main","message":"hi","idempotencyKey":"k1"}
    RequestFrame {"type":"req","id":"1","method":"chat.send","params":{"sessionKey":"agent:main:main","message":"hi","idempotencyKey":"k1"}}
    ResponseFrame {"type":"res","id":"1","ok":true,"payload":{"runId":"k1","status":"started"}}
    ResponseFrame {"type":"res","id":"2","ok":false,"error":{"code":"INVALID_REQUEST","message":"unknown method: sessions.fork"}}
    MissingScopeErrorDetails {"code":"MISSING_SCOPE","missingScope":"operator.write","requiredScopes":["operator.write"]}
    ErrorShape {"code":"FORBIDDEN","message":"missing scope: operator.write (`chat.send` needs it; this connection has operator.read)","details":{"code":"MISSING_SCOPE","missingScope":"operator.write","requiredScopes":["operator.write"]}}
    UnknownAgentIdErrorDetails {"code":"UNKNOWN_AGENT_ID","agentId":"ops"}
    ErrorShape {"code":"UNAVAILABLE","message":"the gateway is starting; retry shortly","details":{"reason":"startup-sidecars"},"retryable":true,"retryAfterMs":500}
    "#);
}

fn agent_answers(lines: &mut String) {
    let accepted = AgentAccepted {
        status: Accepted::Accepted,
        run_id: "k1".to_owned(),
        session_key: main_key(),
        agent_id: main_agent(),
        accepted_at: AT,
    };
    line(lines, "ResponseFrame", &Response::ok("3", &accepted));
    let ended = AgentFinal {
        run_id: "k1".to_owned(),
        status: AgentStatus::Ok,
        summary: "completed".to_owned(),
        result: Some(AgentResult {
            payloads: vec![Payload::text("hello")],
            meta: AgentMeta {
                duration_ms: 12,
                agent_meta: RunMeta {
                    session_id: "ses_0193a5f06c7e7cc2a1b2d3e4f5a6b7c8".parse().unwrap(),
                    provider: Some("anthropic".to_owned()),
                    model: Some("m".to_owned()),
                    usage: Some(usage().into()),
                },
                aborted: false,
                stop_reason: None,
            },
        }),
    };
    line(lines, "ResponseFrame", &Response::ok("3", &ended));
    let waited = AgentWaitResult {
        outcome: None,
        run_id: "k1".to_owned(),
        status: AgentStatus::Ok,
        started_at: Some(AT),
        ended_at: Some(AT),
        stop_reason: Some("end".to_owned()),
        error: None,
        terminal_reply: Some(TerminalReply {
            disposition: Disposition::Reply,
            text: "hello".to_owned(),
        }),
    };
    line(lines, "ResponseFrame", &Response::ok("4", &waited));
}

#[test]
fn agent_is_answered_twice_on_one_id() {
    let mut lines = String::new();
    agent_answers(&mut lines);
    assert_snapshot!(lines, @r#"
    ResponseFrame {"type":"res","id":"3","ok":true,"payload":{"status":"accepted","runId":"k1","sessionKey":"agent:main:main","agentId":"main","acceptedAt":1700000000000}}
    ResponseFrame {"type":"res","id":"3","ok":true,"payload":{"runId":"k1","status":"ok","summary":"completed","result":{"payloads":[{"text":"hello","mediaUrl":null}],"meta":{"durationMs":12,"agentMeta":{"sessionId":"ses_0193a5f06c7e7cc2a1b2d3e4f5a6b7c8","provider":"anthropic","model":"m","usage":{"input":10,"output":5,"cacheRead":100,"cacheWrite":0,"totalTokens":115}},"aborted":false}}}}
    ResponseFrame {"type":"res","id":"4","ok":true,"payload":{"runId":"k1","status":"ok","startedAt":1700000000000,"endedAt":1700000000000,"stopReason":"end","terminalReply":{"disposition":"reply","text":"hello"}}}
    "#);
}

fn chat(seq: u64, state: ChatState) -> ChatEvent {
    ChatEvent {
        run_id: "k1".to_owned(),
        session_key: main_key(),
        agent_id: Some(main_agent()),
        spawned_by: None,
        seq,
        state,
    }
}

#[test]
fn chat_events() {
    let mut lines = String::new();
    let delta = ChatState::Delta {
        message: Some(said("hel")),
        delta_text: "hel".to_owned(),
        replace: false,
    };
    let done = ChatState::Final {
        message: Some(said("hello")),
        usage: Some(usage().into()),
        stop_reason: Some("end".to_owned()),
        yielded: false,
    };
    let yielded = ChatState::Final { message: None, usage: None, stop_reason: None, yielded: true };
    let aborted = ChatState::Aborted {
        message: None,
        error_message: None,
        stop_reason: Some("user".to_owned()),
    };
    let failed = ChatState::Error {
        message: None,
        error_message: "anthropic is limiting our rate".to_owned(),
        error_kind: ErrorKind::from(FailureClass::RateLimit),
        error_detail: Some(ErrorDetail {
            provider: Some("anthropic".to_owned()),
            failover_reason: Some("rate_limit".to_owned()),
            http_status: Some(429),
            ..ErrorDetail::default()
        }),
    };
    for (seq, state) in [delta, done, yielded, aborted, failed].into_iter().enumerate() {
        line(&mut lines, "ChatEvent", &chat(seq as u64, state));
    }
    let child = ChatEvent {
        session_key: child_key(),
        spawned_by: Some(main_key()),
        ..chat(9, ChatState::Delta { message: None, delta_text: "x".to_owned(), replace: true })
    };
    line(&mut lines, "EventFrame", &Event::Chat(Box::new(child)).frame(Some(3)));
    assert_snapshot!(lines, @r#"
    ChatEvent {"runId":"k1","sessionKey":"agent:main:main","agentId":"main","seq":0,"state":"delta","message":{"role":"assistant","content":[{"type":"text","text":"hel"}],"timestamp":1700000000000},"deltaText":"hel"}
    ChatEvent {"runId":"k1","sessionKey":"agent:main:main","agentId":"main","seq":1,"state":"final","message":{"role":"assistant","content":[{"type":"text","text":"hello"}],"timestamp":1700000000000},"usage":{"input":10,"output":5,"cacheRead":100,"cacheWrite":0,"totalTokens":115},"stopReason":"end"}
    ChatEvent {"runId":"k1","sessionKey":"agent:main:main","agentId":"main","seq":2,"state":"final","yielded":true}
    ChatEvent {"runId":"k1","sessionKey":"agent:main:main","agentId":"main","seq":3,"state":"aborted","stopReason":"user"}
    ChatEvent {"runId":"k1","sessionKey":"agent:main:main","agentId":"main","seq":4,"state":"error","errorMessage":"anthropic is limiting our rate","errorKind":"rate_limit","errorDetail":{"provider":"anthropic","failoverReason":"rate_limit","httpStatus":429}}
    EventFrame {"type":"event","event":"chat","payload":{"runId":"k1","sessionKey":"agent:main:subagent:0193a5f0-6c7e-7cc2-a1b2-d3e4f5a6b7c8","agentId":"main","spawnedBy":"agent:main:main","seq":9,"state":"delta","deltaText":"x","replace":true},"seq":3}
    "#);
}

#[test]
fn agent_events() {
    let mut lines = String::new();
    let call = ("exec".to_owned(), "call_1".to_owned());
    let streams = [
        AgentStream::Lifecycle(Lifecycle::Start { started_at: AT }),
        AgentStream::Assistant { text: "hello".to_owned(), delta: "lo".to_owned() },
        AgentStream::Tool(ToolEvent::Start {
            name: call.0.clone(),
            tool_call_id: call.1.clone(),
            args: json!({"command": "ls"}),
        }),
        AgentStream::Tool(ToolEvent::Result {
            name: call.0,
            tool_call_id: call.1,
            is_error: false,
            result: json!("a.txt"),
        }),
        AgentStream::Lifecycle(Lifecycle::End {
            ended_at: AT,
            aborted: false,
            stop_reason: Some("end".to_owned()),
        }),
        AgentStream::Lifecycle(Lifecycle::Error { ended_at: AT, error: "no answer".to_owned() }),
    ];
    for (seq, stream) in streams.into_iter().enumerate() {
        let seq = seq as u64;
        let event = AgentEvent {
            run_id: "k1".to_owned(),
            seq,
            ts: AT,
            session_key: Some(main_key()),
            spawned_by: None,
            stream,
        };
        line(&mut lines, "AgentEvent", &event);
    }
    assert_snapshot!(lines, @r#"
    AgentEvent {"runId":"k1","seq":0,"ts":1700000000000,"sessionKey":"agent:main:main","stream":"lifecycle","data":{"phase":"start","startedAt":1700000000000}}
    AgentEvent {"runId":"k1","seq":1,"ts":1700000000000,"sessionKey":"agent:main:main","stream":"assistant","data":{"text":"hello","delta":"lo"}}
    AgentEvent {"runId":"k1","seq":2,"ts":1700000000000,"sessionKey":"agent:main:main","stream":"tool","data":{"phase":"start","name":"exec","toolCallId":"call_1","args":{"command":"ls"}}}
    AgentEvent {"runId":"k1","seq":3,"ts":1700000000000,"sessionKey":"agent:main:main","stream":"tool","data":{"phase":"result","name":"exec","toolCallId":"call_1","isError":false,"result":"a.txt"}}
    AgentEvent {"runId":"k1","seq":4,"ts":1700000000000,"sessionKey":"agent:main:main","stream":"lifecycle","data":{"phase":"end","endedAt":1700000000000,"stopReason":"end"}}
    AgentEvent {"runId":"k1","seq":5,"ts":1700000000000,"sessionKey":"agent:main:main","stream":"lifecycle","data":{"phase":"error","endedAt":1700000000000,"error":"no answer"}}
    "#);
}

#[test]
fn the_other_events() {
    let mut lines = String::new();
    line(&mut lines, "TickEvent", &Tick { ts: AT });
    let shutdown = Shutdown { reason: "restart".to_owned(), restart_expected_ms: Some(1500) };
    line(&mut lines, "ShutdownEvent", &shutdown);
    let changed = SessionsChanged {
        session_key: main_key(),
        agent_id: main_agent(),
        reason: "send".to_owned(),
        run_id: Some("k1".to_owned()),
        ts: AT,
        session: None,
    };
    let with_version = EventFrame {
        state_version: Some(StateVersion { presence: 1, health: 2 }),
        ..Event::SessionsChanged(Box::new(changed)).frame(Some(7))
    };
    line(&mut lines, "EventFrame", &with_version);
    line(&mut lines, "EventFrame", &Event::Health(Box::new(health())).frame(Some(8)));
    assert_snapshot!(lines, @r#"
    TickEvent {"ts":1700000000000}
    ShutdownEvent {"reason":"restart","restartExpectedMs":1500}
    EventFrame {"type":"event","event":"sessions.changed","payload":{"sessionKey":"agent:main:main","agentId":"main","reason":"send","runId":"k1","ts":1700000000000},"seq":7,"stateVersion":{"presence":1,"health":2}}
    EventFrame {"type":"event","event":"health","payload":{"ok":true,"ts":1700000000000,"durationMs":1,"channels":{},"channelOrder":[],"channelLabels":{},"heartbeatSeconds":0,"defaultAgentId":"main","agents":[{"agentId":"main","isDefault":true,"heartbeat":{"enabled":false,"every":"disabled","everyMs":null,"prompt":"","target":"none","ackMaxChars":0},"sessions":{"path":"/state/windlass.db","count":1,"recent":[{"key":"agent:main:main","updatedAt":1700000000000,"age":5}]}}],"sessions":{"path":"/state/windlass.db","count":1,"recent":[{"key":"agent:main:main","updatedAt":1700000000000,"age":5}]}},"seq":8}
    "#);
}

fn task() -> TaskSummary {
    TaskSummary {
        id: "tsk_0193a5f06c7e7cc2a1b2d3e4f5a6b7c8".parse().unwrap(),
        runtime: "subagent".to_owned(),
        flow_id: None,
        attempt: 1,
        retry_of: None,
        status: TaskStatus::TimedOut,
        title: Some("split the map".to_owned()),
        agent_id: main_agent(),
        session_key: main_key(),
        child_session_key: child_key(),
        run_id: Some("run_0193a5f06c7e7cc2a1b2d3e4f5a6b7c8".parse().unwrap()),
        parent_task_id: None,
        created_at: AT,
        updated_at: AT,
        started_at: Some(AT),
        ended_at: Some(AT),
        progress_summary: None,
        terminal_summary: None,
        error: Some("no answer in 60 s".to_owned()),
        delivery_status: Some(DeliveryStatus::SessionQueued),
    }
}

#[test]
fn lists() {
    let mut lines = String::new();
    let row = SessionRow {
        status: Some(SessionStatus::Running),
        spawned_by: Some(main_key()),
        spawn_depth: Some(1),
        activity: Some("running".to_owned()),
        ..SessionRow::new(child_key(), AT, AT)
    };
    line(&mut lines, "SessionRow", &row);
    line(
        &mut lines,
        "TasksListResult",
        &TasksListResult { tasks: vec![task()], next_cursor: None },
    );
    let agent = AgentRow {
        id: main_agent(),
        name: None,
        workspace: Some("/w".to_owned()),
        model: Some(AgentModel { primary: Some("stub/m".to_owned()), fallbacks: Vec::new() }),
    };
    let agents = protocol::agents::ListResult::new(main_agent(), vec![agent]);
    line(&mut lines, "AgentsListResult", &agents);
    assert_snapshot!(lines, @r#"
    SessionRow {"key":"agent:main:subagent:0193a5f0-6c7e-7cc2-a1b2-d3e4f5a6b7c8","kind":"direct","agentId":"main","isMain":false,"createdAt":1700000000000,"updatedAt":1700000000000,"status":"running","spawnedBy":"agent:main:main","spawnDepth":1,"inputTokens":0,"outputTokens":0,"totalTokens":0,"queuedInputs":0,"activity":"running","openChildren":0}
    TasksListResult {"tasks":[{"id":"tsk_0193a5f06c7e7cc2a1b2d3e4f5a6b7c8","runtime":"subagent","attempt":1,"status":"timed_out","title":"split the map","agentId":"main","sessionKey":"agent:main:main","childSessionKey":"agent:main:subagent:0193a5f0-6c7e-7cc2-a1b2-d3e4f5a6b7c8","runId":"run_0193a5f06c7e7cc2a1b2d3e4f5a6b7c8","createdAt":1700000000000,"updatedAt":1700000000000,"startedAt":1700000000000,"endedAt":1700000000000,"error":"no answer in 60 s","deliveryStatus":"session_queued"}]}
    AgentsListResult {"defaultId":"main","mainKey":"main","scope":"per-sender","agents":[{"id":"main","workspace":"/w","model":{"primary":"stub/m"}}]}
    "#);
}

#[test]
fn history() {
    let mut lines = String::new();
    let call = Block::ToolCall {
        id: "call_1".to_owned(),
        name: "exec".to_owned(),
        arguments: json!({"command": "ls"}),
    };
    let asked = ChatMessage { content: vec![call], ..said("") };
    let result = ToolResult {
        call_id: "call_1".to_owned(),
        name: "exec".to_owned(),
        text: "a.txt".to_owned(),
        is_error: false,
    };
    let waiting = PendingInput {
        id: "msg_1".to_owned(),
        run_id: Some("k2".to_owned()),
        message: ChatMessage::text(ChatRole::User, "and then?", AT),
        accepted_at: AT,
        state: PendingState::Queued,
    };
    let history = ChatHistoryResult {
        kind: None,
        delta_cursor: None,
        session_key: main_key(),
        session_id: None,
        messages: vec![asked, ChatMessage::tool_result(&result, AT), said("one file")],
        pending_inputs: PendingInputs { items: vec![waiting], total: 1 },
        has_more: false,
        total_messages: 3,
    };
    line(&mut lines, "ResponseFrame", &Response::ok("5", &history));
    let aborted = ChatAbortResult {
        ok: true,
        aborted: true,
        run_ids: vec!["k1".to_owned()],
        stop: StopReport::default(),
    };
    line(&mut lines, "ResponseFrame", &Response::ok("6", &aborted));
    assert_snapshot!(lines, @r#"
    ResponseFrame {"type":"res","id":"5","ok":true,"payload":{"sessionKey":"agent:main:main","messages":[{"role":"assistant","content":[{"type":"toolCall","id":"call_1","name":"exec","arguments":{"command":"ls"}}],"timestamp":1700000000000},{"role":"toolResult","content":[{"type":"text","text":"a.txt"}],"timestamp":1700000000000,"toolCallId":"call_1","toolName":"exec","isError":false},{"role":"assistant","content":[{"type":"text","text":"one file"}],"timestamp":1700000000000}],"pendingInputs":{"items":[{"id":"msg_1","runId":"k2","message":{"role":"user","content":[{"type":"text","text":"and then?"}],"timestamp":1700000000000},"acceptedAt":1700000000000,"state":"queued"}],"total":1},"hasMore":false,"totalMessages":3}}
    ResponseFrame {"type":"res","id":"6","ok":true,"payload":{"ok":true,"aborted":true,"runIds":["k1"]}}
    "#);
}

#[test]
fn a_client_reads_the_events_that_a_gateway_writes() {
    let event = Event::Tick(Tick { ts: AT });
    let text = serde_json::to_string(&event.frame(Some(1))).unwrap();
    let Some(ServerFrame::Event(frame)) = ServerFrame::parse(&text).unwrap() else {
        panic!("no event: {text}");
    };
    assert_eq!(Event::parse(&frame).unwrap(), Some(event));
    let unknown = EventFrame { event: "cron".to_owned(), ..frame };
    assert_eq!(Event::parse(&unknown).unwrap(), None);
}
