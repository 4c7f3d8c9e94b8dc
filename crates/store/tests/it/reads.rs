//! What readers see, on every store.

use machine::State;
use machine::rows::{EntryKind, Episode, InboxState, LaneName, NodeState, Outcome, StepState};
use machine::run::{Phase, WaitKind};
use store::query::ask;
use store::view::{LedgerScope, SessionFilter, TaskFilter};
use types::{AgentId, Timestamp, Usage};

use crate::bench::{Bench, benches, block_on, commit, event, limits, scripted};
use crate::rows::{self, key, plant, run_id, session_id, task_id};

/// Session 1 works; session 2 has ended twice and has a task; session 3 waits; session 4 never
/// ran.
fn world(state: &mut State<'_>) {
    plant(state, 4);
    let tx = state.tx();
    tx.put_episode(&Episode { n: 2, pinned: Some(Timestamp(300)), ..rows::episode(1) });
    let mut task = rows::task(2);
    (task.outcome, task.ended) = (Some(Outcome::Failed), Some(Timestamp(301)));
    tx.put_task(&task);
    tx.put_task(&rows::task(3));

    tx.put_run(&rows::working(1, 2));
    let mut ended = rows::run(2);
    (ended.rank, ended.task) = (None, Some(task_id(2)));
    (ended.phase, ended.ended) = (Phase::Ended(Outcome::Failed), Some(Timestamp(301)));
    ended.error = Some("overloaded".to_owned());
    let mut earlier = ended.clone();
    earlier.id = run_id(20);
    earlier.wire_id = "earlier".to_owned();
    earlier.phase = Phase::Ended(Outcome::Completed);
    earlier.ended = Some(Timestamp(300));
    tx.put_run(&earlier);
    tx.put_run(&ended);
    let mut waiting = rows::run(3);
    (waiting.phase, waiting.rank) = (Phase::Waiting(WaitKind::Children), None);
    (waiting.wait_need, waiting.task) = (2, Some(task_id(3)));
    tx.put_run(&waiting);
    for n in [1, 3] {
        let mut session = rows::session(n);
        session.open_run = Some(run_id(n));
        tx.put_session(&session);
    }

    for seq in 1..=3 {
        tx.add_inbox(&rows::inbox(seq, 1), "body");
    }
    let mut consumed = rows::inbox(1, 1);
    (consumed.state, consumed.done) = (InboxState::Consumed, Some(Timestamp(1)));
    tx.put_inbox(&consumed);

    for n in [0, 2] {
        let mut step = rows::model_step(1, n);
        (step.state, step.ended) = (StepState::Done, Some(Timestamp(1)));
        tx.put_step(&step);
    }
    tx.add_entry(&rows::entry(1, 1, None, EntryKind::User, "hello"));
    tx.add_entry(&rows::entry(1, 2, Some(0), EntryKind::Assistant, &answer("let me see")));
    tx.add_entry(&rows::entry(1, 3, Some(1), EntryKind::ToolResult, "{}"));
    tx.add_entry(&rows::entry(1, 4, Some(2), EntryKind::Assistant, &answer("it is 42")));
    tx.add_ledger(&rows::ledger(1, 0, false));
    tx.add_ledger(&rows::ledger(1, 2, true));
    tx.add_ledger(&rows::ledger(2, 0, false));
}

