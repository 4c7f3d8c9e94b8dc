//! What a model reads about the session tools. Only what is supported is listed.

use std::sync::LazyLock;

use serde_json::{Value, json};
use types::{ScopeKind, ToolSpec};

use super::kept::{LIMIT as KEPT_LIMIT, LIMIT_MAX as KEPT_LIMIT_MAX};
use super::send::WAIT_SECONDS;
use super::show::STEPS_MAX;
use super::wait::{TASKS_MAX, WAIT_SECONDS as TASK_WAIT_SECONDS};
use super::{
    HISTORY_LIMIT, HISTORY_LIMIT_MAX, LIST_LIMIT, LIST_LIMIT_MAX, LOG_LIMIT, LOG_LIMIT_MAX,
    MINUTES_MAX, RECENT_MINUTES, SECONDS_MAX,
};

static SPECS: LazyLock<Vec<ToolSpec>> = LazyLock::new(|| {
    vec![
        spawn(),
        wait(),
        send(),
        subagents(),
        flows(),
        list(),
        history(),
        status(),
        agents(),
        kept(),
        card(),
        message(),
    ]
});

/// Returns the specs of all session tools, in a stable order.
pub fn specs() -> &'static [ToolSpec] {
    &SPECS
}

fn tool(name: &str, description: &str, properties: Value, required: &[&str]) -> ToolSpec {
    ToolSpec {
        name: name.to_owned(),
        description: description.to_owned(),
        input_schema: json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        }),
    }
}

fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

fn flag(description: &str) -> Value {
    json!({ "type": "boolean", "description": description })
}

fn integer(min: u32, max: u32, description: &str) -> Value {
    json!({ "type": "integer", "minimum": min, "maximum": max, "description": description })
}

fn word(words: &[&str], description: &str) -> Value {
    json!({ "type": "string", "enum": words, "description": description })
}

fn spawn() -> ToolSpec {
    let description = "Start a sub-agent on a task and return at once with its taskId; nothing is \
        waited for. The sub-agent starts with no knowledge of this conversation: `task` must hold \
        everything it needs. Its result arrives later as a message marked as a sub-agent result. \
        To work on parts in parallel, spawn all of them first; then call sessions_yield once. Do \
        not poll, and do not spawn the same task again.";
    let properties = json!({
        "task": text("The whole brief: goal, context, files, and the form of the answer."),
        "taskName": {
            "type": "string",
            "pattern": "^[a-z][a-z0-9_-]{0,63}$",
            "description": "A short handle by which other tools can name the task. Not `last` or \
                `all`.",
        },
        "label": text("A title for people."),
        "agentId": text("The agent to run it; you yourself if left out."),
        "model": text("Another model than the agent's own."),
        "thinking": word(
            &["off", "minimal", "low", "medium", "high", "xhigh", "max"],
            "How long its model thinks before it answers."),
        "runTimeoutSeconds": integer(
            0, SECONDS_MAX, "Stop the sub-agent after so long; 0 means never."),
        "cwd": text("The folder it works in; its workspace if left out."),
        "cleanup": word(&["keep", "delete"], "Whether its session is archived at the end."),
        "announce": word(
            &["parent", "person", "none"],
            "Who gets its result: you, if left out; `person`: also, unedited, the person."),
        "expectsCompletionMessage": flag("false is the same as announce `none`."),
        "idempotencyKey": text("The same key returns the same task instead of starting another."),
        "sessionKey": text("A name for its session, such as `thread:budget`, by which it is the \
            same conversation next time."),
        "resumeIfExists": flag("With `sessionKey`: go on with that session if it is there, with \
            its whole history, instead of failing."),
        "reuse": word(
            &["never", "key", "pool", "main"],
            "A session that is warm already: the standing helper `reuseKey`, an idle one of the \
                pool, or the agent's main session. `never` is a new one."),
        "reuseKey": text("Which standing helper: a short name."),
        "reuseMain": flag("true is the same as reuse `main`."),
        "whenBusy": word(
            &["queue", "fresh", "refuse"],
            "If that session is busy: wait in it, take a new one, or fail."),
        "context": word(
            &["isolated", "fork"],
            "It starts with a clean transcript, or with a copy of yours up to now."),
        "access": word(
            &["full", "read-only"], "`read-only` leaves it only tools that change nothing."),
        "deliverables": {
            "anyOf": [
                { "type": "array", "items": { "type": "string" } },
                {
                    "type": "object",
                    "properties": {
                        "files": { "type": "array", "items": { "type": "string" } },
                        "schema": { "type": "object" },
                    },
                    "additionalProperties": false,
                },
            ],
            "description": "What must be there before the task counts as completed: files below \
                its working folder, and a JSON schema that its answer must meet.",
        },
        "budget": budget("The most that it and its own sub-agents may spend; at the end of it \
            you get what it has so far."),
        "runtime": word(&["subagent"], "It runs in this gateway."),
    });
    tool("sessions_spawn", description, properties, &["task"])
}

