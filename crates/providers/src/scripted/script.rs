//! The rules of a scripted model, as data, and which of them a request meets.
//!
//! ```json
//! {"rules": [
//!   {"when": {"text": "time", "turn": 0},
//!    "call": [{"name": "exec", "arguments": {"command": "date"}}]},
//!   {"when": {"text": "time"}, "say": "It is {tools}.", "delayMs": 300},
//!   {"when": {"model": "broken"}, "fail": {"class": "overload"}},
//!   {"say": "You said: {last}"}
//! ]}
//! ```
//!
//! The first rule whose conditions all hold is followed. Texts and arguments may hold:
//!
//! | placeholder | is replaced by                                                              |
//! |-------------|-----------------------------------------------------------------------------|
//! | `{last}`    | the newest message of a person, or the brief of a sub-agent                 |
//! | `{results}` | the results of sub-agents since then, with an empty line between two       |
//! | `{tools}`   | the results of the newest tool calls, with a line break between two         |

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use types::{FailureClass, Message};

use crate::ModelRequest;

/// Largest factor that delays are multiplied by: a typing error must not hang a test.
const DELAY_FACTOR_MAX: f64 = 100.0;

/// Longest delay of a rule, before the factor.
const DELAY_MS_MAX: u64 = 60 * 60 * 1_000;

/// What a scripted model does, rule by rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Script {
    /// Multiplies every delay. Zero makes all answers immediate.
    #[serde(default = "one")]
    pub delay_factor: f64,
    /// A message in the role of the user that begins with this is the result of a sub-agent.
    #[serde(default = "default_result_mark")]
    pub result_mark: String,
    /// One that begins with any of these is the system's too, and no words of a person.
    #[serde(default = "default_system_marks")]
    pub system_marks: Vec<String>,
    pub rules: Vec<Rule>,
}

impl Default for Script {
    /// A script without rules.
    fn default() -> Script {
        Script {
            delay_factor: one(),
            result_mark: default_result_mark(),
            system_marks: default_system_marks(),
            rules: Vec::new(),
        }
    }
}

fn one() -> f64 {
    1.0
}

fn default_result_mark() -> String {
    "[Subagent result]".to_owned()
}

fn default_system_marks() -> Vec<String> {
    ["[System]", "<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>"].map(str::to_owned).to_vec()
}

/// Conditions, and what is done when they hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    #[serde(default)]
    pub when: When,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub say: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub call: Vec<CallTemplate>,
    /// Instead of an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail: Option<Failure>,
    #[serde(default)]
    pub delay_ms: u64,
}

/// Conditions of a rule. One that is absent always holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct When {
    /// The newest message of a person, or the brief, holds this, in any case.
    pub text: Option<String>,
    /// The system prompt holds this.
    pub system: Option<String>,
    /// The model that is asked for is this one.
    pub model: Option<String>,
    /// So many answers have been given since that message.
    pub turn: Option<usize>,
    /// At most so many.
    pub turn_max: Option<usize>,
    /// At least so many results of sub-agents have come since that message.
    pub results_min: Option<usize>,
    /// More sub-agents have been started in the conversation than results have come.
    pub waiting: Option<bool>,
}

/// What one step does.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    pub say: Option<String>,
    pub call: Vec<CallTemplate>,
    pub fail: Option<Failure>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallTemplate {
    pub name: String,
    /// An object. Placeholders are replaced in every text within.
    pub arguments: Value,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Failure {
    pub class: FailureClass,
    #[serde(default = "default_reason")]
    pub reason: String,
    #[serde(default)]
    pub retry_after_ms: Option<u64>,
}

fn default_reason() -> String {
    "the script says so".to_owned()
}

/// An action with its placeholders replaced, and how long it takes.
#[derive(Debug, PartialEq)]
pub(super) struct Step {
    pub action: Action,
    pub delay: Duration,
}

impl Script {
    /// Returns what the first rule that `request` meets does.
    pub(super) fn step(&self, request: &ModelRequest) -> Option<Step> {
        let scene = Scene::of(&request.messages, self);
        let rule = self.rules.iter().find(|rule| rule.when.holds(&scene, request))?;
        let call = |call: &CallTemplate| CallTemplate {
            name: call.name.clone(),
            arguments: scene.fill_all(&call.arguments),
        };
        let action = Action {
            say: rule.say.as_deref().map(|text| scene.fill(text)),
            call: rule.call.iter().map(call).collect(),
            fail: rule.fail.clone(),
        };
        // JSON has no NaN, but a factor set in code may be one, and a Duration would panic on it.
        let factor = Some(self.delay_factor).filter(|factor| factor.is_finite());
        let factor = factor.unwrap_or(0.0).clamp(0.0, DELAY_FACTOR_MAX);
        let delay = Duration::from_millis(rule.delay_ms.min(DELAY_MS_MAX)).mul_f64(factor);
        Some(Step { action, delay })
    }
}

impl When {
    fn holds(&self, scene: &Scene<'_>, request: &ModelRequest) -> bool {
        let within = |part: &String, text: &str| text.to_lowercase().contains(&part.to_lowercase());
        self.text.as_ref().is_none_or(|part| within(part, scene.last))
            && self.system.as_ref().is_none_or(|part| within(part, &request.prefix.system))
            && self.model.as_ref().is_none_or(|model| *model == request.model)
            && self.turn.is_none_or(|turn| turn == scene.turn)
            && self.turn_max.is_none_or(|max| scene.turn <= max)
            && self.results_min.is_none_or(|min| scene.results.len() >= min)
            && self.waiting.is_none_or(|waiting| waiting == scene.waiting)
    }
}

/// What a script sees of a conversation.
#[derive(Debug, Default)]
struct Scene<'a> {
    last: &'a str,
    turn: usize,
    results: Vec<&'a str>,
    tools: Vec<&'a str>,
    waiting: bool,
}

