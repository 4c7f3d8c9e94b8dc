//! What to answer: by the rules of a file, by a directive in the prompt, or an echo.
//!
//! The first that has something to say wins, in this order. A script is JSON:
//!
//! ```json
//! {"rules":[
//!   {"when":{"newest":"weather"}, "steps":[{"say":"sunny"}]},
//!   {"when":{"system":"You are a judge","model":"stub-2","turn":1}, "steps":[{"say":"guilty"}]}
//! ]}
//! ```
//!
//! A rule's steps are those of a directive; they begin after the text that matched, one for each
//! assistant message since, and when they are done, the rule matches no more. With `turn`, the
//! rule has one step, for exactly so many assistant messages since.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::answer::{Answer, ToolCall};
use crate::conversation::{Conversation, Event, is_result};
use crate::directive::{DirectiveError, Plan, Position, Step};
use crate::fault::{Fault, FaultRule};

/// Most characters of a text that an echo repeats.
const ECHO_CHARS: usize = 200;

/// A script file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(try_from = "RawScript")]
pub struct Script {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq)]
struct Rule {
    when: When,
    plan: Plan,
}

/// What must hold; all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct When {
    /// The newest user text contains this.
    newest: Option<String>,
    /// Some user text contains this; the newest of them counts.
    any: Option<String>,
    /// The first user text contains this.
    first: Option<String>,
    system: Option<String>,
    model: Option<String>,
    turn: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScript {
    rules: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    #[serde(default)]
    when: When,
    steps: Vec<Step>,
}

impl TryFrom<RawScript> for Script {
    type Error = DirectiveError;

    fn try_from(raw: RawScript) -> Result<Script, DirectiveError> {
        let rule = |rule: RawRule| {
            let plan = Plan { name: String::new(), steps: rule.steps }.unrolled()?;
            Ok(Rule { when: rule.when, plan })
        };
        Ok(Script { rules: raw.rules.into_iter().map(rule).collect::<Result<_, _>>()? })
    }
}

/// Who decided an answer; the journal shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Rule(usize),
    Directive,
    Echo,
}

/// An answer with its origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    pub answer: Answer,
    pub source: Source,
    /// The step of the plan, if a plan decided.
    pub step: Option<usize>,
    pub faults: Vec<FaultRule>,
}

impl Script {
    /// Decides what to answer. An error is a directive that cannot be read.
    pub fn decide(&self, model: &str, talk: &Conversation) -> Result<Decided, DirectiveError> {
        for (index, rule) in self.rules.iter().enumerate() {
            let Some(anchor) = rule.when.anchor(model, talk) else { continue };
            let found = match rule.when.turn {
                Some(turn) if talk.results_at_each_turn(anchor).len() != turn => None,
                Some(_) => follow_at(&rule.plan, Position::At(0), talk, anchor),
                None => follow(&rule.plan, talk, anchor),
            };
            if let Some(decided) = found {
                return Ok(Decided { source: Source::Rule(index), ..decided });
            }
        }
        if let Some((anchor, plan)) = directive(talk)
            && let Some(decided) = follow(&plan?, talk, anchor)
        {
            return Ok(decided);
        }
        Ok(echo(talk))
    }
}

impl When {
    /// Returns the place of the text that the rule is about, if all conditions hold.
    fn anchor(&self, model: &str, talk: &Conversation) -> Option<usize> {
        let holds = |wanted: &Option<String>, text: &str| {
            wanted.as_deref().is_none_or(|wanted| text.contains(wanted))
        };
        if !holds(&self.system, &talk.system) || self.model.as_deref().is_some_and(|m| m != model) {
            return None;
        }
        let first = talk.texts().next().filter(|(_, text)| holds(&self.first, text))?;
        let any = talk.texts().rev().find(|(_, text)| holds(&self.any, text))?;
        let newest = talk.texts().next_back().filter(|(_, text)| holds(&self.newest, text))?;
        match self {
            When { newest: Some(_), .. } => Some(newest.0),
            When { any: Some(_), .. } => Some(any.0),
            _ => Some(first.0),
        }
    }
}

/// Returns the newest directive and its place. Results are skipped: a child may quote its brief.
fn directive(talk: &Conversation) -> Option<(usize, Result<Plan, DirectiveError>)> {
    let mut words = talk.texts().rev().filter(|(_, text)| !is_result(text));
    words.find_map(|(at, text)| Plan::find(text).map(|plan| (at, plan)))
}

fn follow(plan: &Plan, talk: &Conversation, anchor: usize) -> Option<Decided> {
    let seen = talk.results_at_each_turn(anchor);
    let now = talk.results_after(anchor).len() as u32;
    follow_at(plan, plan.position(&seen, now), talk, anchor)
}