fn wait() -> ToolSpec {
    let description = "Suspend your turn until your sub-agents have results. Call it once after \
        spawning, instead of polling: you are woken with the results as messages, and cost nothing \
        meanwhile. A message from a person wakes you as well.";
    let properties = json!({
        "message": text("A private note to yourself for when you go on."),
        "acknowledgment": text("Text that is sent to the person at once."),
        "waitFor": {
            "anyOf": [
                { "type": "string", "enum": ["all", "any", "message"] },
                {
                    "type": "array",
                    "items": { "type": "string" },
                    "minItems": 1,
                    "maxItems": TASKS_MAX,
                },
            ],
            "description": "`all` sub-agents that are running now (the default), `any` one of \
                them, whatever `message` comes next, or a list of task ids.",
        },
        "atLeast": integer(1, TASKS_MAX as u32, "Wake when so many have ended, instead of all."),
        "timeoutSeconds": integer(1, SECONDS_MAX, "Wake after so long in any case."),
    });
    tool("sessions_yield", description, properties, &[])
}

fn send() -> ToolSpec {
    let description = "Send a message to another session, byte for byte: to one that works, or to \
        continue one whose last run has ended, failed or was stopped. The answer is what its next \
        run says at its end. If that takes longer than `timeoutSeconds`, you get the status \
        `pending` with the messageId: the message has arrived, do not send it again; the answer \
        will come to you by itself. Answer a message of an agent with REPLY_SKIP to say nothing \
        back.";
    let properties = json!({
        "sessionKey": text("The session, as sessions_list or sessions_spawn show it."),
        "label": text("Instead of `sessionKey`: the label of the session."),
        "agentId": text("Instead of `sessionKey`: the main session of this agent."),
        "message": text("What to say."),
        "timeoutSeconds": integer(0, SECONDS_MAX, &format!(
            "Wait so long for the answer; {WAIT_SECONDS} if left out. 0 does not wait: the answer \
             comes later as a message.")),
        "mode": word(
            &["message", "resume"],
            "`message` if left out; `resume`: the message is the brief of a new task in that \
             session, whose result is announced to you as of a sub-agent."),
        "watch": {
            "type": "boolean",
            "description": "Also tell me when the run that took the message in has ended without \
                an answer for me.",
        },
        "idempotencyKey": text("The same key sends the same message once."),
    });
    tool("sessions_send", description, properties, &["message"])
}

fn subagents() -> ToolSpec {
    let description = "See and control the sub-agents that you started, and theirs. `list` shows \
        them; `info` and `log` show one; `steer` sends one a message, while it works or to go on \
        after its end; `wait` suspends your turn until the named ones have ended, whose results \
        come as messages; `kill` stops one and everything below it. To wait for all of them, use \
        sessions_yield.";
    let properties = json!({
        "action": word(
            &["list", "info", "log", "steer", "wait", "kill", "cancel"],
            "`list` if left out; `cancel` is the same as `kill`."),
        "target": text("The task: its taskId, taskName or session key. For all but `list`."),
        "message": text("For `steer`: what to tell it."),
        "taskIds": {
            "type": "array",
            "items": { "type": "string" },
            "minItems": 1,
            "maxItems": TASKS_MAX,
            "description": "For `wait`: several tasks instead of `target`.",
        },
        "timeoutSeconds": integer(1, SECONDS_MAX, &format!(
            "For `wait`: go on after so long in any case; {TASK_WAIT_SECONDS} if left out.")),
        "recentMinutes": integer(1, MINUTES_MAX, &format!(
            "For `list`: also show what ended so recently; {RECENT_MINUTES} if left out.")),
        "limit": integer(1, LOG_LIMIT_MAX, &format!(
            "For `log`: at most so many entries; {LOG_LIMIT} if left out.")),
    });
    tool("subagents", description, properties, &[])
}

fn flows() -> ToolSpec {
    let task = json!({
        "type": "object",
        "properties": {
            "id": text("A name within the flow: a letter, then letters, digits, `_`, `-`."),
            "task": text("The whole brief. The results of `dependsOn` are added to it."),
            "dependsOn": {
                "type": "array",
                "items": { "type": "string" },
                "description": "Ids of tasks that must have completed first.",
            },
            "agentId": text("The agent to run it; you yourself if left out."),
            "sessionKey": text("A stable session to do it in; a new one if left out."),
            "label": text("A title for people."),
            "model": text("Another model than the agent's own."),
            "retries": integer(0, 20, "Further attempts after one that failed; 0 if left out."),
            "timeoutSeconds": integer(0, SECONDS_MAX, "Bound on each attempt; 0 means none."),
            "access": word(&["full", "read-only"], "`read-only`: it cannot change anything."),
            "budget": budget("The most that each attempt may spend."),
        },
        "required": ["id", "task"],
        "additionalProperties": false,
    });
    let properties = json!({
        "action": word(&["start", "list", "show", "cancel"], "`list` if left out."),
        "name": text("For `start`: a title."),
        "tasks": {
            "type": "array",
            "items": task,
            "minItems": 1,
            "description": "For `start`: the tasks. Those that depend on nothing start at once.",
        },
        "maxParallel": integer(1, 1_000, "For `start`: how many run at a time; all if left out."),
        "onFailure": word(
            &["stop", "continue"],
            "For `start`, when a task has failed for good: start nothing more (if left out), or \
                go on with what does not depend on it."),
        "announce": word(&["parent", "person", "none"], "For `start`: who gets the result."),
        "budget": budget("For `start`: the most that all tasks together may spend."),
        "idempotencyKey": text("For `start`: the same key is the same flow."),
        "target": text("For `show` and `cancel`: the flowId, or the flow's taskId."),
    });
    let description = "Start a whole graph of sub-agents at once: each task begins by itself when \
        those that it depends on have completed, with their results in its brief. You get one \
        message at the end, with the outcome of each and the last results: call sessions_yield \
        after `start`. For tasks that do not depend on each other's results, sessions_spawn is \
        enough.";
    tool("flows", description, properties, &[])
}