fn answer(text: &str) -> String {
    format!(r#"{{"wire":"scripted","model":"m","text":"{text}","stop":"end","raw":[1,  2]}}"#)
}

fn on_each_world(test: impl AsyncFn(&Bench)) {
    for bench in benches(scripted, &limits()) {
        block_on(async {
            commit(&bench, vec![event(world)]).await;
            test(&bench).await;
        });
    }
}

#[test]
fn transcripts_by_page() {
    on_each_world(async |Bench { name, store, .. }| {
        let seqs = |entries: &[store::view::EntryView]| -> Vec<i64> {
            entries.iter().map(|entry| entry.seq).collect()
        };
        let page = store.entries(session_id(1), 2, 2).await.unwrap();
        assert_eq!(seqs(&page), [2, 3], "{name}");
        assert!(store.entries(session_id(2), 0, 9).await.unwrap().is_empty());

        let page = store.history(session_id(1), None, 3).await.unwrap();
        assert_eq!((page.total, seqs(&page.entries)), (4, vec![2, 3, 4]), "{name}");
        let page = store.history(session_id(1), Some(2), 3).await.unwrap();
        assert_eq!((page.total, seqs(&page.entries)), (4, vec![1]), "{name}");

        let entry = store.entry_of_step(run_id(1), 0).await.unwrap().unwrap();
        assert_eq!((entry.seq, entry.kind, entry.at), (2, EntryKind::Assistant, Timestamp(150)));
        assert_eq!(store.entry_of_step(run_id(1), 9).await.unwrap(), None);
        let text = store.final_text(run_id(1)).await.unwrap();
        assert_eq!(text.as_deref(), Some("it is 42"), "{name}");
        assert_eq!(store.final_text(run_id(2)).await.unwrap(), None);
        assert_eq!(store.final_text(run_id(99)).await.unwrap(), None);
    });
}

#[test]
fn the_present_episode_of_a_transcript() {
    on_each_world(async |Bench { name, store, .. }| {
        let newest = |id| ask(&**store, move |rows| rows.newest_episode(id));
        assert_eq!(newest(session_id(2)).await.unwrap(), Some(rows::episode(2)), "{name}");
        let episode = newest(session_id(1)).await.unwrap().unwrap();
        assert_eq!((episode.n, episode.pinned), (2, Some(Timestamp(300))), "{name}");
        assert_eq!(newest(session_id(99)).await.unwrap(), None);
    });
}

#[test]
fn sessions_with_their_newest_runs() {
    on_each_world(async |Bench { name, store, .. }| {
        let busy = store.session(&key(1)).await.unwrap().unwrap();
        let open = busy.open_run.as_ref().unwrap();
        assert_eq!((open.id, open.phase), (run_id(1), Phase::AwaitingModel), "{name}");
        assert_eq!(open.lease_until, Some(Timestamp(20_010)));
        assert!(open.lease_live(Timestamp(20_009)) && !open.lease_live(Timestamp(20_010)));
        assert_eq!((busy.queued, busy.open_children, busy.context_tokens), (2, 1, 12), "{name}");
        let usage = Usage { input: 20, output: 40, cache_read: 60, cache_write: 80 };
        assert_eq!(busy.usage, usage, "{name}");
        assert_eq!(busy.last_run, None);

        let ended = store.session(&key(2)).await.unwrap().unwrap();
        assert_eq!(ended.open_run, None);
        let last = ended.newest_run().unwrap();
        assert_eq!(last.outcome, Some(Outcome::Failed), "{name}: the one that ended last");
        assert_eq!((last.lease_until, last.error.as_deref()), (None, Some("overloaded")));

        let waiting = store.session(&key(3)).await.unwrap().unwrap();
        let run = waiting.open_run.unwrap();
        assert_eq!((run.wait_kind, run.wait_need), (Some(WaitKind::Children), 2), "{name}");
        let unused = store.session(&key(4)).await.unwrap().unwrap();
        assert_eq!(unused.newest_run(), None);
        assert_eq!(store.session(&key(9)).await.unwrap(), None);
    });
}

#[test]
fn lists_of_sessions() {
    on_each_world(async |Bench { name, store, .. }| {
        let list = async |filter: SessionFilter| -> Vec<String> {
            let found = store.sessions(filter).await.unwrap();
            found.iter().map(|session| session.key.to_string()).collect()
        };
        let all = SessionFilter::default;
        let newest_first = ["agent:main:thread:t4", "agent:main:thread:t3", "agent:main:thread:t2"];
        assert_eq!(list(all()).await[..3], newest_first, "{name}");
        let page = SessionFilter { limit: 1, offset: 2, ..all() };
        assert_eq!(list(page).await, ["agent:main:thread:t2"], "{name}");
        let recent = SessionFilter { active_since: Some(Timestamp(103)), ..all() };
        assert_eq!(list(recent).await.len(), 2, "{name}");
        let children = SessionFilter { parent: Some(key(1)), ..all() };
        assert_eq!(list(children).await.len(), 3, "{name}");
        let nobody = SessionFilter { agent: Some("other".parse().unwrap()), ..all() };
        assert!(list(nobody).await.is_empty(), "{name}");
        let ours = SessionFilter { agent: Some(AgentId::main()), ..all() };
        assert_eq!(list(ours).await.len(), 4, "{name}");
    });
}

#[test]
fn runs_inputs_and_tasks() {
    on_each_world(async |Bench { name, store, .. }| {
        let run = store.run(run_id(1)).await.unwrap().unwrap();
        assert_eq!((run.slot, run.agent.clone()), (Some(2), AgentId::main()), "{name}");
        assert_eq!(store.run_by_wire("client-key-1").await.unwrap(), Some(run.clone()));
        assert_eq!(store.run_by_wire(&run_id(1).to_string()).await.unwrap(), Some(run));
        assert_eq!(store.run_by_wire("nobody").await.unwrap(), None);

        let input = store.input(&key(1), "input-1").await.unwrap().unwrap();
        assert_eq!((input.state, input.run), (InboxState::Consumed, Some(run_id(1))), "{name}");
        assert_eq!(store.input(&key(2), "input-1").await.unwrap(), None);

        let ids = async |filter: TaskFilter| -> Vec<types::TaskId> {
            store.tasks(filter).await.unwrap().iter().map(|task| task.id).collect()
        };
        let all = TaskFilter::default;
        assert_eq!(ids(all()).await, [task_id(3), task_id(2)], "{name}: newest first");
        assert_eq!(ids(TaskFilter { limit: 1, ..all() }).await, [task_id(3)]);
        assert_eq!(ids(TaskFilter { open_only: true, ..all() }).await, [task_id(3)]);
        assert_eq!(ids(TaskFilter { root: Some(key(1)), ..all() }).await.len(), 2);
        assert_eq!(ids(TaskFilter { requester: Some(key(2)), ..all() }).await, []);
        let task = store.task(task_id(2)).await.unwrap().unwrap();
        assert_eq!(task.run.unwrap().outcome, Some(Outcome::Failed), "{name}");
        assert_eq!(store.task(task_id(9)).await.unwrap(), None);
    });
}

#[test]
fn lanes_nodes_and_totals() {
    on_each_world(async |bench| {
        let (name, store) = (bench.name, &bench.store);
        let lanes = store.lanes().await.unwrap();
        let main = lanes.iter().find(|lane| lane.name == LaneName::Main).unwrap();
        assert_eq!((main.capacity, main.held, main.queued), (4, 1, 0), "{name}");
        let order: Vec<&str> = lanes.iter().map(|lane| lane.name.as_str()).collect();
        assert_eq!(order, ["cron", "main", "subagent"], "{name}");
        assert_eq!(store.nodes(9).await.unwrap()[0].id, rows::node(1).id);

        let all = store.ledger(LedgerScope::All).await.unwrap();
        assert_eq!((all.rows, all.estimated, all.usage.input), (3, 1, 30), "{name}");
        let one = store.ledger(LedgerScope::Session(key(2))).await.unwrap();
        assert_eq!((one.rows, one.estimated), (1, 0), "{name}");
        let tree = store.ledger(LedgerScope::Tree(key(1))).await.unwrap();
        assert_eq!(tree.rows, 3, "{name}");
        let none = store.ledger(LedgerScope::Tree(key(9))).await.unwrap();
        assert_eq!((none.rows, none.usage), (0, Usage::default()), "{name}");

        // A node that says it is down has no lease, whatever its row still holds.
        let down = event(|state| {
            let mut node = rows::node(1);
            node.state = NodeState::Down;
            state.tx().put_node(&node);
        });
        commit(bench, vec![down]).await;
        let run = store.run(run_id(1)).await.unwrap().unwrap();
        assert_eq!(run.facts.lease_until, None, "{name}");
    });
}

/// Both stores show the same, down to the JSON.
#[test]
fn views_are_the_same_json() {
    let mut shown = Vec::new();
    on_each_world_collect(&mut shown);
    assert_eq!(shown[0], shown[1]);
    let text = &shown[0];
    for part in [r#""phase":"awaiting_model""#, r#""leaseUntil":20010"#, r#""sessionKey":"#] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

fn on_each_world_collect(shown: &mut Vec<String>) {
    for bench in benches(scripted, &limits()) {
        block_on(async {
            commit(&bench, vec![event(world)]).await;
            let store = &bench.store;
            let sessions = store.sessions(SessionFilter::default()).await.unwrap();
            let tasks = store.tasks(TaskFilter::default()).await.unwrap();
            let run = store.run(run_id(1)).await.unwrap();
            let history = store.history(session_id(1), None, 9).await.unwrap();
            let lanes = store.lanes().await.unwrap();
            let nodes = store.nodes(9).await.unwrap();
            let all = (sessions, tasks, run, history, lanes, nodes);
            shown.push(serde_json::to_string(&all).unwrap());
        });
    }
}
