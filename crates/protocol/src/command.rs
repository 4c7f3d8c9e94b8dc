//! Slash commands: what a person types to the gateway instead of to the agent. Pure.
//!
//! A message is a command if its first word is a slash and a name: a letter, then letters,
//! digits, `_` and `-`, with a colon behind it if need be (`/queue: steer`). Capitals do not
//! matter. A first word with anything else in it (`/usr/bin`, `//`, `/3`) is for the agent, and so
//! is a slash further on. A name that we do not have is answered with those that we have: what
//! looks like a command never reaches a model by mistake.

mod approve;

use std::fmt;
use std::str::FromStr;

use types::{AgentId, Footer, Reasoning, Thinking, word_enum};

use crate::approvals::Decision;
use crate::chat::QueueMode;

/// A command, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Help,
    Status,
    Stop,
    /// With the first message of what begins.
    New(Option<String>),
    Reset(Option<String>),
    Agents,
    Threads,
    Tasks,
    /// A task that has ended without being completed is carried again.
    Retry(Handle),
    Queue(Queue),
    Context(Context),
    Model(Model),
    /// Of one provider, or of all.
    Models(Option<String>),
    Think(Think),
    /// The conversation is made smaller; with what matters above all.
    Compact(String),
    /// Whether what the model thinks is shown; none asks.
    Reasoning(Option<Reasoning>),
    /// What was spent; or what is told of it under each answer.
    Usage(Option<Footer>),
    Subagents(Subagents),
    /// Calls that wait to be allowed.
    Approvals,
    /// None names the only one that waits.
    Approve {
        id: Option<String>,
        decision: Decision,
    },
}

word_enum! {
    /// `/context`: what of what is sent is shown, or that it is read anew.
    pub enum Context {
        List = "list",
        Detail = "detail",
        Json = "json",
        Refresh = "refresh",
    }
}

/// `/model`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Model {
    Show,
    /// A model or an alias: it holds for this conversation from its next call on.
    Set(String),
    /// What is configured holds.
    Default,
}

/// `/think`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Think {
    Show,
    /// What is configured if none.
    Set(Option<Thinking>),
}

/// `/queue`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    Show,
    /// What is given holds for this session from now on.
    Set(QueueSettings),
    /// What is configured holds.
    Default,
}

/// What somebody wants of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueSettings {
    pub mode: Option<QueueMode>,
    pub debounce_ms: Option<u64>,
    pub cap: Option<u32>,
    pub drop: Option<QueueDrop>,
}

word_enum! {
    /// What gives way when a queue is full.
    pub enum QueueDrop {
        Summarize = "summarize",
        Old = "old",
        New = "new",
    }
}

/// `/subagents`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subagents {
    List,
    Info(Handle),
    Log { task: Handle, limit: u32 },
    Steer { task: Handle, message: String },
    Send { task: Handle, message: String },
    Kill(Victims),
    Spawn { agent: AgentId, task: String, model: Option<String> },
}

/// How a person names a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handle {
    /// A task id, a `taskName`, or the session's key.
    Name(String),
    /// Its number in the list that was shown last.
    Number(u32),
    /// The newest.
    Last,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Victims {
    One(Handle),
    /// All that are open below this session.
    All,
}

/// A command that is not known, or not in its form. The text is the answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WrongForm(String);

/// Lines of a log that are shown if no number is given, and at most.
const LOG_LINES: u32 = 20;
const LOG_LINES_MAX: u32 = 200;

