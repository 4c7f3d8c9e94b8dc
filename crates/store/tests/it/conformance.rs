//! What the machine may ask of a transaction, on every store.

use machine::rows::{
    Body, EndReason, Entry, EntryKind, InboxKind, InboxState, JournalLine, LaneName, Lifecycle,
    NodeState, Outcome, Place, StepState, Timer, TimerKind,
};
use machine::run::{Phase, WaitKind};
use machine::{Event, Notice, State};
use types::{FailureClass, Hash, MessageId, Timestamp};

use crate::bench::{benches, block_on, commit, event, limits, moment, on_each_store, scripted};
use crate::rows::{self, key, plant, run_id, session_id, task_id};

/// Every row comes back as it was put, in another transaction too, and so does its change.
#[test]
fn rows_come_back_as_they_were_put() {
    on_each_store(&[
        |state| {
            plant(state, 2);
            let tx = state.tx();
            tx.put_task(&rows::task(2));
            tx.put_run(&rows::run(1));
            tx.put_step(&rows::model_step(1, 0));
            tx.put_step(&rows::tool_step(1, 1));
            assert_eq!(tx.next_inbox_seq(), 1);
            tx.add_inbox(&rows::inbox(1, 1), "body");
            assert_eq!(tx.next_inbox_seq(), 2);
        },
        |state| {
            let tx = state.tx();
            assert_eq!(tx.lane(LaneName::Cron), Some(rows::lane(LaneName::Cron)));
            assert_eq!(tx.node(rows::node(1).id), Some(rows::node(1)));
            assert_eq!(tx.node(rows::node(9).id), None);
            assert_eq!(tx.session(&key(2)), Some(rows::session(2)));
            assert_eq!(tx.session(&key(9)), None);
            assert_eq!(tx.transcript(session_id(1)), Some(rows::transcript(1)));
            assert_eq!(tx.episode((session_id(1), 1)), Some(rows::episode(1)));
            assert_eq!(tx.episode((session_id(1), 2)), None);
            assert_eq!(tx.task(task_id(2)), Some(rows::task(2)));
            assert_eq!(tx.run(run_id(1)), Some(rows::run(1)));
            assert_eq!(tx.run(run_id(9)), None);
            assert_eq!(tx.step((run_id(1), 0)), Some(rows::model_step(1, 0)));
            assert_eq!(tx.step((run_id(1), 1)), Some(rows::tool_step(1, 1)));
            assert_eq!(tx.inbox(1), Some(rows::inbox(1, 1)));
            assert_eq!(tx.inbox(2), None);
        },
        change_every_row,
    ]);
}

