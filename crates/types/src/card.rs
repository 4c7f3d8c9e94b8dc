//! The plan that an agent shows of its work: what `progress_card` is called with.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::word_enum;

/// What an agent has put up, in the place of what it had put up before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Card {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub markdown: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<PlanStep>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanStep {
    pub step: String,
    pub status: PlanStatus,
}

word_enum! {
    pub enum PlanStatus {
        Pending = "pending",
        InProgress = "in_progress",
        Completed = "completed",
    }
}

impl Card {
    /// Nothing is shown: the card is taken down.
    pub fn is_empty(&self) -> bool {
        self.markdown.is_none() && self.plan.is_empty()
    }

    /// Steps that are completed.
    pub fn done(&self) -> usize {
        self.plan.iter().filter(|step| step.status == PlanStatus::Completed).count()
    }
}

impl fmt::Display for Card {
    /// A line for each step, and before them the text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = self.plan.iter().map(|PlanStep { step, status }| {
            let mark = match status {
                PlanStatus::Pending => "[ ]",
                PlanStatus::InProgress => "[>]",
                PlanStatus::Completed => "[x]",
            };
            format!("{mark} {step}")
        });
        let lines: Vec<String> = self.markdown.clone().into_iter().chain(steps).collect();
        f.write_str(&lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_a_line_for_each_step() {
        let text = r#"{"markdown":"**Map**","plan":[{"step":"look","status":"completed"},
            {"step":"draw","status":"in_progress"},{"step":"show","status":"pending"}]}"#;
        let card: Card = serde_json::from_str(text).unwrap();
        assert_eq!(card.to_string(), "**Map**\n[x] look\n[>] draw\n[ ] show");
        assert_eq!((card.done(), card.is_empty()), (1, false));
        assert!(serde_json::from_str::<Card>("{}").unwrap().is_empty());
    }
}
