//! What holds for every provider.

use std::sync::Arc;

use providers::{Delta, ModelRequest, Provider, Reply, Script, Scripted};
use types::{AssistantMessage, Message, StopReason, ToolResult, Wire};

use crate::server::{Server, Then};
use crate::{config, hello, provider, request};

const ANTHROPIC_TEXT: &[u8] = include_bytes!("../../fixtures/anthropic_text.sse");
const ANTHROPIC_CALLS: &[u8] = include_bytes!("../../fixtures/anthropic_two_calls.sse");
const OPENAI_TEXT: &[u8] = include_bytes!("../../fixtures/openai_text.sse");
const OPENAI_CALLS: &[u8] = include_bytes!("../../fixtures/openai_two_calls.sse");
const RESPONSES_TEXT: &[u8] = include_bytes!("../../fixtures/responses_text.sse");
const RESPONSES_CALLS: &[u8] = include_bytes!("../../fixtures/responses_two_calls.sse");
const GOOGLE_TEXT: &[u8] = include_bytes!("../../fixtures/google_text.sse");
const GOOGLE_CALLS: &[u8] = include_bytes!("../../fixtures/google_two_calls.sse");

/// A provider that says "Hello, wörld €", or makes two calls; its server lives as long as it.
struct Subject {
    provider: Arc<dyn Provider>,
    server: Option<Server>,
}

impl Subject {
    async fn over_http(wire: Wire, stream: &[u8]) -> Subject {
        let server = Server::streaming(stream, true, Then::Serve).await;
        Subject { provider: provider(wire, config(&server.url)), server: Some(server) }
    }

