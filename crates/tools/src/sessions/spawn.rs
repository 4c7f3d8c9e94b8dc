//! The arguments of `sessions_spawn`.

use std::fmt::Display;
use std::path::{Component, Path};
use std::str::FromStr;
use std::time::Duration;

use serde_json::{Value, json};
use types::{
    Access, Announce, Budget, Cleanup, Deliverables, Reuse, SpawnContext, SpawnRequest, WhenBusy,
    word_enum,
};

use super::{MESSAGE_BYTES_MAX, NAME_BYTES_MAX, SECONDS_MAX};
use crate::arguments::{Arguments, Refused, excerpt, wrong};
use crate::deliver;

const DEADLINE: &str = "use `runTimeoutSeconds`; the spawn itself does not wait";
const CHANNEL: &str = "the result comes back to you; put where it should go into your own reply";
const ONE_RUN: &str = "every spawn is one run; leave it out";
const BRIEF: &str = "not in this version; put what the child needs into `task`";
const LEFT_OUT: &str = "not in this version; leave it out";
const YIELD: &str = "not in this version; spawn, then call `sessions_yield`";

/// Taken, and not in the schema: what programs need, and other ways to say what that says.
pub(super) const HIDDEN: &[&str] = &[
    "cleanup",
    "expectsCompletionMessage",
    "idempotencyKey",
    "label",
    "reuseMain",
    "runtime",
    "whenBusy",
];

pub(super) const REFUSED: &[Refused] = &[
    ("timeoutSeconds", DEADLINE),
    ("timeout_seconds", DEADLINE),
    ("target", CHANNEL),
    ("transport", CHANNEL),
    ("channel", CHANNEL),
    ("to", CHANNEL),
    ("threadId", CHANNEL),
    ("thread_id", CHANNEL),
    ("replyTo", CHANNEL),
    ("reply_to", CHANNEL),
    ("completionTarget", "use `announce`"),
    ("thread", ONE_RUN),
    ("mode", ONE_RUN),
    ("message", "use `task`"),
    ("prompt", "use `task`"),
    ("name", "use `taskName`"),
    ("attachments", BRIEF),
    ("attachAs", BRIEF),
    ("lightContext", BRIEF),
    ("outputSchema", "use `deliverables` with a `schema`"),
    ("fastMode", LEFT_OUT),
    ("sandbox", LEFT_OUT),
    ("placement", LEFT_OUT),
    ("visible", LEFT_OUT),
    ("group", LEFT_OUT),
    ("projectId", LEFT_OUT),
    ("projectGitUrl", LEFT_OUT),
    ("worktree", "not in this version; use `cwd`"),
    ("worktreeName", "not in this version; use `cwd`"),
    ("worktreeBaseRef", "not in this version; use `cwd`"),
    ("collect", YIELD),
    ("groupId", YIELD),
    ("resumeSessionId", "use `sessionKey` with `resumeIfExists`"),
    ("streamTo", "results arrive as messages when the child ends; leave it out"),
];

word_enum! {
    /// What carries out a task.
    enum Runtime {
        Subagent = "subagent",
    }
}

/// Most files that a task may be asked to hand in.
const FILES_MAX: usize = 100;

