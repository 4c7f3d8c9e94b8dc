//! The rows in view: read when they are asked for, written back when the event is over.
//!
//! ```text
//!   apply ──▶ State ──▶ Tx (the store's open transaction)
//!             rows in view      get / put / list
//! ```
//!
//! A row is read from the transaction once, changed in place, and put back when the event has
//! been applied. Before a *list* is asked for (children, queued rows, queued runs), what has been
//! changed so far is put, so a list always tells of this very moment. There is no other copy of
//! live rows in memory.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as MapEntry;
use std::fmt;

use types::{NodeId, RunId, SessionId, SessionKey, TaskId, Timestamp};
use uuid::Uuid;

use crate::effect::{Action, Notice};
use crate::event::Event;
use crate::limits::Limits;
use crate::rows::{
    BudgetKey, BudgetRow, Episode, Gate, GateKey, InboxRow, Lane, LaneName, Node, Run, Session,
    Step, Task, Timer, TimerKind, Transcript,
};
use crate::tx::Tx;

/// The time, and a source of ids and random numbers. A seed fixes everything.
#[derive(Clone, Debug)]
pub struct At {
    pub now: Timestamp,
    /// State of a SplitMix64 generator.
    pub seed: u64,
    /// The node that decides.
    pub node: NodeId,
    /// Ids minted so far: it keeps those of one transaction in the order of their minting.
    minted: u16,
}

impl At {
    pub fn new(now: Timestamp, seed: u64, node: NodeId) -> At {
        At { now, seed, node, minted: 0 }
    }

    /// Draws 64 random bits.
    ///
    /// Source: G. Steele, D. Lea, C. Flood, *Fast Splittable Pseudorandom Number Generators*,
    /// OOPSLA 2014.
    pub fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Mints a UUIDv7. Of one transaction, the first 4,096 sort in the order of their minting; so
    /// "oldest first" means something among children that one answer has spawned.
    ///
    /// Source: RFC 9562, section 6.2, method 1: the 12 bits behind the version are a counter.
    pub fn mint(&mut self) -> Uuid {
        let mut bytes = [0; 10];
        bytes[..2].copy_from_slice(&self.minted.to_be_bytes());
        bytes[2..].copy_from_slice(&self.random().to_le_bytes());
        self.minted = (self.minted + 1).min(0x0fff);
        let ms = u64::try_from(self.now.ms()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(ms, &bytes).into_uuid()
    }
}

/// Rows of one table that are in view.
#[derive(Debug)]
struct Table<K, V> {
    rows: BTreeMap<K, Seen<V>>,
    /// Keys of those that have been changed since the last flush: a list is asked for again and
    /// again while thousands of rows are in view.
    changed: Vec<K>,
}

#[derive(Debug)]
struct Seen<V> {
    row: Option<V>,
    changed: bool,
}

impl<K: Ord + Clone, V> Table<K, V> {
    fn new() -> Table<K, V> {
        Table { rows: BTreeMap::new(), changed: Vec::new() }
    }

    fn seen(&mut self, key: &K, get: impl FnOnce(&K) -> Option<V>) -> &mut Seen<V> {
        match self.rows.entry(key.clone()) {
            MapEntry::Occupied(seen) => seen.into_mut(),
            MapEntry::Vacant(vacant) => {
                let row = get(key);
                vacant.insert(Seen { row, changed: false })
            }
        }
    }

    fn seen_mut(&mut self, key: &K, get: impl FnOnce(&K) -> Option<V>) -> Option<&mut V> {
        if !self.seen(key, get).changed {
            self.changed.push(key.clone());
        }
        let seen = self.rows.get_mut(key)?;
        seen.changed = true;
        seen.row.as_mut()
    }

    /// Takes a new row into view.
    fn add(&mut self, key: K, row: V) {
        self.changed.push(key.clone());
        self.rows.insert(key, Seen { row: Some(row), changed: true });
    }

