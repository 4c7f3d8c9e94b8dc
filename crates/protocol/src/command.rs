//! Slash commands: what a person types to the gateway instead of to the agent. Pure.
//!
//! A message is a command if its first word is a slash and a name: a letter, then letters,
//! digits, `_` and `-`, with a colon behind it if need be (`/queue: steer`). Capitals do not
//! matter. A first word with anything else in it (`/usr/bin`, `//`, `/3`) is for the agent, and so
//! is a slash further on. A name that we do not have is answered with those that we have: what
//! looks like a command never reaches a model by mistake.

use std::fmt;
use std::str::FromStr;

use types::{AgentId, Thinking, word_enum};

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
    Subagents(Subagents),
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
pub const TABLE: [(&str, &str); 27] = [
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
    ("/agents", "List the agents that are configured"),
    ("/threads", "List the named conversations, and what they are about"),
    ("/tasks", "List the tasks of this conversation"),
    ("/tasks retry <task>", "Carry one again that has ended without being completed"),
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
        "subagents" => subagents(rest).map(Command::Subagents),
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
mod tests {
    use super::*;

    fn name(text: &str) -> Handle {
        Handle::Name(text.to_owned())
    }

    fn spawn(task: &str, model: Option<&str>) -> Command {
        Command::Subagents(Subagents::Spawn {
            agent: "ops".parse().unwrap(),
            task: task.to_owned(),
            model: model.map(str::to_owned),
        })
    }

    #[test]
    fn every_command() {
        use super::Queue::{Default as Configured, Set, Show};
        use super::Subagents::{Info, Kill, List, Log, Send, Steer};
        use Command::{Agents, Help, New, Queue, Reset, Retry, Status, Stop, Tasks, Threads};

        let sub = Command::Subagents;
        let log = |task, limit| sub(Log { task, limit });
        let one = |handle| sub(Kill(Victims::One(handle)));
        let plain = QueueSettings::default();
        let mode = |mode| Queue(Set(QueueSettings { mode: Some(mode), ..plain }));
        let steer = |task, text: &str| sub(Steer { task, message: text.to_owned() });
        let send = |task, text: &str| sub(Send { task, message: text.to_owned() });
        #[rustfmt::skip]
        let table = [
            ("/help",                       Help),
            ("/commands",                   Help),
            ("  /STATUS\n",                 Status),
            ("/stop",                       Stop),
            ("/stop:",                      Stop),
            ("/new",                        New(None)),
            ("/reset",                      Reset(None)),
            ("/NEW  Plan the garden ",      New(Some("Plan the garden".to_owned()))),
            ("/reset: what now?",           Reset(Some("what now?".to_owned()))),
            ("/agents",                     Agents),
            ("/threads",                    Threads),
            ("/tasks",                      Tasks),
            ("/tasks list",                 Tasks),
            ("/tasks retry #1",             Retry(Handle::Number(1))),
            ("/tasks retry research",       Retry(name("research"))),
            ("/context",                    Command::Context(Context::List)),
            ("/context: REFRESH",           Command::Context(Context::Refresh)),
            ("/queue",                      Queue(Show)),
            ("/queue Collect",              mode(QueueMode::Collect)),
            ("/queue: steer",               mode(QueueMode::Steer)),
            ("/queue interrupt",            mode(QueueMode::Interrupt)),
            ("/queue followup",             mode(QueueMode::Followup)),
            ("/queue cap:25 Drop:old",      Queue(Set(QueueSettings { cap: Some(25), drop: Some(QueueDrop::Old), ..plain }))),
            ("/queue collect debounce:2s",  Queue(Set(QueueSettings { mode: Some(QueueMode::Collect), debounce_ms: Some(2_000), ..plain }))),
            ("/queue debounce:500",         Queue(Set(QueueSettings { debounce_ms: Some(500), ..plain }))),
            ("/queue default",              Queue(Configured)),
            ("/queue reset",                Queue(Configured)),
            ("/model",                      Command::Model(Model::Show)),
            ("/model Opus",                 Command::Model(Model::Set("Opus".to_owned()))),
            ("/model: openai/gpt-5",        Command::Model(Model::Set("openai/gpt-5".to_owned()))),
            ("/model Default",              Command::Model(Model::Default)),
            ("/models",                     Command::Models(None)),
            ("/models openai",              Command::Models(Some("openai".to_owned()))),
            ("/think",                      Command::Think(Think::Show)),
            ("/t High",                     Command::Think(Think::Set(Some(Thinking::High)))),
            ("/thinking default",           Command::Think(Think::Set(None))),
            ("/subagents",                  sub(List)),
            ("/subagents list",             sub(List)),
            ("/subagents info #2",          sub(Info(Handle::Number(2)))),
            ("/subagents info 2",           sub(Info(Handle::Number(2)))),
            ("/subagents info research",    sub(Info(name("research")))),
            ("/subagents info Last",        sub(Info(Handle::Last))),
            ("/subagents log tsk_1",        log(name("tsk_1"), 20)),
            ("/subagents log #1 5",         log(Handle::Number(1), 5)),
            ("/subagents steer a  go on",   steer(name("a"), "go on")),
            ("/subagents send #1 a\nb",     send(Handle::Number(1), "a\nb")),
            ("/subagents kill a",           one(name("a"))),
            ("/subagents cancel #3",        one(Handle::Number(3))),
            ("/subagents kill agent:main:subagent:x", one(name("agent:main:subagent:x"))),
            ("/subagents kill all",         sub(Kill(Victims::All))),
            ("/subagents spawn ops look at /tmp", spawn("look at /tmp", None)),
            ("/subagents spawn ops do it --model stub/stub-1", spawn("do it", Some("stub/stub-1"))),
            ("/subagents spawn ops say --model twice now", spawn("say --model twice now", None)),
        ];
        for (text, command) in table {
            assert_eq!(parse(text), Some(Ok(command)), "{text:?}");
        }
    }

    #[test]
    fn what_is_said_to_the_agent() {
        for text in [
            "hello",
            "",
            "/",
            "//",
            "// a comment",
            "/usr/bin is a path",
            "/status/live answers 500",
            "/3 of it",
            "/stop.",
            "/stop, please",
            "please /stop",
            "\"/tmp\" is full",
            "/-x",
            "/ñandú",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_wrong_form_is_told_the_right_one() {
        let told = |text: &str| match parse(text) {
            Some(Err(wrong)) => wrong.to_string(),
            other => panic!("{text:?} is {other:?}"),
        };
        #[rustfmt::skip]
        let table = [
            ("/help me",                    "/help"),
            ("/status all",                 "/status"),
            ("/stop it",                    "/stop"),
            ("/reset soft",                 "/reset"),
            ("/agents x",                   "/agents"),
            ("/threads x",                  "/threads"),
            ("/tasks x",                    "/tasks"),
            ("/tasks retry",                "/tasks retry <task>"),
            ("/tasks retry a b",            "/tasks retry <task>"),
            ("/context all",                "/context [list|detail|json]"),
            ("/queue shout",                "/queue [steer|followup|collect|interrupt]"),
            ("/queue steer collect",        "/queue [steer|followup|collect|interrupt]"),
            ("/queue steer cap:0",          "/queue [steer|followup|collect|interrupt]"),
            ("/queue cap:3 cap:4",          "/queue [steer|followup|collect|interrupt]"),
            ("/queue debounce:2h",          "/queue [steer|followup|collect|interrupt]"),
            ("/queue drop:all",             "/queue [steer|followup|collect|interrupt]"),
            ("/queue speed:9",              "/queue [steer|followup|collect|interrupt]"),
            ("/subagents list all",         "/subagents list"),
            ("/subagents dance",            "/subagents spawn <agentId> <brief>"),
            ("/subagents info",             "/subagents info <task>"),
            ("/subagents info a b",         "/subagents info <task>"),
            ("/subagents info #0",          "/subagents info <task>"),
            ("/subagents info #x",          "/subagents info <task>"),
            ("/subagents log",              "/subagents log <task> [lines]"),
            ("/subagents log a 0",          "/subagents log <task> [lines]"),
            ("/subagents log a 201",        "/subagents log <task> [lines]"),
            ("/subagents log a many",       "/subagents log <task> [lines]"),
            ("/subagents steer",            "/subagents steer <task> <message>"),
            ("/subagents steer a",          "/subagents steer <task> <message>"),
            ("/subagents send a",           "/subagents send <task> <message>"),
            ("/subagents kill",             "/subagents kill <task>|all"),
            ("/subagents kill a b",         "/subagents kill <task>|all"),
            ("/subagents spawn",            "/subagents spawn <agentId> <brief>"),
            ("/subagents spawn ops",        "/subagents spawn <agentId> <brief>"),
            ("/subagents spawn -x do it",   "/subagents spawn <agentId> <brief>"),
            ("/subagents spawn ops --model a/b", "/subagents spawn <agentId> <brief>"),
            ("/subagents spawn ops x --model",   "/subagents spawn <agentId> <brief>"),
            ("/model a b",                  "/model <name>"),
            ("/models a b",                 "/models [provider]"),
            ("/think hard",                 "/think off|minimal|low|medium|high|xhigh|max|default"),
            ("/mode",                       "There is no command /mode"),
            ("/tmp is full",                "There is no command /tmp"),
        ];
        for (text, form) in table {
            assert!(told(text).contains(form), "{text:?} is told {:?}", told(text));
        }
        assert!(told("/subagents kill").contains("`last`"), "how a task is named");
        for other in ["/stop it", "/subagents spawn ops"] {
            assert!(!told(other).contains("`last`"), "{other}");
        }
    }

    #[test]
    fn what_the_table_says_is_read() {
        for (form, _) in TABLE {
            let text = form
                .replace("[steer|followup|collect|interrupt]", "steer")
                .replace("[list|detail|json]", "json")
                .replace("[debounce:2s] [cap:25] [drop:summarize|old|new]", "debounce:2s cap:25")
                .replace("<task>|all", "all")
                .replace("spawn <agentId> <brief> [--model <provider/model>]", "spawn ops do it")
                .replace("off|minimal|low|medium|high|xhigh|max|default", "xhigh")
                .replace("[provider]", "openai")
                .replace("<name>", "opus")
                .replace("[lines]", "3")
                .replace("<task>", "#1")
                .replace("<message>", "words");
            assert!(matches!(parse(&text), Some(Ok(_))), "{text}");
            assert!(help().contains(form));
        }
    }

    /// The manual's table is the one that `/help` prints.
    #[test]
    fn the_manual_says_the_same() {
        let manual = include_str!("../../../docs/commands.md");
        let rows = manual.lines().filter(|line| line.starts_with("| `/"));
        let table =
            TABLE.map(|(form, what)| format!("| `{}` | {what} |", form.replace('|', "\\|")));
        assert_eq!(rows.collect::<Vec<_>>(), table);
    }
}
