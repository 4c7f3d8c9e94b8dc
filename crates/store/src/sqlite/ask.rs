//! The questions of readers, in SQL.

use machine::check::World;
use machine::rows::{
    Approval, CommandRow, Episode, Flow, FlowNode, Gauge, Grant, Halt, InboxKind, InboxState,
    LaneName, Place,
};
use rusqlite::params;
use types::{
    AgentId, FlowId, Hash, MessageId, NodeName, RunId, SessionId, SessionKey, TaskId, Timestamp,
};

use super::budget;
use super::columns::{self, Columns, Text, columns, int, number};
use super::link::Link;
use super::summed::Summed;
use super::{approvals, kept, messages, open_rows, sessions, tasks};
use crate::error::StoreError;
use crate::query::Query;
use crate::view::{
    ApprovalFilter, BudgetView, EntryView, GateView, HistoryPage, InputView, JournalView, LaneView,
    LedgerScope, LedgerTotal, LineView, MessageView, NodeView, QueuedView, RunFacts, RunView,
    SentView, SessionFilter, SessionView, SpendFilter, SpendView, Tally, TaskFilter, TaskView,
    TranscriptView,
};

/// A read transaction on this connection.
#[derive(Debug)]
pub struct Snapshot<'c> {
    pub link: Link<'c>,
    pub summed: &'c Summed,
}

/// Until when the node of a run has a lease, if the run holds a slot of it.
macro_rules! lease {
    () => {
        "(select lease_until_ms from nodes where nodes.id = runs.node_id \
         and nodes.state <> 'down' and runs.slot is not null)"
    };
}

macro_rules! runs_where {
    ($rest:literal) => {
        concat!("select ", columns!(runs), ", ", lease!(), " from runs where ", $rest)
    };
}

macro_rules! run_views_where {
    ($rest:literal) => {
        concat!(
            "select ",
            columns!(runs),
            ", ",
            lease!(),
            ", (select agent from sessions where sessions.key = runs.session_key) \
             from runs where ",
            $rest
        )
    };
}

macro_rules! entries_where {
    ($rest:literal) => {
        concat!("select ", columns!(entries), " from entries where ", $rest)
    };
}

macro_rules! flow_edges {
    () => {
        "select flow_id, to_node, from_node from flow_edges"
    };
}

/// In the order of the declaration.
macro_rules! flow_edges_order {
    () => {
        "order by flow_id, to_node, (select place from flow_nodes as n \
         where n.flow_id = flow_edges.flow_id and n.node = flow_edges.from_node)"
    };
}

macro_rules! all {
    ($table:ident, $order:literal) => {
        concat!("select ", columns!($table), " from ", stringify!($table), " order by ", $order)
    };
}

fn run_facts(c: &mut Columns<'_, '_>) -> rusqlite::Result<RunFacts> {
    Ok(RunFacts::new(columns::run(c)?, c.time_or_none()?))
}

fn run_view(c: &mut Columns<'_, '_>) -> rusqlite::Result<RunView> {
    let run = columns::run(c)?;
    let lease = c.time_or_none()?;
    Ok(RunView::new(run, columns::one::<AgentId>(c)?, lease))
}

fn sent(c: &mut Columns<'_, '_>) -> rusqlite::Result<SentView> {
    Ok(SentView {
        message: columns::one(c)?,
        session_key: columns::one(c)?,
        waits: c.get()?,
        settled: c.get()?,
    })
}

fn input(c: &mut Columns<'_, '_>) -> rusqlite::Result<InputView> {
    Ok(InputView {
        message: columns::one::<MessageId>(c)?,
        state: columns::one::<InboxState>(c)?,
        run: c.parsed_or_none()?,
    })
}

fn queued_view(c: &mut Columns<'_, '_>) -> rusqlite::Result<QueuedView> {
    Ok(QueuedView {
        message: columns::one::<MessageId>(c)?,
        kind: columns::one::<InboxKind>(c)?,
        place: columns::one::<Place>(c)?,
        idem_key: c.get()?,
        body: c.get()?,
        run: c.parsed_or_none()?,
        sender: c.parsed_or_none()?,
        at: Timestamp(c.get()?),
    })
}

