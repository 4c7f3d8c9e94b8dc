//! Budgets in the file: their counters, what is set aside, and the sums of the ledger under them.

use machine::rows::{BudgetKey, BudgetRow, BudgetScope, Reservation};
use rusqlite::params;
use types::{Budget, MicroUsd, RunId, Spend, SpendBy};

use super::columns::{self, Columns, Text, columns, int};
use super::link::Link;
use crate::error::StoreError;
use crate::view::{BudgetView, SpendFilter, SpendView};

pub fn read(c: &mut Columns<'_, '_>) -> rusqlite::Result<BudgetRow> {
    Ok(BudgetRow {
        key: key(c)?,
        cap: Budget { usd: c.count_or_none()?.map(MicroUsd), tokens: c.count_or_none()? },
        extra: spend(c)?,
        reserved: spend(c)?,
        spent: spend(c)?,
        counted_by: c.parsed()?,
    })
}

pub fn read_reservation(c: &mut Columns<'_, '_>) -> rusqlite::Result<Reservation> {
    Ok(Reservation { run: c.parsed()?, key: key(c)?, spend: spend(c)? })
}

fn key(c: &mut Columns<'_, '_>) -> rusqlite::Result<BudgetKey> {
    Ok(BudgetKey { scope: c.parsed()?, subject: c.get()? })
}

fn spend(c: &mut Columns<'_, '_>) -> rusqlite::Result<Spend> {
    Ok(Spend { usd: MicroUsd(c.count()?), tokens: c.count()? })
}

pub fn get(link: Link<'_>, key: &BudgetKey) -> Result<Option<BudgetRow>, StoreError> {
    let sql =
        concat!("select ", columns!(budgets), " from budgets where scope = ?1 and subject = ?2");
    link.row(sql, params![key.scope.as_str(), key.subject], read)
}

pub fn put(link: Link<'_>, row: &BudgetRow) -> Result<(), StoreError> {
    let sql = concat!(
        "insert into budgets (",
        columns!(budgets),
        ") values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) \
         on conflict (scope, subject) do update set \
         extra_usd = excluded.extra_usd, extra_tokens = excluded.extra_tokens, \
         reserved_usd = excluded.reserved_usd, reserved_tokens = excluded.reserved_tokens, \
         spent_usd = excluded.spent_usd, spent_tokens = excluded.spent_tokens, \
         counted_by = excluded.counted_by"
    );
    let params = params![
        row.key.scope.as_str(),
        row.key.subject,
        row.cap.usd.map(|usd| int(usd.0)),
        row.cap.tokens.map(int),
        int(row.extra.usd.0),
        int(row.extra.tokens),
        int(row.reserved.usd.0),
        int(row.reserved.tokens),
        int(row.spent.usd.0),
        int(row.spent.tokens),
        Text(row.counted_by),
    ];
    link.run(sql, params).map(drop)
}

pub fn reserve(link: Link<'_>, row: &Reservation) -> Result<(), StoreError> {
    let sql = concat!(
        "insert into reservations (",
        columns!(reservations),
        ") values (?1, ?2, ?3, ?4, ?5)"
    );
    let params = params![
        Text(row.run),
        row.key.scope.as_str(),
        row.key.subject,
        int(row.spend.usd.0),
        int(row.spend.tokens),
    ];
    link.run(sql, params).map(drop)
}

/// Deletes what a run has set aside, and returns it.
pub fn take(link: Link<'_>, run: RunId) -> Result<Vec<Reservation>, StoreError> {
    let sql =
        concat!("delete from reservations where run_id = ?1 returning ", columns!(reservations));
    link.rows(sql, [Text(run)], read_reservation)
}

