//! What may be spent: the counters of each cap, and what calls that are out have set aside.

use std::fmt;
use std::str::FromStr;

use types::{Budget, NodeId, RunId, Spend, TaskId, word_enum};

word_enum! {
    /// What a cap is on.
    pub enum BudgetScope {
        /// A task and everything below it.
        Task = "task",
        /// A session, over all its runs.
        Session = "session",
        /// All that belongs to one head of a tree.
        Tree = "tree",
        /// An agent, on one day (UTC).
        Agent = "agent",
        /// The gateway, on one day (UTC).
        Day = "day",
    }
}

impl BudgetScope {
    /// Does such a cap begin anew each day?
    pub fn is_daily(self) -> bool {
        matches!(self, BudgetScope::Agent | BudgetScope::Day)
    }
}

/// Names what a cap is on. The text is `<scope>:<subject>`, as in `day:2026-11-21`,
/// `agent:main:2026-11-21`, `session:agent:main:thread:budget`, `task:task_…`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BudgetKey {
    pub scope: BudgetScope,
    pub subject: String,
}

impl BudgetKey {
    pub fn new(scope: BudgetScope, subject: impl fmt::Display) -> BudgetKey {
        BudgetKey { scope, subject: subject.to_string() }
    }

    pub fn task(id: TaskId) -> BudgetKey {
        BudgetKey::new(BudgetScope::Task, id)
    }
}

impl fmt::Display for BudgetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scope, self.subject)
    }
}

impl FromStr for BudgetKey {
    type Err = ParseBudgetKeyError;

    fn from_str(text: &str) -> Result<BudgetKey, ParseBudgetKeyError> {
        let wrong = || ParseBudgetKeyError(text.to_owned());
        let (scope, subject) = text.split_once(':').ok_or_else(wrong)?;
        let scope = scope.parse().map_err(|_| wrong())?;
        if subject.is_empty() {
            return Err(wrong());
        }
        Ok(BudgetKey { scope, subject: subject.to_owned() })
    }
}

types::serde_as_str!(BudgetKey);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a budget, as `task:<id>`, `session:<key>`, `tree:<key>`, `agent:<id>:<date>` or \
     `day:<date>`; got `{0}`"
)]
pub struct ParseBudgetKeyError(String);

/// The counters of one cap. The row is made by the first call under the cap, and stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetRow {
    pub key: BudgetKey,
    /// The cap of a task, said by its spawn. That of any other is in the configuration.
    pub cap: Budget,
    /// What a person has added to the cap.
    pub extra: Spend,
    /// Set aside for calls that are out.
    pub reserved: Spend,
    /// Of all rows of the ledger that it covers.
    pub spent: Spend,
    /// The start of a gateway that keeps count. Caps come and go with the configuration, so each
    /// counts once for itself.
    pub counted_by: NodeId,
}

impl BudgetRow {
    pub fn new(key: BudgetKey, cap: Budget, counted_by: NodeId) -> BudgetRow {
        let none = Spend::default();
        BudgetRow { key, cap, extra: none, reserved: none, spent: none, counted_by }
    }
}

/// What the model call of a run has set aside under one cap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    pub run: RunId,
    pub key: BudgetKey,
    pub spend: Spend,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_text() {
        for text in ["day:2026-11-21", "agent:main:2026-11-21", "session:agent:main:thread:x"] {
            assert_eq!(text.parse::<BudgetKey>().unwrap().to_string(), text);
        }
        for wrong in ["", "day", "day:", "month:2026-11", "2026-11-21"] {
            wrong.parse::<BudgetKey>().unwrap_err();
        }
    }
}