fn lane_view(c: &mut Columns<'_, '_>) -> rusqlite::Result<LaneView> {
    Ok(LaneView {
        name: columns::one::<LaneName>(c)?,
        capacity: c.get()?,
        held: c.get()?,
        queued: c.get()?,
        holders: Vec::new(),
    })
}

fn line_view(c: &mut Columns<'_, '_>) -> rusqlite::Result<LineView> {
    Ok(LineView {
        run: columns::one(c)?,
        wire_id: c.get()?,
        session_key: columns::one(c)?,
        lane: columns::one(c)?,
        place: c.get()?,
        since: c.time()?,
    })
}

fn node_view(c: &mut Columns<'_, '_>) -> rusqlite::Result<NodeView> {
    let node = columns::node(c)?;
    Ok(NodeView {
        id: node.id,
        pid: node.pid,
        version: node.version,
        state: node.state,
        beat: node.beat,
        lease_until: node.lease_until,
        started: node.started,
    })
}

pub fn ledger_total(c: &mut Columns<'_, '_>) -> rusqlite::Result<LedgerTotal> {
    Ok(LedgerTotal { usage: c.usage()?, rows: c.count()?, estimated: c.count()? })
}

pub const LEDGER_SUM: &str = "select coalesce(sum(input), 0), coalesce(sum(output), 0), \
     coalesce(sum(cache_read), 0), coalesce(sum(cache_write), 0), count(*), \
     coalesce(sum(estimated), 0) from ledger";

/// Nodes of a flow, in the order of the declaration.
pub fn flow_nodes(link: Link<'_>, id: FlowId) -> Result<Vec<FlowNode>, StoreError> {
    let sql = concat!(
        "select ",
        columns!(flow_nodes),
        " from flow_nodes where flow_id = ?1 order by place"
    );
    let nodes = link.rows(sql, [Text(id)], columns::flow_node)?;
    let edges = concat!(flow_edges!(), " where flow_id = ?1 ", flow_edges_order!());
    Ok(with_edges(nodes, link.rows(edges, [Text(id)], columns::flow_edge)?))
}

/// Gives each node what it waits for.
pub(super) fn with_edges(
    mut nodes: Vec<FlowNode>,
    edges: Vec<(FlowId, NodeName, NodeName)>,
) -> Vec<FlowNode> {
    for (flow, to, from) in edges {
        if let Some(node) = nodes.iter_mut().find(|node| node.flow == flow && node.name == to) {
            node.after.push(from);
        }
    }
    nodes
}

impl Snapshot<'_> {
    fn view(&self, session: machine::rows::Session) -> Result<SessionView, StoreError> {
        let key = Text(&session.key);
        let open_run = match session.open_run {
            Some(run) => self.link.row(runs_where!("id = ?1"), [Text(run)], run_facts)?,
            None => None,
        };
        let last = runs_where!(
            "session_key = ?1 and phase = 'ended' order by ended_ms desc, id desc limit 1"
        );
        let last_run = self.link.row(last, [&key], run_facts)?;
        let count = |sql: &str| self.link.row(sql, [&key], number::<u32>);
        let queued =
            count("select count(*) from inbox where session_key = ?1 and state = 'queued'")?;
        let children =
            count("select count(*) from tasks where requester_key = ?1 and ended_ms is null")?;
        let sql = "select context_tokens, gauge from transcripts where session_id = ?1";
        let size = |c: &mut Columns<'_, '_>| Ok((c.count()?, c.json_or_none::<Gauge>()?));
        let (tokens, gauge) =
            self.link.row(sql, [Text(session.session_id)], size)?.unwrap_or_default();
        let usage = self.ledger(&LedgerScope::Session(session.key.clone()))?.usage;
        Ok(SessionView {
            key: session.key,
            session_id: session.session_id,
            agent: session.agent,
            owner: session.owner,
            parent_key: session.parent_key,
            root_key: session.root_key,
            depth: session.depth,
            lifecycle: session.lifecycle,
            label: session.label,
            model: session.model,
            thinking: session.thinking,
            cwd: session.cwd,
            rev: session.rev,
            created: session.created,
            active: session.active,
            archived: session.archived,
            access: session.access,
            policy_hash: session.policy_hash,
            declared: session.declared,
            queue: session.queue,
            reasoning: session.reasoning,
            footer: session.footer,
            card: session.card,
            open_run,
            last_run,
            queued: queued.unwrap_or(0),
            open_children: children.unwrap_or(0),
            context_tokens: tokens,
            told: gauge.and_then(|gauge| gauge.told),
            usage,
        })
    }

    fn task_view(&self, task: machine::rows::Task) -> Result<TaskView, StoreError> {
        let run = self.link.row(runs_where!("id = ?1"), [Text(task.run)], run_facts)?;
        Ok(TaskView::new(task, run))
    }
}