fn change_every_row(state: &mut State<'_>) {
    let tx = state.tx();
    let mut lane = rows::lane(LaneName::Main);
    (lane.capacity, lane.vtime, lane.generation) = (9, -5, 8);
    tx.put_lane(&lane);
    assert_eq!(tx.lane(LaneName::Main), Some(lane));

    let mut node = rows::node(1);
    (node.state, node.beat, node.lease_until) = (NodeState::Draining, Timestamp(11), Timestamp(12));
    tx.put_node(&node);
    assert_eq!(tx.node(node.id), Some(node));

    let mut session = rows::session(1);
    session.session_id = session_id(7);
    session.open_run = Some(run_id(1));
    session.lifecycle = Lifecycle::Archived;
    session.archived = Some(Timestamp(13));
    (session.deleted, session.created) = (Some(Timestamp(14)), Timestamp(3));
    (session.label, session.model, session.cwd) = (None, None, None);
    (session.rev, session.active) = (2, Timestamp(14));
    tx.put_session(&session);
    assert_eq!(tx.session(&key(1)), Some(session));

    let mut transcript = rows::transcript(1);
    (transcript.next_seq, transcript.episode, transcript.context_tokens) = (5, 2, u64::MAX / 2);
    transcript.ended = Some((Timestamp(200), EndReason::Reset));
    tx.put_transcript(&transcript);
    assert_eq!(tx.transcript(session_id(1)), Some(transcript));

    let mut episode = rows::episode(1);
    (episode.prefix_hash, episode.prefix_tokens) = (Some(Hash::of("p")), 8);
    episode.pinned = Some(Timestamp(200));
    tx.put_episode(&episode);
    assert_eq!(tx.episode((session_id(1), 1)), Some(episode));

    let mut task = rows::task(2);
    task.waited_by = Some(run_id(1));
    task.cancelled = Some(Timestamp(15));
    (task.outcome, task.ended) = (Some(Outcome::NoResult), Some(Timestamp(16)));
    task.result_hash = Some(Hash::of("r"));
    tx.put_task(&task);
    assert_eq!(tx.task(task.id), Some(task));

    let mut run = rows::working(1, 2);
    (run.wait_need, run.next_step, run.recoveries, run.retries) = (1, 4, 0, 0);
    tx.put_run(&run);
    assert_eq!(tx.run(run.id), Some(run.clone()));
    run.phase = Phase::Waiting(WaitKind::Children);
    (run.slot, run.node) = (None, None);
    tx.put_run(&run);
    assert_eq!(tx.run(run.id), Some(run.clone()));
    run.phase = Phase::Ended(Outcome::Failed);
    (run.error_class, run.error) = (Some(FailureClass::Quota), Some("no money".to_owned()));
    (run.ended, run.usage.output) = (Some(Timestamp(17)), 99);
    tx.put_run(&run);
    assert_eq!(tx.run(run.id), Some(run));

    let mut step = rows::tool_step(1, 1);
    (step.state, step.ended) = (StepState::Unknown, Some(Timestamp(18)));
    step.result_hash = Some(Hash::of("r"));
    tx.put_step(&step);
    assert_eq!(tx.step((step.run, step.n)), Some(step));

    let mut row = rows::inbox(1, 1);
    (row.state, row.place, row.done) = (InboxState::Consumed, Place::Hold, Some(Timestamp(19)));
    row.run = Some(run_id(2));
    tx.put_inbox(&row);
    assert_eq!(tx.inbox(1), Some(row));
}

#[test]
fn an_inbox_lists_what_is_queued_oldest_first() {
    on_each_store(&[|state| {
        plant(state, 2);
        let tx = state.tx();
        for seq in 1..=4 {
            tx.add_inbox(&rows::inbox(seq, 1), "body");
        }
        tx.add_inbox(&rows::inbox(5, 2), "body");
        let mut dropped = rows::inbox(2, 1);
        (dropped.state, dropped.done) = (InboxState::Dropped, Some(Timestamp(1)));
        tx.put_inbox(&dropped);

        assert_eq!(tx.queued_rows(&key(1), 10), [1, 3, 4]);
        assert_eq!(tx.queued_rows(&key(1), 2), [1, 3]);
        assert_eq!(tx.queued_rows(&key(2), 10), [5]);
        assert_eq!(tx.inbox_by_idem(&key(1), "input-2"), Some(2), "whatever its state");
        assert_eq!(tx.inbox_by_idem(&key(2), "input-2"), None);
        assert_eq!(tx.next_inbox_seq(), 6);
    }]);
}

#[test]
fn a_lane_is_a_queue_by_rank_and_slots() {
    on_each_store(&[|state| {
        plant(state, 6);
        let tx = state.tx();
        for (n, rank) in [(1, 5), (2, 3), (3, 3)] {
            let mut run = rows::run(n);
            run.rank = Some(rank);
            tx.put_run(&run);
        }
        let mut debounced = rows::run(4);
        debounced.rank = None;
        tx.put_run(&debounced);
        tx.put_run(&rows::working(5, 3));
        tx.put_run(&rows::working(6, 1));

        assert_eq!(tx.queued_runs(LaneName::Main, 9), [run_id(2), run_id(3), run_id(1)]);
        assert_eq!(tx.queued_runs(LaneName::Main, 1), [run_id(2)]);
        assert_eq!(tx.queued_runs(LaneName::Cron, 9), []);
        assert_eq!(tx.last_rank(LaneName::Main, &key(1)), Some(5));
        assert_eq!(tx.last_rank(LaneName::Main, &key(2)), None);
        assert_eq!(tx.last_rank(LaneName::Cron, &key(1)), None);
        assert_eq!(tx.held_slots(LaneName::Main), [1, 3]);
        assert_eq!(tx.held_slots(LaneName::Subagent), [0; 0]);
        assert_eq!(tx.stranded_runs(rows::node(1).id, 9), []);
        assert_eq!(tx.stranded_runs(rows::node(2).id, 9), [run_id(6), run_id(5)]);
        assert_eq!(tx.stranded_runs(rows::node(2).id, 1), [run_id(6)]);
        assert_eq!(tx.run_by_wire_id("client-key-3"), Some(run_id(3)));
        assert_eq!(tx.run_by_wire_id("client-key-9"), None);
    }]);
}