impl<'a> Scene<'a> {
    fn of(messages: &'a [Message], script: &Script) -> Scene<'a> {
        let mut scene = Scene::default();
        let mut started = 0_usize;
        let mut ended = 0_usize;
        for message in messages {
            match message {
                Message::User(text) if begins(text, &script.result_mark) => {
                    let results = results_in(text, &script.result_mark);
                    ended += results.len();
                    scene.results.extend(results);
                }
                Message::User(text) if script.system_marks.iter().any(|m| begins(text, m)) => {}
                Message::User(text) => {
                    scene.last = text;
                    scene.turn = 0;
                    scene.results.clear();
                }
                Message::Assistant(_) => {
                    scene.turn += 1;
                    scene.tools.clear();
                }
                Message::ToolResult(result) => {
                    started += usize::from(result.name == "sessions_spawn" && !result.is_error);
                    scene.tools.push(&result.text);
                }
            }
        }
        scene.waiting = started > ended;
        scene
    }

    fn fill(&self, template: &str) -> String {
        let mut filled = String::new();
        let mut rest = template;
        while let Some(place) = rest.find('{') {
            filled.push_str(&rest[..place]);
            rest = &rest[place..];
            let (value, len) = if rest.starts_with("{last}") {
                (self.last.to_owned(), "{last}".len())
            } else if rest.starts_with("{results}") {
                (self.results.join("\n\n"), "{results}".len())
            } else if rest.starts_with("{tools}") {
                (self.tools.join("\n"), "{tools}".len())
            } else {
                ("{".to_owned(), 1)
            };
            filled.push_str(&value);
            rest = &rest[len..];
        }
        filled + rest
    }

    fn fill_all(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.fill(text).into(),
            Value::Array(list) => list.iter().map(|value| self.fill_all(value)).collect(),
            Value::Object(fields) => {
                let field = |(name, value): (&String, &Value)| (name.clone(), self.fill_all(value));
                Value::Object(fields.iter().map(field).collect())
            }
            other => other.clone(),
        }
    }
}

fn begins(text: &str, mark: &str) -> bool {
    !mark.is_empty() && text.trim_start().starts_with(mark)
}

/// Returns the results in a message. A line with the mark that says `bytes=N` is followed by so
/// much text between `<result>` and `</result>`, which may itself quote results; a message
/// without that is one result, as it is.
fn results_in<'a>(text: &'a str, mark: &str) -> Vec<&'a str> {
    let mut results = Vec::new();
    let mut rest = text.trim_start();
    while begins(rest, mark) {
        let Some((result, after)) = framed(rest.trim_start()) else {
            results.push(rest.trim());
            break;
        };
        results.push(result);
        // What explains the result stands behind its frame.
        let next = after.match_indices('\n').map(|(at, _)| &after[at + 1..]);
        rest = next.into_iter().find(|line| line.starts_with(mark)).unwrap_or_default();
    }
    results
}

fn framed(text: &str) -> Option<(&str, &str)> {
    let (line, after) = text.split_once('\n')?;
    let bytes = line.split_whitespace().find_map(|word| word.strip_prefix("bytes="))?;
    let (_, inside) = after.split_once("<result>\n")?;
    let (result, after) = inside.split_at_checked(bytes.parse().ok()?)?;
    Some((result, after.strip_prefix("\n</result>")?))
}