fn follow_at(
    plan: &Plan,
    position: Position,
    talk: &Conversation,
    anchor: usize,
) -> Option<Decided> {
    let (index, answer, faults) = match position {
        Position::Done => return None,
        Position::At(index) => {
            let step = plan.steps.get(index)?;
            let mut faults = step.faults.clone();
            let delay = step.delay_ms.map(|ms| FaultRule::always(Fault::Latency { ms }));
            faults.extend(delay);
            (index, render(step, index, plan, talk, anchor), faults)
        }
        Position::Waiting(index) => {
            let arguments = plan.steps.get(index)?.yield_arguments();
            let call = ToolCall { name: "sessions_yield".to_owned(), arguments, raw: None };
            (index, Answer { calls: vec![call], ..Answer::default() }, Vec::new())
        }
        Position::GaveUp(index) => {
            let got = talk.results_after(anchor).len();
            let needed = plan.steps.get(index)?.when_results.unwrap_or(0);
            let text = format!("stub gave up: {got} of {needed} results arrived");
            (index, Answer { text, ..Answer::default() }, Vec::new())
        }
    };
    Some(Decided { answer, source: Source::Directive, step: Some(index), faults })
}

/// Turns a step into an answer.
fn render(step: &Step, index: usize, plan: &Plan, talk: &Conversation, anchor: usize) -> Answer {
    let fill = |text: &String| expand(text, index, plan, talk, anchor);
    let plain = |name: &str, arguments| ToolCall { name: name.to_owned(), arguments, raw: None };
    let called = step.call.iter().map(|call| ToolCall {
        name: call.name.clone(),
        arguments: resolve(&call.arguments, talk),
        raw: call.raw.clone(),
    });
    let spawned = step.spawn.iter().flat_map(|spawn| spawn.arguments(&plan.name));
    let spawned = spawned.map(|arguments| plain("sessions_spawn", resolve(&arguments, talk)));
    // A step that waited for results has yielded before it came here.
    let yields = step.yield_.is_some() && step.when_results.is_none();
    let yielded = yields.then(|| plain("sessions_yield", step.yield_arguments()));
    Answer {
        think: step.think.as_ref().map(fill),
        text: step.say.as_ref().map(fill).unwrap_or_default(),
        calls: called.chain(spawned).chain(yielded).collect(),
        stop: step.stop,
    }
}

/// Fills the placeholders of a text, in one pass: what is filled in is not looked at again.
fn expand(text: &str, index: usize, plan: &Plan, talk: &Conversation, anchor: usize) -> String {
    let value = |name: &str| match name {
        "results" => {
            let bodies: Vec<_> =
                talk.results_after(anchor).into_iter().map(|result| result.body).collect();
            Some(bodies.join("\n"))
        }
        "count" => Some(talk.results_after(anchor).len().to_string()),
        "tools" => Some(tool_results(talk, anchor).join("\n")),
        "last" => Some(talk.last_heard()),
        "name" => Some(plan.name.clone()),
        "step" => Some(index.to_string()),
        _ => None,
    };
    let mut out = String::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let (before, after) = rest.split_at(open);
        out.push_str(before);
        let filled = after.find('}').and_then(|end| Some((value(&after[1..end])?, end)));
        match filled {
            Some((filled, end)) => {
                out.push_str(&filled);
                rest = &after[end + 1..];
            }
            None => {
                out.push('{');
                rest = &after[1..];
            }
        }
    }
    out + rest
}

