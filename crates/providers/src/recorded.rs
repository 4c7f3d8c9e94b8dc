//! Recorded streams, cut at every byte.

mod google;
mod responses;

use types::{AssistantMessage, FailureClass, StopReason, ToolCall, Usage, Wire};

use crate::error::Fault;
use crate::{Delta, Reply, replay};

/// A stream, with a decoder to read it.
struct Recording {
    name: &'static str,
    wire: Wire,
    bytes: &'static [u8],
}

macro_rules! recording {
    ($wire:ident, $name:literal) => {
        Recording {
            name: $name,
            wire: Wire::$wire,
            bytes: include_bytes!(concat!("../fixtures/", $name, ".sse")),
        }
    };
}

const WHOLE: &[Recording] = &[
    recording!(AnthropicMessages, "anthropic_text"),
    recording!(AnthropicMessages, "anthropic_thinking"),
    recording!(AnthropicMessages, "anthropic_two_calls"),
    recording!(OpenaiCompletions, "openai_text"),
    recording!(OpenaiCompletions, "openai_reasoning"),
    recording!(OpenaiCompletions, "openai_two_calls"),
    recording!(OpenaiResponses, "responses_text"),
    recording!(OpenaiResponses, "responses_reasoning"),
    recording!(OpenaiResponses, "responses_two_calls"),
    recording!(GoogleGenerativeAi, "google_text"),
    recording!(GoogleGenerativeAi, "google_thinking"),
    recording!(GoogleGenerativeAi, "google_two_calls"),
];

const BROKEN: &[Recording] = &[
    recording!(AnthropicMessages, "anthropic_error"),
    recording!(OpenaiCompletions, "openai_error"),
    recording!(OpenaiResponses, "responses_failed"),
    recording!(GoogleGenerativeAi, "google_error"),
];

impl Recording {
    fn read(&self, chunks: &[&[u8]]) -> (Result<Reply, Fault>, Vec<Delta>) {
        replay::read(self.wire, chunks)
    }
}

fn anthropic(stream: &str) -> Result<Reply, Fault> {
    replay::read(Wire::AnthropicMessages, &[stream.as_bytes()]).0
}

fn openai(stream: &str) -> Result<Reply, Fault> {
    replay::read(Wire::OpenaiCompletions, &[stream.as_bytes()]).0
}

/// Makes an event of each line.
fn events(lines: &str) -> String {
    lines.trim().lines().map(|line| format!("data: {}\n\n", line.trim())).collect()
}

fn class(result: Result<Reply, Fault>) -> FailureClass {
    result.expect_err("the stream is broken").class
}

fn named(name: &str) -> Reply {
    let recording = WHOLE.iter().find(|recording| recording.name == name).unwrap();
    recording.read(&[recording.bytes]).0.unwrap()
}

#[test]
fn the_same_answer_wherever_the_bytes_are_divided() {
    for recording in WHOLE {
        let whole = recording.read(&[recording.bytes]);
        assert!(whole.0.is_ok(), "{}: {:?}", recording.name, whole.0);
        for cut in 0..=recording.bytes.len() {
            let (head, tail) = recording.bytes.split_at(cut);
            assert_eq!(recording.read(&[head, tail]), whole, "{} at {cut}", recording.name);
        }
        let single: Vec<&[u8]> = recording.bytes.chunks(1).collect();
        assert_eq!(recording.read(&single), whole, "{}", recording.name);
    }
}

/// The one thing that may be lost with the tail is what a chat completion cost: it comes after
/// the answer, and is estimated without.
#[test]
fn a_stream_that_is_cut_is_a_network_error_and_never_another_answer() {
    for recording in WHOLE {
        let whole = recording.read(&[recording.bytes]).0.unwrap();
        let mut errors = 0;
        for cut in 0..recording.bytes.len() {
            match recording.read(&[&recording.bytes[..cut]]).0 {
                Ok(reply) => {
                    assert_eq!(reply.message, whole.message, "{} at {cut}", recording.name);
                    let exact = recording.wire != Wire::OpenaiCompletions;
                    assert!(!exact || reply == whole, "{} at {cut}", recording.name);
                }
                Err(fault) => {
                    assert_eq!(fault.class, FailureClass::Network, "{} at {cut}", recording.name);
                    errors += 1;
                }
            }
        }
        assert!(errors * 10 > recording.bytes.len() * 7, "{}: {errors}", recording.name);
    }
}

#[test]
fn an_error_in_the_stream_is_never_an_answer() {
    for recording in BROKEN {
        assert_eq!(class(recording.read(&[recording.bytes]).0), FailureClass::Overload);
        for cut in 0..recording.bytes.len() {
            assert!(recording.read(&[&recording.bytes[..cut]]).0.is_err());
        }
    }
}

