//! The arguments of `sessions_spawn`.

use std::time::Duration;

use types::{Announce, Cleanup, SpawnRequest, word_enum};

use super::{MESSAGE_BYTES_MAX, NAME_BYTES_MAX, SECONDS_MAX};
use crate::arguments::{Arguments, Refused, excerpt};

const DEADLINE: &str = "use `runTimeoutSeconds`; the spawn itself does not wait";
const CHANNEL: &str = "the result comes back to you; put where it should go into your own reply";
const ONE_RUN: &str = "every spawn is one run; leave it out";
const BRIEF: &str = "not in this version; put what the child needs into `task`";
const LEFT_OUT: &str = "not in this version; leave it out";
const FRESH: &str = "not in this version; every spawn opens a session of its own";
const LIMIT: &str = "not in this version; bound the child with `runTimeoutSeconds`";
const YIELD: &str = "not in this version; spawn, then call `sessions_yield`";

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
    ("outputSchema", "not in this version; say in `task` what the answer must look like"),
    ("deliverables", "not in this version; say in `task` what the answer must hold"),
    ("thinking", LEFT_OUT),
    ("fastMode", LEFT_OUT),
    ("sandbox", LEFT_OUT),
    ("access", "not in this version; say in `task` what must not be changed"),
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
    ("resumeSessionId", FRESH),
    ("sessionKey", FRESH),
    ("resumeIfExists", FRESH),
    ("reuse", FRESH),
    ("reuseMain", FRESH),
    ("whenBusy", FRESH),
    ("streamTo", "results arrive as messages when the child ends; leave it out"),
    ("budget", LIMIT),
];

word_enum! {
    /// What a child starts from.
    enum Context {
        Isolated = "isolated",
    }
}

word_enum! {
    /// What carries out a task.
    enum Runtime {
        Subagent = "subagent",
    }
}

pub(super) fn parse(arguments: &Arguments) -> Result<SpawnRequest, String> {
    // Only one word each: reading them is refusing the others by name.
    arguments.choice::<Context>("context")?;
    arguments.choice::<Runtime>("runtime")?;
    let word = |name| arguments.word(name, NAME_BYTES_MAX).map(|text| text.map(str::to_owned));
    let agent = arguments
        .word("agentId", NAME_BYTES_MAX)?
        .map(|text| text.parse().map_err(|error| format!("`agentId` is not valid: {error}")));
    let seconds = arguments.integer("runTimeoutSeconds", 0..=SECONDS_MAX)?;
    Ok(SpawnRequest {
        label: word("label")?,
        task_name: task_name(arguments)?,
        agent: agent.transpose()?,
        model: word("model")?,
        run_timeout: seconds.map(|seconds| Duration::from_secs(seconds.into())),
        cleanup: arguments.choice("cleanup")?.unwrap_or(Cleanup::Keep),
        announce: announce(arguments)?,
        idempotency_key: word("idempotencyKey")?,
        cwd: arguments.word("cwd", 4_096)?.map(str::to_owned),
        ..SpawnRequest::of(arguments.message("task", MESSAGE_BYTES_MAX)?)
    })
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
