//! Flows and tasks in random states: the views say the words that `machine::status` says of the
//! same rows.

use machine::State;
use machine::rows::{FlowNode, FlowNodeState, Lifecycle, Outcome, Task, TaskKind};
use machine::run::{Phase, WaitKind};
use rusqlite::Connection;
use store::query::ask;
use store::view::{FlowView, TaskView};
use store::{Moment, Reads, Sqlite, Store};
use types::{FlowId, FlowTarget, Timestamp};

use crate::bench::{block_on, event, scripted, sqlite};
use crate::rows::{self, plant, run_id, task_id, uuid};

/// Tasks with a session of their own, each carried by a run or in line.
const PLAIN: std::ops::Range<u128> = 2..14;
const FLOWS: std::ops::Range<u128> = 14..18;
const NODES: u32 = 4;
const SESSIONS: u128 = 40;

/// Between the two leases.
const NOW: Timestamp = Timestamp(30_000);

/// A small source of numbers that a seed fixes.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn outcome(&mut self) -> Option<Outcome> {
        (self.below(2) == 0).then(|| self.one(Outcome::ALL))
    }
}

fn phases() -> Vec<Phase> {
    let open = [Phase::Queued, Phase::Preparing, Phase::AwaitingModel, Phase::AwaitingTools];
    let waits = WaitKind::ALL.iter().map(|kind| Phase::Waiting(*kind));
    let ends = Outcome::ALL.iter().map(|outcome| Phase::Ended(*outcome));
    open.into_iter().chain(waits).chain(ends).collect()
}

/// Gives a task an end, or none, and sometimes the mark of a stop.
fn dress(dice: &mut Dice, mut task: Task) -> Task {
    task.outcome = dice.outcome();
    task.ended = task.outcome.map(|_| Timestamp(200));
    task.cancelled = (dice.below(3) == 0).then_some(Timestamp(150));
    task
}

/// Puts a task, with a run in any phase or with none: it may stand in line, or a fault may have
/// left the one behind the other.
fn put(state: &mut State<'_>, dice: &mut Dice, n: u128, task: Task) {
    let task = dress(dice, task);
    let phase = dice.one(&phases());
    let in_line = dice.below(4) == 0;
    let tx = state.tx();
    tx.put_task(&task);
    if in_line {
        return;
    }
    let mut run = if phase.holds_slot() { rows::working(n, n as u32) } else { rows::run(n) };
    run.phase = phase;
    run.rank = run.rank.filter(|_| phase == Phase::Queued);
    run.ended = phase.ended().then_some(Timestamp(200));
    run.task = Some(task.id);
    tx.put_run(&run);
    let mut session = rows::session(n);
    session.open_run = (!phase.ended()).then(|| run_id(n));
    tx.put_session(&session);
}

fn world(state: &mut State<'_>) {
    let mut dice = Dice(state.at.random());
    plant(state, SESSIONS);
    for n in PLAIN {
        let kind = dice.one(&[TaskKind::Cli, TaskKind::Subagent]);
        put(state, &mut dice, n, Task { kind, ..rows::task(n) });
    }
    for (i, n) in (0_u128..).zip(FLOWS) {
        let flow = dress(&mut dice, rows::flow_task(n));
        state.tx().put_task(&flow);
        let places: Vec<FlowNode> =
            (0..NODES).map(|place| rows::flow_node(n, place, &[])).collect();
        state.tx().add_flow(&rows::flow(n), &places);
        for mut node in places {
            let number = FLOWS.end + i * u128::from(NODES) + u128::from(node.place);
            node.state = dice.one(FlowNodeState::ALL);
            // One that was never begun has no task.
            let begun = dice.below(3) > 0;
            if begun || !matches!(node.state, FlowNodeState::Pending | FlowNodeState::Skipped) {
                put(state, &mut dice, number, rows::node_task(number, n));
                (node.task, node.attempt) = (Some(task_id(number)), 1);
            }
            state.tx().put_flow_node(&node);
        }
    }
}

