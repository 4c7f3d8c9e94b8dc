//! What a spawn asks for that goes to a warm session, or begins with a branch.

use machine::rows::{Body, Entry, EntryKind, Lifecycle, Session};
use types::{Hash, Timestamp};

use crate::bench::on_each_store;
use crate::rows::{self, key, plant, run_id, session_id, task_id};

#[test]
fn the_pool_holds_what_is_alike_and_idle_latest_first() {
    on_each_store(&[|state| {
        plant(state, 6);
        let tx = state.tx();
        let (pool, other) = (Hash::of("mine"), Hash::of("other"));
        tx.put_run(&rows::run(3));
        for n in 1..=6 {
            let mut row = Session {
                pool_key: Some(if n == 5 { other } else { pool }),
                active: Timestamp(100 + n as i64),
                ..rows::session(n)
            };
            row.open_run = (n == 3).then(|| run_id(3));
            (row.lifecycle, row.archived) = match n {
                4 => (Lifecycle::Archived, Some(Timestamp(1))),
                _ => (Lifecycle::Open, None),
            };
            tx.put_session(&row);
        }
        assert_eq!(tx.pooled(pool, Timestamp(0), 9), [key(6), key(2), key(1)]);
        assert_eq!(tx.pooled(pool, Timestamp(0), 2), [key(6), key(2)]);
        assert_eq!(tx.pooled(pool, Timestamp(102), 9), [key(6), key(2)]);
        assert_eq!(tx.pooled(other, Timestamp(0), 9), [key(5)]);
        assert_eq!(tx.pooled(Hash::of("nothing"), Timestamp(0), 9), []);

        let taken = Session { open_run: Some(run_id(3)), ..rows::session(6) };
        tx.put_session(&Session { pool_key: Some(pool), ..taken });
        assert_eq!(tx.pooled(pool, Timestamp(0), 9), [key(2), key(1)], "it is taken");
        // Whoever takes it is its parent from then on, maybe in another tree.
        let moved = Session {
            parent_key: Some(key(1)),
            root_key: key(5),
            depth: 7,
            ..tx.session(&key(6)).unwrap()
        };
        tx.put_session(&moved);
        assert_eq!(tx.session(&key(6)), Some(moved));
    }]);
}

#[test]
fn tasks_of_a_session_are_named_newest_first() {
    on_each_store(&[|state| {
        plant(state, 4);
        let tx = state.tx();
        for n in [2, 3, 4] {
            let mut task = rows::task(n);
            task.session_key = key(2);
            tx.put_task(&task);
        }
        assert_eq!(tx.tasks_of_session(&key(2), 9), [task_id(4), task_id(3), task_id(2)]);
        assert_eq!(tx.tasks_of_session(&key(2), 1), [task_id(4)]);
        assert_eq!(tx.tasks_of_session(&key(3), 9), []);
    }]);
}

#[test]
fn a_branch_finds_where_it_begins_and_how_long_it_is() {
    on_each_store(&[|state| {
        plant(state, 2);
        let tx = state.tx();
        tx.put_run(&rows::run(1));
        tx.put_step(&rows::model_step(1, 0));
        for seq in 1..=4 {
            tx.add_entry(&Entry {
                session_id: session_id(1),
                seq,
                run: run_id(1),
                step: (seq == 3).then_some(0),
                kind: if seq == 3 { EntryKind::Assistant } else { EntryKind::User },
                call_id: None,
                body: Body::Text("x".to_owned()),
                tokens: 10 * seq as u64,
                silent: false,
                at: Timestamp(1),
            });
        }
        assert_eq!(tx.seq_of_step(run_id(1), 0), Some(3));
        assert_eq!(tx.seq_of_step(run_id(1), 1), None);
        assert_eq!(tx.tokens_between(session_id(1), 1, 2), 30);
        assert_eq!(tx.tokens_between(session_id(1), 2, 4), 90);
        assert_eq!(tx.tokens_between(session_id(1), 5, 9), 0);
        assert_eq!(tx.tokens_between(session_id(2), 1, 9), 0);
    }]);
}
