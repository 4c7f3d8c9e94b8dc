//! The open transaction of a SQLite file, as the machine sees it.
//!
//! Whatever goes wrong unwinds with a [`StoreError`]: see [`machine::Tx`].

use std::panic::resume_unwind;

use machine::Tx;
use machine::rows::{Approval, BudgetKey, EntryMark, GateKey, Grant, Halt, LaneName, Timer};
use rusqlite::params;
use types::{
    AgentId, FlowId, Hash, MessageId, NodeId, RunId, SessionId, SessionKey, Spend, TaskId,
    Timestamp,
};

use super::budget;
use super::columns::{self, Text, columns, int, number};
use super::link::{Link, Read};
use super::{approvals, kept, open_rows};
use crate::commit::Savepoints;
use crate::error::StoreError;

/// A transaction that has begun on this connection.
#[derive(Debug)]
pub struct SqlTx<'c> {
    pub link: Link<'c>,
}

/// Lists without a bound of their own are bounded by the limits on spawns. More than this many
/// would be a bug there.
const ROWS_MAX: usize = 100_000;

fn bound(limit: usize) -> i64 {
    int(limit.min(ROWS_MAX) as u64)
}

pub(super) fn must<T>(result: Result<T, StoreError>) -> T {
    result.unwrap_or_else(|error| resume_unwind(Box::new(error)))
}

impl SqlTx<'_> {
    pub(super) fn row<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: Read<T>,
    ) -> Option<T> {
        must(self.link.row(sql, params, read))
    }

    pub(super) fn rows<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: Read<T>,
    ) -> Vec<T> {
        must(self.link.rows(sql, params, read))
    }
}

impl Savepoints for SqlTx<'_> {
    fn savepoint(&mut self) -> Result<(), StoreError> {
        self.link.run("savepoint event", []).map(drop)
    }

    fn release(&mut self) -> Result<(), StoreError> {
        self.link.run("release event", []).map(drop)
    }

    fn roll_back(&mut self) -> Result<(), StoreError> {
        self.link.run("rollback to event", [])?;
        self.release()
    }

    fn next_wake(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let due = self.link.row("select min(due_ms) from timers", [], number::<Option<i64>>)?;
        Ok(due.flatten().map(Timestamp))
    }
}

