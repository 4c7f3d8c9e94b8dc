//! Lists of sessions and what is counted instead, the same on every store.

use machine::State;
use machine::rows::{JournalLine, Lifecycle, Outcome, Task, TaskKind};
use machine::run::Phase;
use store::view::{Below, Ends, SessionFilter, Tally, TaskFilter};
use types::{ScopeKind, Timestamp};

use crate::bench::{Bench, benches, block_on, commit, event, limits, scripted};
use crate::rows::{self, key, plant, run_id, task_id};

/// Nine sessions, of every kind; the second works for a node with a lease until 20,010.
fn world(state: &mut State<'_>) {
    plant(state, 2);
    let tx = state.tx();
    let others = [
        "agent:main:subagent:00000000-0000-0000-0000-000000000003",
        "agent:main:subagent:warm",
        "agent:main:acp:00000000-0000-0000-0000-000000000005",
        "agent:main:cron:daily",
        "agent:main:hook:00000000-0000-0000-0000-000000000007",
        "agent:ops:slack:group:g8",
        "agent:ops:slack:direct:u9",
    ];
    for (n, text) in (3..).zip(others) {
        let mut session = rows::session(n);
        session.key = text.parse().unwrap();
        session.agent = session.key.agent.clone();
        session.owner = "bob".to_owned();
        session.label = (n == 4).then(|| "Budget 2027".to_owned());
        if n == 6 {
            (session.lifecycle, session.archived) = (Lifecycle::Archived, Some(Timestamp(1)));
        }
        tx.put_session(&session);
    }
    tx.put_run(&rows::working(2, 1));
    let mut over = rows::run(1);
    (over.phase, over.rank) = (Phase::Ended(Outcome::Completed), None);
    over.ended = Some(Timestamp(120));
    tx.put_run(&over);
    let mut session = rows::session(2);
    session.open_run = Some(run_id(2));
    tx.put_session(&session);
    tx.add_inbox(&rows::inbox(1, 2), "body");
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
fn a_list_is_filtered_and_counted_where_the_rows_are() {
    let all = SessionFilter::default;
    let text = |text: &str| Some(text.to_owned());
    #[rustfmt::skip]
    let table = [
        (all(),                                                                          9, "all"),
        (SessionFilter { owner: text("bob"), ..all() },                                  7, "owner"),
        (SessionFilter { agent: Some("ops".parse().unwrap()), ..all() },                 2, "agent"),
        (SessionFilter { kinds: vec![ScopeKind::Subagent], ..all() },                    2, "kind"),
        (SessionFilter { kinds: vec![ScopeKind::Group, ScopeKind::Cron], ..all() },      2, "kinds"),
        (SessionFilter { kinds: SessionFilter::all_but(&[ScopeKind::Subagent]), ..all() }, 7, "but"),
        (SessionFilter { label: text("Budget 2027"), ..all() },                          1, "label"),
        (SessionFilter { label: text("Budget"), ..all() },                               0, "label"),
        (SessionFilter { search: text("BUDGET"), ..all() },                              1, "search"),
        (SessionFilter { search: text("slack:"), ..all() },                              2, "search"),
        (SessionFilter { search: text("100%_'"), ..all() },                              0, "search"),
        (SessionFilter { lifecycle: Some(Lifecycle::Archived), ..all() },                1, "archived"),
        (SessionFilter { lifecycle: Some(Lifecycle::Open), ..all() },                    8, "open"),
        (SessionFilter { open_only: true, ..all() },                                     1, "busy"),
        (SessionFilter { open_only: true, owner: text("bob"), ..all() },                 0, "both"),
        (SessionFilter { active_since: Some(Timestamp(108)), ..all() },                  2, "active"),
    ];
    on_each_world(async |Bench { name, store, .. }| {
        for (filter, expected, what) in &table {
            let found = store.sessions(filter.clone()).await.unwrap();
            assert_eq!(found.len(), *expected, "{name}: {what}");
            let page = SessionFilter { limit: 1, offset: 8, ..filter.clone() };
            let counted = store.count_sessions(page).await.unwrap();
            assert_eq!(counted, *expected as u64, "{name}: {what}, counted");
        }
        let page = store.sessions(SessionFilter { limit: 3, offset: 2, ..all() }).await.unwrap();
        let last: Vec<i64> = page.iter().map(|session| session.active.ms()).collect();
        assert_eq!(last, [107, 106, 105], "{name}");
    });
}

#[test]
fn what_is_counted_is_not_listed() {
    on_each_world(async |Bench { name, store, .. }| {
        let expected = Tally { sessions: 9, runs_running: 1, ..Tally::default() };
        assert_eq!(store.tally(Timestamp(20_009)).await.unwrap(), expected, "{name}");
        let late = Tally { runs_running: 0, runs_recovering: 1, ..expected };
        assert_eq!(store.tally(Timestamp(20_010)).await.unwrap(), late, "{name}");

        let lanes = store.lanes().await.unwrap();
        let held: Vec<_> = lanes.iter().flat_map(|lane| &lane.holders).collect();
        assert_eq!(held, [&key(2)], "{name}");

        let open = store::query::ask(&**store, |rows| rows.open_runs()).await.unwrap();
        assert_eq!(open, [(run_id(2), key(2).agent)], "{name}: of two runs one has ended");

        let children = store::query::ask(&**store, |rows| rows.child_keys(&key(1), 2)).await;
        let children: Vec<String> = children.unwrap().iter().map(ToString::to_string).collect();
        let newest = ["agent:ops:slack:direct:u9", "agent:ops:slack:group:g8"];
        assert_eq!(children, newest, "{name}");

        let of = |idem: &'static str| {
            store::query::ask(&**store, move |rows| rows.session_of_input(idem))
        };
        assert_eq!(of("input-1").await.unwrap(), Some(key(2)), "{name}");
        assert_eq!(of("input-9").await.unwrap(), None, "{name}");
    });
}

