//! Reads the parameters of a call, field by field, and names the field that is wrong.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde_json::{Map, Value};
use types::{AgentId, SessionKey};

/// A parameter that is missing or wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct InvalidField {
    /// Where, from the top of `params`: `client.mode`.
    pub field: String,
    pub expected: String,
    /// What came; `None` if nothing did.
    pub got: Option<String>,
}

impl fmt::Display for InvalidField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InvalidField { field, expected, got } = self;
        match got {
            Some(got) => write!(f, "`{field}`: expected {expected}, got {got}"),
            None => write!(f, "`{field}` is missing: expected {expected}"),
        }
    }
}

/// A session as a client may name it: a full key, or a short one such as `main`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionRef {
    Full(SessionKey),
    Short(types::Scope),
}

impl SessionRef {
    /// Returns the full key; `agent` owns the short ones.
    pub fn resolve(self, agent: &AgentId) -> SessionKey {
        match self {
            SessionRef::Full(key) => key,
            SessionRef::Short(scope) => SessionKey::new(agent.clone(), scope),
        }
    }
}

impl FromStr for SessionRef {
    type Err = types::ParseSessionKeyError;

    fn from_str(text: &str) -> Result<SessionRef, Self::Err> {
        match text.parse() {
            Ok(key) => Ok(SessionRef::Full(key)),
            Err(_) => {
                SessionKey::resolve(text, &AgentId::main()).map(|k| SessionRef::Short(k.scope))
            }
        }
    }
}

const AGENT: &str = "an agent id: a letter or digit, then up to 63 of `a-z 0-9 _ -`";

/// Longest piece of a client's text that an error repeats, in characters.
const QUOTE_CHARS_MAX: usize = 60;

/// Describes a value for an error: its kind, and a scalar also by its text.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) if text.chars().count() > QUOTE_CHARS_MAX => {
            let head: String = text.chars().take(QUOTE_CHARS_MAX).collect();
            format!("the string {head:?} and more")
        }
        Value::String(text) => format!("the string {text:?}"),
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// Says the kind of a value and nothing of its content, which may be a secret.
fn kind(value: &Value) -> String {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    kind.to_owned()
}

/// One object of parameters. A field that is `null` counts as absent.
#[derive(Debug)]
pub struct Fields<'a> {
    prefix: String,
    map: Option<&'a Map<String, Value>>,
}

impl<'a> Fields<'a> {
    /// Takes the `params` of a request. No params at all are an empty object.
    pub fn of(params: &'a Value) -> Result<Fields<'a>, InvalidField> {
        let map = match params {
            Value::Null => None,
            Value::Object(map) => Some(map),
            other => return Err(wrong("params".to_owned(), "an object", describe(other))),
        };
        Ok(Fields { prefix: String::new(), map })
    }

    fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.map?.get(name).filter(|value| !value.is_null())
    }

    fn read<T>(
        &self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, InvalidField> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let invalid = || wrong(self.path(name), expected, describe(value));
        read(value).map(Some).ok_or_else(invalid)
    }

    /// Turns an absent field into an error.
    pub fn required<T>(
        &self,
        name: &str,
        expected: &str,
        value: Option<T>,
    ) -> Result<T, InvalidField> {
        value.ok_or_else(|| InvalidField {
            field: self.path(name),
            expected: expected.to_owned(),
            got: None,
        })
    }

    /// Is it there, and `null`? Elsewhere that counts as absent; in a patch it is a value.
    pub fn is_null(&self, name: &str) -> bool {
        self.map.and_then(|map| map.get(name)).is_some_and(Value::is_null)
    }

    /// A string, also an empty one.
    pub fn string(&self, name: &str) -> Result<Option<String>, InvalidField> {
        self.read(name, "a string", |value| value.as_str().map(str::to_owned))
    }

    /// A string; a blank one counts as absent, because some clients send every field they know.
    pub fn text(&self, name: &str) -> Result<Option<String>, InvalidField> {
        Ok(self.string(name)?.filter(|text| !text.trim().is_empty()))
    }

