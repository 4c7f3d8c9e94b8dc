//! The contents of a Gemini request: turns that follow each other, every call with its response in
//! the next content, thoughts signed, and our own words unchanged.

use serde_json::Value;

use super::call_was_altered;
use super::google::{Checked, Object, bad_request, is_function_name, object, only, text_of, wrong};
use crate::conversation::Event;
use crate::digest::{Chain, digest, seal};

/// What ids of calls by the stub begin with.
pub const ID_PREFIX: &str = "gst";

/// What signatures of the stub begin with.
const SIGNATURE_PREFIX: &str = "c3R1Ymdl";

/// The signature that the documentation names for calls of other models.
const UNSIGNED: &str = "skip_thought_signature_validator";

#[rustfmt::skip]
const PART: &[&str] = &[
    "text", "thought", "thoughtSignature", "functionCall", "functionResponse", "inlineData",
    "fileData", "videoMetadata", "executableCode", "codeExecutionResult", "partMetadata",
];

/// What a part may hold; it holds one of them.
#[rustfmt::skip]
const DATA: &[&str] = &[
    "text", "functionCall", "functionResponse", "inlineData", "fileData", "executableCode",
    "codeExecutionResult",
];

/// What a content was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    User,
    Calls,
    Responses,
    Words,
}

#[derive(Debug)]
struct Call {
    /// None if the call went without: then its place and name say which one it is.
    id: Option<String>,
    name: String,
}

/// Reads contents in order.
#[derive(Debug, Default)]
pub struct Reader {
    events: Vec<Event>,
    chain: Chain,
    last: Option<Turn>,
    /// The calls of the newest answer.
    calls: Vec<Call>,
}

/// One content, read.
#[derive(Debug, Default)]
struct Content {
    /// Texts that are no thoughts.
    texts: Vec<String>,
    calls: Vec<Call>,
    responses: Vec<(Call, String)>,
}

impl Reader {
    pub fn read(&mut self, index: usize, value: &Value) -> Checked<()> {
        let path = format!("contents[{index}]");
        let map = object(value, &path)?;
        only(map, &["role", "parts"], &path)?;
        let is_model = match map.get("role").map(Value::as_str) {
            None | Some(Some("user")) => false,
            Some(Some("model")) => true,
            _ => return Err(bad_request("Please use a valid role: user, model.")),
        };
        let parts = match map.get("parts") {
            Some(part @ Value::Object(_)) => std::slice::from_ref(part),
            Some(Value::Array(parts)) if !parts.is_empty() => parts.as_slice(),
            None | Some(Value::Array(_)) => {
                let text = format!(
                    "* GenerateContentRequest.{path}.parts: contents.parts must not be empty."
                );
                return Err(bad_request(text));
            }
            Some(other) => return Err(wrong(&format!("{path}.parts"), "list", other)),
        };
        let mut content = Content::default();
        for (at, part) in parts.iter().enumerate() {
            read_part(part, &format!("{path}.parts[{at}]"), is_model, &mut content)?;
        }
        let turn = self.turn(is_model, &content)?;
        let before = self.chain.so_far();
        self.chain.push(value.to_string());
        match turn {
            Turn::User => self.events.extend(content.texts.into_iter().map(Event::User)),
            Turn::Responses => self.take_responses(content.responses)?,
            Turn::Calls | Turn::Words => {
                let text = content.texts.concat();
                self.events.push(Event::Assistant { before, text });
                self.calls = content.calls;
            }
        }
        self.last = Some(turn);
        Ok(())
    }

    /// Returns the events and the digest of all contents.
    pub fn end(self) -> Checked<(Vec<Event>, String)> {
        match self.last {
            Some(Turn::User | Turn::Responses) => Ok((self.events, self.chain.so_far())),
            _ => Err(bad_request(
                "Please ensure that multiturn requests end with a user role or a function \
                 response.",
            )),
        }
    }

    /// Says what a content is, if it may stand where it does.
    fn turn(&self, is_model: bool, content: &Content) -> Checked<Turn> {
        if is_model {
            let turn = if content.calls.is_empty() { Turn::Words } else { Turn::Calls };
            return match self.last {
                Some(Turn::User | Turn::Responses) => Ok(turn),
                _ if turn == Turn::Calls => Err(bad_request(
                    "Please ensure that function call turn comes immediately after a user turn or \
                     after a function response turn.",
                )),
                _ => Err(bad_request(
                    "Please ensure that multiturn requests alternate between user and model.",
                )),
            };
        }
        match (content.responses.is_empty(), self.last) {
            (false, _) if !content.texts.is_empty() => Err(bad_request(
                "the stub takes no words among function responses: put them into a content of \
                 their own",
            )),
            (false, Some(Turn::Calls)) => Ok(Turn::Responses),
            (false, _) => Err(bad_request(
                "Please ensure that function response turn comes immediately after a function \
                 call turn.",
            )),
            (true, Some(Turn::Calls)) => Err(unequal()),
            (true, Some(Turn::User)) => Err(bad_request(
                "Please ensure that multiturn requests alternate between user and model.",
            )),
            (true, _) => Ok(Turn::User),
        }
    }

