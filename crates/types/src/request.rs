//! What a model asks of the gateway itself: the arguments of the session tools, parsed.
//!
//! `tools::sessions` reads them from JSON, `machine` decides them. The names are OpenClaw's.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::session_key::ParseSessionKeyError;
use crate::{
    AgentId, Budget, Card, FlowRequest, FlowTarget, Name, Scope, SessionKey, TaskId, Thinking,
    serde_as_str, word_enum,
};

/// A tool call that the machine carries out itself, in the commit that records its result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum InternalCall {
    Spawn(Box<SpawnRequest>),
    Yield(YieldRequest),
    /// Write to another session.
    Send(Box<SendRequest>),
    /// Suspend the run until tasks of the caller have ended.
    Wait(WaitRequest),
    /// Stop a task of the caller's tree, and everything below it.
    Kill {
        target: TaskTarget,
    },
    /// Put a message into the session of a task of the caller's tree.
    Steer {
        target: TaskTarget,
        message: String,
    },
    StartFlow(Box<FlowRequest>),
    /// Stop a flow of the caller's tree, and everything below it.
    CancelFlow {
        target: FlowTarget,
    },
    /// Show a plan, or take it down.
    Card(Box<Card>),
    /// Write to the person of the session.
    Say {
        text: String,
    },
}

impl InternalCall {
    pub fn spawn(request: SpawnRequest) -> InternalCall {
        InternalCall::Spawn(Box::new(request))
    }
}

/// A session as a caller names it: a full key, or a short one, which is resolved under the agent
/// that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionRef {
    Full(SessionKey),
    Short(Scope),
}

impl SessionRef {
    /// The key that is meant.
    pub fn under(&self, agent: &AgentId) -> SessionKey {
        match self {
            SessionRef::Full(key) => key.clone(),
            SessionRef::Short(scope) => SessionKey::new(agent.clone(), scope.clone()),
        }
    }
}

impl fmt::Display for SessionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionRef::Full(key) => key.fmt(f),
            SessionRef::Short(scope) => scope.fmt(f),
        }
    }
}

impl FromStr for SessionRef {
    type Err = ParseSessionKeyError;

    fn from_str(text: &str) -> Result<SessionRef, ParseSessionKeyError> {
        if let Ok(key) = text.parse() {
            return Ok(SessionRef::Full(key));
        }
        let key = SessionKey::resolve(text, &AgentId::main())?;
        Ok(SessionRef::Short(key.scope))
    }
}

serde_as_str!(SessionRef);

/// How a caller names one of its tasks: by id, `taskName`, or the child's session key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskTarget(pub String);

/// `sessions_spawn`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpawnRequest {
    /// The brief. Never empty.
    pub task: String,
    /// A title for people.
    pub label: Option<String>,
    /// A handle for orchestrators, `[a-z][a-z0-9_-]{0,63}`, not `last` or `all`.
    pub task_name: Option<String>,
    /// The caller's own agent if none.
    pub agent: Option<AgentId>,
    pub model: Option<String>,
    /// What is configured if none.
    #[serde(default)]
    pub thinking: Option<Thinking>,
    /// Zero means none; absent means the configured default.
    pub run_timeout: Option<Duration>,
    pub cleanup: Cleanup,
    pub announce: Announce,
    /// The same key of the same requester is the same task, also after its end.
    pub idempotency_key: Option<String>,
    pub cwd: Option<String>,
    /// A stable key for the child, resolved under the target agent.
    pub session: Option<SessionRef>,
    /// With `session`: go on with it if it is there, instead of failing.
    pub resume_if_exists: bool,
    /// The configured default if none.
    pub reuse: Option<Reuse>,
    /// Which standing helper `reuse: "key"` means; the configured one if none.
    pub reuse_key: Option<Name>,
    /// What to do if the chosen session is busy; the default of the way it was chosen if none.
    pub when_busy: Option<WhenBusy>,
    pub context: SpawnContext,
    pub access: Access,
    /// What must be there before the task counts as completed.
    pub deliverables: Option<Deliverables>,
    /// Cap of the task and all below it; the configured default if none.
    pub budget: Option<Budget>,
}

