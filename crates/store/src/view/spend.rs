//! What model calls have used and cost, added up.

use types::{MicroUsd, SpendBy, Timestamp, Usage};

/// Which model calls to add up, and by what: the dearest first; days newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpendFilter {
    pub by: SpendBy,
    /// Calls from then on.
    pub since: Timestamp,
    /// Only this agent, session, tree, model or day.
    pub subject: Option<String>,
    pub limit: usize,
}

impl SpendFilter {
    /// All of them.
    pub fn by(by: SpendBy) -> SpendFilter {
        SpendFilter { by, since: Timestamp(0), subject: None, limit: 1 }
    }

    /// One subject.
    pub fn of(by: SpendBy, subject: impl ToString) -> SpendFilter {
        SpendFilter { subject: Some(subject.to_string()), ..SpendFilter::by(by) }
    }
}

/// What the model calls of one agent, session, tree, model or day have used and cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpendView {
    pub subject: String,
    pub usage: Usage,
    pub calls: u64,
    /// Calls whose numbers are ours: they were cut.
    pub estimated: u64,
    /// Calls whose price was not known.
    pub unpriced: u64,
    pub cost: MicroUsd,
}
