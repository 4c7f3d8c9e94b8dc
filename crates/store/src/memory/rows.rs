//! Rows of the machine's transaction on the tables in memory, each by its key.

use machine::Rows;
use machine::rows::{
    Approval, BudgetKey, BudgetRow, CommandRow, Entry, Episode, Flow, FlowNode, Gate, GateKey,
    Grant, Halt, InboxRow, JournalLine, Kept, Lane, LaneName, LedgerRow, Node, Repeats,
    Reservation, Run, Session, Step, Task, Timer, TimerKind, Transcript,
};
use types::{AgentId, ApprovalId, FlowId, Hash, NodeId, RunId, SessionId, SessionKey, TaskId};

use super::tables::Tables;
use crate::view::JournalView;

impl Tables {
    fn forget_repeats(&mut self, whose: impl Fn(&Repeats) -> bool) {
        let rows = self.repeats.values().filter(|row| whose(row));
        let keys: Vec<_> = rows.map(|row| (row.session_key.clone(), row.call_hash)).collect();
        keys.iter().for_each(|key| self.repeats.remove(key));
    }
}

impl Rows for Tables {
    fn lane(&mut self, name: LaneName) -> Option<Lane> {
        self.lanes.get(&name).cloned()
    }

    fn put_lane(&mut self, lane: &Lane) {
        self.lanes.put(lane.name, lane.clone());
    }

    fn node(&mut self, id: NodeId) -> Option<Node> {
        self.nodes.get(&id).cloned()
    }

    fn put_node(&mut self, node: &Node) {
        self.nodes.put(node.id, node.clone());
    }

    fn session(&mut self, key: &SessionKey) -> Option<Session> {
        self.sessions.get(key).cloned()
    }

    fn put_session(&mut self, session: &Session) {
        self.write_session(session);
    }

    fn transcript(&mut self, id: SessionId) -> Option<Transcript> {
        self.transcripts.get(&id).cloned()
    }

    fn put_transcript(&mut self, transcript: &Transcript) {
        self.transcripts.put(transcript.session_id, transcript.clone());
    }

    fn episode(&mut self, key: (SessionId, u32)) -> Option<Episode> {
        self.episodes.get(&key).cloned()
    }

    fn put_episode(&mut self, episode: &Episode) {
        self.episodes.put((episode.session_id, episode.n), episode.clone());
    }

    fn run(&mut self, id: RunId) -> Option<Run> {
        self.runs.get(&id).cloned()
    }

    fn put_run(&mut self, run: &Run) {
        self.write_run(run);
    }

    fn delete_run(&mut self, id: RunId) {
        self.erase_run(id);
    }

    fn step(&mut self, key: (RunId, u32)) -> Option<Step> {
        self.steps.get(&key).cloned()
    }

    fn put_step(&mut self, step: &Step) {
        self.write_step(step);
    }

    fn task(&mut self, id: TaskId) -> Option<Task> {
        self.tasks.get(&id).cloned()
    }

    fn put_task(&mut self, task: &Task) {
        self.write_task(task);
    }

    fn inbox(&mut self, seq: i64) -> Option<InboxRow> {
        self.inbox.get(&seq).cloned()
    }

    fn put_inbox(&mut self, row: &InboxRow) {
        self.write_inbox(row);
    }

    fn gate(&mut self, key: &GateKey) -> Option<Gate> {
        self.gates.get(key).cloned()
    }

    fn put_gate(&mut self, gate: &Gate) {
        self.write_gate(gate);
    }

    fn approval(&mut self, id: ApprovalId) -> Option<Approval> {
        self.approvals.get(&id).cloned()
    }

    fn put_approval(&mut self, approval: &Approval) {
        self.write_approval(approval);
    }

    fn add_grant(&mut self, grant: &Grant) {
        let key = (grant.agent.clone(), grant.pattern.clone());
        if !self.grants.contains(&key) {
            self.grants.put(key, grant.clone());
        }
    }

    fn delete_grant(&mut self, agent: &AgentId, pattern: &str) -> bool {
        let key = (agent.clone(), pattern.to_owned());
        let there = self.grants.contains(&key);
        self.grants.remove(&key);
        there
    }

    fn halt(&mut self, run: RunId) -> Option<Halt> {
        self.halts.get(&run).cloned()
    }

    fn put_halt(&mut self, halt: &Halt) {
        self.write_halt(halt);
    }

