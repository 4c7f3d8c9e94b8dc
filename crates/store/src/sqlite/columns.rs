//! Columns to fields and back. Each table's columns are listed once, in the order in which its
//! row is read and written.

use std::fmt;
use std::str::FromStr;

use machine::queue::QueueWish;
use machine::rows::{
    Base, Clip, CommandRow, Episode, Flow, FlowNode, Gate, GateKey, Halt, InboxRow, Lane,
    LedgerRow, Node, Repeats, Run, Session, Step, Task, Timer, Transcript,
};
use machine::run::Phase;
use rusqlite::types::{FromSql, ToSqlOutput, Type, Value};
use rusqlite::{Result, Row, ToSql};
use types::{FlowId, Footer, Hash, MicroUsd, NodeName, Reasoning, Timestamp, Usage};

use crate::view::{EntryView, JournalView};

/// The columns of a table, as a literal to be put into a statement.
macro_rules! columns {
    (lanes) => {
        "name, capacity, vtime, generation"
    };
    (nodes) => {
        "id, pid, version, state, beat_ms, lease_until_ms, started_ms"
    };
    (sessions) => {
        "key, session_id, agent, owner, parent_key, root_key, depth, lifecycle, open_run, label, \
         model, cwd, rev, created_ms, active_ms, archived_ms, access, policy_hash, pool_key, \
         declared, queue_mode, deleted_ms, kind, queue_debounce_ms, queue_cap, queue_drop, \
         thinking, reasoning, card_hash, footer"
    };
    (repeats) => {
        "session_key, call_hash, root_key, result_hash, count, looks"
    };
    (commands) => {
        "session_key, idem_key, session_id, before_seq, text, answer, is_error, listed, at_ms"
    };
    (transcripts) => {
        "session_id, session_key, next_seq, episode, context_tokens, started_ms, base_id, \
         base_first_seq, base_last_seq, base_episode, ended_ms, end_reason, gauge"
    };
    (episodes) => {
        "session_id, n, first_seq, prefix_hash, prefix_tokens, at_ms, reason, pinned_ms, \
         head_hash, anchor_seq, clip_before, clip_bytes"
    };
    (tasks) => {
        "id, requester_key, parent_id, root_key, depth, session_key, run_id, task_name, label, \
         idem_key, dup_hash, announce, cleanup, origin, waited_by, cancel_ms, outcome, \
         result_hash, created_ms, ended_ms, kind, deliverables, attempt, flow_id, node, \
         retry_of"
    };
    (runs) => {
        "id, wire_id, session_key, session_id, task_id, lane, root_key, phase, wait_kind, \
         outcome, wait_need, rank, slot, node_id, gen, nonce, next_step, recoveries, retries, \
         model, origin, timeout_ms, deadline_ms, usage_input, usage_output, usage_cache_read, \
         usage_cache_write, error_class, error, queued_ms, started_ms, ended_ms, hops, lined_ms, \
         cost_micro_usd, budget, background, asked, answered, switched"
    };
    (steps) => {
        "run_id, n, kind, asked_by, name, call_id, args_hash, effect, state, result_hash, model, \
         started_ms, ended_ms, waits_on, purpose"
    };
    // Without the body, which the machine never reads.
    (inbox) => {
        "seq, id, session_key, kind, place, idem_key, body_hash, tokens, origin, task_id, state, \
         run_id, timeout_ms, at_ms, done_ms, sender_key, hops, watch"
    };
    (entries) => {
        "session_id, seq, run_id, step_n, kind, call_id, body, tokens, at_ms, silent"
    };
    (flows) => {
        "id, task_id, name, max_parallel, on_failure, definition_hash, created_ms"
    };
    (budgets) => {
        "scope, subject, cap_usd, cap_tokens, extra_usd, extra_tokens, reserved_usd, \
         reserved_tokens, spent_usd, spent_tokens, counted_by"
    };
    (reservations) => {
        "run_id, scope, subject, micro_usd, tokens"
    };
    // Without what it waits for, which is in a table of its own.
    (flow_nodes) => {
        "flow_id, node, place, agent, brief_hash, label, session_key, access, model, retries, \
         timeout_ms, state, attempt, task_id, error, budget"
    };
    (timers) => {
        "kind, subject, due_ms"
    };
    (ledger) => {
        "run_id, step_n, session_key, session_id, agent, task_id, root_key, model, input, output, \
         cache_read, cache_write, estimated, at_ms, micro_usd, priced, price_id"
    };
    (gates) => {
        "provider, account, model, state, kind, reopen_ms, probe_run, strikes, closed_ms, reason, \
         window_ms, requests, tokens"
    };
    (halts) => {
        "run_id, root_key, state, asked_ms, looked_ms, pids, calls, looks"
    };
    (journal) => {
        "kind, subject, root_key, detail, at_ms"
    };
}
pub(crate) use columns;

