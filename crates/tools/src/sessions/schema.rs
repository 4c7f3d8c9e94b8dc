//! What a model reads about the session tools. Only what is supported is listed.
//!
//! These words are sent with every call of every session, so each has to earn its place. What a
//! schema does not say, such as bounds and second names of arguments, is said when it is needed: by
//! the error for a wrong call.

use std::sync::LazyLock;

use serde_json::{Value, json};
use types::ToolSpec;

use super::send::WAIT_SECONDS;

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
    let mut schema = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    ToolSpec { name: name.to_owned(), description: description.to_owned(), input_schema: schema }
}

/// A value of this type; what it is for, unless its name says it.
fn value(kind: &str, description: &str) -> Value {
    match description {
        "" => json!({ "type": kind }),
        words => json!({ "type": kind, "description": words }),
    }
}

fn text(description: &str) -> Value {
    value("string", description)
}

fn flag(description: &str) -> Value {
    value("boolean", description)
}

fn integer(description: &str) -> Value {
    value("integer", description)
}

fn word(words: &[&str], description: &str) -> Value {
    match description {
        "" => json!({ "enum": words }),
        description => json!({ "enum": words, "description": description }),
    }
}

fn texts(description: &str) -> Value {
    let mut list = value("array", description);
    list["items"] = json!({ "type": "string" });
    list
}

fn budget() -> Value {
    let properties = json!({ "usd": { "type": "number" }, "tokens": { "type": "integer" } });
    json!({ "type": "object", "properties": properties })
}

fn spawn() -> ToolSpec {
    let description = "Start a sub-agent; returns at once, and the result comes as a message. It \
        knows nothing of this conversation. Spawn all parallel parts, then call sessions_yield \
        once; do not poll or spawn a task twice.";
    let properties = json!({
        "task": text("The whole brief: goal, context, files, form of the answer"),
        "taskName": text("Handle for other tools: [a-z][a-z0-9_-]*"),
        "agentId": text("Default: you"),
        "model": text(""),
        "thinking": text("off to max"),
        "runTimeoutSeconds": integer("0: none"),
        "cwd": text(""),
        "announce": word(
            &["parent", "person", "none"], "person: you, and the person unedited"),
        "sessionKey": text("Names its session: thread:budget"),
        "resumeIfExists": flag("Go on in that session"),
        "reuse": word(
            &["never", "key", "pool", "main"],
            "A warm session: helper reuseKey, idle child, main one"),
        "reuseKey": text(""),
        "context": word(&["isolated", "fork"], "fork: with a copy of this conversation"),
        "access": word(&["full", "read-only"], ""),
        "deliverables": {
            "type": "object",
            "properties": { "files": texts(""), "schema": { "type": "object" } },
            "description": "Checked at the end: files in cwd, the answer's schema",
        },
        "budget": budget(),
    });
    tool("sessions_spawn", description, properties, &["task"])
}

fn wait() -> ToolSpec {
    let description = "Suspend your turn, at no cost, until sub-agents have results or a person \
        writes. Call it once after spawning.";
    let properties = json!({
        "message": text("Note to yourself for then"),
        "acknowledgment": text("Sent to the person now"),
        "waitFor": {
            "anyOf": [{ "enum": ["all", "any", "message"] }, texts("Task ids")],
            "description": "Default all that run",
        },
        "atLeast": integer("Wake when so many have ended"),
        "timeoutSeconds": integer(""),
    });
    tool("sessions_yield", description, properties, &[])
}

fn send() -> ToolSpec {
    let description = "Write to a session, at work or ended; returns its next answer. On status \
        pending that comes later as a message: do not send again. REPLY_SKIP answers an agent \
        with nothing.";
    let properties = json!({
        "sessionKey": text(""),
        "label": text("Or: its label"),
        "agentId": text("Or: this agent's main session"),
        "message": text(""),
        "timeoutSeconds": integer(&format!("Default {WAIT_SECONDS}; 0 does not wait")),
        "mode": word(
            &["message", "resume"], "resume: as the brief of a new task there, announced to you"),
        "watch": flag(""),
    });
    tool("sessions_send", description, properties, &["message"])
}