fn tool_results(talk: &Conversation, anchor: usize) -> Vec<&str> {
    let since = talk.events.iter().skip(anchor);
    since
        .filter_map(|event| match event {
            Event::ToolResult { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

/// Puts parts of earlier tool results where `$result` asks for them; null if there is none.
fn resolve(value: &Value, talk: &Conversation) -> Value {
    match value {
        Value::Object(map) => match map.get("$result") {
            Some(wanted) if map.len() == 1 => earlier_result(wanted, talk).unwrap_or(Value::Null),
            _ => {
                let filled = map.iter().map(|(key, value)| (key.clone(), resolve(value, talk)));
                Value::Object(filled.collect::<Map<_, _>>())
            }
        },
        Value::Array(items) => items.iter().map(|item| resolve(item, talk)).collect(),
        other => other.clone(),
    }
}

fn earlier_result(wanted: &Value, talk: &Conversation) -> Option<Value> {
    let tool = wanted.get("name")?.as_str()?;
    let pointer = wanted.get("pointer").and_then(Value::as_str).unwrap_or("");
    talk.events.iter().rev().find_map(|event| match event {
        Event::ToolResult { name, text, .. } if name == tool => {
            serde_json::from_str::<Value>(text).ok()?.pointer(pointer).cloned()
        }
        _ => None,
    })
}

fn echo(talk: &Conversation) -> Decided {
    let heard: String = talk.newest_text().unwrap_or("").chars().take(ECHO_CHARS).collect();
    let answer = Answer { text: format!("stub heard: {heard}"), ..Answer::default() };
    Decided { answer, source: Source::Echo, step: None, faults: Vec::new() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn user(text: &str) -> Event {
        Event::User(text.to_owned())
    }

    fn said() -> Event {
        Event::Assistant { before: String::new(), text: String::new() }
    }

    fn result(name: &str, text: &str) -> Event {
        let (call_id, name) = ("c".to_owned(), name.to_owned());
        Event::ToolResult { call_id, name, text: text.to_owned() }
    }

    fn talk(events: Vec<Event>) -> Conversation {
        Conversation { system: "You are a judge".to_owned(), events, ..Conversation::default() }
    }

    fn text(script: &Script, events: Vec<Event>) -> String {
        script.decide("m", &talk(events)).unwrap().answer.text
    }

    #[test]
    fn without_rule_or_directive_the_newest_text_is_echoed() {
        let none = Script::default();
        assert_eq!(text(&none, vec![user("a"), said(), user("b")]), "stub heard: b");
        assert_eq!(text(&none, vec![user(&"é".repeat(300))]).chars().count(), 12 + 200);
    }

    #[test]
    fn the_newest_directive_is_followed_and_then_the_echo() {
        let none = Script::default();
        let one = Plan::new().say("1").say("2").to_brief();
        let two = Plan::new().say("3").to_brief();
        let quoted = format!("[Subagent result] task=tsk_1\n{}", Plan::new().say("no").to_brief());
        for (events, expected) in [
            (vec![user(&one)], "1"),
            (vec![user(&one), said(), user("and?")], "2"),
            (vec![user(&one), said(), user(&quoted)], "2"),
            (vec![user(&one), said(), said(), user("on")], "stub heard: on"),
            (vec![user(&one), said(), user(&two)], "3"),
        ] {
            assert_eq!(text(&none, events.clone()), expected, "{events:?}");
        }
        assert!(none.decide("m", &talk(vec![user("<<stub [")])).is_err());
    }

    #[test]
    fn texts_are_filled_once() {
        let say = "{name} {step} {count}: {results} | {last} | {tools} | {other} {";
        let brief = Plan::named("n").say(say).to_brief();
        let events = vec![
            user(&brief),
            result("exec", "{name}"),
            user("[Subagent result] task=tsk_1\n{last}"),
        ];
        let expected = "n 0 1: {last} | {last} | {name} | {other} {";
        assert_eq!(text(&Script::default(), events), expected);
    }

    #[test]
    fn arguments_take_parts_of_earlier_results() {
        let wanted = json!({"$result": {"name": "sessions_spawn", "pointer": "/key"}});
        let none = json!({"$result": {"name": "exec", "pointer": "/key"}});
        let send = json!({"to": wanted, "list": [none]});
        let brief = Plan::new().call("sessions_send", send).to_brief();
        let events = vec![user(&brief), result("sessions_spawn", r#"{"key":"agent:x"}"#)];
        let decided = Script::default().decide("m", &talk(events)).unwrap();
        let arguments = &decided.answer.calls[0].arguments;
        assert_eq!(*arguments, json!({"to": "agent:x", "list": [null]}));
    }

    #[test]
    fn rules_come_before_directives_and_match_on_all_their_conditions() {
        let script: Script = serde_json::from_value(json!({"rules": [
            {"when": {"newest": "weather"}, "steps": [{"say": "sunny"}, {"say": "still sunny"}]},
            {"when": {"any": "secret", "turn": 2}, "steps": [{"say": "third"}]},
            {"when": {"first": "hello", "system": "judge", "model": "m"}, "steps": [{"say": "hi"}]},
            {"when": {"model": "other"}, "steps": [{"say": "never"}]},
        ]}))
        .unwrap();
        let directive = format!("weather {}", Plan::new().say("no").to_brief());
        for (events, expected) in [
            (vec![user(&directive)], "sunny"),
            (vec![user("weather"), said(), result("x", "y")], "still sunny"),
            (vec![user("weather"), said(), user("x")], "stub heard: x"),
            (vec![user("secret"), said(), user("x"), said(), user("y")], "third"),
            (vec![user("hello")], "hi"),
            (vec![user("hello"), said(), user("x")], "stub heard: x"),
        ] {
            assert_eq!(text(&script, events.clone()), expected, "{events:?}");
        }
        let wrong = json!({"rules": [{"when": {"neweset": "x"}, "steps": []}]});
        assert!(serde_json::from_value::<Script>(wrong).is_err());
    }
}