/// A row of `v_tasks`: activity, wait_kind, last_turn, task_status, outcome, stopped.
type TaskWords = (String, Option<String>, String, String, Option<String>, bool);

fn task_row(file: &Connection, task: &TaskView) -> TaskWords {
    let sql = "select activity, wait_kind, last_turn, task_status, outcome, stopped \
               from v_tasks where id = ?1";
    file.query_row(sql, [task.id.to_string()], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
    })
    .unwrap()
}

fn task_words(task: &TaskView) -> TaskWords {
    let words = task.words(Lifecycle::Open, NOW);
    let run = task.run.as_ref().unwrap();
    (
        words.activity.to_string(),
        run.wait_kind.map(|kind| kind.to_string()),
        words.last_turn.to_string(),
        words.task_status.to_string(),
        task.outcome.map(|outcome| outcome.to_string()),
        task.cancelled.is_some(),
    )
}

/// A row of `v_flows`: activity, task_status, outcome, and its nodes by how they stand.
type FlowWords = (String, String, Option<String>, [u32; 4]);

fn flow_row(file: &Connection, flow: &FlowView) -> FlowWords {
    let sql = "select activity, task_status, outcome, nodes, completed, running, lost \
               from v_flows where id = ?1";
    file.query_row(sql, [flow.id.to_string()], |row| {
        let counts = [row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?];
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, counts))
    })
    .unwrap()
}

fn flow_words(flow: &FlowView) -> FlowWords {
    let words = flow.task.words(Lifecycle::Open, NOW);
    let lost = [FlowNodeState::Failed, FlowNodeState::Skipped, FlowNodeState::Cancelled];
    let counts = [
        flow.count(FlowNodeState::ALL),
        flow.count(&[FlowNodeState::Completed]),
        flow.count(&[FlowNodeState::Running]),
        flow.count(&lost),
    ];
    let outcome = flow.task.outcome.map(|outcome| outcome.to_string());
    (words.activity.to_string(), words.task_status.to_string(), outcome, counts)
}

fn agree(store: &Sqlite, file: &Connection, what: &str) {
    let last = FLOWS.end + (FLOWS.end - FLOWS.start) * u128::from(NODES);
    let mut seen = 0;
    for n in PLAIN.start..last {
        // Not every node has a task.
        let Some(task) = block_on(store.task(task_id(n))).unwrap() else { continue };
        assert_eq!(task_row(file, &task), task_words(&task), "{what}: task {n}, {task:?}");
        seen += 1;
    }
    assert!(seen >= PLAIN.end - PLAIN.start, "{what}");
    for n in FLOWS {
        let target = FlowTarget::Flow(FlowId::new(uuid(n)));
        let flow = block_on(ask(store, move |rows| rows.flow(target))).unwrap().unwrap();
        assert_eq!(flow_row(file, &flow), flow_words(&flow), "{what}: flow {n}");
        for node in &flow.nodes {
            let Some(task) = &node.task else { continue };
            assert_eq!(task_row(file, task), task_words(task), "{what}: {} of {n}", node.name);
        }
    }
}

#[test]
fn flows_and_tasks_in_random_states_stand_as_the_machine_says() {
    for seed in 0..40 {
        let dir = tempfile::tempdir().unwrap();
        let store = sqlite(dir.path(), scripted);
        let moment = Moment { now: Timestamp(1), seed };
        let done = block_on(store.commit(moment, vec![event(world)])).unwrap();
        assert!(done.answers[0].is_ok(), "seed {seed}: {done:?}");
        let file = Connection::open(store.path()).unwrap();
        for lease in [i64::MAX, 20_000] {
            file.execute("update nodes set lease_until_ms = ?1", [lease]).unwrap();
            agree(&store, &file, &format!("seed {seed}, lease until {lease}"));
        }
    }
}