/// Every command: its form, and what it does.
pub const TABLE: [(&str, &str); 34] = [
    ("/help", "Show this list"),
    ("/status", "Show how this conversation stands"),
    ("/stop", "Stop the run of this conversation, what waits in it, and all its sub-agents"),
    (
        "/new [message]",
        "Stop all that, and begin this conversation anew, with the message; the old one stays \
         readable",
    ),
    ("/reset [message]", "Same as /new"),
    (
        "/queue",
        "Show what waits in this conversation, and what becomes of a message while it is busy",
    ),
    (
        "/queue [steer|followup|collect|interrupt] [debounce:2s] [cap:25] [drop:summarize|old|new]",
        "Set what becomes of a message while it is busy, in this conversation",
    ),
    ("/queue default", "Go back to what is configured"),
    (
        "/context [list|detail|json]",
        "Show what is sent before and with this conversation, and what takes how much",
    ),
    ("/context refresh", "Read files and tools anew at the next call, and say what that costs"),
    ("/model", "Show which model is asked here, and which has answered"),
    ("/model <name>", "Ask this model from the next call on: `provider/model`, or an alias"),
    ("/model default", "Ask the configured model again"),
    ("/models [provider]", "List the models that can be asked"),
    ("/think", "Show how long the model thinks before it answers"),
    (
        "/think off|minimal|low|medium|high|xhigh|max|default",
        "Set how long the model thinks, in this conversation",
    ),
    (
        "/compact [hint]",
        "Summarise what was said so far and go on with that; the hint says what matters most",
    ),
    (
        "/reasoning on|off|stream",
        "Show what the model thinks: before what it says, not, or as it comes",
    ),
    ("/usage", "Show what was spent: on this conversation, with all below it, and today"),
    (
        "/usage off|tokens|full",
        "Tell under each answer what it took: nothing, its tokens, or its tokens and cost",
    ),
    ("/agents", "List the agents that are configured"),
    ("/threads", "List the named conversations, and what they are about"),
    ("/tasks", "List the tasks of this conversation"),
    ("/tasks retry <task>", "Carry one again that has ended without being completed"),
    ("/approvals", "List the commands that wait until you allow them"),
    (
        "/approve [id] [always]",
        "Allow the command that waits, once or from now on; without an id if there is one",
    ),
    ("/deny [id]", "Do not allow it"),
    ("/subagents list", "List the sub-agents below this conversation, with numbers"),
    ("/subagents info <task>", "Show all that is known of one"),
    ("/subagents log <task> [lines]", "Show the end of its conversation"),
    ("/subagents steer <task> <message>", "Tell it something; one that has ended goes on"),
    ("/subagents send <task> <message>", "Write to it; its answer comes here"),
    ("/subagents kill <task>|all", "Stop it, and all below it"),
    ("/subagents spawn <agentId> <brief> [--model <provider/model>]", "Start a sub-agent"),
];

/// How a task may be named, for those who have named none.
pub const HANDLES: &str = "<task> is a number of the last list (#1), a task id, a taskName, the key \
                           of its session, or `last`.";

/// Reads a message. `None` is a message for the agent.
pub fn parse(text: &str) -> Option<Result<Command, WrongForm>> {
    let (word, rest) = first_word(text.trim());
    let name = word.strip_prefix('/')?;
    let name = name.strip_suffix(':').unwrap_or(name);
    let mut letters = name.chars();
    let begins = letters.next().is_some_and(|first| first.is_ascii_alphabetic());
    if !begins || !letters.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
        return None;
    }
    Some(read(&name.to_ascii_lowercase(), rest))
}

/// The list of commands, as a person reads it.
pub fn help() -> String {
    let width = TABLE.iter().map(|(form, _)| form.len()).filter(|len| *len < 40).max();
    let width = width.unwrap_or(0);
    let lines = TABLE.iter().map(|(form, what)| format!("{form:<width$}  {what}"));
    format!("{}\n{HANDLES}", lines.collect::<Vec<_>>().join("\n"))
}

fn read(name: &str, rest: &str) -> Result<Command, WrongForm> {
    let alone = |command| if rest.is_empty() { Ok(command) } else { Err(form_of(name)) };
    match name {
        "help" | "commands" => alone(Command::Help),
        "status" => alone(Command::Status),
        "stop" => alone(Command::Stop),
        "new" => Ok(Command::New(words(rest))),
        // What OpenClaw means by it is not served: it must not become a message.
        "reset" if first_word(rest).0.eq_ignore_ascii_case("soft") => Err(form_of(name)),
        "reset" => Ok(Command::Reset(words(rest))),
        "agents" => alone(Command::Agents),
        "threads" => alone(Command::Threads),
        "tasks" => tasks(rest),
        "queue" => queue(rest).map(Command::Queue),
        "context" if rest.is_empty() => Ok(Command::Context(Context::List)),
        "context" => {
            let word = rest.to_ascii_lowercase().parse();
            word.map(Command::Context).map_err(|_| form_of("context"))
        }
        "model" => model(rest).map(Command::Model),
        "models" if rest.is_empty() => Ok(Command::Models(None)),
        "models" if one_word(rest) => Ok(Command::Models(Some(rest.to_owned()))),
        "models" => Err(form_of("models")),
        "think" | "thinking" | "t" => think(rest).map(Command::Think),
        "compact" => Ok(Command::Compact(rest.to_owned())),
        "reasoning" | "reason" => reasoning(rest),
        "usage" => usage(rest),
        "subagents" => subagents(rest).map(Command::Subagents),
        "approvals" => alone(Command::Approvals),
        "approve" => approve::read(rest).ok_or_else(|| form_of("approve")),
        "deny" => approve::deny(rest).ok_or_else(|| form_of("deny")),
        _ => Err(unknown(name)),
    }
}

