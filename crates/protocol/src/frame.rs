//! The three frames: a request, its response, an event. One JSON object in one text frame.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::Method;
use crate::error::ErrorShape;

/// Largest frame before `connect` was accepted, in bytes: a stranger may not make us buffer.
pub const PRE_AUTH_FRAME_BYTES_MAX: usize = 64 * 1024;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename = "req")]
pub struct Request {
    /// The client's own mark, given back with every response.
    pub id: String,
    pub method: String,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub params: Value,
}

/// An answer to a request. `agent` is answered twice on one id: accepted, then final.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "res")]
pub struct Response {
    pub id: String,
    pub ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorShape>,
}

/// Something that happened. The payload is encoded once for all connections; only `seq`, which
/// counts each connection's own frames, differs between them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename = "event", rename_all = "camelCase")]
pub struct EventFrame {
    pub event: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Arc<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_version: Option<StateVersion>,
}

/// Counts the changes of presence and of health, so that a client knows what it has missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateVersion {
    pub presence: u64,
    pub health: u64,
}

/// What a gateway sends.
#[derive(Clone, Debug)]
pub enum ServerFrame {
    Response(Response),
    Event(EventFrame),
}

/// Text that is no request. With an `id` it can be answered; without, only the connection can be
/// closed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}", error.message)]
pub struct BadFrame {
    pub id: Option<String>,
    pub error: ErrorShape,
}

impl Request {
    /// Builds the request of a client.
    pub fn new(id: impl Into<String>, method: Method, params: Value) -> Request {
        Request { id: id.into(), method: method.as_str().to_owned(), params }
    }

    /// Reads a frame of a client. Fields that we do not know are ignored.
    pub fn parse(text: &str) -> Result<Request, Box<BadFrame>> {
        let bad = |id: &Option<String>, message: String| {
            let message = format!("invalid request frame: {message}");
            Box::new(BadFrame { id: id.clone(), error: ErrorShape::invalid_request(message) })
        };
        let mut value: Value =
            serde_json::from_str(text).map_err(|e| bad(&None, format!("not JSON: {e}")))?;
        let text_of = |name: &str| match value.get(name) {
            Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            _ => None,
        };
        let id = text_of("id");
        if value.get("type").and_then(Value::as_str) != Some("req") {
            return Err(bad(&id, "`type` must be \"req\"".to_owned()));
        }
        let nonempty = |name: &str| format!("`{name}` must be a string that is not empty");
        let method = text_of("method").ok_or_else(|| bad(&id, nonempty("method")))?;
        let id = id.ok_or_else(|| bad(&None, nonempty("id")))?;
        let params = value.get_mut("params").map(Value::take).unwrap_or(Value::Null);
        Ok(Request { id, method, params })
    }
}

impl Response {
    /// Answers `id` with `payload`.
    ///
    /// # Panics
    ///
    /// If `payload` does not become JSON; the results of this crate all do.
    pub fn ok(id: impl Into<String>, payload: &impl Serialize) -> Response {
        let payload = serde_json::to_value(payload).expect("a result of this crate is JSON");
        Response { id: id.into(), ok: true, payload: Some(payload), error: None }
    }

    /// Refuses `id`.
    pub fn err(id: impl Into<String>, error: ErrorShape) -> Response {
        Response { id: id.into(), ok: false, payload: None, error: Some(error) }
    }
}

impl ServerFrame {
    /// Reads a frame of a gateway. `None` is a kind of frame that we do not know: skip it.
    pub fn parse(text: &str) -> Result<Option<ServerFrame>, serde_json::Error> {
        #[derive(Deserialize)]
        struct Peek {
            r#type: String,
        }
        match serde_json::from_str::<Peek>(text)?.r#type.as_str() {
            "res" => serde_json::from_str(text).map(ServerFrame::Response).map(Some),
            "event" => serde_json::from_str(text).map(ServerFrame::Event).map(Some),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_may_carry_fields_we_do_not_know() {
        let text = r#"{"type":"req","id":"1","method":"health","traceparent":"00-1","x":[1]}"#;
        let request = Request::parse(text).unwrap();
        assert_eq!(request, Request::new("1", Method::Health, Value::Null));
        let written = serde_json::to_string(&request).unwrap();
        assert_eq!(written, r#"{"type":"req","id":"1","method":"health"}"#);
    }

    #[test]
    fn what_is_no_request_is_told_why() {
        let told: Vec<String> = [
            "",
            "[]",
            r#"{"type":"res","id":"1"}"#,
            r#"{"type":"req","id":"1"}"#,
            r#"{"type":"req","id":"1","method":""}"#,
            r#"{"type":"req","method":"health"}"#,
            r#"{"type":"req","id":7,"method":"health"}"#,
        ]
        .map(|text| {
            let bad = Request::parse(text).unwrap_err();
            format!("{:4} {bad}", bad.id.as_deref().unwrap_or("-"))
        })
        .to_vec();
        assert_snapshot!(told.join("\n"), @r#"
        -    invalid request frame: not JSON: EOF while parsing a value at line 1 column 0
        -    invalid request frame: `type` must be "req"
        1    invalid request frame: `type` must be "req"
        1    invalid request frame: `method` must be a string that is not empty
        1    invalid request frame: `method` must be a string that is not empty
        -    invalid request frame: `id` must be a string that is not empty
        -    invalid request frame: `id` must be a string that is not empty
        "#);
    }

    #[test]
    fn a_client_reads_both_answers_and_skips_what_it_does_not_know() {
        let ok = serde_json::to_string(&Response::ok("1", &json!({"status": "accepted"}))).unwrap();
        let parsed = ServerFrame::parse(&ok).unwrap();
        assert!(matches!(parsed, Some(ServerFrame::Response(r)) if r.ok && r.id == "1"));
        let event = r#"{"type":"event","event":"tick","payload":{"ts":1},"seq":3,"later":true}"#;
        match ServerFrame::parse(event).unwrap() {
            Some(ServerFrame::Event(frame)) => {
                assert_eq!((frame.event.as_str(), frame.seq), ("tick", Some(3)));
                assert_eq!(frame.payload.unwrap().get(), r#"{"ts":1}"#);
            }
            other => panic!("{other:?}"),
        }
        assert!(ServerFrame::parse(r#"{"type":"ping"}"#).unwrap().is_none());
        assert!(ServerFrame::parse("{}").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,200}") {
            let _ = Request::parse(&text);
            let _ = ServerFrame::parse(&text);
        }

        #[test]
        fn no_cut_of_a_request_makes_the_parser_panic(end in 0_usize..70) {
            let text = r#"{"type":"req","id":"ü","method":"chat.send","params":{"message":"é"}}"#;
            if let Some(cut) = text.get(..end) {
                prop_assert!(Request::parse(cut).is_err() || cut == text);
            }
        }
    }
}
