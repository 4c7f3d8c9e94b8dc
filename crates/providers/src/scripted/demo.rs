//! The scripts that are always there. `demo` is that of `windlass demo`: three helpers at work,
//! and one answer. `echo` answers at once.
//!
//! ```text
//!  person ─▶ main ─▶ spawn × 3 ─▶ yield ─▶ (three results) ─▶ answer
//!                      └─▶ write a note ─▶ count it ─▶ read it ─▶ result
//! ```

use serde_json::{Value, json};

use super::{CallTemplate, Rule, Script, When};

/// How a brief begins, so that a helper knows that it is one.
const BRIEF: &str = "Demo task";

/// Steps after which the main agent stops waiting: a yield that is refused again and again must
/// not go on for ever.
const WAITS_MAX: usize = 12;

struct Helper {
    name: &'static str,
    brief: &'static str,
    note: &'static str,
    result: &'static str,
}

const HELPERS: [Helper; 3] = [
    Helper {
        name: "research",
        brief: "find out what is known about the request, and note the sources",
        note: "Three sources agree on the main points; one is older than a year.",
        result: "the sources agree on the main points",
    },
    Helper {
        name: "analyse",
        brief: "analyse what the request really asks for, and name the risks",
        note: "Two risks: the date is not fixed, and nobody owns the result yet.",
        result: "there are two risks, the date and the owner",
    },
    Helper {
        name: "draft",
        brief: "draft an answer to the request in one page",
        note: "Draft: state the goal, list the steps, close with the open questions.",
        result: "a draft of one page is ready",
    },
];

impl Script {
    /// Returns the script of the demonstration. `delay_factor` of it may be changed.
    pub fn demo() -> Script {
        let mut rules: Vec<Rule> = HELPERS.iter().flat_map(helper_rules).collect();
        rules.extend(main_rules());
        Script { rules, ..Script::default() }
    }

    /// Returns a script that says at once what it was told last. It costs nothing and waits for
    /// nothing, so what is left is the time of the gateway itself.
    pub fn echo() -> Script {
        let rule = Rule { say: Some("{last}".to_owned()), ..Rule::default() };
        Script { rules: vec![rule], ..Script::default() }
    }

    /// Returns the script of the models that are always there: the model `echo` follows
    /// [`Script::echo`], every other [`Script::demo`].
    pub fn built_in() -> Script {
        let mut script = Script::echo();
        for rule in &mut script.rules {
            rule.when.model = Some("echo".to_owned());
        }
        script.rules.extend(Script::demo().rules);
        script
    }
}

fn main_rules() -> Vec<Rule> {
    let when = When::default;
    let spawn = |helper: &Helper| {
        let task = format!(
            "{BRIEF} {}: {}. Answer in one line.\nThe request: {{last}}",
            helper.name, helper.brief
        );
        let label = format!("{} the request", helper.name);
        let arguments = json!({ "taskName": helper.name, "label": label, "task": task });
        CallTemplate { name: "sessions_spawn".to_owned(), arguments }
    };
    vec![
        // A person asks how it goes while helpers are at work.
        Rule {
            call: call(
                "sessions_yield",
                json!({ "acknowledgment": "Still at it: not all helpers are done." }),
            ),
            delay_ms: 300,
            when: When { turn: Some(0), waiting: Some(true), ..when() },
            ..Rule::default()
        },
        Rule {
            when: When { turn: Some(0), ..when() },
            say: Some(
                "I give this to three helpers: one researches, one analyses, one drafts."
                    .to_owned(),
            ),
            call: HELPERS.iter().map(spawn).collect(),
            delay_ms: 600,
            ..Rule::default()
        },
        Rule {
            when: When { waiting: Some(true), turn_max: Some(WAITS_MAX), ..when() },
            call: call("sessions_yield", json!({ "message": "Answer when all results are in." })),
            delay_ms: 300,
            ..Rule::default()
        },
        Rule {
            when: When { results_min: Some(1), ..when() },
            say: Some("All helpers are done. Here is what they found:\n\n{results}".to_owned()),
            delay_ms: 900,
            ..Rule::default()
        },
        Rule {
            say: Some("No helper gave a result. The last tools said:\n{tools}".to_owned()),
            delay_ms: 300,
            ..Rule::default()
        },
    ]
}

/// The four steps of one helper.
fn helper_rules(helper: &Helper) -> Vec<Rule> {
    let Helper { name, note, result, .. } = helper;
    let file = format!("{name}-notes.md");
    let at =
        |turn| When { text: Some(format!("{BRIEF} {name}")), turn: Some(turn), ..When::default() };
    let content = format!("# Notes: {name}\n\n{note}\n");
    let step = |turn, delay_ms, tool, arguments| Rule {
        when: at(turn),
        call: call(tool, arguments),
        delay_ms,
        ..Rule::default()
    };
    vec![
        step(0, 500, "write", json!({ "path": file, "content": content })),
        step(1, 400, "exec", json!({ "command": format!("wc -c {file}") })),
        step(2, 400, "read", json!({ "path": file })),
        Rule {
            when: When { turn: None, ..at(0) },
            say: Some(format!("{name}: {result}. My notes are in {file}.")),
            delay_ms: 700,
            ..Rule::default()
        },
    ]
}

fn call(name: &str, arguments: Value) -> Vec<CallTemplate> {
    vec![CallTemplate { name: name.to_owned(), arguments }]
}
