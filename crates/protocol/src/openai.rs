//! `POST /v1/chat/completions`, as clients of OpenAI's API write it: which agent is meant, and what
//! is new in the conversation.
//!
//! A client of that API keeps the conversation itself and sends all of it each time; here the
//! session keeps it. So of a request that names a session only what comes after the last answer is
//! new; one that names none is a conversation of its own, and all of it is.
//!
//! Parameters of sampling (`temperature`, `max_tokens`, …) are read by nobody: an agent has its
//! model. What a client would rely on and does not get is refused by name.

use serde_json::Value;
use types::{AgentId, word_enum};

use crate::fields::{Fields, InvalidField, describe};

word_enum! {
    pub enum Role {
        System = "system",
        Developer = "developer",
        User = "user",
        Assistant = "assistant",
    }
}

/// One message of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    pub role: Role,
    pub text: String,
}

/// A request, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// As the client has written it: the answer says it again.
    pub model: String,
    /// The default agent if none.
    pub agent: Option<AgentId>,
    pub turns: Vec<Turn>,
    pub stream: bool,
    pub include_usage: bool,
    /// The same user is the same conversation.
    pub user: Option<String>,
}

/// Most messages of one request.
const TURNS_MAX: usize = 2_000;

/// What a client would rely on, and what to do instead.
const REFUSED: [(&str, &str); 6] = [
    ("tools", "nothing: the agent has its own tools, see `tools` in the configuration"),
    ("functions", "nothing: the agent has its own tools, see `tools` in the configuration"),
    ("response_format", "nothing: ask for the form in the message"),
    ("logprobs", "nothing: they are not known"),
    ("audio", "nothing: answers are text"),
    ("prediction", "nothing: it is not supported"),
];

const MODEL: &str = "`openclaw` for the default agent, or `openclaw/<agentId>`";

impl Completion {
    pub fn read(body: &Value) -> Result<Completion, InvalidField> {
        let fields = Fields::of(body)?;
        for (name, expected) in REFUSED {
            refuse(&fields, name, expected)?;
        }
        if fields.integer("n", 1..=u64::MAX)?.is_some_and(|n| n > 1) {
            let n = fields.value("n").unwrap_or_default();
            return Err(wrong("n", "1: an agent gives one answer", &n));
        }
        let model = fields.required_text("model")?;
        let options = fields.object("stream_options")?;
        let usage = options.map(|options| options.boolean("include_usage")).transpose()?;
        Ok(Completion {
            agent: agent_of(&model)?,
            model,
            turns: turns(fields.value("messages"))?,
            stream: fields.boolean("stream")?.unwrap_or(false),
            include_usage: usage.flatten().unwrap_or(false),
            user: fields.text("user")?,
        })
    }

    /// What is said to the agent. `remembered` says that the session has what was before.
    ///
    /// One message of the user is that text, byte for byte; several are marked with who said them.
    pub fn words(&self, remembered: bool) -> Result<String, InvalidField> {
        let last = self.turns.iter().rposition(|turn| turn.role == Role::Assistant);
        let from = if remembered { last.map_or(0, |at| at + 1) } else { 0 };
        let new = &self.turns[from..];
        if new.last().is_none_or(|turn| turn.role != Role::User) {
            let got = self.turns.last().map(|turn| turn.role.to_string());
            return Err(InvalidField {
                field: "messages".to_owned(),
                expected: "a message of role \"user\" at the end".to_owned(),
                got: got.map(|role| format!("one of role \"{role}\"")),
            });
        }
        let [only] = new else {
            let marked = new.iter().map(|turn| {
                let who = match turn.role {
                    Role::System | Role::Developer => "[Instructions of the client]",
                    Role::User => "[User]",
                    Role::Assistant => "[Your earlier answer]",
                };
                format!("{who}\n{}", turn.text)
            });
            return Ok(marked.collect::<Vec<_>>().join("\n\n"));
        };
        Ok(only.text.clone())
    }
}

/// The agent that a model's name stands for.
pub fn agent_of(model: &str) -> Result<Option<AgentId>, InvalidField> {
    let unknown = || wrong("model", MODEL, &Value::String(model.to_owned()));
    let name = model.trim();
    for own in ["openclaw", "windlass", "agent"] {
        let Some(rest) = name.strip_prefix(own) else { continue };
        match rest.strip_prefix(['/', ':']) {
            None if rest.is_empty() && own != "agent" => return Ok(None),
            Some("default") => return Ok(None),
            Some(id) => return id.parse().map(Some).map_err(|_| unknown()),
            None => {}
        }
    }
    Err(unknown())
}

fn turns(messages: Option<Value>) -> Result<Vec<Turn>, InvalidField> {
    const EXPECTED: &str =
        "an array of messages, such as {\"role\":\"user\",\"content\":\"hello\"}";
    let missing =
        || InvalidField { field: "messages".to_owned(), expected: EXPECTED.to_owned(), got: None };
    let messages = messages.ok_or_else(missing)?;
    match messages.as_array() {
        Some(items) if (1..=TURNS_MAX).contains(&items.len()) => {
            items.iter().enumerate().map(|(at, item)| turn(at, item)).collect()
        }
        Some(items) if items.len() > TURNS_MAX => {
            Err(wrong("messages", &format!("at most {TURNS_MAX} messages"), &messages))
        }
        _ => Err(wrong("messages", EXPECTED, &messages)),
    }
}