/// A tree of tasks, by number: 2 below the main session, 3 and 4 below 2, 5 below 3 (which has
/// ended), a flow 6 with its node 7, and 8, which another session asked for.
fn tree(state: &mut State<'_>) {
    plant(state, 8);
    let tx = state.tx();
    let mut of_ops = rows::session(9);
    of_ops.key = "agent:ops:thread:t4".parse().unwrap();
    of_ops.agent = of_ops.key.agent.clone();
    tx.put_session(&of_ops);
    let below = |n, parent, requester| Task {
        parent: Some(task_id(parent)),
        requester_key: key(requester),
        kind: TaskKind::Subagent,
        ..rows::task(n)
    };
    let ended =
        |task, outcome, ms| Task { outcome: Some(outcome), ended: Some(Timestamp(ms)), ..task };
    tx.put_task(&rows::task(2));
    tx.put_task(&ended(below(3, 2, 2), Outcome::TimedOut, 500));
    tx.put_task(&Task { session_key: of_ops.key, ..below(4, 2, 2) });
    tx.put_task(&ended(below(5, 3, 3), Outcome::Completed, 700));
    tx.put_task(&rows::flow_task(6));
    tx.put_task(&rows::node_task(7, 6));
    let other = Task { requester_key: key(5), root_key: key(5), ..rows::task(8) };
    tx.put_task(&ended(other, Outcome::Cancelled, 900));
}

