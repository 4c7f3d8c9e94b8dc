//! Lists of sessions and what is counted instead, the same on every store.

use machine::State;
use machine::rows::Lifecycle;
use store::view::{SessionFilter, Tally, TaskFilter};
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