/// At every place a byte is left out, replaced or put in: whatever comes of it, nothing panics.
#[test]
fn a_damaged_stream_never_panics() {
    let patches = [("", 1), ("{", 0), ("\"", 1), ("\n\n", 0), ("[", 1), ("\u{0}", 1), ("7", 1)];
    for recording in WHOLE.iter().chain(BROKEN) {
        for at in 0..recording.bytes.len() {
            let (head, tail) = recording.bytes.split_at(at);
            let (patch, skip) = patches[at % patches.len()];
            let _ = recording.read(&[head, patch.as_bytes(), &tail[skip..]]);
        }
    }
}

#[test]
fn deltas_are_the_text_and_the_thinking() {
    let thinking = |text: &str| Delta::Thinking(text.to_owned());
    let text = |text: &str| Delta::Text(text.to_owned());
    let expected = vec![thinking("Let me "), thinking("see."), text("Done.")];
    for name in ["anthropic_thinking", "openai_reasoning", "responses_reasoning", "google_thinking"]
    {
        let recording = WHOLE.iter().find(|recording| recording.name == name).unwrap();
        assert_eq!(recording.read(&[recording.bytes]).1, expected, "{name}");
    }
}

#[test]
fn anthropic_blocks_are_kept_whatever_they_are() {
    let AssistantMessage { text, stop, raw, model, .. } = named("anthropic_thinking").message;
    assert_eq!((text.as_str(), stop), ("Done.", StopReason::End));
    assert_eq!(model, "claude-sonnet-4-5-20250929");
    assert_eq!(
        raw.get(),
        concat!(
            r#"[{"type":"thinking","thinking":"Let me see.","signature":"EqQBCgIYAhIM1gbc+/=="},"#,
            r#"{"type":"redacted_thinking","data":"EmwKAhgBEgy3va3pzix/LafPsn4a"},"#,
            r#"{"type":"text","text":"Done.","citations":"#,
            r#"[{"type":"char_location","cited_text":"x","document_index":0}]},"#,
            r#"{"type":"hologram","depth":{"b":2,"a":1.5},"shape":"cube"}]"#,
        )
    );
}

#[test]
fn anthropic_calls_keep_the_bytes_of_their_arguments() {
    let Reply { message, usage } = named("anthropic_two_calls");
    let call = |id: &str, name: &str, arguments: &str| ToolCall {
        id: id.to_owned(),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    };
    let arguments = r#"{"command": "ls -l", "n": 9007199254740993.10}"#;
    let expected = [call("toolu_01A", "exec", arguments), call("toolu_01B", "sessions_list", "{}")];
    assert_eq!(message.calls, expected);
    assert_eq!(message.stop, StopReason::ToolCalls);
    assert!(message.raw.get().contains(arguments), "{}", message.raw.get());
    assert_eq!(usage, Usage { input: 25, output: 89, cache_read: 2048, cache_write: 120 });
}

#[test]
fn openai_calls_and_unknown_fields_are_kept() {
    let Reply { message, usage } = named("openai_two_calls");
    assert_eq!(message.calls.len(), 2);
    assert_eq!(
        message.raw.get(),
        concat!(
            r#"{"role":"assistant","content":null,"tool_calls":["#,
            r#"{"id":"call_a","type":"function","function":"#,
            r#"{"name":"exec","arguments":"{\"command\": \"ls -l\"}"}},"#,
            r#"{"id":"call_b","type":"function","function":"#,
            r#"{"name":"sessions_list","arguments":"{}"},"#,
            r#""extra_content":{"google":{"thought_signature":"s+/="}}}]}"#,
        )
    );
    assert_eq!(usage, Usage { input: 20, output: 9, cache_read: 100, cache_write: 0 });
    assert_eq!(
        named("openai_reasoning").message.raw.get(),
        concat!(
            r#"{"role":"assistant","content":"Done.","reasoning_content":"Let me see.","#,
            r#""reasoning_details":[{"type":"t","n":1},{"type":"t","n":2}]}"#,
        )
    );
}

