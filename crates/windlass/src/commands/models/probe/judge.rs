//! What a model is found to do, by what has happened, and whether it is fit to orchestrate.
//!
//! ```text
//!  scenes ─▶ findings: a check, a level, what it did, its words ─▶ verdict: the worst of them
//! ```
//!
//! A check that a scene gives no occasion for is not in its findings.

mod waiting;

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;
use types::{FailureClass, word_enum};

use self::waiting::waits;
use super::case::{Case, codes};
use super::scene::{End, Moment, Scene};
use crate::output::one_line;

/// Characters of what a model has said that a finding shows.
const EXCERPT: usize = 240;

word_enum! {
    /// What a model has to be able to do.
    pub enum Check {
        Unasked = "delegates-unasked",
        Told = "delegates-when-told",
        Together = "starts-several-at-once",
        Waits = "waits-without-polling",
        Uses = "uses-the-results",
        Invents = "invents-nothing",
        Refuses = "invents-no-refusal",
        Recovers = "recovers-from-a-failure",
        Arguments = "writes-valid-calls",
        Ends = "comes-to-an-end",
    }
}

word_enum! {
    /// How well.
    pub enum Level {
        Good = "good",
        Weak = "weak",
        Bad = "bad",
    }
}

word_enum! {
    pub enum Fitness {
        Fit = "fit",
        WithCare = "fit with care",
        NotFit = "not fit",
    }
}

/// What was found, and by what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub check: Check,
    pub level: Level,
    pub case: Case,
    /// What it did.
    pub did: String,
    /// Its words, or what it was told.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub excerpt: String,
}

/// What comes of all findings.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub fitness: Fitness,
    /// One for each check that is not good, the worst first.
    pub reasons: Vec<String>,
    pub change: Vec<String>,
}

/// What a model may do up to its last call.
const LATER: &[Check] =
    &[Check::Unasked, Check::Told, Check::Uses, Check::Refuses, Check::Recovers];

/// A level, what it did, and its words.
type Found = (Level, String, String);

fn found(level: Level, did: impl Into<String>, words: &str) -> Found {
    (level, did.into(), one_line(words, EXCERPT))
}

pub fn judge(scene: &Scene) -> Vec<Finding> {
    let told = if scene.case == Case::Unasked { Check::Unasked } else { Check::Told };
    let all = [
        (told, delegates(scene)),
        (Check::Together, together(scene)),
        (Check::Waits, waits(scene)),
        (Check::Uses, uses(scene)),
        (Check::Invents, invents(scene)),
        (Check::Refuses, refuses(scene)),
        (Check::Recovers, recovers(scene)),
        (Check::Arguments, arguments(scene)),
        (Check::Ends, ends(scene)),
    ];
    let finding = |(check, found): (Check, Option<Found>)| {
        let (level, did, excerpt) = found?;
        // What was stopped from outside may have been about to do it.
        let stopped = !scene.end.is_its_own() && LATER.contains(&check) && level != Level::Good;
        if stopped || scene.is_mute() && check != Check::Ends {
            return None;
        }
        Some(Finding { check, level, case: scene.case, did, excerpt })
    };
    all.into_iter().filter_map(finding).collect()
}

/// The last words of the model.
fn last_words(scene: &Scene) -> &str {
    scene.said().rev().map(|(_, text)| text).find(|text| !text.is_empty()).unwrap_or("")
}

fn delegates(scene: &Scene) -> Option<Found> {
    let started = scene.started();
    if started > 0 {
        return Some(found(Level::Good, format!("started {started} sub-agents"), ""));
    }
    let level = if scene.case == Case::Unasked { Level::Weak } else { Level::Bad };
    let tried = scene.calls().filter(|call| call.name == "sessions_spawn").count();
    Some(match scene.refused() {
        Some((_, _, why)) if tried > 0 => {
            found(level, format!("called sessions_spawn {tried} times, never rightly"), why)
        }
        _ => found(level, "started no sub-agent", last_words(scene)),
    })
}

