//! `sessions.spawn`: the operation of the tool, with its policy and its record, and no model.

use machine::event::Asked;
use machine::{Answer, Event};
use protocol::ErrorShape;
use protocol::spawn::SpawnParams;
use serde_json::{Value, json};
use types::SessionKey;

use crate::gateway::Gateway;
use crate::methods::chat::{ORIGIN, OWNER};
use crate::refusal::{not_submitted, refused, unexpected};

pub async fn spawn(gateway: &Gateway, params: SpawnParams) -> Result<Value, ErrorShape> {
    let agent = &gateway.default_agent();
    let session = match params.requester {
        Some(requester) => requester.resolve(agent),
        None => SessionKey::main(agent.clone()),
    };
    let mut arguments = params.arguments;
    // Nobody's run waits for it: who wants the session to be told says so.
    if !arguments.contains_key("announce") && !arguments.contains_key("expectsCompletionMessage") {
        arguments.insert("announce".to_owned(), json!("none"));
    }
    let call = runtime::asked::spawn(&Value::Object(arguments).to_string()).map_err(|why| {
        let why = why.replace("`sessions_spawn`", "`sessions.spawn`");
        ErrorShape::invalid_request(format!("invalid sessions.spawn params: {why}"))
    })?;
    let asked = Asked {
        session,
        owner: OWNER.to_owned(),
        origin: ORIGIN.to_owned(),
        mark: gateway.nonce(),
        call,
    };
    self::asked(gateway, Event::Ask(asked)).await
}

/// Asks the machine for what it answers in the words of a tool.
pub async fn asked(gateway: &Gateway, event: Event) -> Result<Value, ErrorShape> {
    match gateway.handle.submit(event).await {
        Ok(Answer::Told { text, is_error }) => told(&text, is_error),
        Ok(Answer::Refused(refusal)) => Err(refused(&refusal)),
        Ok(answer) => Err(unexpected(&answer)),
        Err(error) => Err(not_submitted(&error)),
    }
}

/// What an agent would have read, as an answer or an error with the same code.
fn told(text: &str, is_error: bool) -> Result<Value, ErrorShape> {
    let value: Value = serde_json::from_str(text).unwrap_or_else(|_| json!({ "note": text }));
    if !is_error {
        return Ok(value);
    }
    let why = value["error"].as_str().unwrap_or(text).to_owned();
    let code = value["code"].clone();
    // It is the same for the agent: come again after the restart.
    if code == "draining" {
        let details = Some(json!({ "code": code }));
        let retry_after_ms = Some(2_000);
        return Err(ErrorShape { details, retry_after_ms, ..ErrorShape::unavailable(why) });
    }
    let details = Some(json!({ "code": code }));
    Err(ErrorShape { details, ..ErrorShape::invalid_request(why) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_its_code_and_says_whether_to_come_again() {
        let refusal = |code: &str| {
            let text = json!({ "status": "error", "code": code, "error": "why" }).to_string();
            told(&text, true).unwrap_err()
        };
        let error = refusal("depth_exceeded");
        assert_eq!(error.message, "why");
        assert_eq!(error.details, Some(json!({ "code": "depth_exceeded" })));
        assert_eq!(error.retryable, None);
        assert_eq!(refusal("draining").retryable, Some(true));
        assert_eq!(told(r#"{"status":"accepted"}"#, false).unwrap()["status"], "accepted");
    }
}