    fn budget(&mut self, key: &BudgetKey) -> Option<BudgetRow> {
        self.budgets.get(key).cloned()
    }

    fn put_budget(&mut self, row: &BudgetRow) {
        self.budgets.put(row.key.clone(), row.clone());
    }

    fn add_reservation(&mut self, row: &Reservation) {
        let key = (row.run, row.key.clone());
        assert!(!self.reservations.contains(&key), "{key:?} is set aside twice");
        self.reservations.put(key, row.clone());
    }

    fn take_reservations(&mut self, run: RunId) -> Vec<Reservation> {
        let of_run = self.reservations.values().filter(|row| row.run == run);
        let taken: Vec<Reservation> = of_run.cloned().collect();
        for row in &taken {
            self.reservations.remove(&(run, row.key.clone()));
        }
        taken
    }

    fn next_inbox_seq(&mut self) -> i64 {
        self.inbox.keys().next_back().map_or(1, |last| last + 1)
    }

    fn add_inbox(&mut self, row: &InboxRow, body: &str) {
        self.insert_inbox(row, body);
    }

    fn add_entry(&mut self, entry: &Entry) {
        self.insert_entry(entry);
    }

    fn add_ledger(&mut self, row: &LedgerRow) {
        let key = (row.run, row.step);
        assert!(!self.ledger.contains(&key), "step {key:?} would be paid for twice");
        self.ledger.put(key, row.clone());
    }

    fn command(&mut self, session: &SessionKey, idem_key: &str) -> Option<CommandRow> {
        self.commands.get(&(session.clone(), idem_key.to_owned())).cloned()
    }

    fn add_command(&mut self, row: &CommandRow) {
        let key = (row.session_key.clone(), row.idem_key.clone());
        assert!(!self.commands.contains(&key), "two commands of the key {key:?}");
        self.commands.put(key, row.clone());
    }

    fn add_journal(&mut self, line: &JournalLine) {
        let seq = self.journal.keys().next_back().map_or(1, |last| last + 1);
        let line = JournalView {
            seq,
            kind: line.kind.to_owned(),
            subject: line.subject.clone(),
            root_key: line.root_key.clone(),
            detail: line.detail.clone(),
            at: line.at,
        };
        self.journal.put(seq, line);
    }

    fn add_blob(&mut self, hash: Hash, data: &str) {
        if !self.blobs.contains(&hash) {
            self.blobs.put(hash, data.to_owned());
        }
    }

    fn blob(&mut self, hash: Hash) -> Option<String> {
        self.blobs.get(&hash).cloned()
    }

    fn put_kept(&mut self, row: &Kept, text: &str) {
        assert!(self.runs.contains(&row.run), "no run {}", row.run);
        let key = (row.root_key.clone(), row.hash);
        self.kept.put(key, (row.clone(), text.to_owned()));
    }

    fn repeats(&mut self, session: &SessionKey, call: Hash) -> Option<Repeats> {
        self.repeats.get(&(session.clone(), call)).cloned()
    }

    fn put_repeats(&mut self, row: &Repeats) {
        self.repeats.put((row.session_key.clone(), row.call_hash), row.clone());
    }

    fn clear_repeats(&mut self, root: &SessionKey) {
        self.forget_repeats(|row| row.root_key == *root);
    }

    fn clear_looks(&mut self, session: &SessionKey) {
        self.forget_repeats(|row| row.looks && row.session_key == *session);
    }

    fn inbox_body(&mut self, seq: i64) -> Option<String> {
        self.bodies.get(&seq).cloned()
    }

    fn add_flow(&mut self, flow: &Flow, nodes: &[FlowNode]) {
        self.insert_flow(flow, nodes);
    }

    fn flow(&mut self, id: FlowId) -> Option<Flow> {
        self.flows.get(&id).cloned()
    }

    fn flow_nodes(&mut self, id: FlowId) -> Vec<FlowNode> {
        self.nodes_of(id).cloned().collect()
    }

    fn put_flow_node(&mut self, node: &FlowNode) {
        self.write_flow_node(node);
    }

    fn put_timer(&mut self, timer: &Timer) {
        self.timers.put((timer.kind, timer.subject.clone()), timer.clone());
    }

    fn delete_timer(&mut self, kind: TimerKind, subject: &str) {
        self.timers.remove(&(kind, subject.to_owned()));
    }
}