    /// A string that is not blank.
    pub fn required_text(&self, name: &str) -> Result<String, InvalidField> {
        let text = self.read(name, NONEMPTY, |value| {
            value.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned)
        })?;
        self.required(name, NONEMPTY, text)
    }

    /// A string whose content no error and no log may show.
    pub fn secret(&self, name: &str) -> Result<Option<String>, InvalidField> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let text = value.as_str().map(|text| Some(text.to_owned()));
        text.ok_or_else(|| wrong(self.path(name), "a string", kind(value)))
    }

    pub fn boolean(&self, name: &str) -> Result<Option<bool>, InvalidField> {
        self.read(name, "true or false", Value::as_bool)
    }

    pub fn integer(
        &self,
        name: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, InvalidField> {
        let expected = integer_from(&range);
        self.read(name, &expected, |value| value.as_u64().filter(|n| range.contains(n)))
    }

    pub fn required_integer(
        &self,
        name: &str,
        range: RangeInclusive<u64>,
    ) -> Result<u64, InvalidField> {
        let value = self.integer(name, range.clone())?;
        self.required(name, &integer_from(&range), value)
    }

    /// A number that `read` takes.
    pub fn number<T>(
        &self,
        name: &str,
        expected: &str,
        read: impl FnOnce(f64) -> Option<T>,
    ) -> Result<Option<T>, InvalidField> {
        self.read(name, expected, |value| value.as_f64().and_then(read))
    }

    /// A string that is parsed. `expected` says its form.
    pub fn parsed<T: FromStr>(
        &self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, InvalidField> {
        self.read(name, expected, |value| value.as_str()?.parse().ok())
    }

    /// One word of a closed list.
    pub fn word<T: FromStr + fmt::Display>(
        &self,
        name: &str,
        all: &[T],
    ) -> Result<Option<T>, InvalidField> {
        let words: Vec<String> = all.iter().map(|word| format!("\"{word}\"")).collect();
        self.parsed(name, &format!("one of {}", words.join(", ")))
    }

    /// One word of a closed list, or an array of them.
    pub fn words<T: FromStr + fmt::Display>(
        &self,
        name: &str,
        all: &[T],
    ) -> Result<Vec<T>, InvalidField> {
        let words: Vec<String> = all.iter().map(|word| format!("\"{word}\"")).collect();
        let expected = format!("one of {}, or an array of them", words.join(", "));
        let read = |value: &Value| match value {
            Value::Array(items) => items.iter().map(|item| item.as_str()?.parse().ok()).collect(),
            value => Some(vec![value.as_str()?.parse().ok()?]),
        };
        self.read(name, &expected, read).map(Option::unwrap_or_default)
    }

    pub fn strings(&self, name: &str) -> Result<Vec<String>, InvalidField> {
        let read = |value: &Value| {
            value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
        };
        self.read(name, "an array of strings", read).map(Option::unwrap_or_default)
    }

    /// A value as it came, for whoever reads it with an own reader.
    pub fn value(&self, name: &str) -> Option<Value> {
        self.get(name).cloned()
    }

    /// What that reader has found wrong.
    pub fn fault(&self, name: &str, fault: &types::FlowFault) -> InvalidField {
        let (dot, path) = (if fault.path.is_empty() { "" } else { "." }, &fault.path);
        let field = format!("{}{dot}{path}", self.path(name));
        wrong(field, "a flow that can be carried out", fault.why.clone())
    }

    pub fn object(&self, name: &str) -> Result<Option<Fields<'a>>, InvalidField> {
        let prefix = format!("{}.", self.path(name));
        let map = self.read(name, "an object", Value::as_object)?;
        Ok(map.map(|map| Fields { prefix, map: Some(map) }))
    }

    /// An agent's id.
    pub fn agent(&self, name: &str) -> Result<Option<AgentId>, InvalidField> {
        self.parsed(name, AGENT)
    }

    pub fn required_agent(&self, name: &str) -> Result<AgentId, InvalidField> {
        let agent = self.agent(name)?;
        self.required(name, AGENT, agent)
    }

    /// A session key, full or short. If the caller also names an agent, a short key is the
    /// agent's, and a full one must agree.
    pub fn session(&self, name: &str) -> Result<Option<SessionRef>, InvalidField> {
        let blank = self.get(name).and_then(Value::as_str).is_some_and(|key| key.trim().is_empty());
        let session = if blank { None } else { self.parsed(name, SESSION)? };
        let Some(agent) = self.agent("agentId")? else { return Ok(session) };
        match session {
            Some(SessionRef::Short(scope)) => {
                Ok(Some(SessionRef::Full(SessionKey::new(agent, scope))))
            }
            Some(SessionRef::Full(key)) if key.agent != agent => {
                let expected = format!("`{}`, the agent of `{name}`", key.agent);
                Err(wrong(self.path("agentId"), &expected, format!("`{agent}`")))
            }
            session => Ok(session),
        }
    }

    pub fn required_session(&self, name: &str) -> Result<SessionRef, InvalidField> {
        let session = self.session(name)?;
        self.required(name, SESSION, session)
    }

    /// All fields that are there, but those named.
    pub fn others(&self, names: &[&str]) -> Map<String, Value> {
        let fields = self.map.into_iter().flatten();
        let others =
            fields.filter(|(name, value)| !names.contains(&name.as_str()) && !value.is_null());
        others.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Refuses a field that we would have to honour and cannot yet; an empty array is fine.
    pub fn not_supported(&self, name: &str) -> Result<(), InvalidField> {
        let Some(value) = self.get(name) else { return Ok(()) };
        if value.as_array().is_some_and(Vec::is_empty) {
            return Ok(());
        }
        Err(wrong(self.path(name), "nothing, it is not supported yet", kind(value)))
    }
}

const NONEMPTY: &str = "a string that is not empty";
const SESSION: &str = "a session key such as `agent:main:main` or `thread:budget`";

fn integer_from(range: &RangeInclusive<u64>) -> String {
    match (*range.start(), *range.end()) {
        (min, u64::MAX) => format!("an integer of at least {min}"),
        (min, max) => format!("an integer from {min} to {max}"),
    }
}

fn wrong(field: String, expected: &str, got: String) -> InvalidField {
    InvalidField { field, expected: expected.to_owned(), got: Some(got) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn session(params: Value) -> Result<Option<String>, String> {
        let fields = Fields::of(&params).unwrap();
        let ops = "ops".parse().unwrap();
        let key = fields.session("sessionKey").map_err(|invalid| invalid.to_string())?;
        Ok(key.map(|key| key.resolve(&ops).to_string()))
    }

    #[test]
    fn a_short_key_belongs_to_the_agent_that_is_named() {
        for (params, full) in [
            (json!({}), None),
            (json!({"sessionKey": ""}), None),
            (json!({"sessionKey": "main"}), Some("agent:ops:main")),
            (json!({"sessionKey": "main", "agentId": "lab"}), Some("agent:lab:main")),
            (json!({"sessionKey": "agent:main:main"}), Some("agent:main:main")),
            (json!({"sessionKey": "Agent:Lab:main", "agentId": "LAB"}), Some("agent:lab:main")),
        ] {
            assert_eq!(session(params.clone()), Ok(full.map(str::to_owned)), "{params}");
        }
        assert!(session(json!({"sessionKey": "agent:main:main", "agentId": "lab"})).is_err());
        assert!(session(json!({"sessionKey": "agent:main"})).is_err());
    }

    #[test]
    fn null_counts_as_absent_and_a_wrong_kind_does_not() {
        let params = json!({"a": null, "b": {"c": 7}, "limit": 1.5});
        let fields = Fields::of(&params).unwrap();
        assert_eq!(fields.text("a"), Ok(None));
        let inner = fields.object("b").unwrap().unwrap();
        let told = inner.text("c").unwrap_err().to_string();
        assert_eq!(told, "`b.c`: expected a string, got 7");
        let told = fields.integer("limit", 1..=5).unwrap_err().to_string();
        assert_eq!(told, "`limit`: expected an integer from 1 to 5, got 1.5");
    }
}
