//! `windlass usage` and `windlass budget`: what was spent on what, and what may be.

use std::io::Write;

use clap::{Args, Subcommand};
use protocol::usage::{BudgetRow, BudgetsResult, RaiseResult, ReportResult, Spent};
use protocol::{Method, Scope};
use runtime::{Clock, SystemClock};
use serde_json::json;
use types::{Budget, Spend, SpendBy};

use crate::client::Client;
use crate::output::{json_lines, table};
use crate::setup::Setup;

#[derive(Debug, Args)]
pub struct UsageArgs {
    /// Add up by agent, session, tree, model, day or run
    #[arg(long, value_name = "WHAT", default_value = "agent")]
    by: SpendBy,

    /// Only of the last so many days
    #[arg(long, value_name = "DAYS")]
    days: Option<u32>,

    /// Show at most this many rows; the total is of all
    #[arg(long, default_value_t = 50, value_name = "COUNT")]
    limit: u32,
}

#[derive(Debug, Subcommand)]
pub enum BudgetCommand {
    /// List the caps, what is spent under each, and who waits
    List,
    /// Allow more under a cap; runs that wait for it go on
    Raise(RaiseArgs),
}

#[derive(Debug, Args)]
pub struct RaiseArgs {
    /// The budget, as `windlass budget list` shows it
    budget: String,

    /// So many US dollars more
    #[arg(long, value_name = "USD")]
    usd: Option<f64>,

    /// So many tokens more
    #[arg(long, value_name = "TOKENS")]
    tokens: Option<u64>,
}

pub async fn usage(args: UsageArgs, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let mut params = json!({ "by": args.by, "limit": args.limit });
    if let Some(days) = args.days {
        let age_ms = i64::from(days) * 24 * 60 * 60 * 1000;
        params["sinceMs"] = json!((SystemClock.now().ms() - age_ms).max(0));
    }
    let mut client = Client::connect(&setup.target()?).await?;
    let answer = client.call(Method::UsageReport, params).await?;
    if setup.json {
        return Ok(writeln!(out, "{answer}")?);
    }
    let report: ReportResult = serde_json::from_value(answer)?;
    let mut rows: Vec<Vec<String>> =
        report.groups.iter().map(|group| cells(&group.subject, &group.spent)).collect();
    rows.push(cells("total", &report.total));
    let subject = args.by.as_str().to_uppercase();
    let head = [&subject, "CALLS", "INPUT", "CACHED", "WRITTEN", "OUTPUT", "COST"];
    table(out, &head, &rows)?;
    let Spent { estimated, unpriced, .. } = report.total;
    if estimated > 0 {
        writeln!(out, "{estimated} calls were cut: their tokens are an estimate.")?;
    }
    if unpriced > 0 {
        writeln!(
            out,
            "{unpriced} calls are in no sum of dollars: the price of their model was not known; \
             set models.providers.<id>.models[].cost."
        )?;
    }
    Ok(())
}

fn cells(subject: &str, spent: &Spent) -> Vec<String> {
    let usage = spent.usage;
    vec![
        subject.to_owned(),
        spent.calls.to_string(),
        usage.input.to_string(),
        usage.cache_read.to_string(),
        usage.cache_write.to_string(),
        usage.output.to_string(),
        spent.cost.to_string(),
    ]
}

pub async fn budget(
    command: BudgetCommand,
    setup: &Setup,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let scope = match command {
        BudgetCommand::List => Scope::Read,
        BudgetCommand::Raise(_) => Scope::Admin,
    };
    let mut client = Client::connect_as(&setup.target()?, &[scope]).await?;
    match command {
        BudgetCommand::List => {
            let answer = client.call(Method::BudgetsList, json!({})).await?;
            let BudgetsResult { budgets } = serde_json::from_value(answer)?;
            list(setup.json, &budgets, out)
        }
        BudgetCommand::Raise(RaiseArgs { budget, usd, tokens }) => {
            let params = json!({ "budget": budget, "usd": usd, "tokens": tokens });
            let answer = client.call(Method::BudgetsRaise, params).await?;
            if setup.json {
                return Ok(writeln!(out, "{answer}")?);
            }
            let RaiseResult { budget, cap, spent, .. } = serde_json::from_value(answer)?;
            Ok(writeln!(out, "{budget}: {} of {}", shown(spent, cap), cap)?)
        }
    }
}

fn list(json: bool, budgets: &[BudgetRow], out: &mut impl Write) -> anyhow::Result<()> {
    if json {
        return Ok(json_lines(out, budgets)?);
    }
    if budgets.is_empty() {
        return Ok(writeln!(out, "No budgets: nothing is capped, or nothing was spent yet.")?);
    }
    let cells = |row: &BudgetRow| {
        vec![
            row.budget.clone(),
            shown(row.spent, row.cap),
            shown(row.reserved, row.cap),
            row.cap.to_string(),
            row.waiting.to_string(),
            row.setting.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = budgets.iter().map(cells).collect();
    Ok(table(out, &["BUDGET", "SPENT", "SET ASIDE", "CAP", "WAITING", "SET IN"], &rows)?)
}

/// As much of it as the cap is on.
pub fn shown(spend: Spend, cap: Budget) -> String {
    let budget =
        Budget { usd: cap.usd.map(|_| spend.usd), tokens: cap.tokens.map(|_| spend.tokens) };
    budget.to_string()
}
