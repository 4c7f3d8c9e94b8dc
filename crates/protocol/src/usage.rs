//! `usage.report`, what was spent on what; and `budgets.list`, `budgets.raise`, what may be.

use serde::{Deserialize, Serialize};
use types::{Budget, MicroUsd, Spend, SpendBy, Timestamp, Usage};

use crate::fields::{Fields, InvalidField};
use crate::method::Params;

const GROUPS: u64 = 50;
const GROUPS_MAX: u64 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportParams {
    pub by: SpendBy,
    /// Calls from then on; all if none.
    pub since: Option<Timestamp>,
    /// Most groups.
    pub limit: u64,
}

impl Params for ReportParams {
    fn read(fields: &Fields<'_>) -> Result<ReportParams, InvalidField> {
        let since = fields.integer("sinceMs", 0..=i64::MAX as u64)?;
        Ok(ReportParams {
            by: fields.word("by", SpendBy::ALL)?.unwrap_or(SpendBy::Agent),
            since: since.map(|ms| Timestamp(ms as i64)),
            limit: fields.integer("limit", 1..=GROUPS_MAX)?.unwrap_or(GROUPS),
        })
    }
}

/// What calls have used and cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spent {
    pub calls: u64,
    /// Calls that were cut: their tokens are ours, not the provider's.
    pub estimated: u64,
    /// Calls of models whose price was not known: they are in no sum of dollars.
    pub unpriced: u64,
    #[serde(flatten)]
    pub usage: Usage,
    /// US dollars.
    pub cost: MicroUsd,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// An agent, a session key, a model, or a day.
    pub subject: String,
    #[serde(flatten)]
    pub spent: Spent,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportResult {
    pub by: SpendBy,
    /// The dearest first; days newest first.
    pub groups: Vec<Group>,
    /// Of all, also of those that are not shown.
    pub total: Spent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetsParams;

impl Params for BudgetsParams {
    fn read(_: &Fields<'_>) -> Result<BudgetsParams, InvalidField> {
        Ok(BudgetsParams)
    }
}

/// One cap, and how it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BudgetRow {
    /// As in `day:2026-11-21`, `tree:agent:main:main`, `task:tsk_…`.
    pub budget: String,
    /// With what was added.
    pub cap: Budget,
    pub spent: Spend,
    /// Set aside for calls that are out.
    pub reserved: Spend,
    /// Runs that wait for it.
    pub waiting: u64,
    /// Where the cap is set.
    pub setting: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BudgetsResult {
    pub budgets: Vec<BudgetRow>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaiseParams {
    pub budget: String,
    pub more: Spend,
}

impl Params for RaiseParams {
    fn read(fields: &Fields<'_>) -> Result<RaiseParams, InvalidField> {
        let usd =
            fields.number("usd", "US dollars, as in 1.5", |usd| MicroUsd::from_usd(usd).ok())?;
        let tokens = fields.integer("tokens", 0..=i64::MAX as u64)?;
        let more = Spend { usd: usd.unwrap_or_default(), tokens: tokens.unwrap_or(0) };
        Ok(RaiseParams { budget: fields.required_text("budget")?, more })
    }
}

/// The cap as it stands now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RaiseResult {
    pub budget: String,
    pub cap: Budget,
    pub spent: Spend,
    pub reserved: Spend,
}