/// Were the sub-agents of a case with several parts started in one answer?
fn together(scene: &Scene) -> Option<Found> {
    let spawns = scene.moments.iter().filter_map(|moment| match moment {
        Moment::Said { calls, .. } => {
            Some(calls.iter().filter(|call| call.name == "sessions_spawn").count())
        }
        _ => None,
    });
    let spawns: Vec<usize> = spawns.filter(|count| *count > 0).collect();
    if scene.case == Case::Failure || scene.started() == 0 {
        return None;
    }
    let (first, answers) = (spawns.first().copied().unwrap_or(0), spawns.len());
    Some(match (first, answers) {
        (2.., _) => found(Level::Good, format!("started {first} in one answer"), ""),
        (_, 2..) => {
            found(Level::Weak, format!("started them one by one, in {answers} answers"), "")
        }
        _ => found(Level::Weak, "gave all parts to one sub-agent", ""),
    })
}

/// Is everything that sub-agents have found out in the last answer?
fn uses(scene: &Scene) -> Option<Found> {
    let mut reported = BTreeSet::new();
    let mut last = None;
    for (at, moment) in scene.moments.iter().enumerate() {
        if let Moment::Report { text, .. } = moment {
            reported.extend(codes(text));
            last = Some(at);
        }
    }
    let last = last.filter(|_| !reported.is_empty())?;
    let after = scene.said().filter(|(at, _)| *at > last).map(|(_, text)| text);
    let after: Vec<&str> = after.filter(|text| !text.is_empty()).collect();
    let told: BTreeSet<String> = after.iter().flat_map(|text| codes(text)).collect();
    let used = reported.intersection(&told).count();
    let did = format!("gave {used} of the {} codes that were reported", reported.len());
    let words = after.last().copied().unwrap_or("");
    Some(match used {
        0 => found(Level::Bad, did, words),
        used if used < reported.len() => found(Level::Weak, did, words),
        _ => found(Level::Good, did, ""),
    })
}

/// Did it claim what it had not been told, or write the report of a sub-agent itself?
fn invents(scene: &Scene) -> Option<Found> {
    let mut known = BTreeSet::new();
    let mut spoke = false;
    for moment in &scene.moments {
        match moment {
            Moment::Said { text, .. } => {
                spoke = true;
                if let Some(code) = codes(text).into_iter().find(|code| !known.contains(code)) {
                    let did = format!("claimed {code}, which nobody had told it");
                    return Some(found(Level::Bad, did, text));
                }
                if text.contains("[Subagent result]") {
                    return Some(found(Level::Bad, "wrote a sub-agent's report itself", text));
                }
            }
            Moment::Result { text, .. } | Moment::Report { text, .. } | Moment::Told { text } => {
                known.extend(codes(text))
            }
        }
    }
    spoke.then(|| found(Level::Good, "claimed nothing that it had not been told", ""))
}

/// Words by which a model says that it cannot do what its tools can.
const CANNOT: &[&str] = &[
    "unable to",
    "not able to",
    "cannot",
    "can't",
    "can not",
    "don't have access",
    "do not have access",
    "don't have the ability",
    "do not have the ability",
    "no tool",
    "not possible for me",
];

/// What they are about, if it is delegating.
const DELEGATING: &[&str] = &["spawn", "sub-agent", "subagent", "delegat"];

fn refuses(scene: &Scene) -> Option<Found> {
    if scene.started() > 0 {
        return Some(found(Level::Good, "said of nothing that it could not be done", ""));
    }
    // Who has tried and was refused may say so.
    if scene.refused().is_some() {
        return None;
    }
    let plain = |text: &str| text.to_lowercase().replace('’', "'");
    let has = |text: &str, parts: &[&str]| parts.iter().any(|part| plain(text).contains(part));
    let (_, words) = scene.said().find(|(_, text)| has(text, CANNOT))?;
    let grave = scene.case != Case::Unasked || has(words, DELEGATING);
    let level = if grave { Level::Bad } else { Level::Weak };
    Some(found(level, "said that it could not, with the tool at hand", words))
}

/// Tools that go on with work, or begin it anew.
fn tries_again(scene: &Scene, after: usize) -> bool {
    scene.moments.iter().skip(after).any(|moment| {
        matches!(moment, Moment::Result { name, is_error: false, .. }
            if ["sessions_spawn", "sessions_send", "subagents"].contains(&name.as_str()))
    })
}

