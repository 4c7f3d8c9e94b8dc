//! The session tools: what a model may ask of the gateway itself.
//!
//! They are no [`crate::Tool`]: what changes sessions is decided in `machine` and done in the
//! commit that records its result; what only reads is answered by the runtime. Here are their
//! schemas, and the one place where their arguments become types.
//!
//! The names are OpenClaw's. An argument that this version does not have is refused by name and
//! not ignored: a model that believes it has set a limit must not be wrong about it.

mod flows;
mod kept;
mod schema;
mod send;
mod show;
mod spawn;
mod wait;

use types::{
    AgentId, EffectClass, FlowTarget, InternalCall, ScopeKind, TaskTarget, ToolSpec, word_enum,
};

use crate::arguments::{Arguments, Refused};

pub use kept::KeptRequest;
pub use schema::specs;

/// Longest brief or message: it is a body that goes to a model.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Longest name of anything, and longest title.
const NAME_BYTES_MAX: usize = 512;
/// Longest time in seconds that can be asked for: a year.
const SECONDS_MAX: u32 = 31_536_000;

const LIST_LIMIT: u32 = 100;
const LIST_LIMIT_MAX: u32 = 200;
const HISTORY_LIMIT: u32 = 50;
const HISTORY_LIMIT_MAX: u32 = 1_000;
const LOG_LIMIT: u32 = 50;
const LOG_LIMIT_MAX: u32 = 1_000;
const RECENT_MINUTES: u32 = 30;
const MINUTES_MAX: u32 = 525_600;

/// A call of a session tool, parsed.
#[derive(Clone, Debug, PartialEq)]
pub enum SessionsCall {
    /// Decided and done by the machine.
    Internal(InternalCall),
    /// Answered by the runtime.
    Read(SessionsRead),
    /// A page of a text that was cut.
    Kept(KeptRequest),
}

impl SessionsCall {
    pub fn effect(&self) -> EffectClass {
        match self {
            SessionsCall::Internal(_) => EffectClass::Internal,
            SessionsCall::Read(_) | SessionsCall::Kept(_) => EffectClass::Pure,
        }
    }
}

/// A question about sessions and tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionsRead {
    List(ListRequest),
    /// How one session stands: the caller's own if none is named.
    Status {
        session_key: Option<String>,
    },
    /// Which agents there are, and which of them the caller may spawn.
    Agents,
    History {
        /// Short or full; resolved under the caller's agent.
        session_key: String,
        limit: u32,
        include_tools: bool,
        /// How many of the newest messages to skip.
        offset: u32,
    },
    /// One message of a history, from one of its bytes on.
    Message {
        session_key: String,
        seq: u32,
        from_byte: u32,
    },
    SubagentsList {
        /// How long ago an ended task may have ended.
        recent_minutes: u32,
    },
    SubagentsInfo {
        target: TaskTarget,
    },
    /// Flows that the caller has started, and what is below it has.
    FlowsList,
    FlowsShow {
        flow: FlowTarget,
    },
    SubagentsLog {
        target: TaskTarget,
        limit: u32,
    },
}

/// `sessions_list`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListRequest {
    pub limit: u32,
    pub offset: u32,
    /// All kinds if none.
    pub kinds: Option<Vec<ScopeKind>>,
    /// Only sessions active within so many minutes.
    pub active_minutes: Option<u32>,
    /// Only those with an open run.
    pub active_only: bool,
    pub label: Option<String>,
    pub agent: Option<AgentId>,
    /// A part of the key or label.
    pub search: Option<String>,
    /// Those that are archived, instead of those that are open.
    pub archived: bool,
}

word_enum! {
    /// What `subagents` is asked to do.
    enum Action {
        List = "list",
        Info = "info",
        Log = "log",
        Steer = "steer",
        Wait = "wait",
        Kill = "kill",
        /// OpenClaw's word for kill.
        Cancel = "cancel",
    }
}

/// Returns the spec of a session tool.
pub fn spec(name: &str) -> Option<&'static ToolSpec> {
    specs().iter().find(|spec| spec.name == name)
}

/// Session tools that only answer a question.
const QUESTIONS: &[&str] = &[
    "sessions_list",
    "sessions_history",
    "sessions_search",
    "session_status",
    "agents_list",
    "result_read",
];

/// What a session tool may do to the world, whatever it is called with.
pub fn effect(name: &str) -> EffectClass {
    if QUESTIONS.contains(&name) { EffectClass::Pure } else { EffectClass::Internal }
}