#[test]
fn open_steps_are_those_with_an_intent() {
    on_each_store(&[|state| {
        plant(state, 2);
        let tx = state.tx();
        tx.put_run(&rows::working(1, 0));
        tx.put_run(&rows::working(2, 1));
        tx.put_step(&rows::tool_step(1, 2));
        tx.put_step(&rows::tool_step(1, 1));
        tx.put_step(&rows::tool_step(2, 3));
        let mut done = rows::model_step(1, 0);
        (done.state, done.ended) = (StepState::Done, Some(Timestamp(1)));
        tx.put_step(&done);

        assert_eq!(tx.open_steps(run_id(1)), [1, 2]);
        assert_eq!(tx.open_steps(run_id(9)), [0; 0]);
    }]);
}

#[test]
fn a_message_is_found_by_its_id_its_sender_and_its_reader() {
    on_each_store(&[|state| {
        plant(state, 3);
        let tx = state.tx();
        tx.put_run(&rows::working(1, 0));
        tx.put_run(&rows::working(2, 1));
        let mut row = rows::inbox(1, 2);
        row.kind = InboxKind::Agent;
        tx.add_inbox(&row, "body");
        tx.add_inbox(&rows::inbox(2, 2), "body");
        let mut waiting = rows::tool_step(1, 1);
        (waiting.state, waiting.waits_on) = (StepState::Waiting, Some(row.id));
        tx.put_step(&waiting);
        tx.put_step(&rows::tool_step(1, 2));

        assert_eq!(tx.inbox_by_id(row.id), Some(1));
        assert_eq!(tx.inbox_by_id(MessageId::new(uuid::Uuid::max())), None);
        assert_eq!((tx.waiting_steps(run_id(1)), tx.open_steps(run_id(1))), (vec![1], vec![2]));
        assert_eq!(tx.messages_of(run_id(1)), [row.id]);
        assert_eq!(tx.step_that_sent(row.id), Some((run_id(1), 1)));
        assert_eq!(tx.heard_by(run_id(2)), [0; 0], "it is queued");

        (row.state, row.done) = (InboxState::Consumed, Some(Timestamp(200)));
        tx.put_inbox(&row);
        let mut other = rows::inbox(2, 2);
        (other.state, other.done) = (InboxState::Consumed, Some(Timestamp(200)));
        tx.put_inbox(&other);
        assert_eq!(tx.heard_by(run_id(2)), [1], "a person's message is none of an agent");
        (waiting.state, waiting.ended) = (StepState::Done, Some(Timestamp(201)));
        tx.put_step(&waiting);
        assert_eq!(tx.waiting_steps(run_id(1)), [0; 0]);
        assert_eq!(tx.step_that_sent(row.id), Some((run_id(1), 1)), "also when it is over");
    }]);
}