fn subagents() -> ToolSpec {
    let description = "See and control your sub-agents and theirs. steer: tell one something, \
        also to go on after its end. wait: suspend your turn until they end. kill: with all \
        below.";
    let properties = json!({
        "action": word(&["list", "info", "log", "steer", "wait", "kill"], "Default list"),
        "target": text("taskId, taskName or session key"),
        "message": text("steer"),
        "taskIds": texts("wait: several"),
        "timeoutSeconds": integer("wait"),
    });
    tool("subagents", description, properties, &[])
}

fn flows() -> ToolSpec {
    let words = "Also agentId, sessionKey, label, model, retries, timeoutSeconds, access, budget";
    let task = json!({
        "type": "object",
        "properties": {
            "id": text(""),
            "task": text("Whole brief; results of dependsOn are added"),
            "dependsOn": texts("Ids"),
        },
        "required": ["id", "task"],
        "description": words,
    });
    let properties = json!({
        "action": word(&["start", "list", "show", "cancel"], "Default list"),
        "name": text("Title"),
        "tasks": { "type": "array", "items": task },
        "maxParallel": integer(""),
        "onFailure": word(&["stop", "continue"], ""),
        "announce": word(&["parent", "person", "none"], ""),
        "budget": { "type": "object" },
        "target": text("show, cancel: flowId"),
    });
    let description = "Run a graph of sub-agents: a task starts when those it depends on have \
        completed, with their results. One message comes at the end: call sessions_yield.";
    tool("flows", description, properties, &[])
}

fn list() -> ToolSpec {
    let properties = json!({
        "limit": integer(""),
        "offset": integer(""),
        "kinds": texts("thread, subagent"),
        "activeOnly": flag(""),
        "agentId": text(""),
        "search": text("In key or label"),
        "archived": flag("Instead of open ones"),
    });
    let description = "List sessions, latest first, and what each does now.";
    tool("sessions_list", description, properties, &[])
}

fn status() -> ToolSpec {
    let properties = json!({ "sessionKey": text("Default: yours") });
    let description = "What a session does and waits for, its last run, model, context, inbox.";
    tool("session_status", description, properties, &[])
}

fn card() -> ToolSpec {
    let step = json!({
        "type": "object",
        "properties": {
            "step": text(""),
            "status": word(&["pending", "in_progress", "completed"], ""),
        },
        "required": ["step", "status"],
    });
    let properties = json!({ "plan": { "type": "array", "items": step }, "markdown": text("") });
    let description = "Show people the plan of a longer task, whole each time.";
    tool("progress_card", description, properties, &[])
}

fn message() -> ToolSpec {
    let properties = json!({ "action": word(&["send"], ""), "message": text("") });
    let description = "Write to the person now, and go on. Your final answer is sent by itself.";
    tool("message", description, properties, &["message"])
}

fn agents() -> ToolSpec {
    tool("agents_list", "Agents, and which you may spawn.", json!({}), &[])
}

fn kept() -> ToolSpec {
    let properties = json!({
        "id": text(""),
        "offset": integer(""),
        "limit": integer(""),
        "pattern": text("Only lines that match"),
    });
    tool("result_read", "Read on in a text that was cut: id is blob:…; bytes.", properties, &["id"])
}

fn history() -> ToolSpec {
    let properties = json!({
        "sessionKey": text(""),
        "limit": integer(""),
        "offset": integer("Skip so many of the newest"),
        "includeTools": flag(""),
        "seq": integer("Only this message, whole"),
        "fromByte": integer("With seq"),
    });
    let description = "Read the newest messages of a session.";
    tool("sessions_history", description, properties, &["sessionKey"])
}