    /// Puts what has changed, by key.
    fn flush(&mut self, mut put: impl FnMut(&V)) {
        self.changed.sort_unstable();
        for key in self.changed.drain(..) {
            // A row that was added and then changed is in the list twice.
            if let Some(seen) = self.rows.get_mut(&key)
                && std::mem::take(&mut seen.changed)
                && let Some(row) = &seen.row
            {
                put(row);
            }
        }
    }
}

/// The rows that an event has asked for, and what follows from it.
pub struct State<'a> {
    tx: &'a mut dyn Tx,
    pub at: &'a mut At,
    pub limits: &'a Limits,
    pub actions: Vec<Action>,
    pub raised: Vec<Event>,
    pub notices: Vec<Notice>,
    lanes: Table<LaneName, Lane>,
    nodes: Table<NodeId, Node>,
    sessions: Table<SessionKey, Session>,
    transcripts: Table<SessionId, Transcript>,
    episodes: Table<(SessionId, u32), Episode>,
    runs: Table<RunId, Run>,
    steps: Table<(RunId, u32), Step>,
    tasks: Table<TaskId, Task>,
    inbox: Table<i64, InboxRow>,
    gates: Table<GateKey, Gate>,
    budgets: Table<BudgetKey, BudgetRow>,
}

impl fmt::Debug for State<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("at", &self.at).field("runs", &self.runs).finish()
    }
}

/// Makes the ways to a row: `find` may miss, `get` must not, `get_mut` marks it changed.
macro_rules! rows {
    ($($table:ident: $row:ident by $key:ty,
       $find:ident $get:ident $get_mut:ident $add:ident,
       |$tx:ident, $k:ident| $fetch:expr, $id:expr;)+) => {
        impl State<'_> { $(
            pub fn $find(&mut self, key: &$key) -> Option<&$row> {
                let $tx = &mut *self.tx;
                self.$table.seen(key, |$k| $fetch).row.as_ref()
            }

            /// # Panics
            ///
            /// If there is no such row: whoever names one has it from a row that names it.
            pub fn $get(&mut self, key: &$key) -> &$row {
                self.$find(key).unwrap_or_else(|| panic!("no {} {key:?}", stringify!($get)))
            }

            /// Gives the row to be changed. Panics as its reader does.
            pub fn $get_mut(&mut self, key: &$key) -> &mut $row {
                let $tx = &mut *self.tx;
                let row = self.$table.seen_mut(key, |$k| $fetch);
                row.unwrap_or_else(|| panic!("no {} {key:?}", stringify!($get)))
            }

            pub fn $add(&mut self, row: $row) {
                let id: fn(&$row) -> $key = $id;
                self.$table.add(id(&row), row);
            }
        )+ }
    };
}

rows! {
    lanes: Lane by LaneName, find_lane lane lane_mut add_lane, |tx, k| tx.lane(*k), |r| r.name;
    nodes: Node by NodeId, find_node node node_mut add_node, |tx, k| tx.node(*k), |r| r.id;
    sessions: Session by SessionKey, find_session session session_mut add_session,
        |tx, k| tx.session(k), |r| r.key.clone();
    transcripts: Transcript by SessionId, find_transcript transcript transcript_mut add_transcript,
        |tx, k| tx.transcript(*k), |r| r.session_id;
    episodes: Episode by (SessionId, u32), find_episode episode episode_mut add_episode,
        |tx, k| tx.episode(*k), |r| (r.session_id, r.n);
    runs: Run by RunId, find_run run run_mut add_run, |tx, k| tx.run(*k), |r| r.id;
    steps: Step by (RunId, u32), find_step step step_mut add_step,
        |tx, k| tx.step(*k), |r| (r.run, r.n);
    tasks: Task by TaskId, find_task task task_mut add_task, |tx, k| tx.task(*k), |r| r.id;
    gates: Gate by GateKey, find_gate gate gate_mut add_gate, |tx, k| tx.gate(k),
        |r| r.key.clone();
    budgets: BudgetRow by BudgetKey, find_budget budget budget_mut add_budget,
        |tx, k| tx.budget(k), |r| r.key.clone();
    inbox: InboxRow by i64, find_inbox inbox inbox_mut note_inbox, |tx, k| tx.inbox(*k), |r| r.seq;
}