impl Query for Snapshot<'_> {
    fn entries(
        &self,
        session: SessionId,
        from_seq: i64,
        limit: usize,
    ) -> Result<Vec<EntryView>, StoreError> {
        let sql = entries_where!("session_id = ?1 and seq >= ?2 order by seq limit ?3");
        self.link.rows(sql, params![Text(session), from_seq, int(limit as u64)], columns::entry)
    }

    fn entry_of_step(&self, run: RunId, step: u32) -> Result<Option<EntryView>, StoreError> {
        let sql = entries_where!("run_id = ?1 and step_n = ?2");
        self.link.row(sql, params![Text(run), step], columns::entry)
    }

    fn history(
        &self,
        session: SessionId,
        before_seq: Option<i64>,
        limit: usize,
    ) -> Result<HistoryPage, StoreError> {
        let sql = "select count(*) from entries where session_id = ?1";
        let total = self.link.row(sql, [Text(session)], number)?.unwrap_or(0);
        let sql = entries_where!("session_id = ?1 and seq < ?2 order by seq desc limit ?3");
        let before = before_seq.unwrap_or(i64::MAX);
        let params = params![Text(session), before, int(limit as u64)];
        let mut entries = self.link.rows(sql, params, columns::entry)?;
        entries.reverse();
        Ok(HistoryPage { total, entries })
    }

    fn blob(&self, hash: Hash) -> Result<Option<String>, StoreError> {
        self.link.row("select data from blobs where hash = ?1", [Text(hash)], number)
    }

    fn sessions(&self, filter: &SessionFilter) -> Result<Vec<SessionView>, StoreError> {
        let select = concat!("select ", columns!(sessions), " from sessions");
        let page = (filter.limit, filter.offset);
        let rows = sessions::asked(self.link, select, filter, Some(page), columns::session)?;
        rows.into_iter().map(|row| self.view(row)).collect()
    }

    fn count_sessions(&self, filter: &SessionFilter) -> Result<u64, StoreError> {
        sessions::count(self.link, filter)
    }

    fn child_keys(&self, parent: &SessionKey, limit: usize) -> Result<Vec<SessionKey>, StoreError> {
        let sql = "select key from sessions where parent_key = ?1 and deleted_ms is null \
             order by session_id desc limit ?2";
        self.link.rows(sql, params![Text(parent), int(limit as u64)], columns::one)
    }

    fn session_of_input(&self, idem_key: &str) -> Result<Option<SessionKey>, StoreError> {
        let sql = "select session_key from inbox where idem_key = ?1 order by seq desc limit 1";
        if let Some(session) = self.link.row(sql, [idem_key], columns::one)? {
            return Ok(Some(session));
        }
        let sql =
            "select session_key from commands where idem_key = ?1 order by at_ms desc limit 1";
        self.link.row(sql, [idem_key], columns::one)
    }

    fn tally(&self, now: Timestamp) -> Result<Tally, StoreError> {
        sessions::tally(self.link, now)
    }

    fn session(&self, key: &SessionKey) -> Result<Option<SessionView>, StoreError> {
        let sql = concat!(
            "select ",
            columns!(sessions),
            " from sessions where key = ?1 and deleted_ms is null"
        );
        let row = self.link.row(sql, [Text(key)], columns::session)?;
        row.map(|row| self.view(row)).transpose()
    }

    fn run(&self, id: RunId) -> Result<Option<RunView>, StoreError> {
        self.link.row(run_views_where!("id = ?1"), [Text(id)], run_view)
    }

    fn open_runs(&self) -> Result<Vec<(RunId, AgentId)>, StoreError> {
        let sql = "select id, session_key from runs where ended_ms is null order by id";
        self.link.rows(sql, [], |c| Ok((c.parsed()?, c.parsed::<SessionKey>()?.agent)))
    }

    fn run_by_wire(&self, wire_id: &str) -> Result<Option<RunView>, StoreError> {
        self.link.row(run_views_where!("wire_id = ?1"), [wire_id], run_view)
    }

    fn sent(&self, run: RunId) -> Result<Vec<SentView>, StoreError> {
        let sql = "select inbox.id, inbox.session_key, steps.state = 'waiting', \
             case inbox.state when 'queued' then 0 when 'consumed' then coalesce((select \
             runs.phase = 'ended' from runs where runs.id = inbox.run_id), 1) else 1 end \
             from steps join inbox on inbox.id = steps.waits_on \
             where steps.run_id = ?1 and steps.waits_on is not null order by steps.n";
        self.link.rows(sql, [Text(run)], sent)
    }

    fn message(&self, id: MessageId) -> Result<Option<MessageView>, StoreError> {
        messages::message(self.link, id)
    }

    fn waited_tasks(&self, run: RunId) -> Result<Vec<TaskId>, StoreError> {
        messages::waited_tasks(self.link, run)
    }

    fn input(&self, session: &SessionKey, idem_key: &str) -> Result<Option<InputView>, StoreError> {
        let sql = "select id, state, run_id from inbox where session_key = ?1 and idem_key = ?2";
        self.link.row(sql, params![Text(session), idem_key], input)
    }

    fn queued(&self, session: &SessionKey, limit: usize) -> Result<Vec<QueuedView>, StoreError> {
        let sql = "select id, kind, place, idem_key, body, run_id, sender_key, at_ms from inbox \
                   where session_key = ?1 and state = 'queued' order by seq limit ?2";
        self.link.rows(sql, params![Text(session), int(limit as u64)], queued_view)
    }

    fn transcripts(
        &self,
        session: &SessionKey,
        limit: usize,
    ) -> Result<Vec<TranscriptView>, StoreError> {
        sessions::transcripts(self.link, session, limit)
    }

    fn newest_episode(&self, session: SessionId) -> Result<Option<Episode>, StoreError> {
        sessions::newest_episode(self.link, session)
    }

    fn command(
        &self,
        session: &SessionKey,
        idem_key: &str,
    ) -> Result<Option<CommandRow>, StoreError> {
        let sql = concat!(
            "select ",
            columns!(commands),
            " from commands where session_key = ?1 and idem_key = ?2"
        );
        self.link.row(sql, params![Text(session), idem_key], columns::command)
    }

    fn commands(&self, transcript: SessionId, limit: usize) -> Result<Vec<CommandRow>, StoreError> {
        let sql = concat!(
            "select ",
            columns!(commands),
            " from commands where session_id = ?1 \
             order by before_seq desc, at_ms desc, rowid desc limit ?2"
        );
        self.link.rows(sql, params![Text(transcript), int(limit as u64)], columns::command)
    }

    fn last_answer(&self, run: RunId) -> Result<Option<String>, StoreError> {
        let sql = "select body from entries where run_id = ?1 and step_n is not null \
                   and kind = 'assistant' and silent = 0 order by step_n desc limit 1";
        self.link.row(sql, [Text(run)], number)
    }

    fn tasks(&self, filter: &TaskFilter) -> Result<Vec<TaskView>, StoreError> {
        let rows = tasks::list(self.link, filter)?;
        rows.into_iter().map(|row| self.task_view(row)).collect()
    }

    fn task(&self, id: TaskId) -> Result<Option<TaskView>, StoreError> {
        let sql = concat!("select ", columns!(tasks), " from tasks where id = ?1");
        let row = self.link.row(sql, [Text(id)], columns::task)?;
        row.map(|row| self.task_view(row)).transpose()
    }

    fn flow_rows(&self, id: FlowId) -> Result<Option<(Flow, Vec<FlowNode>)>, StoreError> {
        let sql = concat!("select ", columns!(flows), " from flows where id = ?1");
        let Some(flow) = self.link.row(sql, [Text(id)], columns::flow)? else { return Ok(None) };
        Ok(Some((flow, flow_nodes(self.link, id)?)))
    }

    fn lanes(&self) -> Result<Vec<LaneView>, StoreError> {
        let sql = "select name, capacity, \
             (select count(*) from runs where lane = name and slot is not null), \
             (select count(*) from runs where lane = name and phase = 'queued' \
              and rank is not null) \
             from lanes order by name";
        let mut lanes = self.link.rows(sql, [], lane_view)?;
        let sql = "select session_key from runs where lane = ?1 and slot is not null order by slot";
        for lane in &mut lanes {
            lane.holders = self.link.rows(sql, [lane.name.as_str()], columns::one)?;
        }
        Ok(lanes)
    }

    fn lines(&self, before: Timestamp, limit: usize) -> Result<Vec<LineView>, StoreError> {
        let sql = "select id, wire_id, session_key, lane, \
             (select count(*) + 1 from runs as other where other.lane = runs.lane \
              and other.phase = 'queued' and other.rank is not null \
              and (other.rank < runs.rank or other.rank = runs.rank and other.id < runs.id)), \
             lined_ms from runs where phase = 'queued' and rank is not null and lined_ms <= ?1 \
             order by lined_ms, id limit ?2";
        self.link.rows(sql, params![before.ms(), int(limit as u64)], line_view)
    }

    fn kept(&self, root: &SessionKey, hash: Hash) -> Result<Option<String>, StoreError> {
        kept::text(self.link, root, hash)
    }

    fn approvals(&self, filter: &ApprovalFilter) -> Result<Vec<Approval>, StoreError> {
        approvals::list(self.link, filter)
    }

    fn grants(&self, limit: usize) -> Result<Vec<Grant>, StoreError> {
        approvals::grants(self.link, None, limit)
    }

    fn halt(&self, run: RunId) -> Result<Option<Halt>, StoreError> {
        let sql = concat!("select ", columns!(halts), " from halts where run_id = ?1");
        self.link.row(sql, [Text(run)], columns::halt)
    }

    fn open_halts(&self, limit: usize) -> Result<Vec<Halt>, StoreError> {
        open_rows::halts(self.link, None, limit)
    }

    fn gates(&self) -> Result<Vec<GateView>, StoreError> {
        let sql = concat!(
            "select ",
            columns!(gates),
            " from gates where state <> 'open' order by provider, account, model"
        );
        let mut shut = Vec::new();
        for gate in self.link.rows(sql, [], columns::gate)? {
            let sql = "select count(*) from runs where model = ?1 and wait_kind = 'gate'";
            let waiting = self.link.row(sql, [gate.key.reference()], |c| c.count())?;
            shut.push(GateView {
                gate: gate.key.to_string(),
                state: gate.state,
                kind: gate.kind,
                reopen: gate.reopen,
                reason: gate.reason,
                waiting: waiting.unwrap_or(0),
            });
        }
        Ok(shut)
    }

    fn nodes(&self, limit: usize) -> Result<Vec<NodeView>, StoreError> {
        let sql = concat!("select ", columns!(nodes), " from nodes order by id desc limit ?1");
        self.link.rows(sql, [int(limit as u64)], node_view)
    }

    fn ledger(&self, scope: &LedgerScope) -> Result<LedgerTotal, StoreError> {
        let (which, key) = match scope {
            LedgerScope::All => return self.summed.all(self.link),
            LedgerScope::Session(key) => ("session_key = ?1", key),
            LedgerScope::Tree(key) => ("root_key = ?1", key),
        };
        let sql = format!("{LEDGER_SUM} where {which}");
        Ok(self.link.row(&sql, [Text(key)], ledger_total)?.unwrap_or_default())
    }

    fn spending(&self, filter: &SpendFilter) -> Result<Vec<SpendView>, StoreError> {
        budget::spending(self.link, filter)
    }

    fn budgets(&self, limit: usize) -> Result<Vec<BudgetView>, StoreError> {
        budget::all(self.link, limit)
    }

    fn journal(&self, after_seq: i64, limit: usize) -> Result<Vec<JournalView>, StoreError> {
        let sql = concat!(
            "select seq, ",
            columns!(journal),
            " from journal where seq > ?1 order by seq limit ?2"
        );
        self.link.rows(sql, params![after_seq, int(limit as u64)], columns::journal)
    }

    fn restart_lines(&self, limit: usize) -> Result<Vec<JournalView>, StoreError> {
        // The kinds are written out, so that the small index of restarts serves.
        let sql = concat!(
            "select seq, ",
            columns!(journal),
            " from journal where kind in ('node.started', 'node.lost', 'run.recovered') \
             and seq >= (select coalesce(max(seq), 0) from journal where \
                         kind in ('node.started', 'node.lost', 'run.recovered') \
                         and kind = 'node.started') \
             order by seq limit ?1"
        );
        self.link.rows(sql, [int(limit as u64)], columns::journal)
    }

    fn snapshot(&self) -> Result<World, StoreError> {
        let link = self.link;
        let policies = "select hash, data from blobs \
                        where hash in (select policy_hash from sessions)";
        let policies = link.rows(policies, [], columns::blob)?;
        Ok(World {
            policies: policies.into_iter().collect(),
            lanes: link.rows(all!(lanes, "name"), [], columns::lane)?,
            nodes: link.rows(all!(nodes, "id"), [], columns::node)?,
            sessions: link.rows(all!(sessions, "key"), [], columns::session)?,
            transcripts: link.rows(all!(transcripts, "session_id"), [], columns::transcript)?,
            episodes: link.rows(all!(episodes, "session_id, n"), [], columns::episode)?,
            entries: open_rows::heads(link)?,
            inbox: link.rows(all!(inbox, "seq"), [], columns::inbox)?,
            runs: link.rows(all!(runs, "id"), [], columns::run)?,
            steps: link.rows(all!(steps, "run_id, n"), [], columns::step)?,
            tasks: link.rows(all!(tasks, "id"), [], columns::task)?,
            timers: link.rows(all!(timers, "kind, subject"), [], columns::timer)?,
            ledger: link.rows(all!(ledger, "run_id, step_n"), [], columns::ledger)?,
            flows: link.rows(all!(flows, "id"), [], columns::flow)?,
            flow_nodes: with_edges(
                link.rows(all!(flow_nodes, "flow_id, place"), [], columns::flow_node)?,
                link.rows(
                    concat!(flow_edges!(), " ", flow_edges_order!()),
                    [],
                    columns::flow_edge,
                )?,
            ),
            budgets: link.rows(all!(budgets, "scope, subject"), [], budget::read)?,
            reservations: link.rows(
                all!(reservations, "run_id, scope, subject"),
                [],
                budget::read_reservation,
            )?,
            gates: link.rows(all!(gates, "provider, account, model"), [], columns::gate)?,
            approvals: approvals::all(link)?,
            grants: approvals::grants(link, None, usize::MAX)?,
            halts: link.rows(all!(halts, "run_id"), [], columns::halt)?,
            kept: kept::all(link)?,
        })
    }

    fn open_rows(&self, since: Timestamp) -> Result<World, StoreError> {
        open_rows::read(self.link, since)
    }
}
