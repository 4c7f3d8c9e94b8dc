//! Calls that a person has to allow, and what was allowed for good.

use machine::rows::{Approval, Grant};
use rusqlite::{Result, params};
use types::{AgentId, ApprovalId, RunId, Timestamp};

use super::columns::{Columns, Text, int};
use super::link::Link;
use crate::error::StoreError;
use crate::view::ApprovalFilter;

/// The columns of `approvals`, in the order in which a row is read and written.
macro_rules! asked {
    () => {
        "id, run_id, step_n, session_key, root_key, origin, tool, command, patterns, state, \
         decided_by, asked_ms, expires_ms, decided_ms"
    };
}

/// The columns of `grants`.
macro_rules! granted {
    () => {
        "agent, pattern, by, at_ms"
    };
}

type Put = std::result::Result<(), StoreError>;
type Got<T> = std::result::Result<T, StoreError>;

fn read(c: &mut Columns<'_, '_>) -> Result<Approval> {
    Ok(Approval {
        id: c.parsed()?,
        run: c.parsed()?,
        step: c.get()?,
        session_key: c.parsed()?,
        root_key: c.parsed()?,
        origin: c.get()?,
        tool: c.get()?,
        command: c.get()?,
        patterns: c.json_or_none()?.unwrap_or_default(),
        state: c.parsed()?,
        by: c.get()?,
        asked: c.time()?,
        expires: c.time()?,
        decided: c.time_or_none()?,
    })
}

fn read_grant(c: &mut Columns<'_, '_>) -> Result<Grant> {
    Ok(Grant { agent: c.parsed()?, pattern: c.get()?, by: c.get()?, at: c.time()? })
}

pub fn get(link: Link<'_>, id: ApprovalId) -> Got<Option<Approval>> {
    let sql = concat!("select ", asked!(), " from approvals where id = ?1");
    link.row(sql, [Text(id)], read)
}

/// Writes a question, or its end. One that has ended is written no more.
pub fn put(link: Link<'_>, row: &Approval) -> Put {
    let sql = concat!(
        "insert into approvals (",
        asked!(),
        ") values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) \
         on conflict (id) do update set state = excluded.state, \
         decided_by = excluded.decided_by, decided_ms = excluded.decided_ms \
         where state = 'pending'"
    );
    let patterns = serde_json::to_string(&row.patterns).expect("texts are JSON");
    let params = params![
        Text(row.id),
        Text(row.run),
        row.step,
        Text(&row.session_key),
        Text(&row.root_key),
        row.origin,
        row.tool,
        row.command,
        patterns,
        row.state.as_str(),
        row.by,
        row.asked.ms(),
        row.expires.ms(),
        row.decided.map(|at| at.ms()),
    ];
    if link.run(sql, params)? == 1 {
        return Ok(());
    }
    Err(StoreError::Broken(format!("{} would be decided twice", row.id)))
}

/// Calls of a run that wait to be allowed, by step.
pub fn pending(link: Link<'_>, run: RunId) -> Got<Vec<Approval>> {
    let sql = concat!(
        "select ",
        asked!(),
        " from approvals where run_id = ?1 and state = 'pending' order by step_n"
    );
    link.rows(sql, [Text(run)], read)
}

/// How many wait, and since when the oldest does. Read from the small index of those that wait.
pub fn waiting(link: Link<'_>) -> Got<(u64, Option<Timestamp>)> {
    let sql = "select count(*), min(asked_ms) from approvals where state = 'pending'";
    let found = link.row(sql, [], |c| Ok((c.count()?, c.time_or_none()?)))?;
    Ok(found.unwrap_or_default())
}

/// Newest first.
pub fn list(link: Link<'_>, filter: &ApprovalFilter) -> Got<Vec<Approval>> {
    macro_rules! asked_where {
        ($which:literal) => {
            concat!(
                "select ",
                asked!(),
                " from approvals where ",
                $which,
                " (?1 is null or id = ?1) and (?2 is null or root_key = ?2) \
                 order by asked_ms desc, id desc limit ?3"
            )
        };
    }
    // Written out, so that the small index of those that wait serves.
    let sql = if filter.pending { asked_where!("state = 'pending' and") } else { asked_where!("") };
    let (id, root) = (filter.id.map(Text), filter.root.as_ref().map(Text));
    link.rows(sql, params![id, root, int(filter.limit as u64)], read)
}

/// What is allowed already stays as it was.
pub fn add_grant(link: Link<'_>, row: &Grant) -> Put {
    let sql = concat!(
        "insert into grants (",
        granted!(),
        ") values (?1, ?2, ?3, ?4) on conflict do nothing"
    );
    link.run(sql, params![Text(&row.agent), row.pattern, row.by, row.at.ms()]).map(drop)
}

/// Says whether there was one.
pub fn delete_grant(link: Link<'_>, agent: &AgentId, pattern: &str) -> Got<bool> {
    let sql = "delete from grants where agent = ?1 and pattern = ?2";
    Ok(link.run(sql, params![Text(agent), pattern])? > 0)
}

/// What was allowed for good, to one agent or to all, by agent and pattern.
pub fn grants(link: Link<'_>, agent: Option<&AgentId>, limit: usize) -> Got<Vec<Grant>> {
    let sql = concat!(
        "select ",
        granted!(),
        " from grants where (?1 is null or agent = ?1) order by agent, pattern limit ?2"
    );
    link.rows(sql, params![agent.map(Text), int(limit as u64)], read_grant)
}

/// All of them, by id.
pub fn all(link: Link<'_>) -> Got<Vec<Approval>> {
    link.rows(concat!("select ", asked!(), " from approvals order by id"), [], read)
}