pub(super) fn parse(arguments: &Arguments) -> Result<SpawnRequest, String> {
    // Only one word: reading it is refusing the others by name.
    arguments.choice::<Runtime>("runtime")?;
    let word = |name| arguments.word(name, NAME_BYTES_MAX).map(|text| text.map(str::to_owned));
    let seconds = arguments.integer("runTimeoutSeconds", 0..=SECONDS_MAX)?;
    let request = SpawnRequest {
        label: word("label")?,
        task_name: task_name(arguments)?,
        agent: parsed(arguments, "agentId")?,
        model: word("model")?,
        thinking: arguments.choice("thinking")?,
        run_timeout: seconds.map(|seconds| Duration::from_secs(seconds.into())),
        cleanup: arguments.choice("cleanup")?.unwrap_or(Cleanup::Keep),
        announce: announce(arguments)?,
        idempotency_key: word("idempotencyKey")?,
        cwd: arguments.word("cwd", 4_096)?.map(str::to_owned),
        session: parsed(arguments, "sessionKey")?,
        resume_if_exists: arguments.flag("resumeIfExists")?.unwrap_or(false),
        reuse: reuse(arguments)?,
        reuse_key: parsed(arguments, "reuseKey")?,
        when_busy: arguments.choice("whenBusy")?,
        context: arguments.choice("context")?.unwrap_or(SpawnContext::Isolated),
        access: arguments.choice("access")?.unwrap_or(Access::Full),
        deliverables: deliverables(arguments)?,
        budget: budget(arguments)?,
        ..SpawnRequest::of(arguments.message("task", MESSAGE_BYTES_MAX)?)
    };
    contradictions(&request)?;
    Ok(request)
}

/// Reads a text that has a type of its own.
fn parsed<T>(arguments: &Arguments, name: &str) -> Result<Option<T>, String>
where
    T: FromStr<Err: Display>,
{
    let Some(text) = arguments.word(name, NAME_BYTES_MAX)? else { return Ok(None) };
    text.parse().map(Some).map_err(|error| format!("`{name}` is not valid: {error}"))
}

/// `reuseMain: true` is `reuse: "main"`, and a `reuseKey` says `reuse: "key"`.
fn reuse(arguments: &Arguments) -> Result<Option<Reuse>, String> {
    let said: Option<Reuse> = arguments.choice("reuse")?;
    let main = arguments.flag("reuseMain")?.unwrap_or(false);
    let key = arguments.says("reuseKey");
    match (said, main, key) {
        (_, true, true) => Err("`reuseMain` and `reuseKey` name two sessions".to_owned()),
        (Some(word), true, _) if word != Reuse::Main => {
            Err(format!("`reuseMain` and `reuse` \"{word}\" contradict each other"))
        }
        (Some(word), _, true) if word != Reuse::Key => {
            Err(format!("`reuseKey` goes with `reuse` \"key\", not \"{word}\""))
        }
        (_, true, _) => Ok(Some(Reuse::Main)),
        (_, _, true) => Ok(Some(Reuse::Key)),
        (said, ..) => Ok(said),
    }
}

/// Refuses what cannot be meant together: a model that believes it has both must not be wrong.
fn contradictions(request: &SpawnRequest) -> Result<(), String> {
    let named = request.session.is_some();
    let reuse = request.reuse.filter(|reuse| *reuse != Reuse::Never);
    if let (true, Some(reuse)) = (named, reuse) {
        return Err(format!(
            "`sessionKey` and `reuse` \"{reuse}\" name two sessions: leave one out"
        ));
    }
    if request.resume_if_exists && !named {
        return Err("`resumeIfExists` goes with `sessionKey`, which is missing".to_owned());
    }
    let old = reuse.is_some() || request.resume_if_exists;
    if request.context == SpawnContext::Fork && old {
        return Err("`context` \"fork\" begins a new session: it goes with neither `reuse` nor \
                    `resumeIfExists`"
            .to_owned());
    }
    if request.cleanup == Cleanup::Delete && (named || reuse.is_some()) {
        return Err("`cleanup` \"delete\" puts a session away that `sessionKey` or `reuse` wants \
                    to find again: leave one out"
            .to_owned());
    }
    match (request.when_busy, request.reuse) {
        (Some(WhenBusy::Queue), Some(Reuse::Pool)) => Err(
            "`whenBusy` \"queue\" does not go with `reuse` \"pool\", which takes idle sessions \
                 only"
                .to_owned(),
        ),
        (Some(_), Some(Reuse::Never)) if !named => {
            Err("`whenBusy` goes with `sessionKey` or `reuse`: a new session is not busy"
                .to_owned())
        }
        _ => Ok(()),
    }
}