impl SpawnRequest {
    /// A spawn with every argument at its default.
    pub fn of(task: &str) -> SpawnRequest {
        SpawnRequest {
            task: task.to_owned(),
            label: None,
            task_name: None,
            agent: None,
            model: None,
            thinking: None,
            run_timeout: None,
            cleanup: Cleanup::Keep,
            announce: Announce::Parent,
            idempotency_key: None,
            cwd: None,
            session: None,
            resume_if_exists: false,
            reuse: None,
            reuse_key: None,
            when_busy: None,
            context: SpawnContext::Isolated,
            access: Access::Full,
            deliverables: None,
            budget: None,
        }
    }
}

word_enum! {
    /// Which session a spawn goes to: from the least to the most sharing.
    pub enum Reuse {
        /// A new one.
        Never = "never",
        /// That of a stable key, with its whole history.
        Key = "key",
        /// An idle one of the same agent, model, policy and owner, behind an episode boundary.
        Pool = "pool",
        /// The agent's main session.
        Main = "main",
    }
}

word_enum! {
    /// What a spawn does if the session that it chose is busy.
    pub enum WhenBusy {
        /// Its brief waits for a run of its own there.
        Queue = "queue",
        /// It takes a new session.
        Fresh = "fresh",
        /// It is refused with `busy`.
        Refuse = "refuse",
    }
}

word_enum! {
    /// What a child's transcript begins with.
    pub enum SpawnContext {
        /// Nothing but the brief.
        Isolated = "isolated",
        /// A branch of the requester's transcript.
        Fork = "fork",
    }
}

word_enum! {
    /// What a session's tools may do to the world.
    pub enum Access {
        Full = "full",
        /// Only tools that change nothing.
        ReadOnly = "read-only",
    }
}

/// What a task has to hand in: checked by the machine, not taken on the child's word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deliverables {
    /// Files that must exist and not be empty, relative to the child's working folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// A JSON schema that the child's answer must meet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<serde_json::Value>,
}

word_enum! {
    /// What becomes of a child's session when its announce has been taken.
    pub enum Cleanup {
        Keep = "keep",
        Delete = "delete",
    }
}

word_enum! {
    /// Who hears of a task's end.
    pub enum Announce {
        Parent = "parent",
        /// The parent, and unedited the person for whom the work is done.
        Person = "person",
        None = "none",
    }
}

impl Announce {
    /// Does the requester get the result?
    pub fn reaches_requester(self) -> bool {
        self != Announce::None
    }
}

/// `sessions_send`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendRequest {
    pub target: SendTarget,
    /// Arrives byte for byte. Never empty.
    pub message: String,
    /// How long the call waits for the answer; zero does not wait.
    pub wait: Duration,
    pub mode: SendMode,
    /// The same key of the same sender in the same session is the same message.
    pub idempotency_key: Option<String>,
    /// Tell of the end of the run that took the message in, also if it says nothing.
    pub watch: bool,
}

impl SendRequest {
    /// A message that is not waited for.
    pub fn to(target: SendTarget, message: &str) -> SendRequest {
        SendRequest {
            target,
            message: message.to_owned(),
            wait: Duration::ZERO,
            mode: SendMode::Message,
            idempotency_key: None,
            watch: false,
        }
    }
}

/// To whom a message goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SendTarget {
    Session(SessionRef),
    /// The one session of this label that the caller may see.
    Label(String),
    /// The main session of an agent.
    Agent(AgentId),
}

word_enum! {
    /// What a message is to the session that gets it.
    pub enum SendMode {
        /// A message, whose answer comes back.
        Message = "message",
        /// The brief of a new task of the caller, whose result is announced.
        Resume = "resume",
    }
}

/// `subagents`, action `wait`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitRequest {
    /// Never empty.
    pub targets: Vec<TaskTarget>,
    pub timeout: Duration,
}

/// `sessions_yield`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct YieldRequest {
    /// Private note to the run that goes on.
    pub message: Option<String>,
    /// Text for the person, sent at once.
    pub acknowledgment: Option<String>,
    pub wait_for: WaitFor,
    /// Wake when so many of those waited for have ended, instead of all.
    pub at_least: Option<u32>,
    pub timeout: Option<Duration>,
}

/// Which children a yield waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WaitFor {
    /// All children that are open now.
    All,
    /// The first of them.
    Any,
    /// Whatever comes next: a child's end or a message.
    Message,
    Tasks(Vec<TaskId>),
}
