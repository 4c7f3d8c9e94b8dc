//! What only the wire `google-generative-ai` has.

use super::*;

fn google(stream: &str) -> Result<Reply, Fault> {
    replay::read(Wire::GoogleGenerativeAi, &[stream.as_bytes()]).0
}

/// One piece with these parts, and a reason to stop if it is not empty.
fn piece(parts: &str, finish: &str) -> String {
    let reason = match finish {
        "" => String::new(),
        finish => format!(r#","finishReason":"{finish}""#),
    };
    events(&format!(r#"{{"candidates":[{{"content":{{"parts":[{parts}]}}{reason}}}]}}"#))
}

#[test]
fn text_grows_together_and_what_is_signed_stays_as_it_came() {
    let Reply { message, usage } = named("google_thinking");
    assert_eq!((message.text.as_str(), message.stop), ("Done.", StopReason::End));
    assert_eq!(message.model, "gemini-3-pro-preview");
    assert_eq!(
        message.raw.get(),
        concat!(
            r#"[{"text":"Let me see.","thought":true},{"text":"Done."},"#,
            r#"{"hologram":{"depth":{"b":2,"a":1.5}}},"#,
            r#"{"text":"","thoughtSignature":"EqQBCgIYAhIM1gbc+/=="}]"#,
        )
    );
    assert_eq!(usage, Usage { input: 20, output: 9, cache_read: 100, cache_write: 0 });
}

#[test]
fn calls_keep_their_bytes_and_get_an_id_if_they_have_none() {
    let message = named("google_two_calls").message;
    let calls: Vec<_> = message
        .calls
        .iter()
        .map(|call| (call.id.as_str(), call.name.as_str(), call.arguments.as_str()))
        .collect();
    let arguments = r#"{"command": "ls -l", "n": 9007199254740993.10}"#;
    assert_eq!(calls, [("call_3_0", "exec", arguments), ("fn_b", "sessions_list", "{}")]);
    assert_eq!(message.stop, StopReason::ToolCalls);
    let raw = message.raw.get();
    assert!(raw.contains(arguments) && raw.contains(r#""thoughtSignature":"s+/=""#), "{raw}");
}

#[test]
fn reasons_to_stop() {
    let text = r#"{"text":"x"}"#;
    let call = r#"{"functionCall":{"name":"a","args":{}}}"#;
    for (parts, finish, expected) in [
        (text, "STOP", StopReason::End),
        ("", "STOP", StopReason::End),
        (text, "SOMETHING_NEW", StopReason::End),
        (call, "STOP", StopReason::ToolCalls),
        (text, "MAX_TOKENS", StopReason::Length),
        ("", "MAX_TOKENS", StopReason::Length),
        ("", "SAFETY", StopReason::Refusal),
        (text, "PROHIBITED_CONTENT", StopReason::Refusal),
        ("", "MODEL_ARMOR", StopReason::Refusal),
    ] {
        let message = google(&piece(parts, finish)).unwrap().message;
        assert_eq!(message.stop, expected, "{parts} {finish}");
    }
    let blocked = events(r#"{"promptFeedback":{"blockReason":"OTHER"}}"#);
    let message = google(&blocked).unwrap().message;
    assert_eq!((message.stop, message.raw.get()), (StopReason::Refusal, "[]"));
}

#[test]
fn what_is_no_answer() {
    use FailureClass::*;

    let call = r#"{"functionCall":{"name":"a","args":{}}}"#;
    let half = r#"{"functionCall":{"name":"a","willContinue":true}}"#;
    let twice = r#"{"functionCall":{"id":"i","name":"a"}},{"functionCall":{"id":"i","name":"b"}}"#;
    for (stream, expected) in [
        (piece(call, ""), Network),
        (piece(call, "MALFORMED_FUNCTION_CALL"), InvalidReply),
        (piece("", "SOMETHING_NEW"), InvalidReply),
        (piece(half, "STOP"), InvalidReply),
        (piece(twice, "STOP"), InvalidReply),
        (piece(r#"{"functionCall":{"args":{}}}"#, "STOP"), InvalidReply),
        (piece("7", "STOP"), InvalidReply),
        (events("{"), InvalidReply),
        (events("{}"), Network),
        (
            events(r#"{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}"#),
            RateLimit,
        ),
    ] {
        assert_eq!(class(google(&stream)), expected, "{stream}");
    }
}