fn model(rest: &str) -> Result<Model, WrongForm> {
    match rest.to_ascii_lowercase().as_str() {
        "" | "status" => Ok(Model::Show),
        "default" | "reset" => Ok(Model::Default),
        _ if one_word(rest) => Ok(Model::Set(rest.to_owned())),
        _ => Err(form_of("model")),
    }
}

fn think(rest: &str) -> Result<Think, WrongForm> {
    match rest.to_ascii_lowercase().as_str() {
        "" | "status" => Ok(Think::Show),
        "default" | "reset" => Ok(Think::Set(None)),
        word => word.parse().map(|level| Think::Set(Some(level))).map_err(|_| form_of("think")),
    }
}

fn tasks(rest: &str) -> Result<Command, WrongForm> {
    let (verb, rest) = first_word(rest);
    match verb.to_ascii_lowercase().as_str() {
        "" | "list" if rest.is_empty() => Ok(Command::Tasks),
        "retry" => task(rest).map(Command::Retry).ok_or_else(|| form_of("tasks retry")),
        _ => Err(form_of("tasks")),
    }
}

fn reasoning(rest: &str) -> Result<Command, WrongForm> {
    let word = rest.to_ascii_lowercase();
    match word.parse() {
        _ if word.is_empty() => Ok(Command::Reasoning(None)),
        Ok(reasoning) => Ok(Command::Reasoning(Some(reasoning))),
        Err(_) => Err(form_of("reasoning")),
    }
}

fn usage(rest: &str) -> Result<Command, WrongForm> {
    match rest.to_ascii_lowercase().as_str() {
        "" | "cost" => Ok(Command::Usage(None)),
        // As OpenClaw has them.
        "on" => Ok(Command::Usage(Some(Footer::Tokens))),
        "reset" => Ok(Command::Usage(Some(Footer::Off))),
        word => match word.parse() {
            Ok(footer) => Ok(Command::Usage(Some(footer))),
            Err(_) => Err(form_of("usage")),
        },
    }
}

fn words(rest: &str) -> Option<String> {
    (!rest.is_empty()).then(|| rest.to_owned())
}

fn queue(rest: &str) -> Result<Queue, WrongForm> {
    match rest.to_ascii_lowercase().as_str() {
        "" => Ok(Queue::Show),
        "default" | "reset" => Ok(Queue::Default),
        words => settings(words).map(Queue::Set).ok_or_else(|| form_of("queue")),
    }
}

/// Messages that may wait at most: of all that waits in a session, results and notes too, there are
/// 500. The longest debounce: who is silent for an hour is not in the middle of a thought.
const CAP_MAX: u32 = 400;
const DEBOUNCE_MS_MAX: u64 = 3_600_000;

/// Each thing once, in any order.
fn settings(words: &str) -> Option<QueueSettings> {
    let mut wanted = QueueSettings::default();
    for word in words.split_whitespace() {
        let twice = match word.split_once(':') {
            None => wanted.mode.replace(word.parse().ok()?).is_some(),
            Some(("debounce", time)) => wanted.debounce_ms.replace(millis(time)?).is_some(),
            Some(("cap", cap)) => {
                let cap = cap.parse().ok().filter(|cap| (1..=CAP_MAX).contains(cap))?;
                wanted.cap.replace(cap).is_some()
            }
            Some(("drop", drop)) => wanted.drop.replace(drop.parse().ok()?).is_some(),
            Some(_) => return None,
        };
        if twice {
            return None;
        }
    }
    Some(wanted)
}

/// `2s`, `500ms`, `1m`; a number alone is milliseconds.
fn millis(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return None,
    };
    let ms = digits.parse::<u64>().ok()?.checked_mul(unit)?;
    (ms <= DEBOUNCE_MS_MAX).then_some(ms)
}

