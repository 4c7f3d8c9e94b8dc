//! How rows are written. A row that is there is changed in its mutable columns only, and a change
//! that would go back in a run's life is refused.

use machine::rows::{
    CommandRow, Entry, Episode, Flow, FlowNode, Gate, Halt, InboxRow, JournalLine, Lane, LedgerRow,
    Node, Repeats, Run, Session, Step, Task, Timer, Transcript,
};
use rusqlite::params;
use types::Hash;

use super::change::{RUNS, SESSIONS, STEPS, TASKS, TRANSCRIPTS};
use super::columns::{Text, columns, int};
use super::link::Link;
use crate::error::StoreError;

type Put = Result<(), StoreError>;

/// A value as it is kept in a column of JSON.
fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("a row's value has string keys")
}

/// One row must have been written, or the caller's idea of the rows is wrong.
fn one(changed: usize, what: impl FnOnce() -> String) -> Put {
    if changed == 1 { Ok(()) } else { Err(StoreError::Broken(what())) }
}

/// `insert … on conflict do update` over the columns of a table.
macro_rules! upsert {
    ($table:ident, $values:literal, $key:literal, $set:literal) => {
        concat!(
            "insert into ",
            stringify!($table),
            " (",
            columns!($table),
            ") values (",
            $values,
            ") on conflict (",
            $key,
            ") do update set ",
            $set
        )
    };
}

macro_rules! insert {
    ($table:ident, $values:literal) => {
        concat!(
            "insert into ",
            stringify!($table),
            " (",
            columns!($table),
            ") values (",
            $values,
            ")"
        )
    };
}

pub fn lane(link: Link<'_>, row: &Lane) -> Put {
    let sql = upsert!(
        lanes,
        "?1, ?2, ?3, ?4",
        "name",
        "capacity = excluded.capacity, vtime = excluded.vtime, generation = excluded.generation"
    );
    let params = params![row.name.as_str(), row.capacity, row.vtime, row.generation];
    link.run(sql, params).map(drop)
}

pub fn node(link: Link<'_>, row: &Node) -> Put {
    let sql = upsert!(
        nodes,
        "?1, ?2, ?3, ?4, ?5, ?6, ?7",
        "id",
        "state = excluded.state, beat_ms = excluded.beat_ms, \
         lease_until_ms = excluded.lease_until_ms"
    );
    let params = params![
        Text(row.id),
        row.pid,
        row.version,
        row.state.as_str(),
        row.beat.ms(),
        row.lease_until.ms(),
        row.started.ms(),
    ];
    link.run(sql, params).map(drop)
}

pub fn session(link: Link<'_>, row: &Session) -> Put {
    let params = params![
        Text(&row.key),
        Text(row.session_id),
        row.agent.as_str(),
        row.owner,
        row.parent_key.as_ref().map(Text),
        Text(&row.root_key),
        row.depth,
        row.lifecycle.as_str(),
        row.open_run.map(Text),
        row.label,
        row.model,
        row.cwd,
        row.rev,
        row.created.ms(),
        row.active.ms(),
        row.archived.map(|at| at.ms()),
        row.access.as_str(),
        row.policy_hash.map(Text),
        row.pool_key.map(Text),
        row.declared.map(|word| word.as_str()),
        row.queue.mode.map(|mode| mode.as_str()),
        row.deleted.map(|at| at.ms()),
        // It follows from the key, and is there for lists.
        row.key.scope.kind().as_str(),
        row.queue.debounce_ms,
        row.queue.cap,
        row.queue.drop.map(|drop| drop.as_str()),
        row.thinking.map(|level| level.as_str()),
        row.reasoning.as_str(),
        row.card.map(Text),
        row.footer.as_str(),
    ];
    SESSIONS.put(link, params).map(drop)
}

pub fn transcript(link: Link<'_>, row: &Transcript) -> Put {
    let params = params![
        Text(row.session_id),
        Text(&row.session_key),
        row.next_seq,
        row.episode,
        int(row.context_tokens),
        row.started.ms(),
        row.base.map(|base| Text(base.session_id)),
        row.base.map(|base| base.first_seq),
        row.base.map(|base| base.last_seq),
        row.base.map_or(1, |base| base.episode),
        row.ended.map(|(at, _)| at.ms()),
        row.ended.map(|(_, why)| why.as_str()),
        json(&row.gauge),
    ];
    TRANSCRIPTS.put(link, params).map(drop)
}