#[test]
fn sessions_are_found_by_owner_and_label() {
    on_each_store(&[|state| {
        plant(state, 3);
        let tx = state.tx();
        for (n, owner) in [(1, "anna"), (2, "anna"), (3, "ben")] {
            let mut session = rows::session(n);
            (session.owner, session.label) = (owner.to_owned(), Some("Plan".to_owned()));
            tx.put_session(&session);
        }
        let mut both = vec![key(1), key(2)];
        both.sort_by_key(ToString::to_string);
        assert_eq!(tx.sessions_labelled("anna", "Plan", 9), both);
        assert_eq!(tx.sessions_labelled("anna", "Plan", 1), both[..1]);
        assert_eq!(tx.sessions_labelled("ben", "Plan", 9), [key(3)]);
        assert_eq!(tx.sessions_labelled("anna", "plan", 9), []);
    }]);
}

#[test]
fn tasks_are_found_by_requester_tree_name_and_key() {
    on_each_store(&[|state| {
        plant(state, 4);
        let tx = state.tx();
        for n in [2, 3, 4] {
            tx.put_task(&rows::task(n));
        }
        let (brief, other) = (Hash::of("the same brief"), Hash::of("another"));
        let all = [task_id(2), task_id(3), task_id(4)];
        assert_eq!(tx.open_children(&key(1)), all);
        assert_eq!(tx.open_tasks_by_hash(&key(1), brief), all);
        assert_eq!(tx.open_tasks_by_hash(&key(1), other), []);
        assert_eq!(tx.open_tasks_of_tree(&key(1)), 3);
        assert_eq!(tx.open_task_by_name(&key(1), "name-3"), Some(task_id(3)));

        let mut ended = rows::task(3);
        (ended.outcome, ended.ended) = (Some(Outcome::Completed), Some(Timestamp(1)));
        tx.put_task(&ended);
        let open = [task_id(2), task_id(4)];
        assert_eq!(tx.open_children(&key(1)), open);
        assert_eq!([1, 2].map(|n| tx.count_open_children(&key(n))), [open.len() as u32, 0]);
        assert_eq!(tx.open_children(&key(2)), []);
        assert_eq!(tx.open_tasks_by_hash(&key(1), brief), open);
        assert_eq!(tx.open_tasks_of_tree(&key(1)), 2);
        assert_eq!(tx.open_tasks_of_tree(&key(2)), 0);
        assert_eq!(tx.open_task_by_name(&key(1), "name-3"), None, "free again");
        assert_eq!(tx.task_by_idem(&key(1), "key-3"), Some(task_id(3)), "for ever");
        assert_eq!(tx.task_by_idem(&key(2), "key-3"), None);
        assert_eq!(tx.task_of_session(&key(3)), Some(task_id(3)));
        assert_eq!(tx.task_of_session(&key(1)), None);

        let mut again = rows::task(5);
        again.session_key = key(3);
        again.task_name = Some("name-3".to_owned());
        tx.put_task(&again);
        assert_eq!(tx.task_of_session(&key(3)), Some(task_id(5)), "the newest");
    }]);
}

#[test]
fn a_cut_stop_is_found_by_its_mark_and_by_its_parent_s() {
    on_each_store(&[|state| {
        plant(state, 5);
        let tx = state.tx();
        let mut stopped = rows::task(2);
        stopped.cancelled = Some(Timestamp(1));
        tx.put_task(&stopped);
        let mut below = rows::task(3);
        below.parent = Some(task_id(2));
        tx.put_task(&below);
        tx.put_task(&rows::task(4));
        let mut ended = rows::task(5);
        (ended.cancelled, ended.outcome) = (Some(Timestamp(1)), Some(Outcome::Cancelled));
        ended.ended = Some(Timestamp(2));
        tx.put_task(&ended);

        assert_eq!(tx.cancelled_open_tasks(9), [task_id(2), task_id(3)]);
        assert_eq!(tx.cancelled_open_tasks(1), [task_id(2)]);

        assert_eq!(tx.orphans(), []);
        stopped.outcome = Some(Outcome::Cancelled);
        stopped.ended = Some(Timestamp(2));
        tx.put_task(&stopped);
        assert_eq!(tx.orphans(), [task_id(3)]);
    }]);
}