/// A value that is stored as its text.
#[derive(Debug)]
pub struct Text<T>(pub T);

impl<T: fmt::Display> ToSql for Text<T> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(Value::Text(self.0.to_string())))
    }
}

/// A count as the database has it. What does not fit is more than anything can count.
pub fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Takes the columns of a row one after the other.
#[derive(Debug)]
pub struct Columns<'r, 's> {
    row: &'r Row<'s>,
    next: usize,
}

impl<'r, 's> Columns<'r, 's> {
    pub fn new(row: &'r Row<'s>) -> Columns<'r, 's> {
        Columns { row, next: 0 }
    }

    pub fn get<T: FromSql>(&mut self) -> Result<T> {
        self.next += 1;
        self.row.get(self.next - 1)
    }

    pub fn parsed<T>(&mut self) -> Result<T>
    where
        T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
    {
        let column = self.next;
        self.next += 1;
        parse(self.row.get_ref(column)?.as_str()?, column)
    }

    pub fn parsed_or_none<T>(&mut self) -> Result<Option<T>>
    where
        T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
    {
        let column = self.next;
        self.next += 1;
        let text = self.row.get_ref(column)?.as_str_or_null()?;
        text.map(|text| parse(text, column)).transpose()
    }

    pub fn time(&mut self) -> Result<Timestamp> {
        self.get().map(Timestamp)
    }

    pub fn time_or_none(&mut self) -> Result<Option<Timestamp>> {
        Ok(self.get::<Option<i64>>()?.map(Timestamp))
    }

    pub fn count(&mut self) -> Result<u64> {
        let column = self.next;
        let count: i64 = self.get()?;
        u64::try_from(count).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, count))
    }

    pub fn count_or_none(&mut self) -> Result<Option<u64>> {
        let column = self.next;
        let count: Option<i64> = self.get()?;
        let fits = |count| {
            let out = || rusqlite::Error::IntegralValueOutOfRange(column, count);
            u64::try_from(count).map_err(|_| out())
        };
        count.map(fits).transpose()
    }

    /// Four counts in the order of [`Usage`].
    pub fn usage(&mut self) -> Result<Usage> {
        Ok(Usage {
            input: self.count()?,
            output: self.count()?,
            cache_read: self.count()?,
            cache_write: self.count()?,
        })
    }

    /// A value that is kept as JSON.
    pub fn json_or_none<T: serde::de::DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let column = self.next;
        let text: Option<String> = self.get()?;
        let read = |text: String| {
            serde_json::from_str(&text).map_err(|error| unreadable(column, Box::new(error)))
        };
        text.map(read).transpose()
    }

    fn base(&mut self) -> Result<Option<Base>> {
        let (id, first, last) = (self.parsed_or_none()?, self.get()?, self.get()?);
        let episode = self.get()?;
        Ok(match (id, first, last) {
            (Some(session_id), Some(first_seq), Some(last_seq)) => {
                Some(Base { session_id, first_seq, last_seq, episode })
            }
            _ => None,
        })
    }

    pub fn phase(&mut self) -> Result<Phase> {
        let column = self.next;
        let word: String = self.get()?;
        let (wait, outcome) = (self.parsed_or_none()?, self.parsed_or_none()?);
        Phase::from_words(&word, wait, outcome)
            .ok_or_else(|| unreadable(column, format!("{word}, {wait:?}, {outcome:?}").into()))
    }
}