pub fn episode(link: Link<'_>, row: &Episode) -> Put {
    let sql = upsert!(
        episodes,
        "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12",
        "session_id, n",
        "prefix_hash = excluded.prefix_hash, prefix_tokens = excluded.prefix_tokens, \
         pinned_ms = excluded.pinned_ms"
    );
    let params = params![
        Text(row.session_id),
        row.n,
        row.first_seq,
        row.prefix_hash.map(Text),
        int(row.prefix_tokens),
        row.at.ms(),
        row.reason.as_str(),
        row.pinned.map(|at| at.ms()),
        row.head.map(Text),
        row.anchor,
        row.clip.map(|clip| clip.before),
        row.clip.map(|clip| int(clip.bytes)),
    ];
    link.run(sql, params).map(drop)
}

pub fn task(link: Link<'_>, row: &Task) -> Put {
    let params = params![
        Text(row.id),
        Text(&row.requester_key),
        row.parent.map(Text),
        Text(&row.root_key),
        row.depth,
        Text(&row.session_key),
        Text(row.run),
        row.task_name,
        row.label,
        row.idem_key,
        Text(row.dup_hash),
        row.announce.as_str(),
        row.cleanup.as_str(),
        row.origin,
        row.waited_by.map(Text),
        row.cancelled.map(|at| at.ms()),
        row.outcome.map(|outcome| outcome.as_str()),
        row.result_hash.map(Text),
        row.created.ms(),
        row.ended.map(|at| at.ms()),
        row.kind.as_str(),
        row.deliverables.as_ref().map(json),
        row.attempt,
        row.flow.map(Text),
        row.node,
        row.retry_of.map(Text),
    ];
    one(TASKS.put(link, params)?, || format!("{} would get another outcome", row.id))
}

pub fn run(link: Link<'_>, row: &Run) -> Put {
    let params = params![
        Text(row.id),
        row.wire_id,
        Text(&row.session_key),
        Text(row.session_id),
        row.task.map(Text),
        row.lane.as_str(),
        Text(&row.root_key),
        row.phase.word(),
        row.phase.wait_kind().map(|kind| kind.as_str()),
        row.phase.outcome().map(|outcome| outcome.as_str()),
        row.wait_need,
        row.rank,
        row.slot,
        row.node.map(Text),
        row.generation,
        row.nonce,
        row.next_step,
        row.recoveries,
        row.retries,
        row.model,
        row.origin,
        row.timeout_ms,
        row.deadline.map(|at| at.ms()),
        int(row.usage.input),
        int(row.usage.output),
        int(row.usage.cache_read),
        int(row.usage.cache_write),
        row.error_class.map(|class| class.as_str()),
        row.error,
        row.queued.ms(),
        row.started.map(|at| at.ms()),
        row.ended.map(|at| at.ms()),
        row.hops,
        row.lined.map(|at| at.ms()),
        int(row.cost.0),
        row.budget.as_ref().map(Text),
        row.background,
        row.asked,
        row.answered,
        row.switched,
    ];
    one(RUNS.put(link, params)?, || format!("{} would go back in its life", row.id))
}

pub fn halt(link: Link<'_>, row: &Halt) -> Put {
    let sql = upsert!(
        halts,
        "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8",
        "run_id",
        "state = excluded.state, looked_ms = excluded.looked_ms, pids = excluded.pids, \
         calls = excluded.calls, looks = excluded.looks"
    );
    let params = params![
        Text(row.run),
        Text(&row.root_key),
        row.state.as_str(),
        row.asked.ms(),
        row.looked.map(|at| at.ms()),
        json(&row.pids),
        row.calls,
        row.looks,
    ];
    one(link.run(sql, params)?, || format!("{} would be halted twice", row.run))
}