/// Each dialect says the same two calls.
#[test]
fn openai_dialects_of_tool_calls() {
    let dialects = [
        // With an index, in pieces, the second without an id.
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"a","arguments":"{\"k\""}}]}}]}
           {"choices":[{"delta":{"tool_calls":[{"index":1,"id":"","function":{"name":"b"}}]}}]}
           {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}}]}
           {"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#,
        // Without an index, arguments as an object, the reason is `stop`.
        r#"{"choices":[{"delta":{"tool_calls":[{"id":"x","function":{"name":"a","arguments":{"k":1}}},{"function":{"name":"b","arguments":{}}}]},"finish_reason":"stop"}]}"#,
        // All calls have index zero, and the id comes with every piece.
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"a","arguments":"{\"k\":"}}]}}]}
           {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"a","arguments":"1}"}}]}}]}
           {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"call_3_1","function":{"name":"b","arguments":""}}]},"finish_reason":"tool_calls"}]}"#,
        // No index, no ids in the pieces that follow.
        r#"{"choices":[{"delta":{"tool_calls":[{"id":"x","function":{"name":"a","arguments":"{\"k\":"}}]}}]}
           {"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"1}"}}]}}]}
           {"choices":[{"delta":{"tool_calls":[{"function":{"name":"b"}}]},"finish_reason":"function_call"}]}"#,
    ];
    for dialect in dialects {
        let Reply { message, usage } = openai(&events(dialect)).unwrap();
        let calls: Vec<_> = message
            .calls
            .iter()
            .map(|call| (call.id.as_str(), call.name.as_str(), call.arguments.as_str()))
            .collect();
        assert_eq!(calls, [("x", "a", r#"{"k":1}"#), ("call_3_1", "b", "{}")], "{dialect}");
        assert_eq!(message.stop, StopReason::ToolCalls);
        assert_eq!(usage.input, 100, "estimated");
        assert!(usage.output > 0, "estimated");
    }
}

#[test]
fn stop_reasons() {
    for (reason, expected) in [
        ("stop", StopReason::End),
        ("eos", StopReason::End),
        ("length", StopReason::Length),
        ("content_filter", StopReason::Refusal),
    ] {
        let stream =
            format!(r#"{{"choices":[{{"delta":{{"content":"x"}},"finish_reason":"{reason}"}}]}}"#);
        assert_eq!(openai(&events(&stream)).unwrap().message.stop, expected, "{reason}");
    }
    for (reason, expected) in [
        ("end_turn", StopReason::End),
        ("stop_sequence", StopReason::End),
        ("pause_turn", StopReason::End),
        ("max_tokens", StopReason::Length),
        ("refusal", StopReason::Refusal),
    ] {
        let stream = format!(
            "{{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"{reason}\"}}}}\n\
             {{\"type\":\"message_stop\"}}"
        );
        assert_eq!(anthropic(&events(&stream)).unwrap().message.stop, expected, "{reason}");
    }
}

#[test]
fn calls_that_cannot_be_answered_are_an_invalid_reply() {
    let tool = |id: &str, name: &str| {
        format!(r#"{{"type":"tool_use","id":"{id}","name":"{name}","input":{{}}}}"#)
    };
    for (one, two) in [(("x", "a"), ("x", "b")), (("x", "a"), ("y", "")), (("", "a"), ("y", "b"))] {
        let start = |index, (id, name)| {
            let block = tool(id, name);
            format!(r#"{{"type":"content_block_start","index":{index},"content_block":{block}}}"#)
        };
        let lines = [start(0, one), start(1, two), r#"{"type":"message_stop"}"#.to_owned()];
        assert_eq!(class(anthropic(&events(&lines.join("\n")))), FailureClass::InvalidReply);
    }
    for calls in [
        r#"{"index":0,"id":"x","function":{"name":"a"}},
           {"index":1,"id":"x","function":{"name":"b"}}"#,
        r#"{"index":0,"id":"x","function":{"arguments":"{}"}}"#,
    ] {
        let stream = format!(
            r#"{{"choices":[{{"delta":{{"tool_calls":[{calls}]}},"finish_reason":"stop"}}]}}"#
        );
        let stream = stream.replace('\n', "");
        assert_eq!(class(openai(&events(&stream))), FailureClass::InvalidReply, "{calls}");
    }
}

/// What the model wrote is kept for the tool's error; what goes back is valid JSON.
#[test]
fn broken_arguments_do_not_spoil_the_history() {
    let lines = r#"
        {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"x","name":"a","input":{}}}
        {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"k\": "}}
        {"type":"message_delta","delta":{"stop_reason":"max_tokens"}}
        {"type":"message_stop"}"#;
    let message = anthropic(&events(lines)).unwrap().message;
    assert_eq!(message.calls[0].arguments, r#"{"k": "#);
    assert!(message.raw.get().contains(r#""input":{"invalid_json":"{\"k\":"}"#));

    let lines = r#"
        {"choices":[{"delta":{"tool_calls":[{"id":"x","function":{"name":"a"}}]}}]}
        {"choices":[{"delta":{"tool_calls":[{"id":"x","function":{"arguments":"{\"k\": "}}]}}]}
        {"choices":[{"delta":{},"finish_reason":"length"}]}"#;
    let message = openai(&events(lines)).unwrap().message;
    assert_eq!(message.calls[0].arguments, r#"{"k": "#);
    assert!(message.raw.get().contains(r#"{\"invalid_json\":\"{\\\"k\\\":\"}"#));
}

#[test]
fn nonsense_is_an_invalid_reply() {
    for line in [
        "{",
        "[1]",
        "7",
        r#"{"type":"content_block_delta","index":0,"delta":{}}"#,
        r#"{"type":"content_block_start","content_block":{}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":7}"#,
    ] {
        let result = anthropic(&events(line));
        let expected = match line {
            // An event of an unknown kind is ignored, and then the stream is cut.
            "[1]" | "7" => FailureClass::Network,
            _ => FailureClass::InvalidReply,
        };
        assert_eq!(class(result), expected, "{line}");
    }
    assert_eq!(class(openai(&events("{"))), FailureClass::InvalidReply);
    assert_eq!(class(openai(&events("[DONE]"))), FailureClass::Network);
}