/// Reads a call of the session tool `name`. The error is written for the model.
pub fn parse(name: &str, arguments: &str) -> Result<SessionsCall, String> {
    use InternalCall::Yield;

    let Some(spec) = spec(name) else { return Err(format!("`{name}` is not a session tool")) };
    let read = |refused: &[Refused]| Arguments::parse(spec, &[], refused, arguments);
    match name {
        "sessions_spawn" => {
            let arguments = Arguments::parse(spec, spawn::HIDDEN, spawn::REFUSED, arguments)?;
            Ok(SessionsCall::Internal(InternalCall::spawn(spawn::parse(&arguments)?)))
        }
        "sessions_yield" => {
            wait::parse(&read(wait::REFUSED)?).map(|call| SessionsCall::Internal(Yield(call)))
        }
        "sessions_send" => {
            let arguments = Arguments::parse(spec, send::HIDDEN, send::REFUSED, arguments)?;
            let request = Box::new(send::parse(&arguments)?);
            Ok(SessionsCall::Internal(InternalCall::Send(request)))
        }
        "result_read" => kept::parse(&read(kept::REFUSED)?).map(SessionsCall::Kept),
        "flows" => {
            let hidden = &["idempotencyKey"];
            flows::parse(&Arguments::parse(spec, hidden, flows::REFUSED, arguments)?)
        }
        "subagents" => {
            let hidden = &["recentMinutes", "limit"];
            subagents(&Arguments::parse(spec, hidden, SUBAGENTS_REFUSED, arguments)?)
        }
        "progress_card" => {
            let card = Box::new(show::card(&read(show::CARD_REFUSED)?)?);
            Ok(SessionsCall::Internal(InternalCall::Card(card)))
        }
        "message" => {
            let (hidden, refused) = (show::MESSAGE_HIDDEN, show::MESSAGE_REFUSED);
            let arguments = Arguments::parse(spec, hidden, refused, arguments)?;
            show::message(&arguments).map(SessionsCall::Internal)
        }
        "session_status" => {
            let arguments = read(STATUS_REFUSED)?;
            let key = arguments.word("sessionKey", NAME_BYTES_MAX)?;
            let session_key = key.filter(|key| *key != "current").map(str::to_owned);
            Ok(SessionsCall::Read(SessionsRead::Status { session_key }))
        }
        "agents_list" => read(&[]).map(|_| SessionsCall::Read(SessionsRead::Agents)),
        "sessions_list" => list(&Arguments::parse(spec, LIST_HIDDEN, LIST_REFUSED, arguments)?)
            .map(SessionsCall::Read),
        _ => history(&read(HISTORY_REFUSED)?).map(SessionsCall::Read),
    }
}

const SUBAGENTS_REFUSED: &[Refused] = &[
    ("taskId", "use `target`"),
    ("sessionKey", "use `target`, which takes a session key too"),
    ("runId", "use `target` with the task's id"),
];

fn subagents(arguments: &Arguments) -> Result<SessionsCall, String> {
    let action = arguments.choice("action")?.unwrap_or(Action::List);
    let only = |name: &str, actions: &[Action]| match arguments.says(name) {
        true if !actions.contains(&action) => {
            Err(format!("`{name}` does not go with the action `{action}`"))
        }
        _ => Ok(()),
    };
    only("recentMinutes", &[Action::List])?;
    only("limit", &[Action::Log])?;
    only("message", &[Action::Steer])?;
    only("timeoutSeconds", &[Action::Wait])?;
    only("taskIds", &[Action::Wait])?;
    if action == Action::Wait {
        let request = wait::for_tasks(arguments)?;
        return Ok(SessionsCall::Internal(InternalCall::Wait(request)));
    }
    if action != Action::List && !arguments.says("target") {
        return Err(format!("`target` is missing: the action `{action}` needs a task"));
    }
    let target =
        || arguments.message("target", NAME_BYTES_MAX).map(|t| TaskTarget(t.trim().into()));
    let internal = |call| Ok(SessionsCall::Internal(call));
    let read = |read| Ok(SessionsCall::Read(read));
    match action {
        Action::List => {
            only("target", &[])?;
            let minutes = arguments.integer("recentMinutes", 1..=MINUTES_MAX)?;
            read(SessionsRead::SubagentsList { recent_minutes: minutes.unwrap_or(RECENT_MINUTES) })
        }
        Action::Info => read(SessionsRead::SubagentsInfo { target: target()? }),
        Action::Log => {
            let limit = arguments.integer("limit", 1..=LOG_LIMIT_MAX)?.unwrap_or(LOG_LIMIT);
            read(SessionsRead::SubagentsLog { target: target()?, limit })
        }
        Action::Steer => {
            let message = arguments.message("message", MESSAGE_BYTES_MAX)?.to_owned();
            internal(InternalCall::Steer { target: target()?, message })
        }
        Action::Wait => unreachable!("it is read above"),
        Action::Kill | Action::Cancel => internal(InternalCall::Kill { target: target()? }),
    }
}