impl Tx for SqlTx<'_> {
    fn pending_approvals(&mut self, run: RunId) -> Vec<Approval> {
        must(approvals::pending(self.link, run))
    }

    fn grants(&mut self, agent: &AgentId, limit: usize) -> Vec<Grant> {
        must(approvals::grants(self.link, Some(agent), limit))
    }

    fn open_halts(&mut self, root: Option<&SessionKey>, limit: usize) -> Vec<Halt> {
        must(open_rows::halts(self.link, root, limit))
    }

    fn spent(&mut self, key: &BudgetKey) -> Spend {
        must(budget::spent(self.link, key))
    }

    fn budgeted_runs(&mut self, key: &BudgetKey, limit: usize) -> Vec<RunId> {
        must(budget::waiting(self.link, key, bound(limit)))
    }

    fn budgets_waited_for(&mut self) -> Vec<BudgetKey> {
        must(budget::waited_for(self.link))
    }

    fn answer_before(&mut self, run: RunId, step: u32) -> Option<(u32, String)> {
        let sql = "select step_n, body from entries where run_id = ?1 and kind = 'assistant' \
                   and silent = 0 and step_n < ?2 order by step_n desc limit 1";
        self.row(sql, params![Text(run), step], |c| Ok((c.get()?, c.get()?)))
    }

    fn open_flows(&mut self, after: Option<FlowId>, limit: usize) -> Vec<FlowId> {
        let sql = "select flow_id from tasks where kind = 'flow' and ended_ms is null \
                   and flow_id > ?1 order by flow_id limit ?2";
        let after = after.map_or_else(String::new, |id| id.to_string());
        self.rows(sql, params![after, bound(limit)], columns::one)
    }

    fn inbox_by_idem(&mut self, session: &SessionKey, idem_key: &str) -> Option<i64> {
        let sql = "select seq from inbox where session_key = ?1 and idem_key = ?2";
        self.row(sql, params![Text(session), idem_key], number)
    }

    fn inbox_by_id(&mut self, message: MessageId) -> Option<i64> {
        self.row("select seq from inbox where id = ?1", [Text(message)], number)
    }

    fn heard_by(&mut self, run: RunId) -> Vec<i64> {
        let sql = "select seq from inbox where run_id = ?1 and state = 'consumed' \
                   and kind = 'agent' order by seq";
        self.rows(sql, [Text(run)], number)
    }

    fn queued_rows(&mut self, session: &SessionKey, limit: usize) -> Vec<i64> {
        let sql = "select seq from inbox where session_key = ?1 and state = 'queued' \
                   order by seq limit ?2";
        self.rows(sql, params![Text(session), bound(limit)], number)
    }

    fn dead_rows(&mut self, session: &SessionKey, limit: usize) -> Vec<i64> {
        let sql = "select seq from inbox where state = 'dead' and session_key = ?1 \
                   order by seq limit ?2";
        self.rows(sql, params![Text(session), bound(limit)], number)
    }

    fn run_by_wire_id(&mut self, wire_id: &str) -> Option<RunId> {
        self.row("select id from runs where wire_id = ?1", [wire_id], columns::one)
    }

    fn open_steps(&mut self, run: RunId) -> Vec<u32> {
        let sql = "select n from steps where run_id = ?1 and state = 'intent' order by n";
        self.rows(sql, [Text(run)], number)
    }

    fn waiting_steps(&mut self, run: RunId) -> Vec<u32> {
        let sql = "select n from steps where run_id = ?1 and state = 'waiting' order by n";
        self.rows(sql, [Text(run)], number)
    }

    fn messages_of(&mut self, run: RunId) -> Vec<MessageId> {
        let sql = "select waits_on from steps where run_id = ?1 and waits_on is not null \
                   order by n";
        self.rows(sql, [Text(run)], columns::one)
    }

    fn step_that_sent(&mut self, message: MessageId) -> Option<(RunId, u32)> {
        let sql = "select run_id, n from steps where waits_on = ?1";
        self.row(sql, [Text(message)], |c| Ok((columns::one(c)?, c.get()?)))
    }

    fn sessions_labelled(&mut self, owner: &str, label: &str, limit: usize) -> Vec<SessionKey> {
        let sql = "select key from sessions where label = ?1 and owner = ?2 order by key limit ?3";
        self.rows(sql, params![label, owner, bound(limit)], columns::one)
    }

    fn open_children(&mut self, requester: &SessionKey) -> Vec<TaskId> {
        let sql = "select id from tasks where requester_key = ?1 and ended_ms is null \
                   and kind <> 'flow_node' order by id";
        self.rows(sql, [Text(requester)], columns::one)
    }

    fn count_open_children(&mut self, requester: &SessionKey) -> u32 {
        let sql = "select count(*) from tasks where requester_key = ?1 and ended_ms is null \
                   and kind <> 'flow_node'";
        self.row(sql, [Text(requester)], number).unwrap_or(0)
    }

    fn open_tasks_by_hash(&mut self, requester: &SessionKey, dup_hash: Hash) -> Vec<TaskId> {
        let sql = "select id from tasks where requester_key = ?1 and dup_hash = ?2 \
                   and ended_ms is null order by id";
        self.rows(sql, params![Text(requester), Text(dup_hash)], columns::one)
    }

    fn open_task_by_name(&mut self, requester: &SessionKey, name: &str) -> Option<TaskId> {
        let sql = "select id from tasks where requester_key = ?1 and task_name = ?2 \
                   and ended_ms is null";
        self.row(sql, params![Text(requester), name], columns::one)
    }

    fn last_task_by_name(&mut self, requester: &SessionKey, name: &str) -> Option<TaskId> {
        let sql = "select id from tasks where requester_key = ?1 and task_name = ?2 \
                   order by id desc limit 1";
        self.row(sql, params![Text(requester), name], columns::one)
    }

    fn last_task_by_hash(&mut self, requester: &SessionKey, dup_hash: Hash) -> Option<TaskId> {
        let sql = "select id from tasks where requester_key = ?1 and dup_hash = ?2 \
                   order by id desc limit 1";
        self.row(sql, params![Text(requester), Text(dup_hash)], columns::one)
    }

    fn task_by_idem(&mut self, requester: &SessionKey, idem_key: &str) -> Option<TaskId> {
        let sql = "select id from tasks where requester_key = ?1 and idem_key = ?2";
        self.row(sql, params![Text(requester), idem_key], columns::one)
    }

    fn task_of_session(&mut self, session: &SessionKey) -> Option<TaskId> {
        let sql = "select id from tasks where session_key = ?1 and kind <> 'flow' \
                   order by id desc limit 1";
        self.row(sql, [Text(session)], columns::one)
    }

    fn tasks_of_session(&mut self, session: &SessionKey, limit: usize) -> Vec<TaskId> {
        let sql = "select id from tasks where session_key = ?1 and kind <> 'flow' \
                   order by id desc limit ?2";
        self.rows(sql, params![Text(session), bound(limit)], columns::one)
    }

    fn attempt_after(&mut self, task: TaskId) -> Option<TaskId> {
        self.row("select id from tasks where retry_of = ?1", [Text(task)], columns::one)
    }

    fn pooled(&mut self, pool_key: Hash, since: Timestamp, limit: usize) -> Vec<SessionKey> {
        let sql = "select key from sessions where pool_key = ?1 and active_ms >= ?2 \
                   and pool_key is not null and open_run is null and lifecycle = 'open' \
                   order by active_ms desc, key limit ?3";
        self.rows(sql, params![Text(pool_key), since.ms(), bound(limit)], columns::one)
    }

    fn seq_of_step(&mut self, run: RunId, step: u32) -> Option<i64> {
        let sql = "select seq from entries where run_id = ?1 and step_n = ?2";
        self.row(sql, params![Text(run), step], number)
    }

    fn marks(&mut self, id: SessionId, first: i64, before: i64, limit: usize) -> Vec<EntryMark> {
        let sql = "select seq, kind, tokens, silent from entries \
                   where session_id = ?1 and seq >= ?2 and seq < ?3 order by seq desc limit ?4";
        self.rows(sql, params![Text(id), first, before, bound(limit)], |c| {
            Ok(EntryMark { seq: c.get()?, kind: c.parsed()?, tokens: c.count()?, silent: c.get()? })
        })
    }

    fn tokens_between(&mut self, id: SessionId, first: i64, last: i64) -> u64 {
        let sql = "select coalesce(sum(tokens), 0) from entries \
                   where session_id = ?1 and seq between ?2 and ?3 and silent = 0";
        let sum = self.row(sql, params![Text(id), first, last], number::<i64>);
        sum.and_then(|sum| u64::try_from(sum).ok()).unwrap_or(0)
    }

    fn open_tasks_of_tree(&mut self, root: &SessionKey) -> u32 {
        let sql = "select (select count(*) from tasks where root_key = ?1 and ended_ms is null) \
                   + (select count(*) from flow_nodes where state = 'pending' and flow_id in \
                      (select flow_id from tasks indexed by tasks_open_flows \
                       where kind = 'flow' and ended_ms is null and root_key = ?1))";
        self.row(sql, [Text(root)], number).unwrap_or(0)
    }

    fn queued_runs(&mut self, lane: LaneName, limit: usize) -> Vec<RunId> {
        let sql = "select id from runs where lane = ?1 and phase = 'queued' and rank is not null \
                   order by rank, id limit ?2";
        self.rows(sql, params![lane.as_str(), bound(limit)], columns::one)
    }

    fn last_rank(&mut self, lane: LaneName, root: &SessionKey) -> Option<i64> {
        let sql = "select max(rank) from runs where lane = ?1 and root_key = ?2 \
                   and phase = 'queued' and rank is not null";
        self.row(sql, params![lane.as_str(), Text(root)], number::<Option<i64>>).flatten()
    }

    fn held_slots(&mut self, lane: LaneName) -> Vec<u32> {
        let sql = "select slot from runs where lane = ?1 and slot is not null order by slot";
        self.rows(sql, [lane.as_str()], number)
    }

    fn slot_holders(&mut self, lane: LaneName) -> Vec<RunId> {
        let sql = "select id from runs where lane = ?1 and slot is not null order by slot";
        self.rows(sql, [lane.as_str()], columns::one)
    }

    fn place_in_line(&mut self, lane: LaneName, rank: i64, run: RunId) -> u32 {
        let sql = "select count(*) + 1 from runs where lane = ?1 and phase = 'queued' \
                   and rank is not null and (rank < ?2 or rank = ?2 and id < ?3)";
        self.row(sql, params![lane.as_str(), rank, Text(run)], number).unwrap_or(1)
    }

    fn gated_runs(&mut self, model: &str, limit: usize) -> Vec<RunId> {
        let sql = "select id from runs where model = ?1 and wait_kind = 'gate' \
                   order by id limit ?2";
        self.rows(sql, params![model, bound(limit)], columns::one)
    }

    fn gated_models(&mut self) -> Vec<String> {
        let sql = "select distinct model from runs where wait_kind = 'gate' order by model";
        self.rows(sql, [], number)
    }

    fn open_calls(&mut self, account: &GateKey) -> u32 {
        // An account of its own is named at the end, and the provider's own key is not.
        let sql = "select count(*) from steps where state = 'intent' and kind = 'model' \
                   and substr(model, 1, length(?1)) = ?1 \
                   and case ?2 when '' then instr(model, '#') = 0 \
                   else substr(model, -length(?2)) = ?2 end";
        self.row(sql, [account.prefix(), account.suffix()], number).unwrap_or(0)
    }

    fn forget_inbox(&mut self, before: Timestamp, limit: usize) -> usize {
        let sql = "delete from inbox where seq in ( \
                   select i.seq from inbox as i \
                   left join runs as r on r.id = i.run_id \
                   left join tasks as t on t.id = i.task_id \
                   where i.state in ('consumed', 'dropped', 'cancelled') and i.done_ms < ?1 \
                   and (r.id is null or r.ended_ms < ?1) \
                   and (t.id is null or t.ended_ms < ?1) \
                   and i.seq < (select max(seq) from inbox) \
                   order by i.done_ms, i.seq limit ?2)";
        must(self.link.run(sql, params![before.ms(), bound(limit)]))
    }

    fn forget_journal(&mut self, before: Timestamp, limit: usize) -> usize {
        let sql = "delete from journal where seq in ( \
                   select seq from journal order by seq limit ?2) \
                   and at_ms < ?1 and seq < (select max(seq) from journal)";
        must(self.link.run(sql, params![before.ms(), bound(limit)]))
    }

    fn forget_kept(&mut self, before: Timestamp, limit: usize) -> usize {
        must(kept::forget(self.link, before, bound(limit)))
    }

    fn stranded_runs(&mut self, node: NodeId, limit: usize) -> Vec<RunId> {
        let sql = "select id from runs where slot is not null and node_id <> ?1 \
                   order by lane, slot limit ?2";
        self.rows(sql, params![Text(node), bound(limit)], columns::one)
    }

    fn other_nodes(&mut self, node: NodeId, limit: usize) -> Vec<NodeId> {
        let sql = "select id from nodes where state <> 'down' and id <> ?1 order by id limit ?2";
        self.rows(sql, params![Text(node), bound(limit)], columns::one)
    }

    fn lines_since_start(&mut self, kind: &str, limit: usize) -> Vec<(String, String)> {
        // The kinds are written out, so that the small index of restarts serves.
        let sql = "select subject, detail from journal where kind = ?1 \
                   and kind in ('node.started', 'node.lost', 'run.recovered') \
                   and seq > (select coalesce(max(seq), 0) from journal where \
                              kind in ('node.started', 'node.lost', 'run.recovered') \
                              and kind = 'node.started') \
                   order by seq limit ?2";
        self.rows(sql, params![kind, bound(limit)], |c| Ok((c.get()?, c.get()?)))
    }

    fn cancelled_open_tasks(&mut self, limit: usize) -> Vec<TaskId> {
        let sql = "select id from tasks as t where t.ended_ms is null and (t.cancel_ms is not null \
                   or exists (select 1 from tasks as p \
                              where p.id = t.parent_id and p.cancel_ms is not null)) \
                   order by id limit ?1";
        self.rows(sql, [bound(limit)], columns::one)
    }

    fn orphans(&mut self) -> Vec<TaskId> {
        let sql = "select t.id from tasks as t join tasks as p on p.id = t.parent_id \
                   where t.ended_ms is null and p.ended_ms is not null order by t.id";
        self.rows(sql, [], columns::one)
    }

    fn due_timers(&mut self, now: Timestamp, limit: usize) -> Vec<Timer> {
        let sql = concat!(
            "select ",
            columns!(timers),
            " from timers where due_ms <= ?1 order by due_ms, kind, subject limit ?2"
        );
        self.rows(sql, params![now.ms(), bound(limit)], columns::timer)
    }
}
