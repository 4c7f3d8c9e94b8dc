//! What models say whose conversations grow: long answers, notes, and summaries of every sort.

use machine::event::CallPlan;
use machine::rows::Purpose;
use types::{EffectClass, FailureClass};

use super::{Asked, Said, any_class, failure_of, planned};
use crate::rng::Rng;

/// Makes some of what is said longer, and answers what the gateway itself asks.
pub fn vary(rng: &mut Rng, asked: &Asked<'_>, said: &mut Said) {
    match asked.purpose() {
        Purpose::Reply => {
            if let Said::Text(text) = said
                && text == "done"
                && rng.chance(300)
            {
                *text = format!("done {}", "long words ".repeat(rng.below(150) as usize));
            }
            // A provider whose count is not ours, and one that is just wrong.
            if rng.chance(120) {
                *said = Said::Fails(failure_of(FailureClass::Overflow));
            }
        }
        Purpose::Notes => *said = notes(rng, asked),
        Purpose::Summary => *said = summary(rng),
    }
}

fn notes(rng: &mut Rng, asked: &Asked<'_>) -> Said {
    match rng.below(10) {
        0..4 => Said::Text("NO_REPLY".to_owned()),
        // What must not be called now is refused, whatever it is.
        4 => Said::Calls(vec![planned(
            &format!("o{}", asked.step),
            "opaque",
            CallPlan::External(EffectClass::Opaque),
        )]),
        5 => Said::Fails(failure_of(any_class(rng))),
        _ => Said::Calls(vec![planned(
            &format!("w{}", asked.step),
            "write",
            CallPlan::External(EffectClass::Probed),
        )]),
    }
}

fn summary(rng: &mut Rng) -> Said {
    match rng.below(10) {
        0 => Said::Text(" ".to_owned()),
        1 => Said::Text("too long a summary ".repeat(500)),
        2 => Said::Calls(vec![planned("s", "pure", CallPlan::External(EffectClass::Pure))]),
        3 | 4 => Said::Fails(failure_of(any_class(rng))),
        _ => Said::Text("what was said so far".to_owned()),
    }
}
