//! Messages between sessions as readers see them, the same on every store.

use machine::State;
use machine::rows::{InboxKind, InboxState, Outcome, Run, StepState};
use machine::run::{Phase, WaitKind};
use store::query::ask;
use types::{TaskId, Timestamp};

use crate::bench::{Bench, benches, block_on, commit, event, limits, scripted};
use crate::rows::{self, plant, run_id, task_id};

/// Run 1 has sent three messages: one waits in line, one is taken in, one was answered.
fn world(state: &mut State<'_>) {
    plant(state, 3);
    let tx = state.tx();
    tx.put_run(&rows::working(1, 0));
    tx.put_run(&rows::working(2, 1));
    let mut over = rows::run(3);
    (over.phase, over.rank) = (Phase::Ended(Outcome::Completed), None);
    over.ended = Some(Timestamp(300));
    tx.put_run(&over);
    for (seq, session) in [(1, 2), (2, 2), (3, 3)] {
        let mut row = rows::inbox(seq, session);
        row.kind = InboxKind::Agent;
        tx.add_inbox(&row, "body");
        if seq > 1 {
            (row.state, row.done) = (InboxState::Consumed, Some(Timestamp(200)));
            tx.put_inbox(&row);
        }
        let mut step = rows::tool_step(1, seq as u32);
        step.waits_on = Some(row.id);
        step.state = if seq == 2 { StepState::Waiting } else { StepState::Done };
        step.ended = (seq != 2).then_some(Timestamp(201));
        tx.put_step(&step);
    }
}

#[test]
fn what_a_run_has_sent_and_waits_for() {
    for bench in benches(scripted, &limits()) {
        block_on(async {
            commit(&bench, vec![event(world)]).await;
            let sent = ask(&*bench.store, |rows| rows.sent(run_id(1))).await.unwrap();
            let seen: Vec<_> = sent.iter().map(|sent| (sent.waits, sent.settled)).collect();
            assert_eq!(seen, [(false, false), (true, false), (false, true)], "{}", bench.name);
            assert_eq!(sent[2].session_key, rows::key(3), "{}", bench.name);
            let none = ask(&*bench.store, |rows| rows.sent(run_id(2))).await.unwrap();
            assert_eq!(none, []);
        });
    }
}

/// How far each of them has come, in the words of a receipt.
#[test]
fn a_message_is_found_with_its_receipt() {
    fn called(state: &mut State<'_>) {
        let mut step = rows::model_step(2, 5);
        step.started = Timestamp(200);
        state.tx().put_step(&step);
    }
    for bench in benches(scripted, &limits()) {
        block_on(async {
            commit(&bench, vec![event(world)]).await;
            let find = |seq: i64| {
                let id = rows::inbox(seq, 2).id;
                ask(&*bench.store, move |rows| rows.message(id))
            };
            for (seq, session, word) in [(1, 2, "accepted"), (2, 2, "delivered"), (3, 3, "replied")]
            {
                let found = find(seq).await.unwrap().unwrap();
                assert_eq!(found.session_key, rows::key(session), "{}", bench.name);
                assert_eq!(found.sender, Some(rows::key(1)), "{}", bench.name);
                assert_eq!(found.receipt().as_str(), word, "{}: {found:?}", bench.name);
            }
            assert_eq!(find(99).await.unwrap(), None);
            // The run that has taken the second in calls its model.
            commit(&bench, vec![event(called)]).await;
            let found = [find(2).await.unwrap().unwrap(), find(3).await.unwrap().unwrap()];
            let words = found.map(|message| message.receipt().as_str());
            assert_eq!(words, ["started", "replied"], "{}", bench.name);
        });
    }
}

/// Run 1 waits for an answer, run 2 for the end of a task.
fn waiting(state: &mut State<'_>) {
    world(state);
    let tx = state.tx();
    let wait = |n, kind, need| {
        let phase = Phase::Waiting(kind);
        Run { phase, wait_need: need, slot: None, node: None, ..rows::working(n, 0) }
    };
    tx.put_run(&wait(1, WaitKind::Reply, 0));
    tx.put_run(&wait(2, WaitKind::Children, 1));
    for n in [1, 2] {
        let mut session = rows::session(n);
        session.open_run = Some(run_id(n));
        tx.put_session(&session);
    }
    for (n, waits, ended) in [(4, true, false), (5, false, false), (6, true, true)] {
        let mut task = rows::task(n);
        (task.requester_key, task.session_key) = (rows::key(2), rows::key(3));
        task.waited_by = waits.then(|| run_id(2));
        if ended {
            (task.outcome, task.ended) = (Some(Outcome::Failed), Some(Timestamp(300)));
        }
        tx.put_task(&task);
    }
}

/// The tasks have ended, and what run 2 has sent is not answered yet.
fn alone(state: &mut State<'_>) {
    let tx = state.tx();
    let mut task = rows::task(4);
    (task.requester_key, task.session_key) = (rows::key(2), rows::key(3));
    (task.outcome, task.ended) = (Some(Outcome::Failed), Some(Timestamp(300)));
    tx.put_task(&task);
    for seq in [4, 5] {
        let mut row = rows::inbox(seq, 3);
        tx.add_inbox(&row, "body");
        let mut step = rows::tool_step(2, seq as u32);
        (step.waits_on, step.state) = (Some(row.id), StepState::Done);
        step.ended = Some(Timestamp(201));
        tx.put_step(&step);
        if seq == 5 {
            (row.state, row.done) = (InboxState::Dropped, Some(Timestamp(200)));
            tx.put_inbox(&row);
        }
    }
}

/// What the runs of three sessions wait for; on the file the view says the same.
#[test]
fn what_a_session_waits_for_is_listed() {
    for bench in benches(scripted, &limits()) {
        block_on(async {
            let of = async |n| {
                let found = ask(&*bench.store, move |rows| {
                    let run = rows.run(run_id(n))?.unwrap().facts;
                    rows.wait(&run)
                });
                found.await.unwrap()
            };
            commit(&bench, vec![event(waiting)]).await;
            let reply = of(1).await.unwrap();
            assert_eq!((reply.kind, reply.messages.len()), (WaitKind::Reply, 1), "{}", bench.name);
            assert_eq!(reply.messages, [rows::inbox(2, 2).id], "{}", bench.name);
            let children = of(2).await.unwrap();
            assert_eq!((children.need, &children.tasks[..]), (1, &[task_id(4)][..]));
            assert_eq!(children.messages, [], "{}", bench.name);
            assert_eq!(of(3).await, None, "{}", bench.name);
            told_by_the_view(&bench, 1, reply.messages).await;
            told_by_the_view(&bench, 2, children.tasks).await;
            told_by_the_view::<TaskId>(&bench, 3, Vec::new()).await;

            commit(&bench, vec![event(alone)]).await;
            let answer = of(2).await.unwrap();
            assert_eq!(
                (&answer.tasks[..], &answer.messages[..]),
                (&[][..], &[rows::inbox(4, 3).id][..])
            );
            told_by_the_view(&bench, 2, answer.messages).await;
        });
    }
}

/// Compares `v_sessions` of the file, if the rows are in one.
async fn told_by_the_view<T: ToString>(bench: &Bench, n: u128, expected: Vec<T>) {
    let Some(path) = bench.path() else { return };
    let file = rusqlite::Connection::open(path).unwrap();
    let sql = "select waits_for from v_sessions where key = ?1";
    let key = rows::key(n).to_string();
    let found: Option<String> = file.query_row(sql, [key], |row| row.get(0)).unwrap();
    let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
    assert_eq!(found.unwrap_or_default(), expected.join(" "), "session {n}");
}
