//! What an audit looks at, in SQL: so that it reads what is open, and not years of what has ended.

use machine::check::{EntryHead, World};
use machine::rows::Halt;
use rusqlite::params;
use types::{SessionKey, Timestamp};

use super::ask::with_edges;
use super::columns::{self, Columns, Text, columns, int};
use super::link::Link;
use crate::error::StoreError;

/// Tasks that are open, those above them, those that have ended lately and were not announced, and
/// those of dead letters.
const TASKS: &str = "with recursive wanted(id) as ( \
    select id from tasks where ended_ms is null \
    union select task_id from inbox where state = 'dead' and task_id is not null \
    union select id from tasks where ended_ms >= ?1 and announce <> 'none' \
        and not exists (select 1 from inbox \
                        where inbox.task_id = tasks.id and inbox.kind = 'announce') \
    union select task_id from flow_nodes where task_id is not null and flow_id in \
        (select flow_id from tasks where kind = 'flow' and ended_ms is null) \
    union select tasks.parent_id from tasks join wanted on tasks.id = wanted.id \
        where tasks.parent_id is not null) ";

/// Calls of unknown outcome whose run has ended lately, if nobody has looked since.
const UNKNOWN: &str = "select steps.run_id, steps.n from steps join runs on runs.id = steps.run_id \
    where steps.state = 'unknown' and runs.ended_ms >= ?1 and runs.outcome <> 'cancelled' \
    and not exists (select 1 from steps as later where later.run_id = steps.run_id \
                    and later.n > steps.n and later.kind = 'model' and later.state = 'done') \
    and not exists (select 1 from runs as other join steps as later on later.run_id = other.id \
                    where other.session_key = runs.session_key \
                    and other.session_id = runs.session_id and other.id <> runs.id \
                    and other.started_ms >= runs.ended_ms \
                    and later.kind = 'model' and later.state = 'done')";

/// Messages that open runs have sent.
const SENT: &str = "select steps.waits_on from steps join runs on runs.id = steps.run_id \
    where runs.ended_ms is null and steps.waits_on is not null";

/// Reads those rows of each table.
pub fn read(link: Link<'_>, since: Timestamp) -> Result<World, StoreError> {
    let since = since.ms();
    let tasks = format!(
        "{TASKS} select {} from tasks where id in (select id from wanted) order by id",
        columns!(tasks)
    );
    let inbox = format!(
        "{TASKS} select {} from inbox where state in ('queued', 'dead') or id in ({SENT}) \
         or (kind = 'announce' and task_id in (select id from wanted)) order by seq",
        columns!(inbox)
    );
    let runs = format!(
        "{TASKS} select {} from runs where ended_ms is null \
         or id in (select run_id from tasks where id in (select id from wanted)) \
         or id in (select run_id from inbox where id in ({SENT})) \
         or id in (select run_id from ({UNKNOWN})) order by id",
        columns!(runs)
    );
    let steps = format!(
        "select {} from steps where state in ('intent', 'waiting') \
         or (run_id, n) in ({UNKNOWN}) \
         or (waits_on is not null and run_id in (select id from runs where ended_ms is null)) \
         order by run_id, n",
        columns!(steps)
    );
    // Whoever may have to take something, with all above.
    let sessions = format!(
        "with recursive named(key) as ( \
            select key from sessions where kind = 'main' or open_run is not null \
            union select session_key from inbox where state in ('queued', 'dead') \
            union select session_key from tasks where ended_ms is null \
            union select requester_key from tasks where ended_ms is null \
            union select sessions.parent_key from sessions join named on sessions.key = named.key \
                where sessions.parent_key is not null) \
         select {} from sessions where key in (select key from named) order by key",
        columns!(sessions)
    );
    let flows = "select flow_id from tasks where kind = 'flow' and ended_ms is null";
    let nodes = format!(
        "select {} from flow_nodes where flow_id in ({flows}) order by flow_id, place",
        columns!(flow_nodes)
    );
    let edges = format!(
        "select flow_id, to_node, from_node from flow_edges where flow_id in ({flows}) \
         order by flow_id, to_node, (select place from flow_nodes as n \
         where n.flow_id = flow_edges.flow_id and n.node = flow_edges.from_node)"
    );
    let flows = format!("select {} from flows where id in ({flows}) order by id", columns!(flows));
    let all = |columns: &str, table: &str| format!("select {columns} from {table}");
    Ok(World {
        nodes: link.rows(&all(columns!(nodes), "nodes order by id"), [], columns::node)?,
        gates: link.rows(&all(columns!(gates), "gates"), [], columns::gate)?,
        timers: link.rows(&all(columns!(timers), "timers"), [], columns::timer)?,
        sessions: link.rows(&sessions, [], columns::session)?,
        tasks: link.rows(&tasks, params![since], columns::task)?,
        inbox: link.rows(&inbox, params![since], columns::inbox)?,
        runs: link.rows(&runs, params![since], columns::run)?,
        steps: link.rows(&steps, params![since], columns::step)?,
        flows: link.rows(&flows, [], columns::flow)?,
        flow_nodes: with_edges(
            link.rows(&nodes, [], columns::flow_node)?,
            link.rows(&edges, [], columns::flow_edge)?,
        ),
        ..World::default()
    })
}

/// Halts that are not proved, of one tree or of all, by run.
pub fn halts(
    link: Link<'_>,
    root: Option<&SessionKey>,
    limit: usize,
) -> Result<Vec<Halt>, StoreError> {
    let sql = concat!(
        "select ",
        columns!(halts),
        " from halts where state <> 'stopped' and (?1 is null or root_key = ?1) \
         order by run_id limit ?2"
    );
    link.rows(sql, params![root.map(Text), int(limit as u64)], columns::halt)
}

/// All entries, without their bodies.
pub fn heads(link: Link<'_>) -> Result<Vec<EntryHead>, StoreError> {
    let sql = "select session_id, seq, run_id, step_n, kind, call_id, tokens, silent \
               from entries order by session_id, seq";
    link.rows(sql, [], head)
}

fn head(c: &mut Columns<'_, '_>) -> rusqlite::Result<EntryHead> {
    Ok(EntryHead {
        session_id: columns::one(c)?,
        seq: c.get()?,
        run: columns::one(c)?,
        step: c.get()?,
        kind: columns::one(c)?,
        call_id: c.get()?,
        tokens: c.count()?,
        silent: c.get()?,
    })
}
