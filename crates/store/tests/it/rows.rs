//! Rows with every field set, by number.

use machine::queue::{Drop, QueueMode, QueueWish};
use machine::rows::{
    Base, Body, Entry, EntryKind, Episode, EpisodeReason, Flow, FlowNode, FlowNodeState, Gauge,
    InboxKind, InboxRow, InboxState, Lane, LaneName, LedgerRow, Lifecycle, Node, NodeState, Place,
    Purpose, Run, Session, Step, StepKind, StepState, Task, TaskKind, Transcript,
};
use machine::run::Phase;
use machine::status::TaskStatus;
use machine::{State, Tx};
use types::{
    Access, AgentId, Announce, Budget, Cleanup, Deliverables, EffectClass, FlowId, Footer, Hash,
    MessageId, MicroUsd, NodeId, OnFailure, Reasoning, RunId, SessionId, SessionKey, TaskId,
    Timestamp, Usage,
};
use uuid::Uuid;

/// What the sessions may do.
pub const POLICY: &str = r#"{"allowed":["exec","read"],"removed":[]}"#;

pub fn uuid(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

pub fn run_id(n: u128) -> RunId {
    RunId::new(uuid(n))
}

pub fn task_id(n: u128) -> TaskId {
    TaskId::new(uuid(n))
}

pub fn session_id(n: u128) -> SessionId {
    SessionId::new(uuid(n))
}

pub fn main_key() -> SessionKey {
    SessionKey::main(AgentId::main())
}

/// Session 1 is the main one; the others are threads below it.
pub fn key(n: u128) -> SessionKey {
    if n == 1 { main_key() } else { format!("agent:main:thread:t{n}").parse().unwrap() }
}

pub fn lane(name: LaneName) -> Lane {
    Lane { name, capacity: 4, vtime: 3, generation: 2 }
}

pub fn node(n: u128) -> Node {
    Node {
        id: NodeId::new(uuid(n)),
        pid: 4_000_000_000,
        version: "0.1.0".to_owned(),
        state: NodeState::Up,
        beat: Timestamp(10),
        lease_until: Timestamp(20_010),
        started: Timestamp(5),
    }
}

pub fn session(n: u128) -> Session {
    Session {
        key: key(n),
        session_id: session_id(n),
        agent: AgentId::main(),
        owner: "ann".to_owned(),
        parent_key: (n != 1).then(|| key(1)),
        root_key: key(1),
        depth: u32::from(n != 1),
        lifecycle: Lifecycle::Open,
        open_run: None,
        label: Some("a \"label\", é".to_owned()),
        model: Some("scripted/m".to_owned()),
        thinking: (n == 2).then_some(types::Thinking::Xhigh),
        cwd: Some("src".to_owned()),
        rev: 1,
        created: Timestamp(100),
        active: Timestamp(100 + n as i64),
        archived: None,
        access: Access::ReadOnly,
        policy_hash: Some(Hash::of(POLICY)),
        pool_key: Some(Hash::of("pool")),
        declared: (n == 2).then_some(TaskStatus::Cancelled),
        queue: QueueWish {
            mode: Some(QueueMode::Collect),
            debounce_ms: (n == 2).then_some(2_000),
            cap: (n == 2).then_some(25),
            drop: (n == 2).then_some(Drop::Old),
        },
        deleted: None,
        reasoning: if n == 2 { Reasoning::Stream } else { Reasoning::Off },
        footer: if n == 2 { Footer::Full } else { Footer::Off },
        card: (n == 2).then(|| Hash::of("a card")),
    }
}

pub fn transcript(n: u128) -> Transcript {
    Transcript {
        session_id: session_id(n),
        session_key: key(n),
        next_seq: 1,
        episode: 1,
        context_tokens: 12,
        gauge: Gauge { counted: 3, ..Gauge::default() },
        base: (n != 1).then(|| Base {
            session_id: session_id(1),
            first_seq: 1,
            last_seq: 9,
            episode: 2,
        }),
        started: Timestamp(100),
        ended: None,
    }
}

pub fn episode(n: u128) -> Episode {
    Episode {
        session_id: session_id(n),
        n: 1,
        first_seq: 1,
        reason: EpisodeReason::Pool,
        head: None,
        anchor: None,
        clip: None,
        prefix_hash: None,
        prefix_tokens: 7,
        pinned: None,
        at: Timestamp(100),
    }
}

/// The task that stands for flow `n`, of session 1.
pub fn flow_task(n: u128) -> Task {
    let flow = Some(FlowId::new(uuid(n)));
    Task { kind: TaskKind::Flow, session_key: key(1), flow, ..task(n) }
}

/// Task `n`, of the node that is called after its number.
pub fn node_task(n: u128, flow: u128) -> Task {
    Task {
        kind: TaskKind::FlowNode,
        parent: Some(task_id(flow)),
        flow: Some(FlowId::new(uuid(flow))),
        node: Some(format!("node-{n}")),
        ..task(n)
    }
}

/// Flow `n`, for which task `n` stands.
pub fn flow(n: u128) -> Flow {
    Flow {
        id: FlowId::new(uuid(n)),
        task: task_id(n),
        name: "a \"flow\", é".to_owned(),
        max_parallel: 3,
        on_failure: OnFailure::Continue,
        definition: Hash::of("definition"),
        created: Timestamp(7),
    }
}

/// A node of flow `flow`, behind those named.
pub fn flow_node(flow: u128, place: u32, after: &[u32]) -> FlowNode {
    let name = |place: u32| format!("node-{place}").parse().unwrap();
    FlowNode {
        flow: FlowId::new(uuid(flow)),
        name: name(place),
        place,
        after: after.iter().map(|place| name(*place)).collect(),
        agent: AgentId::main(),
        brief: Hash::of("brief"),
        label: Some("a label".to_owned()),
        session_key: Some(key(2)),
        access: Access::ReadOnly,
        model: Some("scripted/m".to_owned()),
        retries: 2,
        timeout_ms: Some(90_000),
        budget: Some(Budget { usd: Some(MicroUsd(1)), tokens: Some(2) }),
        state: FlowNodeState::Pending,
        attempt: 0,
        task: None,
        error: None,
    }
}

/// Run `n` of session `n`, in line.
pub fn run(n: u128) -> Run {
    Run {
        id: run_id(n),
        wire_id: format!("client-key-{n}"),
        session_key: key(n),
        session_id: session_id(n),
        task: None,
        lane: LaneName::Main,
        root_key: key(1),
        phase: Phase::Queued,
        wait_need: 0,
        rank: Some(n as i64),
        lined: Some(Timestamp(112)),
        slot: None,
        node: None,
        generation: 0,
        nonce: i64::MAX,
        next_step: 3,
        recoveries: 1,
        retries: 2,
        asked: "scripted/big".to_owned(),
        model: "scripted/m".to_owned(),
        answered: Some("m-2025".to_owned()),
        switched: Some("scripted/big (rate: slow down)".to_owned()),
        origin: "webchat".to_owned(),
        hops: 2,
        timeout_ms: Some(5_000),
        deadline: Some(Timestamp(6_000)),
        usage: Usage { input: 1, output: 2, cache_read: 3, cache_write: 4 },
        cost: MicroUsd(5),
        budget: None,
        background: n % 2 == 1,
        error_class: None,
        error: None,
        queued: Timestamp(110),
        started: Some(Timestamp(111)),
        ended: None,
    }
}

/// The same run at work, in slot `slot` of node 1.
pub fn working(n: u128, slot: u32) -> Run {
    Run {
        phase: Phase::AwaitingModel,
        rank: None,
        lined: None,
        slot: Some(slot),
        node: Some(node(1).id),
        generation: 1,
        ..run(n)
    }
}

pub fn model_step(run: u128, n: u32) -> Step {
    Step {
        run: run_id(run),
        n,
        kind: StepKind::Model,
        purpose: Purpose::Reply,
        asked_by: None,
        name: None,
        call_id: None,
        args_hash: None,
        effect: None,
        state: StepState::Intent,
        result_hash: None,
        waits_on: None,
        model: Some("scripted/m".to_owned()),
        started: Timestamp(120),
        ended: None,
    }
}

pub fn tool_step(run: u128, n: u32) -> Step {
    Step {
        kind: StepKind::Tool,
        asked_by: Some(0),
        name: Some("read".to_owned()),
        call_id: Some(format!("call {n} \u{0}")),
        args_hash: Some(Hash::of("args")),
        effect: Some(EffectClass::Opaque),
        model: None,
        ..model_step(run, n)
    }
}

/// Task `n`, asked for by the main session and carried by session and run `n`.
pub fn task(n: u128) -> Task {
    Task {
        id: task_id(n),
        kind: TaskKind::Cli,
        requester_key: key(1),
        parent: None,
        root_key: key(1),
        depth: 1,
        session_key: key(n),
        run: run_id(n),
        task_name: Some(format!("name-{n}")),
        label: Some("Find it".to_owned()),
        idem_key: Some(format!("key-{n}")),
        dup_hash: Hash::of("the same brief"),
        announce: Announce::Parent,
        cleanup: Cleanup::Keep,
        origin: "webchat".to_owned(),
        deliverables: Some(Deliverables {
            files: vec!["a/b.md".to_owned()],
            schema: Some(serde_json::json!({ "type": "object" })),
        }),
        attempt: 2,
        flow: None,
        node: None,
        retry_of: None,
        waited_by: None,
        cancelled: None,
        outcome: None,
        result_hash: None,
        created: Timestamp(130),
        ended: None,
    }
}

pub fn inbox(seq: i64, session: u128) -> InboxRow {
    InboxRow {
        seq,
        id: MessageId::new(uuid(seq as u128)),
        session_key: key(session),
        kind: InboxKind::User,
        place: Place::Own,
        idem_key: format!("input-{seq}"),
        body_hash: Hash::of("body"),
        tokens: 5,
        origin: "webchat".to_owned(),
        sender: Some(key(1)),
        hops: 3,
        watch: true,
        task: None,
        state: InboxState::Queued,
        run: Some(run_id(session)),
        timeout_ms: Some(5_000),
        at: Timestamp(140),
        done: None,
    }
}

/// Entry `seq` of session and run `n`.
pub fn entry(n: u128, seq: i64, step: Option<u32>, kind: EntryKind, body: &str) -> Entry {
    Entry {
        session_id: session_id(n),
        seq,
        run: run_id(n),
        step,
        kind,
        call_id: (kind == EntryKind::ToolResult).then(|| format!("call {}", step.unwrap_or(0))),
        body: Body::Text(body.to_owned()),
        tokens: 9,
        silent: false,
        at: Timestamp(150),
    }
}

pub fn ledger(run: u128, step: u32, estimated: bool) -> LedgerRow {
    LedgerRow {
        run: run_id(run),
        step,
        session_key: key(run),
        session_id: session_id(run),
        agent: AgentId::main(),
        task: None,
        root_key: key(1),
        model: "scripted/m".to_owned(),
        usage: Usage { input: 10, output: 20, cache_read: 30, cache_write: 40 },
        cost: MicroUsd(7),
        priced: true,
        price_id: Some("config:m:1/2/0.1/1.25".to_owned()),
        estimated,
        at: Timestamp(160),
    }
}

/// Lanes, node 1, and sessions 1 to `sessions` with their transcripts and episodes.
pub fn plant(state: &mut State<'_>, sessions: u128) {
    let tx: &mut dyn Tx = state.tx();
    for name in LaneName::ALL {
        tx.put_lane(&lane(*name));
    }
    tx.put_node(&node(1));
    tx.add_blob(Hash::of(POLICY), POLICY);
    for n in 1..=sessions {
        tx.put_session(&session(n));
        tx.put_transcript(&transcript(n));
        tx.put_episode(&episode(n));
    }
}
