//! The arguments of `progress_card` and `message`: what is shown to people.

use types::{Card, InternalCall, PlanStep};

use super::MESSAGE_BYTES_MAX;
use crate::arguments::{Arguments, Refused};

/// Steps of a plan: OpenClaw's bound. More are a list, and not a plan.
pub(super) const STEPS_MAX: usize = 50;

/// Longest text of a card, and of one step: it is sent with every change to all who watch.
const CARD_BYTES_MAX: usize = 8 * 1_024;
const STEP_BYTES_MAX: usize = 512;

pub(super) const CARD_REFUSED: &[Refused] =
    &[("steps", "use `plan`"), ("title", "put it into `markdown`"), ("text", "use `markdown`")];

pub(super) fn card(arguments: &Arguments) -> Result<Card, String> {
    let markdown = arguments.word("markdown", CARD_BYTES_MAX)?.map(str::to_owned);
    let plan: Vec<PlanStep> = match arguments.value("plan") {
        None if markdown.is_none() => {
            return Err(
                "give `plan`, `markdown` or both; an empty `plan` takes the card down".to_owned()
            );
        }
        None => Vec::new(),
        Some(plan) => serde_json::from_value(plan.clone()).map_err(|error| {
            format!(
                "`plan` is not valid: {error}; expected a list of {{\"step\", \"status\"}} with \
                 the status `pending`, `in_progress` or `completed`"
            )
        })?,
    };
    if plan.len() > STEPS_MAX {
        return Err(format!("`plan` has {} steps; at most {STEPS_MAX} are shown", plan.len()));
    }
    for (n, PlanStep { step, .. }) in plan.iter().enumerate() {
        if step.trim().is_empty() || step.len() > STEP_BYTES_MAX {
            return Err(format!(
                "`plan[{n}].step` has {} bytes; expected 1 to {STEP_BYTES_MAX}",
                step.len()
            ));
        }
    }
    Ok(Card { markdown, plan })
}

/// Taken, so that the answer can say what is missing.
pub(super) const MESSAGE_HIDDEN: &[&str] = &["channel", "target", "to", "targets", "accountId"];

const NO_MEDIA: &str = "no channel that carries it is there; name the file in `message`";

pub(super) const MESSAGE_REFUSED: &[Refused] = &[
    ("text", "use `message`"),
    ("content", "use `message`"),
    ("media", NO_MEDIA),
    ("buffer", NO_MEDIA),
    ("attachments", NO_MEDIA),
    ("filename", NO_MEDIA),
    ("asVoice", NO_MEDIA),
    ("replyTo", "a conversation has one line of messages here"),
    ("threadId", "use `sessions_send` to write to another conversation"),
    ("sessionKey", "use `sessions_send`"),
    ("final", "your own answer is the end of a run; `message` never is"),
    ("dryRun", "not in this version"),
];

/// The names by which models mean the person of the conversation itself.
const HERE: &[&str] = &["current", "chat", "webchat", "gateway"];

pub(super) fn message(arguments: &Arguments) -> Result<InternalCall, String> {
    match arguments.word("action", 64)? {
        None | Some("send") => {}
        Some(other) => {
            return Err(format!(
                "`action` is `{other}`: expected `send`, the only one while there are no channels"
            ));
        }
    }
    for name in MESSAGE_HIDDEN {
        let elsewhere = match arguments.value(name) {
            None => continue,
            Some(value) => value.as_str().is_none_or(|text| {
                !text.trim().is_empty() && !HERE.contains(&text.trim().to_lowercase().as_str())
            }),
        };
        if elsewhere {
            return Err(format!(
                "`{name}` names somebody outside: this gateway has no channels (`channels` of its \
                 configuration has no effect in this version). Leave `{name}` out to write to the \
                 person of this conversation"
            ));
        }
    }
    let text = arguments.message("message", MESSAGE_BYTES_MAX)?.to_owned();
    Ok(InternalCall::Say { text })
}
