//! Scenes, and what is found in them.

use types::ToolCall;

use super::*;
use Check::*;
use Level::*;

const A: &str = "WL-1AAAAA";
const B: &str = "WL-2BBBBB";

fn call(name: &str, arguments: &str) -> ToolCall {
    ToolCall { id: String::new(), name: name.to_owned(), arguments: arguments.to_owned() }
}

/// An answer with these words and calls, and the results of those.
fn said(text: &str, calls: &[(&str, &str)]) -> Vec<Moment> {
    let is_valid = |arguments: &str| serde_json::from_str::<Value>(arguments).is_ok();
    let result = |(name, arguments): &(&str, &str)| Moment::Result {
        name: (*name).to_owned(),
        text: "a result".to_owned(),
        is_error: !is_valid(arguments),
    };
    let results = calls.iter().map(result);
    let calls = calls.iter().map(|(name, arguments)| call(name, arguments)).collect();
    let words = Moment::Said { text: text.to_owned(), calls, cut: false };
    std::iter::once(words).chain(results).collect()
}

fn report(code: &str) -> Vec<Moment> {
    vec![Moment::Report { text: format!("[Subagent result] {code}"), failed: code.is_empty() }]
}

const SPAWN: (&str, &str) = ("sessions_spawn", "{}");
const YIELD: (&str, &str) = ("sessions_yield", "{}");
const LOOK: (&str, &str) = ("subagents", r#"{"action":"list"}"#);

/// What is not good, of a case that goes like this.
fn faults(case: Case, parts: &[Vec<Moment>]) -> Vec<(Check, Level)> {
    let told = Moment::Told { text: case.message().to_owned() };
    let moments = std::iter::once(told).chain(parts.iter().flatten().cloned()).collect();
    let findings = judge(&Scene { case, moments, end: End::Answered });
    let bad = findings.iter().filter(|finding| finding.level != Good);
    bad.map(|finding| (finding.check, finding.level)).collect()
}

/// A way in which a model behaves, and what is wrong with it.
type Row = (&'static str, Case, Vec<Vec<Moment>>, Vec<(Check, Level)>);

fn holds(table: Vec<Row>) {
    for (what, case, parts, expected) in table {
        assert_eq!(faults(case, &parts), expected, "{what}");
    }
}

fn both() -> String {
    format!("{A} and {B}")
}

fn two() -> Vec<Moment> {
    said("", &[SPAWN, SPAWN])
}

fn waited() -> Vec<Moment> {
    said("", &[YIELD])
}

#[test]
fn who_delegates() {
    holds(vec![
        (
            "as it should be",
            Case::Told,
            vec![two(), waited(), report(A), report(B), said(&both(), &[])],
            vec![],
        ),
        (
            "it ends its turn instead of yielding: as good",
            Case::Told,
            vec![two(), said("Started.", &[]), report(A), report(B), said(&both(), &[])],
            vec![],
        ),
        (
            "nothing is delegated, honestly",
            Case::Unasked,
            vec![said("I have no records. Shall I go on?", &[])],
            vec![(Unasked, Weak)],
        ),
        (
            "nothing is delegated, and something is made up",
            Case::Unasked,
            vec![said("Lisbon: WL-123456", &[])],
            vec![(Unasked, Weak), (Invents, Bad)],
        ),
        (
            "a refusal that nobody has made",
            Case::Told,
            vec![said("I’m unable to spawn sub-agents.", &[])],
            vec![(Told, Bad), (Refuses, Bad)],
        ),
        (
            "the same, where delegation was not spoken of",
            Case::Unasked,
            vec![said("I can't look that up.", &[])],
            vec![(Unasked, Weak), (Refuses, Weak)],
        ),
        (
            "one by one",
            Case::Told,
            vec![
                said("", &[SPAWN]),
                said("", &[SPAWN]),
                waited(),
                report(A),
                report(B),
                said(&both(), &[]),
            ],
            vec![(Together, Weak)],
        ),
        (
            "all to one",
            Case::Unasked,
            vec![said("", &[SPAWN, YIELD]), report(A), said(A, &[])],
            vec![(Together, Weak)],
        ),
    ]);
}

#[test]
fn what_becomes_of_results() {
    holds(vec![
        (
            "it looks instead of waiting",
            Case::Told,
            vec![
                two(),
                said("", &[LOOK]),
                said("", &[LOOK]),
                waited(),
                report(A),
                report(B),
                said(&both(), &[]),
            ],
            vec![(Waits, Weak)],
        ),
        (
            "it answers before the results, and then does not use them",
            Case::Told,
            vec![two(), said("Genoa: WL-999999", &[]), report(A), report(B), said("Done.", &[])],
            vec![(Uses, Bad), (Invents, Bad)],
        ),
        (
            "half of the results",
            Case::Told,
            vec![two(), waited(), report(A), report(B), said(A, &[])],
            vec![(Uses, Weak)],
        ),
        (
            "it writes the report itself",
            Case::Told,
            vec![said("[Subagent result] task=1 done", &[])],
            vec![(Told, Bad), (Invents, Bad)],
        ),
    ]);
}

#[test]
fn what_goes_wrong() {
    holds(vec![
        (
            "broken JSON, and then right",
            Case::Told,
            vec![
                said("", &[("sessions_spawn", "{\"task\":")]),
                two(),
                waited(),
                report(A),
                report(B),
                said(&both(), &[]),
            ],
            vec![(Together, Weak), (Arguments, Weak)],
        ),
        (
            "nothing but broken JSON",
            Case::Told,
            vec![said("", &[("sessions_spawn", "task: x")]), said("I give up.", &[])],
            vec![(Told, Bad), (Arguments, Bad)],
        ),
        (
            "a failure, tried again",
            Case::Failure,
            vec![
                said("", &[SPAWN, YIELD]),
                report(""),
                said("", &[("sessions_send", "{}"), YIELD]),
                report(A),
                said(A, &[]),
            ],
            vec![],
        ),
        (
            "a failure that is owned up to",
            Case::Failure,
            vec![said("", &[SPAWN, YIELD]), report(""), said("It could not be found.", &[])],
            vec![(Recovers, Weak)],
        ),
        (
            "a failure that is passed over, with a number made up",
            Case::Failure,
            vec![said("", &[SPAWN, YIELD]), report(""), said("It is WL-777777.", &[])],
            vec![(Invents, Bad), (Recovers, Bad)],
        ),
    ]);
}

#[test]
fn how_a_case_has_ended() {
    let failed = |class| End::Failed { class, why: "the provider's words".to_owned() };
    #[rustfmt::skip]
    let table = [
        (End::Answered,                          Good),
        (End::TooManyCalls,                      Bad),
        (End::TimedOut { waits_for: None },      Weak),
        (End::OutOfBudget,                       Weak),
        (failed(FailureClass::InvalidReply),     Bad),
        (failed(FailureClass::Overload),         Weak),
    ];
    for (end, expected) in table {
        let scene = Scene { case: Case::Told, moments: Vec::new(), end };
        let (level, did, _) = ends(&scene).unwrap();
        assert_eq!(level, expected, "{did}");
    }
}

#[test]
fn the_worst_finding_decides() {
    let finding = |check, level| Finding {
        check,
        level,
        case: Case::Told,
        did: "did it".to_owned(),
        excerpt: String::new(),
    };
    let fitness = |levels: &[Level]| {
        let findings: Vec<Finding> = levels.iter().map(|level| finding(Waits, *level)).collect();
        Verdict::of(&findings).fitness
    };
    assert_eq!(fitness(&[Good, Good]), Fitness::Fit);
    assert_eq!(fitness(&[Good, Weak, Good]), Fitness::WithCare);
    assert_eq!(fitness(&[Weak, Bad]), Fitness::NotFit);
    let verdict = Verdict::of(&[finding(Waits, Weak), finding(Told, Bad), finding(Uses, Bad)]);
    assert!(verdict.reasons[0].starts_with("delegates-when-told: did it"), "{verdict:?}");
    // Two that are to be mended in the same way are told once.
    assert_eq!(verdict.change.len(), 2);
}