/// Adds up the rows of the ledger that a budget covers.
pub fn spent(link: Link<'_>, key: &BudgetKey) -> Result<Spend, StoreError> {
    // A task is carried by one run, and the ledger is found by its runs. What is of one day is at
    // its end, and looked for from there: an index by time would be a page of every commit.
    let which = match key.scope {
        BudgetScope::Task => {
            "run_id in (with recursive below (id) as ( \
             select id from tasks where id = ?1 union \
             select tasks.id from tasks join below on tasks.parent_id = below.id) \
             select run_id from tasks where id in below)"
        }
        BudgetScope::Session => {
            "session_key = ?1 or run_id in (with recursive below (id) as ( \
             select id from tasks where requester_key = ?1 union \
             select tasks.id from tasks join below on tasks.parent_id = below.id) \
             select run_id from tasks where id in below)"
        }
        BudgetScope::Tree => "root_key = ?1",
        BudgetScope::Agent | BudgetScope::Day => {
            "id > coalesce((select id from ledger where at_ms < unixepoch(substr(?1, -10)) * 1000 \
                            order by id desc limit 1), 0) \
             and at_ms >= unixepoch(substr(?1, -10)) * 1000 \
             and at_ms < (unixepoch(substr(?1, -10)) + 86400) * 1000 \
             and (length(?1) = 10 or agent = substr(?1, 1, length(?1) - 11))"
        }
    };
    let sql = format!(
        "select coalesce(sum(micro_usd), 0), \
         coalesce(sum(input + output + cache_read + cache_write), 0) from ledger where {which}"
    );
    Ok(link.row(&sql, [&key.subject], spend)?.unwrap_or_default())
}

pub fn waiting(link: Link<'_>, key: &BudgetKey, limit: i64) -> Result<Vec<RunId>, StoreError> {
    let sql = "select id from runs where budget = ?1 order by id limit ?2";
    link.rows(sql, params![Text(key), limit], columns::one)
}

pub fn waited_for(link: Link<'_>) -> Result<Vec<BudgetKey>, StoreError> {
    let sql = "select distinct budget from runs where budget is not null order by budget";
    link.rows(sql, [], columns::one)
}

/// Adds the ledger up by one of its columns.
pub fn spending(link: Link<'_>, filter: &SpendFilter) -> Result<Vec<SpendView>, StoreError> {
    let (subject, order) = match filter.by {
        SpendBy::Agent => ("agent", DEAREST),
        SpendBy::Session => ("session_key", DEAREST),
        SpendBy::Tree => ("root_key", DEAREST),
        SpendBy::Model => ("model", DEAREST),
        SpendBy::Run => ("run_id", DEAREST),
        SpendBy::Day => ("date(at_ms / 1000, 'unixepoch')", "subject desc"),
    };
    let only = if filter.subject.is_some() { format!("and {subject} = ?3") } else { String::new() };
    let sql = format!(
        "select {subject} as subject, sum(input) as i, sum(output) as o, sum(cache_read) as r, \
         sum(cache_write) as w, count(*), sum(estimated), sum(priced = 0), sum(micro_usd) as usd \
         from ledger where at_ms >= ?1 {only} group by subject order by {order} limit ?2"
    );
    let (since, limit) = (filter.since.ms(), int(filter.limit as u64));
    let read = |c: &mut Columns<'_, '_>| {
        Ok(SpendView {
            subject: c.get()?,
            usage: c.usage()?,
            calls: c.count()?,
            estimated: c.count()?,
            unpriced: c.count()?,
            cost: MicroUsd(c.count()?),
        })
    };
    match &filter.subject {
        Some(subject) => link.rows(&sql, params![since, limit, subject], read),
        None => link.rows(&sql, params![since, limit], read),
    }
}

/// Where no price is known, the tokens decide.
const DEAREST: &str = "usd desc, i + o + r + w desc, subject";

/// Budgets with how many wait for them, but those of tasks that have ended.
pub fn all(link: Link<'_>, limit: usize) -> Result<Vec<BudgetView>, StoreError> {
    let sql = concat!(
        "select ",
        columns!(budgets),
        ", (select count(*) from runs where runs.budget = scope || ':' || subject) as waiting \
         from budgets where scope <> 'task' \
         or subject in (select id from tasks where ended_ms is null) \
         order by waiting desc, scope, subject desc limit ?1"
    );
    link.rows(sql, [int(limit as u64)], |c| Ok(BudgetView { row: read(c)?, waiting: c.count()? }))
}