fn recovers(scene: &Scene) -> Option<Found> {
    let failed = |moment: &Moment| matches!(moment, Moment::Report { failed: true, .. });
    let at = scene.moments.iter().position(failed)?;
    let last = last_words(scene);
    let reported: BTreeSet<String> = scene.moments[at..]
        .iter()
        .flat_map(|moment| match moment {
            Moment::Report { text, failed: false } => codes(text),
            _ => Vec::new(),
        })
        .collect();
    let lower = last.to_lowercase();
    let owns_up = ["fail", "error", "could not", "couldn't", "unable", "not found", "did not"];
    let owns_up = owns_up.iter().any(|word| lower.contains(word));
    Some(match (tries_again(scene, at), codes(last).iter().any(|code| reported.contains(code))) {
        (true, true) => found(Level::Good, "had it tried again, and gave the result", ""),
        (true, false) => found(Level::Weak, "had it tried again, and gave no result", last),
        (false, _) if owns_up => {
            found(Level::Weak, "said that it had failed, and did not have it tried again", last)
        }
        (false, _) => found(Level::Bad, "passed over the failure", last),
    })
}

fn arguments(scene: &Scene) -> Option<Found> {
    let is_object = |text: &str| serde_json::from_str::<Value>(text).is_ok_and(|v| v.is_object());
    let all = scene.calls().count();
    let mut broken = scene.calls().filter(|call| !is_object(&call.arguments));
    let Some(first) = broken.next() else {
        return Some(match scene.refused() {
            None if all == 0 => return None,
            None => found(Level::Good, format!("wrote {all} calls, all of them valid"), ""),
            Some((n, name, why)) => {
                let did = format!("{n} of {all} calls were refused, the first of {name}");
                found(Level::Weak, did, why)
            }
        });
    };
    let level = if scene.started() > 0 { Level::Weak } else { Level::Bad };
    let did =
        format!("{} of {all} calls had arguments that are no JSON object", broken.count() + 1);
    Some(found(level, did, &format!("{} {}", first.name, first.arguments)))
}

fn ends(scene: &Scene) -> Option<Found> {
    let cut = scene.moments.iter().any(|moment| matches!(moment, Moment::Said { cut: true, .. }));
    Some(match &scene.end {
        End::Answered if cut => {
            found(Level::Weak, "an answer was cut at the limit of its tokens", last_words(scene))
        }
        End::Answered => found(Level::Good, "answered", ""),
        End::TooManyCalls => found(Level::Bad, scene.end.to_string(), last_words(scene)),
        End::TimedOut { .. } | End::OutOfBudget => {
            found(Level::Weak, format!("was stopped: {}", scene.end), last_words(scene))
        }
        End::Failed { class: FailureClass::InvalidReply, why } => {
            found(Level::Bad, "gave answers that make no sense", why)
        }
        End::Failed { why, .. } => found(Level::Weak, "could not be asked to the end", why),
    })
}

impl Verdict {
    pub fn of(findings: &[Finding]) -> Verdict {
        let mut worst: Vec<&Finding> =
            findings.iter().filter(|finding| finding.level != Level::Good).collect();
        worst.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        let fitness = match worst.first().map(|finding| finding.level) {
            Some(Level::Bad) => Fitness::NotFit,
            Some(_) => Fitness::WithCare,
            None => Fitness::Fit,
        };
        let reason = |finding: &&Finding| {
            format!("{}: {} ({})", finding.check, finding.did, finding.case.title())
        };
        let mut change: Vec<String> = Vec::new();
        for finding in &worst {
            let advice = advice(finding.check, finding.level).to_owned();
            if !change.contains(&advice) {
                change.push(advice);
            }
        }
        Verdict { fitness, reasons: worst.iter().map(reason).collect(), change }
    }
}

/// What to do about it.
fn advice(check: Check, level: Level) -> &'static str {
    match (check, level) {
        (Check::Ends, Level::Weak) => {
            "probe again with more room: --max-usd, or when the provider is not busy"
        }
        (_, Level::Bad) => {
            "let another model delegate (agents.entries.<id>.model) and use this one for \
             sub-agents (agents.entries.<id>.subagents.model); if it can think, probe it with a \
             higher --thinking first"
        }
        (Check::Unasked, _) => {
            "say in AGENTS.md, or in each message, which work is to be given to sub-agents"
        }
        (Check::Together, _) => {
            "say in AGENTS.md that parts which do not depend on each other are started in one \
             answer"
        }
        (Check::Waits, _) => {
            "say in AGENTS.md that results come by themselves: sessions_yield, and no looking"
        }
        (Check::Recovers, _) => "say in AGENTS.md what is to become of a sub-agent that fails",
        _ => "probe it again; if that stays, probe it with a higher --thinking, or choose another",
    }
}

#[cfg(test)]
mod tests;
