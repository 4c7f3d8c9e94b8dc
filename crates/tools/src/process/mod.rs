//! `process`: looks at commands that go on in the background, writes to them, and ends them.
//!
//! A command belongs to the session that has started it, and no other sees it. It ends with its run
//! at the latest; what it has written stays for a while.

mod end;
mod entry;
mod keys;
mod note;
pub(crate) mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use types::{EffectClass, ToolSpec, word_enum};

pub(crate) use self::end::{End, Why};
pub(crate) use self::entry::{About, Entry};
pub use self::table::Table;
use crate::arguments::{Arguments, excerpt, wrong};
use crate::{Tool, ToolContext, ToolOutput, blocking};

/// How long a poll waits if it does not say.
const POLL: Duration = Duration::from_secs(10);

/// Longest wait of a poll: as in OpenClaw.
const POLL_MS_MAX: u32 = 30_000;

/// After the first news a poll waits so long for more, so that a line is not told in pieces.
const SETTLE: Duration = Duration::from_millis(150);

/// Lines of a page of the log.
const LINES: u32 = 200;
const LINES_MAX: u32 = 2_000;

/// Longest input of one call; more belongs into a file.
const INPUT_BYTES_MAX: usize = 64 * 1024;

/// Part of a command that a list shows.
const COMMAND_CHARS: usize = 100;

word_enum! {
    pub(crate) enum Action {
        List = "list",
        Poll = "poll",
        Log = "log",
        Write = "write",
        SendKeys = "send-keys",
        Submit = "submit",
        Paste = "paste",
        Kill = "kill",
        Clear = "clear",
        Remove = "remove",
    }
}

impl Action {
    /// Arguments that it knows, beside those of all.
    fn takes(self) -> &'static [&'static str] {
        match self {
            Action::List | Action::Kill | Action::Clear | Action::Remove => &[],
            Action::Poll => &["timeout"],
            Action::Log => &["offset", "limit"],
            Action::Write => &["data", "eof"],
            Action::SendKeys => &["keys", "hex", "literal"],
            Action::Submit => &["data"],
            Action::Paste => &["text", "bracketed"],
        }
    }
}

/// Taken, and not in the schema: what few models use.
const HIDDEN: &[&str] = &["eof", "hex", "literal", "bracketed"];

#[derive(Debug)]
pub(crate) struct Process {
    spec: ToolSpec,
    table: Arc<Table>,
}

impl Process {
    pub(crate) fn new(table: Arc<Table>) -> Process {
        let spec = ToolSpec {
            name: "process".to_owned(),
            description: "Commands that exec left running. poll: new output; log: lines of all \
                output; write, submit (with Enter), paste, send-keys: input; kill ends one; clear \
                forgets ended ones, remove also a running one."
                .to_owned(),
            input_schema: json!({
                "type": "object",
                "properties": {
                    "action": { "enum": Action::ALL },
                    "sessionId": { "type": "string" },
                    "timeout": { "type": "number", "description": "poll: ms" },
                    "offset": { "type": "integer", "description": "log: line" },
                    "limit": { "type": "integer" },
                    "data": { "type": "string" },
                    "keys": {
                        "type": "array", "items": { "type": "string" },
                        "description": "Enter, Up, C-c",
                    },
                    "text": { "type": "string" },
                },
                "required": ["action"],
            }),
        };
        Process { spec, table }
    }

    fn read(&self, arguments: &str) -> Result<(Action, Arguments), String> {
        let arguments = Arguments::parse(&self.spec, HIDDEN, &[], arguments)?;
        let action: Action = arguments.choice("action")?.ok_or("`action` is missing")?;
        let shown = self.spec.input_schema["properties"].as_object().into_iter().flatten();
        for name in shown.map(|(name, _)| name.as_str()).chain(HIDDEN.iter().copied()) {
            let known = ["action", "sessionId"].contains(&name) || action.takes().contains(&name);
            if !known && arguments.value(name).is_some_and(says_something) {
                let takes = action.takes().join("`, `");
                let takes = if takes.is_empty() {
                    "none but sessionId".to_owned()
                } else {
                    format!("`{takes}`")
                };
                return Err(format!("action `{action}` does not take `{name}`; it takes {takes}"));
            }
        }
        Ok((action, arguments))
    }