#[test]
fn timers_are_replaced_deleted_and_due() {
    let timer = |kind, subject: &str, due| Timer { kind, subject: subject.to_owned(), due };
    for bench in benches(scripted, &limits()) {
        block_on(async {
            let done = commit(&bench, vec![event(|_| {})]).await;
            assert_eq!(done.next_wake, None, "{}", bench.name);
            let set = event(|state| {
                state.set_timer(TimerKind::Retry, "b", Timestamp(50));
                state.set_timer(TimerKind::Retry, "a", Timestamp(50));
                state.set_timer(TimerKind::Deadline, "a", Timestamp(50));
                state.set_timer(TimerKind::Debounce, "a", Timestamp(20));
                state.set_timer(TimerKind::Debounce, "a", Timestamp(60));
                state.set_timer(TimerKind::YieldTimeout, "a", Timestamp(10));
                state.clear_timer(TimerKind::YieldTimeout, "a");
            });
            let done = commit(&bench, vec![set]).await;
            assert_eq!(done.next_wake, Some(Timestamp(50)), "{}", bench.name);
            commit(
                &bench,
                vec![event(|state| {
                    let due: Vec<String> = state
                        .tx()
                        .due_timers(Timestamp(59), 9)
                        .iter()
                        .map(|timer| format!("{} {}", timer.kind, timer.subject))
                        .collect();
                    assert_eq!(due, ["deadline a", "retry a", "retry b"]);
                    assert_eq!(state.tx().due_timers(Timestamp(60), 9).len(), 4);
                    assert_eq!(state.tx().due_timers(Timestamp(60), 2).len(), 2);
                    assert_eq!(state.tx().due_timers(Timestamp(49), 9), []);
                })],
            )
            .await;
            let all = bench.store.snapshot().await.unwrap().timers;
            assert_eq!(all[0], timer(TimerKind::Deadline, "a", Timestamp(50)).clone());
            assert_eq!(all.len(), 4, "{}", bench.name);
        });
    }
}

/// A body moves from the inbox to the transcript without the machine having seen it.
#[test]
fn a_body_moves_inside_the_store() {
    for bench in benches(scripted, &limits()) {
        block_on(async {
            let put = event(|state| {
                plant(state, 1);
                let tx = state.tx();
                tx.put_run(&rows::working(1, 0));
                tx.add_inbox(&rows::inbox(1, 1), "grüße \u{0} \"x\"");
                let body = Body::Inbox(1);
                tx.add_entry(&Entry { body, ..rows::entry(1, 1, None, EntryKind::User, "") });
                tx.add_entry(&rows::entry(1, 2, Some(0), EntryKind::Assistant, "{}"));
                tx.add_blob(Hash::of("x"), "x");
                tx.add_blob(Hash::of("x"), "another text under this name does not count");
                tx.add_ledger(&rows::ledger(1, 0, false));
                tx.add_journal(&JournalLine {
                    kind: "test",
                    subject: "s".to_owned(),
                    root_key: Some(key(1)),
                    detail: "{}".to_owned(),
                    at: Timestamp(3),
                });
            });
            commit(&bench, vec![put]).await;
            let store = &bench.store;
            let entries = store.entries(session_id(1), 1, 9).await.unwrap();
            assert_eq!(entries[0].body, "grüße \u{0} \"x\"", "{}", bench.name);
            assert_eq!(entries[1].body, "{}");
            assert_eq!(store.blob(Hash::of("x")).await.unwrap().as_deref(), Some("x"));
            let lines = store.journal(0, 9).await.unwrap();
            assert_eq!((lines[0].kind.as_str(), lines[0].root_key.clone()), ("test", Some(key(1))));
            assert!(store.journal(lines[0].seq, 9).await.unwrap().is_empty());
            assert_eq!(store.snapshot().await.unwrap().ledger, [rows::ledger(1, 0, false)]);
        });
    }
}