fn parse<T>(text: &str, column: usize) -> Result<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    text.parse().map_err(|error| unreadable(column, Box::new(error)))
}

fn unreadable(
    column: usize,
    error: Box<dyn std::error::Error + Send + Sync + 'static>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error)
}

pub fn lane(c: &mut Columns<'_, '_>) -> Result<Lane> {
    Ok(Lane { name: c.parsed()?, capacity: c.get()?, vtime: c.get()?, generation: c.get()? })
}

pub fn node(c: &mut Columns<'_, '_>) -> Result<Node> {
    Ok(Node {
        id: c.parsed()?,
        pid: c.get()?,
        version: c.get()?,
        state: c.parsed()?,
        beat: c.time()?,
        lease_until: c.time()?,
        started: c.time()?,
    })
}

pub fn session(c: &mut Columns<'_, '_>) -> Result<Session> {
    let row = Session {
        key: c.parsed()?,
        session_id: c.parsed()?,
        agent: c.parsed()?,
        owner: c.get()?,
        parent_key: c.parsed_or_none()?,
        root_key: c.parsed()?,
        depth: c.get()?,
        lifecycle: c.parsed()?,
        open_run: c.parsed_or_none()?,
        label: c.get()?,
        model: c.get()?,
        cwd: c.get()?,
        rev: c.get()?,
        created: c.time()?,
        active: c.time()?,
        archived: c.time_or_none()?,
        access: c.parsed()?,
        policy_hash: c.parsed_or_none()?,
        pool_key: c.parsed_or_none()?,
        declared: c.parsed_or_none()?,
        queue: QueueWish { mode: c.parsed_or_none()?, ..QueueWish::default() },
        deleted: c.time_or_none()?,
        thinking: None,
        reasoning: Reasoning::Off,
        footer: Footer::Off,
        card: None,
    };
    let _kind: String = c.get()?;
    let (debounce_ms, cap, drop) = (c.get()?, c.get()?, c.parsed_or_none()?);
    let queue = QueueWish { mode: row.queue.mode, debounce_ms, cap, drop };
    let (thinking, reasoning, card) = (c.parsed_or_none()?, c.parsed()?, c.parsed_or_none()?);
    Ok(Session { queue, thinking, reasoning, card, footer: c.parsed()?, ..row })
}

pub fn command(c: &mut Columns<'_, '_>) -> Result<CommandRow> {
    Ok(CommandRow {
        session_key: c.parsed()?,
        idem_key: c.get()?,
        session_id: c.parsed()?,
        before_seq: c.get()?,
        text: c.get()?,
        answer: c.get()?,
        is_error: c.get()?,
        listed: c.json_or_none()?.unwrap_or_default(),
        at: c.time()?,
    })
}

pub fn blob(c: &mut Columns<'_, '_>) -> Result<(Hash, String)> {
    Ok((c.parsed()?, c.get()?))
}

pub fn repeats(c: &mut Columns<'_, '_>) -> Result<Repeats> {
    Ok(Repeats {
        session_key: c.parsed()?,
        call_hash: c.parsed()?,
        root_key: c.parsed()?,
        result_hash: c.parsed()?,
        count: c.get()?,
        looks: c.get()?,
    })
}

pub fn transcript(c: &mut Columns<'_, '_>) -> Result<Transcript> {
    Ok(Transcript {
        session_id: c.parsed()?,
        session_key: c.parsed()?,
        next_seq: c.get()?,
        episode: c.get()?,
        context_tokens: c.count()?,
        started: c.time()?,
        base: c.base()?,
        ended: match (c.time_or_none()?, c.parsed_or_none()?) {
            (Some(at), Some(why)) => Some((at, why)),
            _ => None,
        },
        gauge: c.json_or_none()?.unwrap_or_default(),
    })
}