pub fn gate(link: Link<'_>, row: &Gate) -> Put {
    let sql = upsert!(
        gates,
        "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13",
        "provider, account, model",
        "state = excluded.state, kind = excluded.kind, reopen_ms = excluded.reopen_ms, \
         probe_run = excluded.probe_run, strikes = excluded.strikes, \
         closed_ms = excluded.closed_ms, reason = excluded.reason, \
         window_ms = excluded.window_ms, requests = excluded.requests, tokens = excluded.tokens"
    );
    let params = params![
        row.key.provider,
        row.key.account,
        row.key.model,
        row.state.as_str(),
        row.kind.map(|kind| kind.as_str()),
        row.reopen.map(|at| at.ms()),
        row.probe.map(Text),
        row.strikes,
        row.closed.map(|at| at.ms()),
        row.reason,
        row.window.ms(),
        row.requests,
        int(row.tokens),
    ];
    link.run(sql, params).map(drop)
}

pub fn step(link: Link<'_>, row: &Step) -> Put {
    let params = params![
        Text(row.run),
        row.n,
        row.kind.as_str(),
        row.asked_by,
        row.name,
        row.call_id,
        row.args_hash.map(Text),
        row.effect.map(|effect| effect.as_str()),
        row.state.as_str(),
        row.result_hash.map(Text),
        row.model,
        row.started.ms(),
        row.ended.map(|at| at.ms()),
        row.waits_on.map(Text),
        row.purpose.as_str(),
    ];
    one(STEPS.put(link, params)?, || format!("step {} of {} would change its end", row.n, row.run))
}

pub fn inbox(link: Link<'_>, row: &InboxRow) -> Put {
    let sql = "update inbox set state = ?2, place = ?3, run_id = ?4, done_ms = ?5 where seq = ?1";
    let params = params![
        row.seq,
        row.state.as_str(),
        row.place.as_str(),
        row.run.map(Text),
        row.done.map(|at| at.ms()),
    ];
    one(link.run(sql, params)?, || format!("there is no inbox row {}", row.seq))
}

pub fn new_inbox(link: Link<'_>, row: &InboxRow, body: &str) -> Put {
    let sql = concat!(
        "insert into inbox (",
        columns!(inbox),
        ", body) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, \
         ?17, ?18, ?19)"
    );
    let params = params![
        row.seq,
        Text(row.id),
        Text(&row.session_key),
        row.kind.as_str(),
        row.place.as_str(),
        row.idem_key,
        Text(row.body_hash),
        int(row.tokens),
        row.origin,
        row.task.map(Text),
        row.state.as_str(),
        row.run.map(Text),
        row.timeout_ms,
        row.at.ms(),
        row.done.map(|at| at.ms()),
        row.sender.as_ref().map(Text),
        row.hops,
        row.watch,
        body,
    ];
    link.run(sql, params).map(drop)
}

pub fn entry(link: Link<'_>, row: &Entry, body: &str) -> Put {
    let sql = insert!(entries, "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10");
    let params = params![
        Text(row.session_id),
        row.seq,
        Text(row.run),
        row.step,
        row.kind.as_str(),
        row.call_id,
        body,
        int(row.tokens),
        row.at.ms(),
        row.silent,
    ];
    link.run(sql, params).map(drop)
}

/// The body moves inside the database.
pub fn entry_from_inbox(link: Link<'_>, row: &Entry, inbox: i64) -> Put {
    let sql = concat!(
        "insert into entries (",
        columns!(entries),
        ") select ?1, ?2, ?3, ?4, ?5, ?6, body, ?7, ?8, ?9 from inbox where seq = ?10"
    );
    let params = params![
        Text(row.session_id),
        row.seq,
        Text(row.run),
        row.step,
        row.kind.as_str(),
        row.call_id,
        int(row.tokens),
        row.at.ms(),
        row.silent,
        inbox,
    ];
    one(link.run(sql, params)?, || format!("there is no inbox row {inbox} to take a body from"))
}

pub fn ledger(link: Link<'_>, row: &LedgerRow) -> Put {
    let sql = insert!(
        ledger,
        "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17"
    );
    let params = params![
        Text(row.run),
        row.step,
        Text(&row.session_key),
        Text(row.session_id),
        row.agent.as_str(),
        row.task.map(Text),
        Text(&row.root_key),
        row.model,
        int(row.usage.input),
        int(row.usage.output),
        int(row.usage.cache_read),
        int(row.usage.cache_write),
        row.estimated,
        row.at.ms(),
        int(row.cost.0),
        row.priced,
        row.price_id,
    ];
    link.run(sql, params).map(drop)
}