/// An event that panics leaves nothing: no row, no work, no news. Its neighbours stand.
#[test]
fn a_bug_ends_its_own_event_only() {
    for bench in benches(scripted, &limits()) {
        block_on(async {
            let events = vec![
                event(|state| {
                    plant(state, 1);
                    state.tx().put_run(&rows::run(1));
                }),
                event(|state| {
                    state.notices.push(Notice::NodeStarted { node: rows::node(1).id });
                    state.raised.push(event(|state| state.tx().put_node(&rows::node(3))));
                    let tx = state.tx();
                    tx.put_node(&rows::node(2));
                    let mut changed = rows::run(1);
                    changed.rank = Some(77);
                    tx.put_run(&changed);
                    tx.delete_timer(TimerKind::Retry, "x");
                    panic!("seven is not eight");
                }),
                event(|state| {
                    state.tx().put_timer(&Timer {
                        kind: TimerKind::Retry,
                        subject: "x".to_owned(),
                        due: Timestamp(5),
                    })
                }),
            ];
            let done = bench.store.commit(moment(1), events).await.unwrap();
            assert!(done.answers[0].is_ok() && done.answers[2].is_ok(), "{}", bench.name);
            let bug = done.answers[1].as_ref().unwrap_err().to_string();
            assert_eq!(bug, "internal error, a bug: seven is not eight", "{}", bench.name);
            assert!(done.notices.is_empty(), "{}", bench.name);
            assert_eq!(done.next_wake, Some(Timestamp(5)));
            let world = bench.store.snapshot().await.unwrap();
            assert_eq!(world.nodes, [rows::node(1)], "{}", bench.name);
            assert_eq!(world.runs, [rows::run(1)], "{}", bench.name);
        });
    }
}

/// What an event raises comes right after it, in order, before the next event of the batch; a
/// raised event that panics takes nothing else with it.
#[test]
fn raised_events_follow_at_once() {
    fn say(state: &mut State<'_>, subject: &str) {
        let line = JournalLine {
            kind: "said",
            subject: subject.to_owned(),
            root_key: None,
            detail: String::new(),
            at: state.now(),
        };
        state.tx().add_journal(&line);
    }
    for bench in benches(scripted, &limits()) {
        block_on(async {
            let events = vec![
                event(|state| {
                    say(state, "1");
                    state.raised.push(event(|state| {
                        say(state, "1.1");
                        state.raised.push(event(|state| say(state, "1.1.1")));
                    }));
                    state.raised.push(event(|state| {
                        say(state, "lost");
                        panic!("a raised event may have a bug, too");
                    }));
                    state.raised.push(event(|state| say(state, "1.2")));
                }),
                event(|state| say(state, "2")),
            ];
            let done = commit(&bench, events).await;
            assert_eq!(done.answers.len(), 2, "raised events have no answer");
            let lines = bench.store.journal(0, 99).await.unwrap();
            let said: Vec<&str> = lines.iter().map(|line| line.subject.as_str()).collect();
            assert_eq!(said, ["1", "1.1", "1.2", "1.1.1", "2"], "{}", bench.name);
        });
    }
}

/// One seed goes through the whole batch, so two events never mint the same id.
#[test]
fn ids_of_a_batch_differ() {
    for bench in benches(scripted, &limits()) {
        block_on(async {
            let mint = |state: &mut State<'_>| {
                let (id, at) = (state.at.mint().to_string(), state.now());
                let subject = id;
                let (kind, root_key, detail) = ("minted", None, String::new());
                state.tx().add_journal(&JournalLine { kind, subject, root_key, detail, at });
            };
            let events: Vec<Event> = (0..3).map(|_| event(mint)).collect();
            commit(&bench, events).await;
            let lines = bench.store.journal(0, 9).await.unwrap();
            assert!(lines.iter().all(|line| line.at == Timestamp(1_000)));
            let ids: std::collections::BTreeSet<_> =
                lines.iter().map(|line| line.subject.clone()).collect();
            assert_eq!(ids.len(), 3, "{}", bench.name);
        });
    }
}

#[test]
fn an_empty_batch_asks_for_the_next_wake() {
    for bench in benches(scripted, &limits()) {
        block_on(async {
            assert_eq!(commit(&bench, Vec::new()).await, store::Done::default());
        });
    }
}