    fn scripted(rule: &str) -> Subject {
        let script: Script = serde_json::from_str(&format!(r#"{{"rules": [{rule}]}}"#)).unwrap();
        Subject { provider: Arc::new(Scripted::new(script)), server: None }
    }

    async fn all_that_talk() -> Vec<Subject> {
        vec![
            Subject::over_http(Wire::AnthropicMessages, ANTHROPIC_TEXT).await,
            Subject::over_http(Wire::OpenaiCompletions, OPENAI_TEXT).await,
            Subject::over_http(Wire::OpenaiResponses, RESPONSES_TEXT).await,
            Subject::over_http(Wire::GoogleGenerativeAi, GOOGLE_TEXT).await,
            Subject::scripted(r#"{"say": "Hello, wörld €", "delayMs": 5}"#),
        ]
    }

    async fn all_that_call() -> Vec<Subject> {
        let calls = r#"[{"name": "exec", "arguments": {"command": "ls -l"}},
                        {"name": "sessions_list", "arguments": {}}]"#;
        vec![
            Subject::over_http(Wire::AnthropicMessages, ANTHROPIC_CALLS).await,
            Subject::over_http(Wire::OpenaiCompletions, OPENAI_CALLS).await,
            Subject::over_http(Wire::OpenaiResponses, RESPONSES_CALLS).await,
            Subject::over_http(Wire::GoogleGenerativeAi, GOOGLE_CALLS).await,
            Subject::scripted(&format!(r#"{{"call": {calls}}}"#)),
        ]
    }

    async fn call(&self, request: &ModelRequest) -> (Reply, Vec<Delta>) {
        let mut deltas = Vec::new();
        let reply = self.provider.call(request, &mut |delta| deltas.push(delta)).await;
        (reply.unwrap(), deltas)
    }
}

#[tokio::test]
async fn the_deltas_are_the_text_of_the_answer() {
    for subject in Subject::all_that_talk().await {
        let (Reply { message, usage }, deltas) = subject.call(&hello()).await;
        let said: String = deltas
            .into_iter()
            .map(|delta| match delta {
                Delta::Text(text) => text,
                Delta::Thinking(text) => panic!("nobody thought `{text}`"),
            })
            .collect();
        assert_eq!(said, "Hello, wörld €", "{:?}", subject.provider);
        assert_eq!(message.text, said);
        assert_eq!((message.stop, message.calls.len()), (StopReason::End, 0));
        assert_eq!(message.wire, subject.provider.wire());
        assert!(usage.prompt() > 0 && usage.output > 0, "{usage:?}");
    }
}

#[tokio::test]
async fn an_answer_survives_storage_and_goes_back_with_its_results() {
    for subject in Subject::all_that_call().await {
        let (Reply { message, .. }, _) = subject.call(&hello()).await;
        assert_eq!(message.stop, StopReason::ToolCalls);
        let names: Vec<_> = message.calls.iter().map(|call| call.name.as_str()).collect();
        assert_eq!(names, ["exec", "sessions_list"]);

        let stored = serde_json::to_string(&message).unwrap();
        let loaded: AssistantMessage = serde_json::from_str(&stored).unwrap();
        assert_eq!(loaded, message);

        let mut messages = hello().messages;
        messages.push(Message::Assistant(loaded));
        messages.extend(message.calls.iter().map(|call| {
            let (call_id, name) = (call.id.clone(), call.name.clone());
            let text = "done".to_owned();
            Message::ToolResult(ToolResult { call_id, name, text, is_error: false })
        }));
        subject.call(&request(messages)).await;
        if let Some(server) = &subject.server {
            // The items of the newer OpenAI wire stand in the input without their brackets.
            let raw = message.raw.get();
            let raw = raw.trim_matches(|c| "[]".contains(c));
            assert!(server.request().contains(raw), "{:?}", subject.provider);
        }
    }
}

/// An answer that says nothing, or that only thinks, leaves nothing in the next request: every
/// provider would refuse it, now and on each later turn.
#[tokio::test]
async fn an_answer_that_says_nothing_does_not_go_back() {
    let blank = r#"{"type":"text","text":"\n"}"#;
    let thought = r#"{"type":"thinking","thinking":"hm","signature":"a"}"#;
    let of_anthropic = |block: &str| {
        format!(
            "event: message_start\ndata: {{\"type\":\"message_start\",\"message\":{{}}}}\n\n\
             event: content_block_start\ndata: {{\"type\":\"content_block_start\",\"index\":0,\
             \"content_block\":{block}}}\n\n\
             event: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n"
        )
    };
    let of_openai = |delta: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{delta},\
             \"finish_reason\":\"stop\"}}]}}\n\ndata: [DONE]\n\n"
        )
    };
    for (wire, stream) in [
        (Wire::AnthropicMessages, of_anthropic(blank)),
        (Wire::AnthropicMessages, of_anthropic(thought)),
        (Wire::OpenaiCompletions, of_openai(r#"{"content":" "}"#)),
        (Wire::OpenaiCompletions, of_openai(r#"{"reasoning_content":"hm"}"#)),
    ] {
        let subject = Subject::over_http(wire, stream.as_bytes()).await;
        let (Reply { message, .. }, _) = subject.call(&hello()).await;
        assert_eq!(message.text.trim(), "", "{stream}");
        let mut messages = hello().messages;
        messages.push(Message::Assistant(message));
        messages.push(Message::User("still there?".to_owned()));
        subject.call(&request(messages)).await;
        let sent = subject.server.as_ref().unwrap().request();
        assert!(sent.contains("hello") && sent.contains("still there?"), "{sent}");
        assert!(!sent.contains("assistant") && !sent.contains("hm"), "{sent}");
    }
}

#[tokio::test]
async fn the_same_request_is_the_same_bytes() {
    for subject in Subject::all_that_talk().await {
        let (one, _) = subject.call(&hello()).await;
        let (two, _) = subject.call(&hello()).await;
        assert_eq!(one.message, two.message);
        if let Some(server) = &subject.server {
            let requests = server.requests.lock().unwrap();
            assert_eq!(requests.len(), 2);
            assert_eq!(requests[0], requests[1]);
        }
    }
}

/// Aborting a run drops the call: the provider must see the connection go.
#[tokio::test]
async fn a_dropped_call_closes_its_connection() {
    for (wire, stream) in
        [(Wire::AnthropicMessages, ANTHROPIC_TEXT), (Wire::GoogleGenerativeAi, GOOGLE_TEXT)]
    {
        let half = &stream[..stream.len() / 2];
        // The server serves one connection at a time, so a second call gets its answer only if
        // the first connection is gone. A flood ends when nobody reads it.
        let server = Server::streaming(half, false, Then::Flood).await;
        let mut config = config(&server.url);
        config.reply_bytes_max = usize::MAX;
        let provider = provider(wire, config);
        for served in 1..=2 {
            let (request, mut ignore) = (hello(), |_| ());
            let call = provider.call(&request, &mut ignore);
            let outcome = tokio::time::timeout(std::time::Duration::from_millis(150), call).await;
            drop(outcome);
            assert_eq!(server.requests.lock().unwrap().len(), served);
        }
    }
}