    fn take_responses(&mut self, responses: Vec<(Call, String)>) -> Checked<()> {
        let asked = std::mem::take(&mut self.calls);
        if asked.len() != responses.len() {
            return Err(unequal());
        }
        // With ids any order will do, without them it is that of the calls.
        let mut open: Vec<Call> = asked;
        for (response, text) in responses {
            let place = match &response.id {
                Some(_) => open.iter().position(|call| call.id == response.id),
                None => open.iter().position(|call| call.id.is_none()),
            };
            let Some(call) = place.map(|place| open.remove(place)) else {
                return Err(bad_request(format!(
                    "Function response {:?} of `{}` has no function call with that id.",
                    response.id, response.name
                )));
            };
            if call.name != response.name {
                return Err(bad_request(format!(
                    "Function response name `{}` does not match the function call `{}`.",
                    response.name, call.name
                )));
            }
            let call_id = call.id.unwrap_or_default();
            self.events.push(Event::ToolResult { call_id, name: call.name, text });
        }
        Ok(())
    }
}

fn unequal() -> super::Refusal {
    bad_request(
        "Please ensure that the number of function response parts is equal to the number of \
         function call parts of the function call turn.",
    )
}

fn read_part(value: &Value, path: &str, is_model: bool, content: &mut Content) -> Checked<()> {
    let map = object(value, path)?;
    only(map, PART, path)?;
    let data: Vec<&str> = DATA.iter().copied().filter(|key| map.contains_key(*key)).collect();
    let kind = match data[..] {
        [kind] => kind,
        [] => {
            return Err(bad_request(format!(
                "* GenerateContentRequest.{path}.data: required oneof field 'data' must have one \
                 initialized field"
            )));
        }
        [_, second, ..] => {
            return Err(bad_request(format!(
                "Invalid value at '{path}' (oneof), oneof field 'data' is already set. Cannot set \
                 '{second}'"
            )));
        }
    };
    let thought = match map.get("thought") {
        None => false,
        Some(Value::Bool(thought)) => *thought,
        Some(other) => return Err(wrong(&format!("{path}.thought"), "TYPE_BOOL", other)),
    };
    let signature = match map.get("thoughtSignature") {
        None => None,
        Some(Value::String(signature)) => Some(signature.as_str()),
        Some(other) => {
            return Err(wrong(&format!("{path}.thought_signature"), "TYPE_BYTES", other));
        }
    };
    match (kind, is_model) {
        ("text", _) => {
            let text = text_of(map, "text", path)?;
            if signature.is_some_and(|it| !is_good(it, text)) {
                return Err(bad_request("Corrupted thought signature."));
            }
            if !thought {
                content.texts.push(text.to_owned());
            }
        }
        ("functionCall", true) => {
            let first = content.calls.is_empty();
            content.calls.push(read_call(map, path, first, signature)?);
        }
        ("functionResponse", false) => content.responses.push(read_response(map, path)?),
        ("functionCall" | "functionResponse", _) => {
            let text = format!("* {path}: a {kind} cannot be in a content of this role");
            return Err(bad_request(text));
        }
        _ => {}
    }
    Ok(())
}

fn read_call(map: &Object, path: &str, first: bool, signature: Option<&str>) -> Checked<Call> {
    let field = format!("{path}.function_call");
    let call = object(&map["functionCall"], &field)?;
    only(call, &["id", "name", "args"], &field)?;
    let name = text_of(call, "name", &field)?;
    if !is_function_name(name) {
        let text = format!("* GenerateContentRequest.{field}.name: Invalid function name.");
        return Err(bad_request(text));
    }
    let empty = Value::Object(Object::new());
    let args = call.get("args").unwrap_or(&empty);
    object(args, &format!("{field}.args"))?;
    let id = match call.get("id") {
        None => None,
        Some(Value::String(id)) => Some(id.clone()),
        Some(other) => return Err(wrong(&format!("{field}.id"), "TYPE_STRING", other)),
    };
    let signed = format!("{name}{args}");
    match signature {
        Some(signature) if is_good(signature, &signed) => {}
        Some(_) => return Err(bad_request("Corrupted thought signature.")),
        None if first => {
            return Err(bad_request(format!(
                "Function call is missing a thought_signature in functionCall parts. This is \
                 required for tools to work correctly, and missing thought_signature may lead to \
                 degraded model performance. Additional data, function call `default_api:{name}`."
            )));
        }
        None => {}
    }
    if id.as_deref().is_some_and(|id| call_was_altered(ID_PREFIX, id, name, &args.to_string())) {
        return Err(bad_request(format!(
            "function call `{name}` is not the one that was issued: its id, name and args must \
             come back unchanged"
        )));
    }
    Ok(Call { id, name: name.to_owned() })
}

fn read_response(map: &Object, path: &str) -> Checked<(Call, String)> {
    let field = format!("{path}.function_response");
    let response = object(&map["functionResponse"], &field)?;
    only(response, &["id", "name", "response", "parts", "willContinue", "scheduling"], &field)?;
    let name = match response.get("name") {
        Some(Value::String(name)) if !name.is_empty() => name.clone(),
        _ => {
            return Err(bad_request(format!(
                "* GenerateContentRequest.{field}.name: Name cannot be empty."
            )));
        }
    };
    let body = match response.get("response") {
        Some(body) => object(body, &format!("{field}.response"))?,
        None => {
            return Err(bad_request(format!(
                "* GenerateContentRequest.{field}.response: required"
            )));
        }
    };
    let id = response.get("id").and_then(Value::as_str).map(str::to_owned);
    let plain = ["output", "error", "result"].into_iter().find_map(|key| body.get(key)?.as_str());
    let text = plain.map_or_else(|| Value::Object(body.clone()).to_string(), str::to_owned);
    Ok((Call { id, name }, text))
}

/// Returns the signature of a part of ours that holds `what`.
pub fn signature(what: &str) -> String {
    format!("{SIGNATURE_PREFIX}{}{}", digest(what), seal(&["signature", what]))
}

fn is_good(given: &str, what: &str) -> bool {
    given == UNSIGNED || given == signature(what)
}