fn turn(at: usize, item: &Value) -> Result<Turn, InvalidField> {
    let place = |rest: &str| format!("messages[{at}]{rest}");
    if !item.is_object() {
        return Err(wrong(&place(""), "an object with `role` and `content`", item));
    }
    let words: Vec<String> = Role::ALL.iter().map(|role| format!("\"{role}\"")).collect();
    let role: Option<Role> = item["role"].as_str().and_then(|role| role.parse().ok());
    let one_of = format!("one of {}", words.join(", "));
    let role = role.ok_or_else(|| wrong(&place(".role"), &one_of, &item["role"]))?;
    let text = match &item["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts = parts.iter().enumerate().map(|(n, part)| {
                let text = part["text"].as_str().filter(|_| part["type"] == "text");
                let field = place(&format!(".content[{n}]"));
                text.ok_or_else(|| wrong(&field, "a part of type \"text\"", &part["type"]))
            });
            texts.collect::<Result<Vec<_>, _>>()?.join("\n")
        }
        // An answer of which only calls of tools are left.
        Value::Null if role == Role::Assistant => String::new(),
        other => return Err(wrong(&place(".content"), "a string or an array of parts", other)),
    };
    Ok(Turn { role, text })
}

fn refuse(fields: &Fields<'_>, name: &str, expected: &str) -> Result<(), InvalidField> {
    let Some(value) = fields.value(name) else { return Ok(()) };
    let nothing = match &value {
        Value::Array(items) => items.is_empty(),
        Value::Bool(flag) => !flag,
        Value::Object(object) => object.get("type").is_some_and(|kind| kind == "text"),
        _ => false,
    };
    if nothing { Ok(()) } else { Err(wrong(name, expected, &value)) }
}

fn wrong(field: &str, expected: &str, got: &Value) -> InvalidField {
    InvalidField {
        field: field.to_owned(),
        expected: expected.to_owned(),
        got: Some(describe(got)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn completion(messages: Value) -> Completion {
        Completion::read(&json!({ "model": "openclaw", "messages": messages })).unwrap()
    }

    #[test]
    fn a_model_is_an_agent() {
        for (model, agent) in [
            ("openclaw", Some(None)),
            ("openclaw/default", Some(None)),
            ("windlass", Some(None)),
            ("openclaw/ops", Some(Some("ops"))),
            ("openclaw:ops", Some(Some("ops"))),
            ("agent:ops", Some(Some("ops"))),
            ("openclaws", None),
            ("agent", None),
            ("gpt-4", None),
            ("openclaw/o p s", None),
        ] {
            let read = agent_of(model).ok().map(|id| id.map(|id| id.to_string()));
            assert_eq!(read, agent.map(|id| id.map(str::to_owned)), "{model}");
        }
    }

    #[test]
    fn what_is_new_is_said() {
        let said = |role: &str, text: &str| json!({ "role": role, "content": text });
        let whole = [said("system", "be brief"), said("user", "a"), said("assistant", "b")];
        let next = [&whole[..], &[said("user", " c\n")]].concat();
        #[rustfmt::skip]
        let table = [
            // messages                 remembered  words
            (vec![said("user", " a ")], true,       Some(" a ")),
            (next.clone(),              true,       Some(" c\n")),
            (next.clone(),              false,      Some("[Instructions of the client]\nbe brief\n\n[User]\na\n\n[Your earlier answer]\nb\n\n[User]\n c\n")),
            (whole[..2].to_vec(),       true,       Some("[Instructions of the client]\nbe brief\n\n[User]\na")),
            (whole.to_vec(),            true,       None),
            (whole.to_vec(),            false,      None),
        ];
        for (messages, remembered, expected) in table {
            let words = completion(json!(messages)).words(remembered);
            assert_eq!(words.ok().as_deref(), expected, "{messages:?} {remembered}");
        }
        let parts = json!([{ "role": "user", "content": [
            { "type": "text", "text": "a" }, { "type": "text", "text": "b" }] }]);
        assert_eq!(completion(parts).words(true).unwrap(), "a\nb");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let hello = json!([{ "role": "user", "content": "hello" }]);
        let tool = json!([{ "type": "function", "function": { "name": "f" } }]);
        let picture = json!([{ "role": "user", "content": [{ "type": "image_url" }] }]);
        for (body, told) in [
            (json!({}), "`model` is missing"),
            (json!({ "model": "gpt-4", "messages": hello }), "`model`: expected `openclaw`"),
            (json!({ "model": "openclaw" }), "`messages` is missing"),
            (json!({ "model": "openclaw", "messages": [] }), "`messages`: expected an array"),
            (
                json!({ "model": "openclaw", "messages": [{ "role": "tool", "content": "x" }] }),
                "`messages[0].role`: expected one of",
            ),
            (
                json!({ "model": "openclaw", "messages": picture }),
                "`messages[0].content[0]`: expected a part of type \"text\", got the string \
                 \"image_url\"",
            ),
            (json!({ "model": "openclaw", "messages": hello, "tools": tool }), "`tools`: expected"),
            (json!({ "model": "openclaw", "messages": hello, "n": 2 }), "`n`: expected 1"),
            (
                json!({ "model": "openclaw", "messages": hello,
                        "response_format": { "type": "json_object" } }),
                "`response_format`: expected nothing",
            ),
        ] {
            let why = Completion::read(&body).unwrap_err().to_string();
            assert!(why.starts_with(told), "{body}: {why}");
        }
        let usual = json!({ "model": "openclaw", "messages": hello, "temperature": 0.2, "n": 1,
                            "tools": [], "response_format": { "type": "text" }, "stream": true,
                            "stream_options": { "include_usage": true }, "user": "bob" });
        let read = Completion::read(&usual).unwrap();
        assert!(read.stream && read.include_usage && read.user.as_deref() == Some("bob"));
    }
}
