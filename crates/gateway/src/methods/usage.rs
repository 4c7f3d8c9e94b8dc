//! `usage.report`, `budgets.list`, `budgets.raise`: what was spent, and what may be.

use machine::rows::BudgetKey;
use machine::{Answer, Event, Limits, budget};
use protocol::ErrorShape;
use protocol::usage::{
    BudgetRow, BudgetsResult, Group, RaiseParams, RaiseResult, ReportParams, ReportResult, Spent,
};
use store::query::ask;
use store::view::{BudgetView, SpendFilter, SpendView};
use types::{SpendBy, Timestamp};

use crate::gateway::{Gateway, unreadable};
use crate::methods::chat::OWNER;
use crate::refusal::{not_submitted, refused, unexpected};

/// Most budgets in one list.
pub(super) const BUDGETS_MAX: usize = 1_000;

/// Agents that there can be: their sums are the sum of all.
const AGENTS_MAX: usize = 100_000;

/// `usage.report`
pub async fn report(gateway: &Gateway, params: ReportParams) -> Result<ReportResult, ErrorShape> {
    let ReportParams { by, since, limit } = params;
    let since = since.unwrap_or(Timestamp(0));
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (groups, agents) = ask(gateway.handle.store(), move |rows| {
        let filter = |by, limit| SpendFilter { since, limit, ..SpendFilter::by(by) };
        let groups = rows.spending(&filter(by, limit))?;
        Ok((groups, rows.spending(&filter(SpendBy::Agent, AGENTS_MAX))?))
    })
    .await
    .map_err(unreadable)?;
    let mut total = Spent::default();
    for SpendView { usage, calls, estimated, unpriced, cost, .. } in agents {
        total.usage += usage;
        total.cost += cost;
        total.calls += calls;
        total.estimated += estimated;
        total.unpriced += unpriced;
    }
    let groups = groups.into_iter().map(|group| Group {
        subject: group.subject,
        spent: Spent {
            calls: group.calls,
            estimated: group.estimated,
            unpriced: group.unpriced,
            usage: group.usage,
            cost: group.cost,
        },
    });
    Ok(ReportResult { by, groups: groups.collect(), total })
}

/// A cap as it stands; none if the configuration caps it no more.
pub(super) fn budget_row(view: BudgetView, limits: &Limits) -> Option<BudgetRow> {
    let BudgetView { row, waiting } = view;
    let cap = budget::cap_of(limits, &row);
    (!cap.is_none()).then(|| BudgetRow {
        budget: row.key.to_string(),
        cap,
        spent: row.spent,
        reserved: row.reserved,
        waiting,
        setting: budget::setting(&row.key),
    })
}

/// `budgets.list`
pub async fn budgets(gateway: &Gateway) -> Result<BudgetsResult, ErrorShape> {
    let views = ask(gateway.handle.store(), |rows| rows.budgets(BUDGETS_MAX)).await;
    let limits = gateway.handle.limits();
    let rows = views.map_err(unreadable)?.into_iter();
    Ok(BudgetsResult { budgets: rows.filter_map(|view| budget_row(view, &limits)).collect() })
}

/// `budgets.raise`
pub async fn raise(gateway: &Gateway, params: RaiseParams) -> Result<RaiseResult, ErrorShape> {
    let budget: BudgetKey = params.budget.parse().map_err(|error| {
        ErrorShape::invalid_request(format!("invalid budgets.raise params: `budget`: {error}"))
    })?;
    let event = Event::RaiseBudget { budget, by: OWNER.to_owned(), more: params.more };
    let (text, is_error) = match gateway.handle.submit(event).await {
        Ok(Answer::Told { text, is_error }) => (text, is_error),
        Ok(Answer::Refused(refusal)) => return Err(refused(&refusal)),
        Ok(answer) => return Err(unexpected(&answer)),
        Err(error) => return Err(not_submitted(&error)),
    };
    let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    if is_error {
        let why = value["error"].as_str().unwrap_or(&text).to_owned();
        return Err(ErrorShape::invalid_request(why));
    }
    serde_json::from_value(value).map_err(|error| {
        tracing::error!(%error, "a raise of a budget is answered with something else");
        ErrorShape::unavailable("internal error, a bug")
    })
}