pub fn episode(c: &mut Columns<'_, '_>) -> Result<Episode> {
    Ok(Episode {
        session_id: c.parsed()?,
        n: c.get()?,
        first_seq: c.get()?,
        prefix_hash: c.parsed_or_none()?,
        prefix_tokens: c.count()?,
        at: c.time()?,
        reason: c.parsed()?,
        pinned: c.time_or_none()?,
        head: c.parsed_or_none()?,
        anchor: c.get()?,
        clip: match (c.get()?, c.get::<Option<i64>>()?) {
            (Some(before), Some(bytes)) => {
                Some(Clip { before, bytes: u64::try_from(bytes).unwrap_or(0) })
            }
            _ => None,
        },
    })
}

pub fn task(c: &mut Columns<'_, '_>) -> Result<Task> {
    Ok(Task {
        id: c.parsed()?,
        requester_key: c.parsed()?,
        parent: c.parsed_or_none()?,
        root_key: c.parsed()?,
        depth: c.get()?,
        session_key: c.parsed()?,
        run: c.parsed()?,
        task_name: c.get()?,
        label: c.get()?,
        idem_key: c.get()?,
        dup_hash: c.parsed()?,
        announce: c.parsed()?,
        cleanup: c.parsed()?,
        origin: c.get()?,
        waited_by: c.parsed_or_none()?,
        cancelled: c.time_or_none()?,
        outcome: c.parsed_or_none()?,
        result_hash: c.parsed_or_none()?,
        created: c.time()?,
        ended: c.time_or_none()?,
        kind: c.parsed()?,
        deliverables: c.json_or_none()?,
        attempt: c.get()?,
        flow: c.parsed_or_none()?,
        node: c.get()?,
        retry_of: c.parsed_or_none()?,
    })
}

pub fn run(c: &mut Columns<'_, '_>) -> Result<Run> {
    Ok(Run {
        id: c.parsed()?,
        wire_id: c.get()?,
        session_key: c.parsed()?,
        session_id: c.parsed()?,
        task: c.parsed_or_none()?,
        lane: c.parsed()?,
        root_key: c.parsed()?,
        phase: c.phase()?,
        wait_need: c.get()?,
        rank: c.get()?,
        slot: c.get()?,
        node: c.parsed_or_none()?,
        generation: c.get()?,
        nonce: c.get()?,
        next_step: c.get()?,
        recoveries: c.get()?,
        retries: c.get()?,
        model: c.get()?,
        origin: c.get()?,
        timeout_ms: c.get()?,
        deadline: c.time_or_none()?,
        usage: c.usage()?,
        error_class: c.parsed_or_none()?,
        error: c.get()?,
        queued: c.time()?,
        started: c.time_or_none()?,
        ended: c.time_or_none()?,
        hops: c.get()?,
        lined: c.time_or_none()?,
        cost: MicroUsd(c.count()?),
        budget: c.parsed_or_none()?,
        background: c.get()?,
        asked: c.get()?,
        answered: c.get()?,
        switched: c.get()?,
    })
}

pub fn halt(c: &mut Columns<'_, '_>) -> Result<Halt> {
    Ok(Halt {
        run: c.parsed()?,
        root_key: c.parsed()?,
        state: c.parsed()?,
        asked: c.time()?,
        looked: c.time_or_none()?,
        pids: c.json_or_none()?.unwrap_or_default(),
        calls: c.get()?,
        looks: c.get()?,
    })
}

pub fn gate(c: &mut Columns<'_, '_>) -> Result<Gate> {
    Ok(Gate {
        key: GateKey { provider: c.get()?, account: c.get()?, model: c.get()? },
        state: c.parsed()?,
        kind: c.parsed_or_none()?,
        reopen: c.time_or_none()?,
        probe: c.parsed_or_none()?,
        strikes: c.get()?,
        closed: c.time_or_none()?,
        reason: c.get()?,
        window: c.time()?,
        requests: c.get()?,
        tokens: c.count()?,
    })
}