fn subagents(rest: &str) -> Result<Subagents, WrongForm> {
    let (verb, rest) = first_word(rest);
    let wrong = |verb: &str| form_of(&format!("subagents {verb}"));
    match verb.to_ascii_lowercase().as_str() {
        "" | "list" if rest.is_empty() => Ok(Subagents::List),
        "info" => task(rest).map(Subagents::Info).ok_or_else(|| wrong("info")),
        "log" => log(rest).ok_or_else(|| wrong("log")),
        "steer" => {
            let (task, message) = told(rest).ok_or_else(|| wrong("steer"))?;
            Ok(Subagents::Steer { task, message })
        }
        "send" => {
            let (task, message) = told(rest).ok_or_else(|| wrong("send"))?;
            Ok(Subagents::Send { task, message })
        }
        "kill" | "cancel" if rest.eq_ignore_ascii_case("all") => Ok(Subagents::Kill(Victims::All)),
        "kill" | "cancel" => {
            let task = task(rest).ok_or_else(|| wrong("kill"))?;
            Ok(Subagents::Kill(Victims::One(task)))
        }
        "spawn" => spawn(rest),
        _ => Err(form_of("subagents")),
    }
}

fn spawn(rest: &str) -> Result<Subagents, WrongForm> {
    let wrong = || form_of("subagents spawn");
    let (agent, rest) = first_word(rest);
    let agent = AgentId::from_str(agent).map_err(|_| wrong())?;
    let (task, model) = match rest.rsplit_once("--model") {
        Some((task, model)) if one_word(model.trim()) => {
            (task.trim(), Some(model.trim().to_owned()))
        }
        _ => (rest, None),
    };
    if task.is_empty() || task.ends_with("--model") {
        return Err(wrong());
    }
    Ok(Subagents::Spawn { agent, task: task.to_owned(), model })
}

fn log(rest: &str) -> Option<Subagents> {
    let (handle, lines) = first_word(rest);
    let limit = match lines {
        "" => LOG_LINES,
        lines => lines.parse().ok().filter(|n| (1..=LOG_LINES_MAX).contains(n))?,
    };
    Some(Subagents::Log { task: task(handle)?, limit })
}

/// A task, and what it is told.
fn told(rest: &str) -> Option<(Handle, String)> {
    let (handle, message) = first_word(rest);
    (!message.is_empty()).then(|| Some((task(handle)?, message.to_owned())))?
}

/// One handle, and nothing behind it.
fn task(text: &str) -> Option<Handle> {
    if !one_word(text) {
        return None;
    }
    if text.eq_ignore_ascii_case("last") {
        return Some(Handle::Last);
    }
    match text.strip_prefix('#').unwrap_or(text).parse() {
        Ok(0) => None,
        Ok(number) => Some(Handle::Number(number)),
        Err(_) if text.starts_with('#') => None,
        Err(_) => Some(Handle::Name(text.to_owned())),
    }
}

fn one_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_whitespace)
}

fn first_word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim())
}

/// The right forms of what was begun.
fn form_of(name: &str) -> WrongForm {
    let begins = |form: &&str| {
        form.strip_prefix('/').is_some_and(|form| {
            form == name || form.strip_prefix(name).is_some_and(|rest| rest.starts_with(' '))
        })
    };
    let forms: Vec<&str> = TABLE.iter().map(|(form, _)| *form).filter(begins).collect();
    let handles = if forms.iter().any(|form| form.contains("<task>")) {
        format!("\n{HANDLES}")
    } else {
        String::new()
    };
    WrongForm(format!("Not understood. The form is:\n  {}{handles}", forms.join("\n  ")))
}

fn unknown(name: &str) -> WrongForm {
    let mut names: Vec<&str> =
        TABLE.iter().filter_map(|(form, _)| form.split(' ').next()).collect();
    names.dedup();
    WrongForm(format!(
        "There is no command /{name}, and nothing was said to the agent. There are: {}. To say it \
         to the agent, begin with another character than a slash.",
        names.join(", ")
    ))
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Handle::Name(name) => f.write_str(name),
            Handle::Number(n) => write!(f, "#{n}"),
            Handle::Last => f.write_str("last"),
        }
    }
}

#[cfg(test)]
mod tests;