impl<'a> State<'a> {
    pub fn new(tx: &'a mut dyn Tx, at: &'a mut At, limits: &'a Limits) -> State<'a> {
        State {
            tx,
            at,
            limits,
            actions: Vec::new(),
            raised: Vec::new(),
            notices: Vec::new(),
            lanes: Table::new(),
            nodes: Table::new(),
            sessions: Table::new(),
            transcripts: Table::new(),
            episodes: Table::new(),
            runs: Table::new(),
            steps: Table::new(),
            tasks: Table::new(),
            inbox: Table::new(),
            gates: Table::new(),
            budgets: Table::new(),
        }
    }

    pub fn now(&self) -> Timestamp {
        self.at.now
    }

    /// A session and those above it, by whom made whom, nearest first.
    ///
    /// # Panics
    ///
    /// If one is above itself (S4): whoever looks upwards would not come to an end.
    pub fn way_up(&mut self, key: &SessionKey) -> Vec<SessionKey> {
        let mut way: Vec<SessionKey> = Vec::new();
        let mut next = self.find_session(key).map(|session| session.key.clone());
        while let Some(key) = next {
            assert!(!way.contains(&key), "{key} is above itself");
            let above = self.session(&key).parent_key.clone();
            way.push(key);
            next = above.filter(|above| self.find_session(above).is_some());
        }
        way
    }

    /// The row of the node that decides.
    pub fn this_node(&mut self) -> Option<&Node> {
        let id = self.at.node;
        self.find_node(&id)
    }

    /// Writes what has been changed so far, in an order in which rows that are named come before
    /// rows that name them.
    pub fn flush(&mut self) {
        let tx = &mut *self.tx;
        self.lanes.flush(|row| tx.put_lane(row));
        self.nodes.flush(|row| tx.put_node(row));
        self.sessions.flush(|row| tx.put_session(row));
        self.transcripts.flush(|row| tx.put_transcript(row));
        self.episodes.flush(|row| tx.put_episode(row));
        self.tasks.flush(|row| tx.put_task(row));
        self.runs.flush(|row| tx.put_run(row));
        self.steps.flush(|row| tx.put_step(row));
        self.inbox.flush(|row| tx.put_inbox(row));
        self.gates.flush(|row| tx.put_gate(row));
        self.budgets.flush(|row| tx.put_budget(row));
    }

    /// The transaction with everything written: for lists, and for rows that are only added.
    pub fn tx(&mut self) -> &mut dyn Tx {
        self.flush();
        self.tx
    }

    /// Adds an inbox row and keeps its head in view.
    pub fn add_inbox(&mut self, mut row: InboxRow, body: &str) -> i64 {
        row.seq = self.tx().next_inbox_seq();
        self.tx.add_inbox(&row, body);
        let seq = row.seq;
        self.inbox.rows.insert(seq, Seen { row: Some(row), changed: false });
        seq
    }

    /// Takes a run back that has done nothing.
    pub fn remove_run(&mut self, id: RunId) {
        self.tx().delete_run(id);
        self.runs.rows.insert(id, Seen { row: None, changed: false });
    }

    pub fn set_timer(&mut self, kind: TimerKind, subject: impl ToString, due: Timestamp) {
        self.tx.put_timer(&Timer { kind, subject: subject.to_string(), due });
    }

    pub fn clear_timer(&mut self, kind: TimerKind, subject: impl ToString) {
        self.tx.delete_timer(kind, &subject.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_transaction_sort_as_they_were_minted() {
        let mut at = At::new(Timestamp(1_790_000_000_000), 7, NodeId::new(Uuid::nil()));
        let minted: Vec<Uuid> = (0..4_096).map(|_| at.mint()).collect();
        assert!(minted.is_sorted());
        assert!(minted.iter().all(|id| id.get_version_num() == 7));
        at.now = Timestamp(1_790_000_000_001);
        assert!(at.mint() > minted[4_095]);
    }
}
