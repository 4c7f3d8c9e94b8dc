//! Rows of the open transaction, each by its key.

use machine::Rows;
use machine::rows::{
    Approval, Body, BudgetKey, BudgetRow, CommandRow, Entry, Episode, Flow, FlowNode, Gate,
    GateKey, Grant, Halt, InboxRow, JournalLine, Kept, Lane, LaneName, LedgerRow, Node, Repeats,
    Reservation, Run, Session, Step, Task, Timer, TimerKind, Transcript,
};
use rusqlite::params;
use types::{AgentId, ApprovalId, FlowId, Hash, NodeId, RunId, SessionId, SessionKey, TaskId};

use super::columns::{self, Text, columns, number};
use super::tx::{SqlTx, must};
use super::{approvals, ask, budget, kept, put};

macro_rules! by_key {
    ($table:ident, $where:literal) => {
        concat!("select ", columns!($table), " from ", stringify!($table), " where ", $where)
    };
}

impl Rows for SqlTx<'_> {
    fn lane(&mut self, name: LaneName) -> Option<Lane> {
        self.row(by_key!(lanes, "name = ?1"), [name.as_str()], columns::lane)
    }

    fn put_lane(&mut self, lane: &Lane) {
        must(put::lane(self.link, lane));
    }

    fn node(&mut self, id: NodeId) -> Option<Node> {
        self.row(by_key!(nodes, "id = ?1"), [Text(id)], columns::node)
    }

    fn put_node(&mut self, node: &Node) {
        must(put::node(self.link, node));
    }

    fn session(&mut self, key: &SessionKey) -> Option<Session> {
        self.row(by_key!(sessions, "key = ?1"), [Text(key)], columns::session)
    }

    fn put_session(&mut self, session: &Session) {
        must(put::session(self.link, session));
    }

    fn transcript(&mut self, id: SessionId) -> Option<Transcript> {
        self.row(by_key!(transcripts, "session_id = ?1"), [Text(id)], columns::transcript)
    }

    fn put_transcript(&mut self, transcript: &Transcript) {
        must(put::transcript(self.link, transcript));
    }

    fn episode(&mut self, (id, n): (SessionId, u32)) -> Option<Episode> {
        let sql = by_key!(episodes, "session_id = ?1 and n = ?2");
        self.row(sql, params![Text(id), n], columns::episode)
    }

    fn put_episode(&mut self, episode: &Episode) {
        must(put::episode(self.link, episode));
    }

    fn run(&mut self, id: RunId) -> Option<Run> {
        self.row(by_key!(runs, "id = ?1"), [Text(id)], columns::run)
    }

    fn put_run(&mut self, run: &Run) {
        must(put::run(self.link, run));
    }

    fn delete_run(&mut self, id: RunId) {
        must(self.link.run("delete from runs where id = ?1", [Text(id)]));
    }

    fn step(&mut self, (run, n): (RunId, u32)) -> Option<Step> {
        self.row(by_key!(steps, "run_id = ?1 and n = ?2"), params![Text(run), n], columns::step)
    }

    fn put_step(&mut self, step: &Step) {
        must(put::step(self.link, step));
    }

    fn task(&mut self, id: TaskId) -> Option<Task> {
        self.row(by_key!(tasks, "id = ?1"), [Text(id)], columns::task)
    }

    fn put_task(&mut self, task: &Task) {
        must(put::task(self.link, task));
    }

    fn inbox(&mut self, seq: i64) -> Option<InboxRow> {
        self.row(by_key!(inbox, "seq = ?1"), [seq], columns::inbox)
    }

    fn put_inbox(&mut self, row: &InboxRow) {
        must(put::inbox(self.link, row));
    }

    fn gate(&mut self, key: &GateKey) -> Option<Gate> {
        let sql = by_key!(gates, "provider = ?1 and account = ?2 and model = ?3");
        self.row(sql, params![key.provider, key.account, key.model], columns::gate)
    }

    fn put_gate(&mut self, gate: &Gate) {
        must(put::gate(self.link, gate));
    }

    fn approval(&mut self, id: ApprovalId) -> Option<Approval> {
        must(approvals::get(self.link, id))
    }

    fn put_approval(&mut self, approval: &Approval) {
        must(approvals::put(self.link, approval));
    }

    fn add_grant(&mut self, grant: &Grant) {
        must(approvals::add_grant(self.link, grant));
    }

    fn delete_grant(&mut self, agent: &AgentId, pattern: &str) -> bool {
        must(approvals::delete_grant(self.link, agent, pattern))
    }

    fn halt(&mut self, run: RunId) -> Option<Halt> {
        self.row(by_key!(halts, "run_id = ?1"), [Text(run)], columns::halt)
    }

    fn put_halt(&mut self, halt: &Halt) {
        must(put::halt(self.link, halt));
    }

    fn budget(&mut self, key: &BudgetKey) -> Option<BudgetRow> {
        must(budget::get(self.link, key))
    }

    fn put_budget(&mut self, row: &BudgetRow) {
        must(budget::put(self.link, row));
    }

    fn add_reservation(&mut self, row: &Reservation) {
        must(budget::reserve(self.link, row));
    }

    fn take_reservations(&mut self, run: RunId) -> Vec<Reservation> {
        must(budget::take(self.link, run))
    }

    fn next_inbox_seq(&mut self) -> i64 {
        let sql = "select coalesce(max(seq), 0) + 1 from inbox";
        self.row(sql, [], number).unwrap_or(1)
    }

    fn add_inbox(&mut self, row: &InboxRow, body: &str) {
        must(put::new_inbox(self.link, row, body));
    }

    fn add_entry(&mut self, entry: &Entry) {
        match &entry.body {
            Body::Text(text) | Body::Shortened { text, .. } => {
                must(put::entry(self.link, entry, text));
            }
            Body::Inbox(seq) => must(put::entry_from_inbox(self.link, entry, *seq)),
        }
    }

    fn add_ledger(&mut self, row: &LedgerRow) {
        must(put::ledger(self.link, row));
    }

    fn command(&mut self, session: &SessionKey, idem_key: &str) -> Option<CommandRow> {
        let sql = by_key!(commands, "session_key = ?1 and idem_key = ?2");
        self.row(sql, params![Text(session), idem_key], columns::command)
    }

    fn add_command(&mut self, row: &CommandRow) {
        must(put::command(self.link, row));
    }

    fn add_journal(&mut self, line: &JournalLine) {
        must(put::journal(self.link, line));
    }

    fn add_blob(&mut self, hash: Hash, data: &str) {
        must(put::blob(self.link, hash, data));
    }

    fn blob(&mut self, hash: Hash) -> Option<String> {
        self.row("select data from blobs where hash = ?1", [Text(hash)], number)
    }

    fn put_kept(&mut self, row: &Kept, text: &str) {
        must(kept::put(self.link, row, text));
    }

    fn repeats(&mut self, session: &SessionKey, call: Hash) -> Option<Repeats> {
        let sql = by_key!(repeats, "session_key = ?1 and call_hash = ?2");
        self.row(sql, params![Text(session), Text(call)], columns::repeats)
    }

    fn put_repeats(&mut self, row: &Repeats) {
        must(put::repeats(self.link, row));
    }

    fn clear_repeats(&mut self, root: &SessionKey) {
        must(self.link.run("delete from repeats where root_key = ?1", [Text(root)]));
    }

    fn clear_looks(&mut self, session: &SessionKey) {
        let sql = "delete from repeats where session_key = ?1 and looks = 1";
        must(self.link.run(sql, [Text(session)]));
    }

    fn inbox_body(&mut self, seq: i64) -> Option<String> {
        self.row("select body from inbox where seq = ?1", [seq], number)
    }

    fn add_flow(&mut self, flow: &Flow, nodes: &[FlowNode]) {
        must(put::flow(self.link, flow));
        for node in nodes {
            must(put::new_flow_node(self.link, node));
        }
        for node in nodes {
            must(put::flow_edges(self.link, node));
        }
    }

    fn flow(&mut self, id: FlowId) -> Option<Flow> {
        self.row(by_key!(flows, "id = ?1"), [Text(id)], columns::flow)
    }

    fn flow_nodes(&mut self, id: FlowId) -> Vec<FlowNode> {
        must(ask::flow_nodes(self.link, id))
    }

    fn put_flow_node(&mut self, node: &FlowNode) {
        must(put::flow_node(self.link, node));
    }

    fn put_timer(&mut self, timer: &Timer) {
        must(put::timer(self.link, timer));
    }

    fn delete_timer(&mut self, kind: TimerKind, subject: &str) {
        let sql = "delete from timers where kind = ?1 and subject = ?2";
        must(self.link.run(sql, [kind.as_str(), subject]));
    }
}