const NOT_IN_LIST: &str = "not in this version; narrow the list with `kinds` or `activeMinutes`";
/// Taken, and not in the schema.
const LIST_HIDDEN: &[&str] = &["activeMinutes", "label"];

const LIST_REFUSED: &[Refused] = &[
    ("excludeSubagents", "name the kinds you want in `kinds`"),
    ("relationship", NOT_IN_LIST),
    ("ownerId", NOT_IN_LIST),
    ("creatorId", NOT_IN_LIST),
    ("projectId", NOT_IN_LIST),
    ("workspaceDir", NOT_IN_LIST),
    ("group", NOT_IN_LIST),
    ("pinned", NOT_IN_LIST),
    ("messageLimit", "read messages with `sessions_history`"),
    ("includeDerivedTitles", NOT_IN_LIST),
    ("includeLastMessage", "read messages with `sessions_history`"),
];

fn list(arguments: &Arguments) -> Result<SessionsRead, String> {
    let word = |name| arguments.word(name, NAME_BYTES_MAX).map(|text| text.map(str::to_owned));
    let agent = arguments
        .word("agentId", NAME_BYTES_MAX)?
        .map(|text| text.parse().map_err(|error| format!("`agentId` is not valid: {error}")));
    Ok(SessionsRead::List(ListRequest {
        limit: arguments.integer("limit", 1..=LIST_LIMIT_MAX)?.unwrap_or(LIST_LIMIT),
        offset: arguments.integer("offset", 0..=u32::MAX)?.unwrap_or(0),
        kinds: arguments.choices("kinds")?,
        active_minutes: arguments.integer("activeMinutes", 1..=MINUTES_MAX)?,
        active_only: arguments.flag("activeOnly")?.unwrap_or(false),
        label: word("label")?,
        agent: agent.transpose()?,
        search: word("search")?,
        archived: arguments.flag("archived")?.unwrap_or(false),
    }))
}

const STATUS_REFUSED: &[Refused] = &[
    ("model", "not in this version; a person changes the model of a session"),
    ("changesSince", "not in this version; what changes comes to you as messages"),
    ("sessionId", "use `sessionKey`"),
];

const HISTORY_REFUSED: &[Refused] = &[
    ("pendingBefore", "not in this version; what waits in an inbox is not shown"),
    ("messageId", "use `seq`, the number of the message"),
    ("sessionId", "use `sessionKey`"),
];

/// Arguments of a page, which one message alone has no use for.
const OF_A_PAGE: [&str; 3] = ["limit", "offset", "includeTools"];

fn history(arguments: &Arguments) -> Result<SessionsRead, String> {
    let limit = arguments.integer("limit", 1..=HISTORY_LIMIT_MAX)?;
    let session_key = arguments.message("sessionKey", NAME_BYTES_MAX)?.trim().to_owned();
    let from_byte = arguments.integer("fromByte", 0..=u32::MAX)?;
    if let Some(seq) = arguments.integer("seq", 1..=u32::MAX)? {
        if let Some(other) = OF_A_PAGE.into_iter().find(|name| arguments.says(name)) {
            return Err(format!("`{other}` does not go with `seq`, which is one message"));
        }
        let from_byte = from_byte.unwrap_or(0);
        return Ok(SessionsRead::Message { session_key, seq, from_byte });
    }
    if from_byte.is_some() {
        return Err("`fromByte` goes with `seq`: say which message to read on in".to_owned());
    }
    Ok(SessionsRead::History {
        session_key,
        limit: limit.unwrap_or(HISTORY_LIMIT),
        include_tools: arguments.flag("includeTools")?.unwrap_or(false),
        offset: arguments.integer("offset", 0..=u32::MAX)?.unwrap_or(0),
    })
}

#[cfg(test)]
mod tests;