pub fn command(link: Link<'_>, row: &CommandRow) -> Put {
    let sql = insert!(commands, "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9");
    let params = params![
        Text(&row.session_key),
        row.idem_key,
        Text(row.session_id),
        row.before_seq,
        row.text,
        row.answer,
        row.is_error,
        json(&row.listed),
        row.at.ms(),
    ];
    link.run(sql, params).map(drop)
}

pub fn journal(link: Link<'_>, row: &JournalLine) -> Put {
    let sql = insert!(journal, "?1, ?2, ?3, ?4, ?5");
    let params =
        params![row.kind, row.subject, row.root_key.as_ref().map(Text), row.detail, row.at.ms()];
    link.run(sql, params).map(drop)
}

pub fn blob(link: Link<'_>, hash: Hash, data: &str) -> Put {
    let sql = "insert into blobs (hash, bytes, data) values (?1, ?2, ?3) \
               on conflict (hash) do nothing";
    link.run(sql, params![Text(hash), int(data.len() as u64), data]).map(drop)
}

pub fn flow(link: Link<'_>, row: &Flow) -> Put {
    let sql = insert!(flows, "?1, ?2, ?3, ?4, ?5, ?6, ?7");
    let params = params![
        Text(row.id),
        Text(row.task),
        row.name,
        row.max_parallel,
        row.on_failure.as_str(),
        Text(row.definition),
        row.created.ms(),
    ];
    link.run(sql, params).map(drop)
}

pub fn new_flow_node(link: Link<'_>, row: &FlowNode) -> Put {
    let sql = insert!(
        flow_nodes,
        "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16"
    );
    let params = params![
        Text(row.flow),
        Text(&row.name),
        row.place,
        row.agent.as_str(),
        Text(row.brief),
        row.label,
        row.session_key.as_ref().map(Text),
        row.access.as_str(),
        row.model,
        row.retries,
        row.timeout_ms,
        row.state.as_str(),
        row.attempt,
        row.task.map(Text),
        row.error,
        row.budget.as_ref().map(json),
    ];
    link.run(sql, params).map(drop)
}

/// What a node waits for. All nodes must be there.
pub fn flow_edges(link: Link<'_>, row: &FlowNode) -> Put {
    let sql = "insert into flow_edges (flow_id, from_node, to_node) values (?1, ?2, ?3)";
    for needed in &row.after {
        link.run(sql, params![Text(row.flow), Text(needed), Text(&row.name)])?;
    }
    Ok(())
}

pub fn flow_node(link: Link<'_>, row: &FlowNode) -> Put {
    let sql = "update flow_nodes set state = ?3, attempt = ?4, task_id = ?5, error = ?6 \
               where flow_id = ?1 and node = ?2 \
               and (state in ('pending', 'running') or state = ?3)";
    let params = params![
        Text(row.flow),
        Text(&row.name),
        row.state.as_str(),
        row.attempt,
        row.task.map(Text),
        row.error,
    ];
    one(link.run(sql, params)?, || format!("{} of {} would change its end", row.name, row.flow))
}

pub fn repeats(link: Link<'_>, row: &Repeats) -> Put {
    let sql = upsert!(
        repeats,
        "?1, ?2, ?3, ?4, ?5, ?6",
        "session_key, call_hash",
        "result_hash = excluded.result_hash, count = excluded.count, looks = excluded.looks"
    );
    let (session, root) = (Text(&row.session_key), Text(&row.root_key));
    let (call, result) = (Text(row.call_hash), Text(row.result_hash));
    link.run(sql, params![session, call, root, result, row.count, row.looks]).map(drop)
}

pub fn timer(link: Link<'_>, row: &Timer) -> Put {
    let sql = upsert!(timers, "?1, ?2, ?3", "kind, subject", "due_ms = excluded.due_ms");
    link.run(sql, params![row.kind.as_str(), row.subject, row.due.ms()]).map(drop)
}