pub fn step(c: &mut Columns<'_, '_>) -> Result<Step> {
    Ok(Step {
        run: c.parsed()?,
        n: c.get()?,
        kind: c.parsed()?,
        asked_by: c.get()?,
        name: c.get()?,
        call_id: c.get()?,
        args_hash: c.parsed_or_none()?,
        effect: c.parsed_or_none()?,
        state: c.parsed()?,
        result_hash: c.parsed_or_none()?,
        model: c.get()?,
        started: c.time()?,
        ended: c.time_or_none()?,
        waits_on: c.parsed_or_none()?,
        purpose: c.parsed()?,
    })
}

pub fn inbox(c: &mut Columns<'_, '_>) -> Result<InboxRow> {
    Ok(InboxRow {
        seq: c.get()?,
        id: c.parsed()?,
        session_key: c.parsed()?,
        kind: c.parsed()?,
        place: c.parsed()?,
        idem_key: c.get()?,
        body_hash: c.parsed()?,
        tokens: c.count()?,
        origin: c.get()?,
        task: c.parsed_or_none()?,
        state: c.parsed()?,
        run: c.parsed_or_none()?,
        timeout_ms: c.get()?,
        at: c.time()?,
        done: c.time_or_none()?,
        sender: c.parsed_or_none()?,
        hops: c.get()?,
        watch: c.get()?,
    })
}

pub fn entry(c: &mut Columns<'_, '_>) -> Result<EntryView> {
    Ok(EntryView {
        session_id: c.parsed()?,
        seq: c.get()?,
        run: c.parsed()?,
        step: c.get()?,
        kind: c.parsed()?,
        call_id: c.get()?,
        body: c.get()?,
        tokens: c.count()?,
        at: c.time()?,
        silent: c.get()?,
    })
}

pub fn flow(c: &mut Columns<'_, '_>) -> Result<Flow> {
    Ok(Flow {
        id: c.parsed()?,
        task: c.parsed()?,
        name: c.get()?,
        max_parallel: c.get()?,
        on_failure: c.parsed()?,
        definition: c.parsed()?,
        created: c.time()?,
    })
}

pub fn flow_node(c: &mut Columns<'_, '_>) -> Result<FlowNode> {
    Ok(FlowNode {
        flow: c.parsed()?,
        name: c.parsed()?,
        place: c.get()?,
        after: Vec::new(),
        agent: c.parsed()?,
        brief: c.parsed()?,
        label: c.get()?,
        session_key: c.parsed_or_none()?,
        access: c.parsed()?,
        model: c.get()?,
        retries: c.get()?,
        timeout_ms: c.get()?,
        state: c.parsed()?,
        attempt: c.get()?,
        task: c.parsed_or_none()?,
        error: c.get()?,
        budget: c.json_or_none()?,
    })
}

/// A node and one that it waits for.
pub fn flow_edge(c: &mut Columns<'_, '_>) -> Result<(FlowId, NodeName, NodeName)> {
    Ok((c.parsed()?, c.parsed()?, c.parsed()?))
}

pub fn timer(c: &mut Columns<'_, '_>) -> Result<Timer> {
    Ok(Timer { kind: c.parsed()?, subject: c.get()?, due: c.time()? })
}

pub fn ledger(c: &mut Columns<'_, '_>) -> Result<LedgerRow> {
    Ok(LedgerRow {
        run: c.parsed()?,
        step: c.get()?,
        session_key: c.parsed()?,
        session_id: c.parsed()?,
        agent: c.parsed()?,
        task: c.parsed_or_none()?,
        root_key: c.parsed()?,
        model: c.get()?,
        usage: c.usage()?,
        estimated: c.get()?,
        at: c.time()?,
        cost: MicroUsd(c.count()?),
        priced: c.get()?,
        price_id: c.get()?,
    })
}

pub fn journal(c: &mut Columns<'_, '_>) -> Result<JournalView> {
    Ok(JournalView {
        seq: c.get()?,
        kind: c.get()?,
        subject: c.get()?,
        root_key: c.parsed_or_none()?,
        detail: c.get()?,
        at: c.time()?,
    })
}

/// An id, a key or a word alone.
pub fn one<T>(c: &mut Columns<'_, '_>) -> Result<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    c.parsed()
}

/// A number alone.
pub fn number<T: FromSql>(c: &mut Columns<'_, '_>) -> Result<T> {
    c.get()
}