    async fn act(&self, context: &ToolContext, arguments: &str) -> Result<String, String> {
        let (action, arguments) = self.read(arguments)?;
        let id = arguments.word("sessionId", 200)?;
        match (action, id) {
            (Action::List, _) => return Ok(self.list(context)),
            (Action::Clear, None) => return Ok(self.clear(context)),
            _ => {}
        }
        let entry = self.find(context, action, id)?;
        match action {
            Action::Poll => poll(context, &entry, &arguments).await,
            Action::Log => log(entry, &arguments).await,
            Action::Kill => Ok(kill(&entry).await),
            Action::Clear | Action::Remove => {
                if entry.end().is_none() && action == Action::Clear {
                    let id = &entry.about.id;
                    return Err(format!("`{id}` still runs: kill it first, or use remove"));
                }
                let end = kill(&entry).await;
                self.table.remove(&entry);
                Ok(format!("{end}\n[forgotten]"))
            }
            _ => give(&entry, action, &arguments).await,
        }
    }

    /// The command that is meant: the one that is named, or the only one.
    fn find(
        &self,
        context: &ToolContext,
        action: Action,
        id: Option<&str>,
    ) -> Result<Arc<Entry>, String> {
        let Some(id) = id else {
            let mut all = self.table.of_session(&context.session);
            return match (all.pop(), all.pop()) {
                (Some(only), None) => Ok(only),
                _ => {
                    Err(format!("action `{action}` needs `sessionId`; {}", self.there_are(context)))
                }
            };
        };
        self.table.get(&context.session, id).ok_or_else(|| {
            let there_are = self.there_are(context);
            format!("this session has no command `{}`; {there_are}", excerpt(id))
        })
    }

    fn there_are(&self, context: &ToolContext) -> String {
        let all = self.table.of_session(&context.session);
        let ids: Vec<String> = all.iter().map(|entry| format!("`{}`", entry.about.id)).collect();
        if ids.is_empty() {
            return "it has none in the background".to_owned();
        }
        format!("there are {}", ids.join(", "))
    }

    fn list(&self, context: &ToolContext) -> String {
        let line = |entry: &Arc<Entry>| {
            let state = match entry.end() {
                Some(end) => end.short(),
                None => format!("running for {:.1} s", entry.runs_for().as_secs_f64()),
            };
            let command: String = entry.about.command.chars().take(COMMAND_CHARS).collect();
            format!("{}  {state}  {}", entry.about.id, command.replace('\n', " "))
        };
        let lines: Vec<String> = self.table.of_session(&context.session).iter().map(line).collect();
        if lines.is_empty() { "none".to_owned() } else { lines.join("\n") }
    }

    fn clear(&self, context: &ToolContext) -> String {
        let all = self.table.of_session(&context.session);
        let ended: Vec<&Arc<Entry>> = all.iter().filter(|entry| entry.end().is_some()).collect();
        for entry in &ended {
            self.table.remove(entry);
        }
        format!("{} forgotten, {} still run", ended.len(), all.len() - ended.len())
    }
}

/// Many models fill in every argument.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// The last line of an answer about a command.
pub(crate) fn state(entry: &Entry) -> String {
    match entry.end() {
        Some(end) => end.words(),
        None => {
            let seconds = entry.runs_for().as_secs_f64();
            format!("[running for {seconds:.1} s, sessionId {}]", entry.about.id)
        }
    }
}

