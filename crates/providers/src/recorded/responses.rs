//! What only the wire `openai-responses` has.

use serde_json::json;

use super::*;

fn responses(stream: &str) -> Result<Reply, Fault> {
    replay::read(Wire::OpenaiResponses, &[stream.as_bytes()]).0
}

/// A stream of finished items and the event that ends it.
fn stream(items: &[&str], end: &str) -> String {
    let done = |item: &&str| {
        format!(
            "{{\"type\":\"response.output_item.added\",\"item\":{{}}}}\n\
                 {{\"type\":\"response.output_item.done\",\"item\":{item}}}\n"
        )
    };
    events(&(items.iter().map(done).collect::<String>() + end))
}

const COMPLETED: &str = r#"{"type":"response.completed","response":{"status":"completed"}}"#;

#[test]
fn items_are_kept_byte_for_byte_whatever_they_are() {
    let Reply { message, usage } = named("responses_reasoning");
    assert_eq!((message.text.as_str(), message.stop), ("Done.", StopReason::End));
    assert_eq!(message.model, "gpt-5-2025-08-07");
    assert_eq!(
        message.raw.get(),
        concat!(
            r#"[{"id":"rs_01","type":"reasoning","summary":[{"type":"summary_text","#,
            r#""text":"Let me see."}],"encrypted_content":"gAAAAABo+/="},"#,
            r#"{"id":"hg_01","type":"hologram","depth":{"b":2,"a":1.5},"shape":"cube"},"#,
            r#"{"id":"msg_01","type":"message","status":"completed","content":[{"#,
            r#""type":"output_text","annotations":[],"logprobs":[],"text":"Done."}],"#,
            r#""role":"assistant"}]"#,
        )
    );
    assert_eq!(usage, Usage { input: 20, output: 9, cache_read: 100, cache_write: 0 });
}

#[test]
fn calls_keep_the_bytes_of_their_arguments() {
    let message = named("responses_two_calls").message;
    let calls: Vec<_> = message
        .calls
        .iter()
        .map(|call| (call.id.as_str(), call.name.as_str(), call.arguments.as_str()))
        .collect();
    let arguments = r#"{"command": "ls -l", "n": 9007199254740993.10}"#;
    assert_eq!(calls, [("call_a", "exec", arguments), ("call_b", "sessions_list", "{}")]);
    assert_eq!(message.stop, StopReason::ToolCalls);
    assert!(message.raw.get().contains(&json!(arguments).to_string()));
}

/// Arguments that were streamed make no call until the item is finished and the response too.
#[test]
fn a_call_that_was_not_finished_is_none() {
    let begun = r#"
        {"type":"response.output_item.added","output_index":0,"item":{"type":"function_call"}}
        {"type":"response.function_call_arguments.delta","output_index":0,"delta":"{}"}
        {"type":"response.function_call_arguments.done","output_index":0,"arguments":"{}"}"#;
    assert_eq!(class(responses(&events(begun))), FailureClass::Network);
    let ended = format!("{begun}\n{COMPLETED}");
    assert_eq!(class(responses(&events(&ended))), FailureClass::InvalidReply);
}

#[test]
fn items_may_be_told_by_the_last_event_alone() {
    let end = r#"{"type":"response.completed","response":{"output":[
        {"type":"message","content":[{"type":"output_text","text":"hi"}]}]}}"#
        .replace('\n', "");
    let Reply { message, usage } = responses(&events(&end)).unwrap();
    assert_eq!((message.text.as_str(), usage.input), ("hi", 100));
    let item = r#"{"type":"message","content":[{"type":"output_text","text":"ho"}]}"#;
    assert_eq!(responses(&stream(&[item], COMPLETED)).unwrap().message.text, "ho");
}

#[test]
fn ends_of_a_response() {
    let text = r#"{"type":"message","content":[{"type":"output_text","text":"x"}]}"#;
    let refusal = r#"{"type":"message","content":[{"type":"refusal","refusal":"no"}]}"#;
    let call = r#"{"type":"function_call","call_id":"c","name":"a","arguments":"{}"}"#;
    let incomplete = |reason: &str| {
        format!(
            r#"{{"type":"response.incomplete","response":{{"status":"incomplete","incomplete_details":{{"reason":"{reason}"}}}}}}"#
        )
    };
    for (item, end, expected) in [
        (text, COMPLETED.to_owned(), StopReason::End),
        (call, COMPLETED.to_owned(), StopReason::ToolCalls),
        (refusal, COMPLETED.to_owned(), StopReason::Refusal),
        (text, incomplete("max_output_tokens"), StopReason::Length),
        (text, incomplete("content_filter"), StopReason::Refusal),
    ] {
        let message = responses(&stream(&[item], &end)).unwrap().message;
        assert_eq!(message.stop, expected, "{item} {end}");
    }
    assert_eq!(responses(&stream(&[refusal], COMPLETED)).unwrap().message.text, "no");
}

/// What the model wrote is kept for the tool's error; what goes back is valid.
#[test]
fn a_call_that_was_cut_off_is_not_carried_out_and_does_not_spoil_the_history() {
    let end = r#"{"type":"response.incomplete","response":{"status":"incomplete"}}"#;
    for (written, kept, back) in [
        (r#"{\"k\": "#, r#"{"k": "#, r#"{\"invalid_json\":\"{\\\"k\\\":\"}"#),
        ("", "(cut off at the output limit)", r#"{\"invalid_json\":\"(cut off"#),
    ] {
        let item = format!(
            r#"{{"type":"function_call","id":"fc_1","call_id":"c","name":"a","arguments":"{written}","status":"incomplete"}}"#
        );
        let message = responses(&stream(&[&item], end)).unwrap().message;
        assert_eq!(message.calls[0].arguments, kept);
        assert!(message.raw.get().contains(back), "{}", message.raw.get());
        assert_eq!(message.stop, StopReason::Length);
    }
}

#[test]
fn errors_by_class() {
    use FailureClass::*;

    let failed = |error: &str| {
        format!(r#"{{"type":"response.failed","response":{{"status":"failed","error":{error}}}}}"#)
    };
    for (line, expected) in [
        (failed(r#"{"code":"rate_limit_exceeded","message":"slow"}"#), RateLimit),
        (failed(r#"{"code":"context_length_exceeded","message":"long"}"#), Overflow),
        (failed(r#"{"code":"invalid_prompt","message":"odd"}"#), BadRequest),
        (failed("null"), Overload),
        (r#"{"type":"error","code":"server_error","message":"m","param":null}"#.into(), Overload),
        (r#"{"type":"error","code":"insufficient_quota","message":"m"}"#.into(), Quota),
        (r#"{"type":"error","code":null,"message":"m"}"#.into(), Overload),
        (r#"{"type":"error","error":{"type":"invalid_request_error","code":null,"message":"Your \
            input exceeds the context window of this model."}}"#.into(), Overflow),
        ("{".into(), InvalidReply),
        (r#"{"type":"response.completed","response":7}"#.into(), InvalidReply),
        (r#"{"type":"response.completed","response":{"output":[7]}}"#.into(), InvalidReply),
        ("[DONE]".into(), Network),
    ] {
        let line = line.replace("\\\n            ", "");
        assert_eq!(class(responses(&events(&line))), expected, "{line}");
    }
}