#[test]
fn tasks_are_filtered_where_the_rows_are() {
    let all = TaskFilter::default;
    let ends = |open, outcomes: &[Outcome]| Some(Ends { open, outcomes: outcomes.to_vec() });
    let of = |n| Some(Below::Session(key(n)));
    #[rustfmt::skip]
    let table: [(TaskFilter, &[u128], &str); 18] = [
        (all(),                                                     &[8, 7, 6, 5, 4, 3, 2], "all"),
        (TaskFilter { limit: 2, ..all() },                          &[8, 7],                "a page"),
        (TaskFilter { before: Some(task_id(4)), ..all() },          &[3, 2],                "the next"),
        (TaskFilter { session: Some(key(3)), ..all() },             &[5, 3],                "session"),
        (TaskFilter { session: Some(key(99)), ..all() },            &[],                    "nobody"),
        (TaskFilter { root: Some(key(5)), ..all() },                &[8],                   "tree"),
        (TaskFilter { agent: Some("ops".parse().unwrap()), ..all() }, &[4],                 "agent"),
        (TaskFilter { agent: Some("op".parse().unwrap()), ..all() }, &[],                   "no agent"),
        (TaskFilter { kind: Some(TaskKind::FlowNode), ..all() },    &[7],                   "kind"),
        (TaskFilter { open_only: true, ..all() },                   &[7, 6, 4, 2],          "open"),
        (TaskFilter { ends: ends(true, &[Outcome::TimedOut]), ..all() }, &[7, 6, 4, 3, 2],  "ends"),
        (TaskFilter { ends: ends(false, &[Outcome::Cancelled, Outcome::Completed]), ..all() },
                                                                    &[8, 5],                "outcomes"),
        (TaskFilter { ends: ends(false, &[]), ..all() },            &[],                    "no ends"),
        (TaskFilter { ended_since: Some(Timestamp(700)), ..all() }, &[8, 7, 6, 5, 4, 2],    "since"),
        (TaskFilter { below: of(2), ..all() },                      &[5, 4, 3],             "below"),
        (TaskFilter { below: of(2), open_only: true, ..all() },     &[4],                   "open below"),
        (TaskFilter { below: Some(Below::Task(task_id(3))), ..all() }, &[5],                "below a task"),
        (TaskFilter { below: of(1), limit: 3, ..all() },            &[7, 6, 5],             "the newest below"),
    ];
    for Bench { name, store, .. } in &benches(scripted, &limits()) {
        block_on(async {
            let moment = store::Moment { now: Timestamp(1), seed: 1 };
            let done = store.commit(moment, vec![event(tree)]).await.unwrap();
            assert!(done.answers[0].is_ok(), "{name}: {done:?}");
            for (filter, expected, what) in &table {
                let found = store.tasks(filter.clone()).await.unwrap();
                let found: Vec<u128> = found.iter().map(|t| t.id.uuid().as_u128()).collect();
                assert_eq!(found, *expected, "{name}: {what}");
            }
        });
    }
}

/// What a start has found begins with its own line, whatever came before and between.
#[test]
fn the_lines_of_the_last_start_are_found() {
    fn lines(state: &mut State<'_>) {
        let at = state.now();
        let of_two_starts = [
            "run.recovered",
            "node.started",
            "run.recovered",
            "run.ended",
            "node.started",
            "run.ended",
            "node.lost",
            "run.recovered",
            "task.ended",
        ];
        for (n, kind) in of_two_starts.into_iter().enumerate() {
            let (subject, detail) = (n.to_string(), String::new());
            state.tx().add_journal(&JournalLine { kind, subject, root_key: None, detail, at });
        }
    }
    for bench in benches(scripted, &limits()) {
        block_on(async {
            let read =
                |limit| store::query::ask(&*bench.store, move |rows| rows.restart_lines(limit));
            assert_eq!(read(9).await.unwrap(), [], "{}", bench.name);
            commit(&bench, vec![event(lines)]).await;
            for (limit, expected) in [(9, &["4", "6", "7"][..]), (2, &["4", "6"])] {
                let found = read(limit).await.unwrap();
                let found: Vec<&str> = found.iter().map(|line| &line.subject[..]).collect();
                assert_eq!(found, expected, "{}", bench.name);
            }
        });
    }
}

#[test]
fn a_page_of_tasks_begins_behind_the_last() {
    fn three(state: &mut State<'_>) {
        plant(state, 4);
        for n in 2..=4 {
            state.tx().put_task(&rows::task(n));
        }
    }
    for Bench { name, store, .. } in &benches(scripted, &limits()) {
        block_on(async {
            let moment = store::Moment { now: Timestamp(1), seed: 1 };
            store.commit(moment, vec![event(three)]).await.unwrap();
            let filter = TaskFilter { before: Some(task_id(4)), limit: 1, ..TaskFilter::default() };
            let page = store.tasks(filter).await.unwrap();
            assert_eq!(page.first().map(|task| task.id), Some(task_id(3)), "{name}");
        });
    }
}