/// `text`, and below it how the command stands.
pub(crate) fn above(mut text: String, last: &str) -> String {
    if text.is_empty() {
        text.push_str("[no output]");
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text + last
}

async fn poll(
    context: &ToolContext,
    entry: &Entry,
    arguments: &Arguments,
) -> Result<String, String> {
    let wait = match arguments.number("timeout")? {
        None => POLL,
        Some(ms) if (0.0..=f64::from(POLL_MS_MAX)).contains(&ms) => {
            Duration::from_millis(ms as u64)
        }
        Some(ms) => {
            return Err(format!(
                "`timeout` must be from 0 to {POLL_MS_MAX} milliseconds; got {ms}"
            ));
        }
    };
    let news = async {
        entry.news().await;
        if entry.end().is_none() {
            tokio::time::sleep(SETTLE).await;
        }
    };
    tokio::select! {
        _ = tokio::time::timeout(wait, news) => {}
        () = context.cancel.cancelled() => {}
    }
    // Before the output is read: what an end says is that nothing more comes.
    let state = state(entry);
    let text = entry.unseen();
    let text = if text.is_empty() { "[no new output]".to_owned() } else { text };
    Ok(above(text, &state))
}

async fn log(entry: Arc<Entry>, arguments: &Arguments) -> Result<String, String> {
    let offset = arguments.integer("offset", 0..=u32::MAX)?;
    let limit = arguments.integer("limit", 0..=LINES_MAX)?.filter(|limit| *limit > 0);
    let limit = limit.unwrap_or(LINES) as usize;
    let state = state(&entry);
    blocking(move || {
        let (all, gap, rest) = entry.output.all().map_err(|error| error.to_string())?;
        let mut text = entry.text(&all);
        if gap > 0 {
            text += &format!("\n[{gap} bytes are not kept]\n");
        }
        text += &entry.text(&rest);
        let lines: Vec<&str> = text.lines().collect();
        let first = offset.map_or(lines.len().saturating_sub(limit), |offset| offset as usize);
        if first >= lines.len() && first > 0 {
            return Err(format!(
                "`offset` {first} is behind the end: there are {} lines",
                lines.len()
            ));
        }
        let last = (first + limit).min(lines.len());
        let page = lines[first..last].join("\n");
        let place = format!("[lines {first} to {} of {}]", last.saturating_sub(1), lines.len());
        let place = if lines.is_empty() { String::new() } else { place + "\n" };
        Ok(above(page, &format!("{place}{state}")))
    })
    .await
}

async fn kill(entry: &Entry) -> String {
    entry.stop(Why::Killed);
    entry.ended().await.words()
}

/// Writes to a command what the action says.
async fn give(entry: &Entry, action: Action, arguments: &Arguments) -> Result<String, String> {
    let terminal = entry.about.terminal;
    let (bytes, end) = match action {
        Action::Write => {
            let data = arguments.text("data")?.unwrap_or_default();
            let end = arguments.flag("eof")?.unwrap_or(false);
            if data.is_empty() && !end {
                return Err("action `write` needs `data`, or `eof` true".to_owned());
            }
            (data.as_bytes().to_vec(), end)
        }
        Action::Submit => {
            let data = arguments.text("data")?.unwrap_or_default();
            let enter = if terminal { "\r" } else { "\n" };
            (format!("{data}{enter}").into_bytes(), false)
        }
        Action::Paste => {
            let text = arguments.text("text")?.unwrap_or_default();
            if text.is_empty() {
                return Err("action `paste` needs `text`".to_owned());
            }
            let bracketed = arguments.flag("bracketed")?.unwrap_or(true) && terminal;
            let text =
                if bracketed { format!("\x1b[200~{text}\x1b[201~") } else { text.to_owned() };
            (text.into_bytes(), false)
        }
        _ => (keystrokes(arguments)?, false),
    };
    if action == Action::SendKeys && !terminal {
        return Err(
            "it has no terminal, and so no keys: start it with `pty` true, or use write".to_owned()
        );
    }
    if bytes.len() > INPUT_BYTES_MAX {
        let count = bytes.len();
        return Err(format!("{count} bytes are too many at once: at most {INPUT_BYTES_MAX}"));
    }
    entry.write(&bytes, end).await?;
    let closed = if end { ", and its input is closed" } else { "" };
    Ok(format!("[{} bytes written{closed}]\n{}", bytes.len(), state(entry)))
}

fn keystrokes(arguments: &Arguments) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for name in texts(arguments, "keys")? {
        bytes.extend(keys::key(name)?);
    }
    for text in texts(arguments, "hex")? {
        bytes.extend(keys::hex(text)?);
    }
    bytes.extend(arguments.text("literal")?.unwrap_or_default().as_bytes());
    if bytes.is_empty() {
        return Err("action `send-keys` needs `keys`, `hex` or `literal`".to_owned());
    }
    Ok(bytes)
}

fn texts<'a>(arguments: &'a Arguments, name: &str) -> Result<Vec<&'a str>, String> {
    let Some(value) = arguments.value(name) else { return Ok(Vec::new()) };
    let texts = value.as_array().and_then(|items| items.iter().map(Value::as_str).collect());
    texts.ok_or_else(|| wrong(name, "a list of strings", value))
}

#[async_trait]
impl Tool for Process {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn effect(&self) -> EffectClass {
        EffectClass::Opaque
    }

    /// Looking changes nothing; what is written is not written twice.
    fn effect_of(&self, arguments: &str) -> EffectClass {
        match self.read(arguments) {
            Ok((Action::List | Action::Poll | Action::Log, _)) => EffectClass::Pure,
            _ => EffectClass::Opaque,
        }
    }

    async fn call(&self, context: &ToolContext, arguments: &str) -> ToolOutput {
        self.act(context, arguments).await.into()
    }
}
