//! The arguments of `sessions_send`.

use std::time::Duration;

use types::{SendMode, SendRequest, SendTarget};

use super::{MESSAGE_BYTES_MAX, NAME_BYTES_MAX, SECONDS_MAX};
use crate::arguments::{Arguments, Refused};

/// How long a call waits for the answer if it does not say.
pub(super) const WAIT_SECONDS: u32 = 30;

/// Names that models use for the message.
const MESSAGE: &[&str] = &["SendMessage", "content", "text"];

/// Taken, and not in the schema.
pub(super) const HIDDEN: &[&str] = &["SendMessage", "content", "text", "idempotencyKey"];

const ONE_SESSION: &str = "name one session a call, by `sessionKey`, `label` or `agentId`";

pub(super) const REFUSED: &[Refused] = &[
    ("timeout", "use `timeoutSeconds`"),
    ("timeout_seconds", "use `timeoutSeconds`"),
    ("wait", "use `timeoutSeconds`; 0 does not wait"),
    ("to", ONE_SESSION),
    ("target", ONE_SESSION),
    ("session", "use `sessionKey`"),
    ("sessionId", "use `sessionKey`"),
    ("taskId", "use `sessionKey`, or `subagents` with action `steer`"),
    ("attachments", "not in this version; name files in `message`"),
];

pub(super) fn parse(arguments: &Arguments) -> Result<SendRequest, String> {
    let name = if arguments.has("message") {
        "message"
    } else {
        MESSAGE.iter().copied().find(|name| arguments.has(name)).unwrap_or("message")
    };
    let message = arguments.message(name, MESSAGE_BYTES_MAX)?;
    let seconds = arguments.integer("timeoutSeconds", 0..=SECONDS_MAX)?.unwrap_or(WAIT_SECONDS);
    Ok(SendRequest {
        wait: Duration::from_secs(seconds.into()),
        mode: arguments.choice("mode")?.unwrap_or(SendMode::Message),
        idempotency_key: arguments.word("idempotencyKey", NAME_BYTES_MAX)?.map(str::to_owned),
        watch: arguments.flag("watch")?.unwrap_or(false),
        ..SendRequest::to(target(arguments)?, message)
    })
}

fn target(arguments: &Arguments) -> Result<SendTarget, String> {
    let word = |name| arguments.word(name, NAME_BYTES_MAX);
    match (word("sessionKey")?, word("label")?, word("agentId")?) {
        (Some(key), None, None) => {
            let key = key.parse().map_err(|error| format!("`sessionKey` is not valid: {error}"))?;
            Ok(SendTarget::Session(key))
        }
        (None, Some(label), None) => Ok(SendTarget::Label(label.to_owned())),
        (None, None, Some(agent)) => {
            let agent =
                agent.parse().map_err(|error| format!("`agentId` is not valid: {error}"))?;
            Ok(SendTarget::Agent(agent))
        }
        (None, None, None) => Err(format!("a target is missing: {ONE_SESSION}")),
        _ => Err(format!("there is more than one target: {ONE_SESSION}")),
    }
}