fn budget(description: &str) -> Value {
    json!({
        "type": "object",
        "properties": {
            "usd": { "type": "number", "description": "US dollars." },
            "tokens": { "type": "integer", "minimum": 1 },
        },
        "additionalProperties": false,
        "description": description,
    })
}

fn list() -> ToolSpec {
    let words: Vec<&str> = ScopeKind::ALL.iter().map(|kind| kind.as_str()).collect();
    let properties = json!({
        "limit": integer(1, LIST_LIMIT_MAX, &format!(
            "At most so many sessions; {LIST_LIMIT} if left out.")),
        "kinds": {
            "type": "array",
            "items": { "type": "string", "enum": words },
            "minItems": 1,
            "description": "Only sessions of these kinds.",
        },
        "activeMinutes": integer(1, MINUTES_MAX, "Only sessions active within so many minutes."),
        "activeOnly": flag("Only sessions with an open run."),
        "label": text("Only sessions with exactly this label."),
        "agentId": text("Only sessions of this agent."),
        "search": text("Only sessions with this in their key or label."),
        "archived": flag("Those that are archived, instead of those that are open."),
        "offset": integer(0, u32::MAX, "Skip so many, to read on where a list was cut."),
    });
    let description = "List the sessions you may see, most recently active first, with what each \
        is doing now.";
    tool("sessions_list", description, properties, &[])
}

fn status() -> ToolSpec {
    let properties = json!({
        "sessionKey": text("The session; your own if left out."),
    });
    let description = "See how a session stands: what it does now and what it waits for, how its \
        last run ended, its model, context and usage, and what lies in its inbox.";
    tool("session_status", description, properties, &[])
}

fn card() -> ToolSpec {
    let properties = json!({
        "plan": {
            "type": "array",
            "maxItems": STEPS_MAX,
            "items": {
                "type": "object",
                "properties": {
                    "step": text("A few words."),
                    "status": { "enum": ["pending", "in_progress", "completed"] },
                },
                "required": ["step", "status"],
                "additionalProperties": false,
            },
        },
        "markdown": text("A short text beside it."),
    });
    let description = "Show people the plan of a longer task and how far it is. Each call shows \
        the whole plan anew; an empty one takes it down.";
    tool("progress_card", description, properties, &[])
}

fn message() -> ToolSpec {
    let properties = json!({
        "action": word(&["send"], "`send` if left out."),
        "message": text("What to say."),
    });
    let description = "Write to the person of this conversation at once, while you go on working. \
        Your answer at the end is sent by itself: do not send it with this, too.";
    tool("message", description, properties, &["message"])
}

fn agents() -> ToolSpec {
    let description = "List the agents of this gateway: which of them you may spawn, and why not \
        the others.";
    tool("agents_list", description, json!({}), &[])
}

fn kept() -> ToolSpec {
    let properties = json!({
        "id": text("From the mark in the cut text: `blob:…`."),
        "offset": integer(0, u32::MAX, "The byte to begin at; 0 if left out."),
        "limit": integer(1, KEPT_LIMIT_MAX, &format!("Bytes; {KEPT_LIMIT} if left out.")),
        "pattern": text("Only lines that match this regular expression."),
    });
    let description = "Read on in a text that was cut, such as a long result of a tool.";
    tool("result_read", description, properties, &["id"])
}

fn history() -> ToolSpec {
    let properties = json!({
        "sessionKey": text("The session, as sessions_list or sessions_spawn show it."),
        "limit": integer(1, HISTORY_LIMIT_MAX, &format!(
            "At most so many messages; {HISTORY_LIMIT} if left out.")),
        "offset": integer(0, u32::MAX, "Skip so many of the newest messages."),
        "includeTools": {
            "type": "boolean",
            "description": "Also show tool calls and their results.",
        },
        "seq": integer(1, u32::MAX, "Only the message of this number, with all that it says."),
        "fromByte": integer(0, u32::MAX, "With `seq`: go on in the message from there, which is \
            the `nextByte` of a message that was cut."),
    });
    let description = "Read the newest messages of a session, oldest of them first. Sub-agent \
        results come to you by themselves; use this to look deeper.";
    tool("sessions_history", description, properties, &["sessionKey"])
}