/// A list of files, or an object with `files` and `schema`.
fn deliverables(arguments: &Arguments) -> Result<Option<Deliverables>, String> {
    const EXPECTED: &str = "a list of files, or an object with `files` and `schema`";
    let Some(value) = arguments.value("deliverables") else { return Ok(None) };
    let wanted = match value {
        Value::Array(_) => json!({ "files": value }),
        Value::Object(_) => value.clone(),
        other => return Err(wrong("deliverables", EXPECTED, other)),
    };
    let wanted: Deliverables = serde_json::from_value(wanted)
        .map_err(|error| format!("`deliverables` must be {EXPECTED}: {error}"))?;
    if wanted.files.len() > FILES_MAX {
        let count = wanted.files.len();
        return Err(format!("`deliverables` names {count} files; at most {FILES_MAX} are allowed"));
    }
    for (n, file) in wanted.files.iter().enumerate() {
        // A dot in front is a habit of many, and means the same.
        let mut parts = Path::new(file).components().skip_while(|p| *p == Component::CurDir);
        let inside = parts.all(|part| matches!(part, Component::Normal(_)));
        let names = Path::new(file).file_name().is_some() && !file.trim().is_empty();
        if !names || !inside || file.contains('\0') || file.ends_with('/') {
            let shown = excerpt(file);
            return Err(format!(
                "`deliverables.files[{n}]` must name a file below the working folder, such as \
                 `report.md`; got `{shown}`"
            ));
        }
    }
    if let Some(schema) = &wanted.schema {
        if !schema.is_object() && !schema.is_boolean() {
            return Err(wrong("deliverables.schema", "a JSON schema", schema));
        }
        // Here, and not when the child has done its work: that could meet nothing.
        if let Some(why) = deliver::schema_fault(schema) {
            return Err(format!("`deliverables.schema` is no JSON schema {why}"));
        }
    }
    let nothing = wanted.files.is_empty() && wanted.schema.is_none();
    Ok((!nothing).then_some(wanted))
}

/// An object with `usd`, `tokens`, or both.
fn budget(arguments: &Arguments) -> Result<Option<Budget>, String> {
    const EXPECTED: &str = "an object with `usd` (dollars), `tokens`, or both";
    let Some(value) = arguments.value("budget") else { return Ok(None) };
    if !value.is_object() {
        return Err(wrong("budget", EXPECTED, value));
    }
    let budget: Budget = serde_json::from_value(value.clone())
        .map_err(|error| format!("`budget` must be {EXPECTED}: {error}"))?;
    if budget.is_none() {
        return Err(format!("`budget` is empty; it must be {EXPECTED}, or be left out"));
    }
    Ok(Some(budget))
}

fn task_name(arguments: &Arguments) -> Result<Option<String>, String> {
    let Some(name) = arguments.word("taskName", NAME_BYTES_MAX)? else { return Ok(None) };
    let rest = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    let valid = name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(rest);
    if !valid {
        let shown = excerpt(name);
        return Err(format!("`taskName` must match ^[a-z][a-z0-9_-]{{0,63}}$; got `{shown}`"));
    }
    // They mean something else where a task is named.
    if name == "last" || name == "all" {
        return Err(format!("`taskName` must not be `{name}`: the word is reserved"));
    }
    Ok(Some(name.to_owned()))
}

/// OpenClaw's `expectsCompletionMessage: false` is our `announce: "none"`.
fn announce(arguments: &Arguments) -> Result<Announce, String> {
    let announce = arguments.choice("announce")?;
    match (announce, arguments.flag("expectsCompletionMessage")?) {
        (Some(Announce::Parent | Announce::Person), Some(false))
        | (Some(Announce::None), Some(true)) => {
            Err("`announce` and `expectsCompletionMessage` contradict each other".to_owned())
        }
        (Some(announce), _) => Ok(announce),
        (None, Some(false)) => Ok(Announce::None),
        (None, _) => Ok(Announce::Parent),
    }
}
