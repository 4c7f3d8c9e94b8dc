//! What a provider can do wrong, and what is told of it.

use std::time::{Duration, Instant};

use providers::{HttpConfig, ProviderError};
use types::{FailureClass, Wire};

use crate::server::{Server, Then};
use crate::{KEY, config, hello, provider};

const WIRES: [(Wire, &[u8]); 4] = [
    (Wire::AnthropicMessages, include_bytes!("../../fixtures/anthropic_text.sse")),
    (Wire::OpenaiCompletions, include_bytes!("../../fixtures/openai_text.sse")),
    (Wire::OpenaiResponses, include_bytes!("../../fixtures/responses_text.sse")),
    (Wire::GoogleGenerativeAi, include_bytes!("../../fixtures/google_text.sse")),
];

async fn failure(wire: Wire, config: HttpConfig) -> ProviderError {
    let error = provider(wire, config).call(&hello(), &mut |_| ()).await.unwrap_err();
    assert!(error.to_string().starts_with("work "), "{error}");
    assert!(!format!("{error} {error:?}").contains(KEY), "{error:?}");
    assert!(error.to_string().chars().count() < 700);
    error
}

#[tokio::test]
async fn a_refusal_is_told_by_class_and_reason() {
    use FailureClass::*;

    let window = r#"{"error":{"code":"context_length_exceeded","message":"8192 tokens"}}"#;
    let prompt = r#"{"type":"error","error":{"message":"prompt is too long: 300 > 200"}}"#;
    let busy = r#"{"error":{"type":"overloaded_error","message":"busy"}}"#;
    let echo = format!(r#"{{"error":{{"message":"Incorrect API key provided: {KEY}"}}}}"#);
    let long = format!(r#"{{"error":{{"message":"{}"}}}}"#, "x".repeat(100_000));
    #[rustfmt::skip]
    let table = [
        (429, "retry-after: 7", r#"{"error":{"message":"slow down"}}"#, RateLimit,    Some(7)),
        (529, "x-y: z",         busy,                                   Overload,     None),
        (503, "retry-after: 2", "",                                     Overload,     Some(2)),
        (401, "x-y: z",         echo.as_str(),                          Auth,         None),
        (402, "x-y: z",         "{}",                                   Quota,        None),
        (404, "x-y: z",         r#"{"error":"model 'm-1' not found"}"#, UnknownModel, None),
        (400, "x-y: z",         window,                                 Overflow,     None),
        (400, "x-y: z",         prompt,                                 Overflow,     None),
        (400, "x-y: z",         long.as_str(),                          BadRequest,   None),
        (307, "location: /x",   "",                                     BadRequest,   None),
        (200, "x-y: z",         r#"{"choices":[]}"#,                    InvalidReply, None),
    ];
    for (wire, _) in WIRES {
        for (status, header, body, class, seconds) in table {
            let server = Server::refusing(status, header, body).await;
            let error = failure(wire, config(&server.url)).await;
            assert_eq!(error.class(), class, "{status} {error}");
            assert_eq!(error.retry_after(), seconds.map(Duration::from_secs), "{status}");
            assert!(error.to_string().contains(&format!("HTTP {status}")), "{error}");
            assert!(!error.paid());
        }
    }
}

#[tokio::test]
async fn the_message_of_a_refusal() {
    let body = r#"{"type":"error","error":{"type":"rate_limit_error","message":"50 a minute"}}"#;
    let server = Server::refusing(429, "retry-after: 1", body).await;
    let error = failure(Wire::AnthropicMessages, config(&server.url)).await;
    let expected = "work is limiting our rate: HTTP 429 rate_limit_error: 50 a minute";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn a_stream_that_stalls_is_given_up() {
    for (wire, stream) in WIRES {
        for (sent, paid) in [(0, false), (stream.len() / 2, true)] {
            let server = Server::streaming(&stream[..sent], false, Then::Hang).await;
            let begin = Instant::now();
            let error = failure(wire, config(&server.url)).await;
            assert_eq!((error.class(), error.paid()), (FailureClass::Network, paid), "{error}");
            assert!(error.to_string().contains("no byte came for 400ms"), "{error}");
            assert!(begin.elapsed() < Duration::from_secs(5));
        }
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let server = Server::start(Vec::new(), Then::Hang).await;
    let error = failure(Wire::AnthropicMessages, config(&server.url)).await;
    assert_eq!((error.class(), error.paid()), (FailureClass::Network, false));
}

/// The answer is cut at many places; a body that ends without its last chunk is an error even
/// where the answer might be complete.
#[tokio::test]
async fn a_stream_that_is_cut_is_no_answer() {
    for (wire, stream) in WIRES {
        for tenth in 0..10 {
            let part = &stream[..stream.len() * tenth / 10];
            let server = Server::streaming(part, false, Then::Close).await;
            let error = failure(wire, config(&server.url)).await;
            assert_eq!(error.class(), FailureClass::Network, "{error}");
            assert_eq!(error.paid(), tenth > 0, "{error}");
        }
    }
}

#[tokio::test]
async fn a_flood_is_stopped_at_the_bound() {
    let event: &[u8] = b"11\r\ndata: {\"a\": \"b\"}\n\r\n";
    let line = b"10\r\nxxxxxxxxxxxxxxxx\r\n".to_vec();
    let head =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    for (wire, _) in WIRES {
        for piece in [event.to_vec(), line.clone()] {
            let server = Server::start(vec![head.to_vec(), piece], Then::Flood).await;
            let mut config = config(&server.url);
            config.reply_bytes_max = 4_096;
            let error = failure(wire, config).await;
            assert_eq!((error.class(), error.paid()), (FailureClass::InvalidReply, true));
        }
    }
}

#[tokio::test]
async fn garbage_is_an_invalid_reply_or_no_reply() {
    for (wire, _) in WIRES {
        let server = Server::streaming(b"data: {\"choices\": [}\n\n", true, Then::Close).await;
        assert_eq!(failure(wire, config(&server.url)).await.class(), FailureClass::InvalidReply);

        let server = Server::streaming(b"\xff\xfe\x00\n\n", true, Then::Close).await;
        assert_eq!(failure(wire, config(&server.url)).await.class(), FailureClass::Network);

        let server =
            Server::start(vec![b"\x16\x03\x01 no http\r\n\r\n".to_vec()], Then::Close).await;
        assert_eq!(failure(wire, config(&server.url)).await.class(), FailureClass::Network);
    }
}

#[tokio::test]
async fn nobody_listens() {
    let server = Server::start(Vec::new(), Then::Close).await;
    let url = server.url.clone();
    drop(server);
    // The port is free once the task is gone.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let error = failure(Wire::OpenaiCompletions, config(&url)).await;
    assert_eq!((error.class(), error.paid()), (FailureClass::Network, false));
    assert!(error.to_string().contains(&format!("no connection to {url}")), "{error}");
}

#[tokio::test]
async fn the_request_goes_where_it_should() {
    for (wire, base, line, key) in [
        (Wire::AnthropicMessages, "", "POST /v1/messages ", "x-api-key: "),
        (Wire::AnthropicMessages, "/v1/", "POST /v1/messages ", "x-api-key: "),
        (Wire::AnthropicMessages, "/anthropic", "POST /anthropic/v1/messages ", "x-api-key: "),
        (Wire::OpenaiCompletions, "/v1", "POST /v1/chat/completions ", "authorization: Bearer "),
        (Wire::OpenaiResponses, "/v1", "POST /v1/responses ", "authorization: Bearer "),
        (
            Wire::GoogleGenerativeAi,
            "",
            "POST /v1beta/models/m-1:streamGenerateContent?alt=sse ",
            "x-goog-api-key: ",
        ),
        (
            Wire::GoogleGenerativeAi,
            "/v1/",
            "POST /v1/models/m-1:streamGenerateContent?alt=sse ",
            "x-goog-api-key: ",
        ),
    ] {
        let stream = WIRES.iter().find(|(other, _)| *other == wire).unwrap().1;
        let server = Server::streaming(stream, true, Then::Close).await;
        let mut config = config(&format!("{}{base}", server.url));
        config.extra_headers = vec![("X-Title".to_owned(), "windlass".to_owned())];
        provider(wire, config).call(&hello(), &mut |_| ()).await.unwrap();
        let request = server.request();
        assert!(request.starts_with(line), "{request}");
        for header in [&format!("{key}{KEY}"), "idempotency-key: step-7", "x-title: windlass"] {
            assert!(request.contains(&format!("{header}\r\n")), "{header}: {request}");
        }
        let versioned = request.contains("anthropic-version: 2023-06-01\r\n");
        assert_eq!(versioned, wire == Wire::AnthropicMessages);
    }
}
