//! Texts that are kept whole, on every store.

use machine::rows::Kept;
use types::{Hash, Timestamp};

use crate::bench::{benches, block_on, commit, event, limits, on_each_store, scripted};
use crate::rows::{self, plant};

fn row(session: u128, text: &str, at: i64) -> Kept {
    Kept {
        root_key: rows::key(session),
        hash: Hash::of(text),
        run: rows::run_id(session),
        bytes: text.len() as u64,
        at: Timestamp(at),
    }
}

#[test]
fn a_text_is_kept_until_it_is_old() {
    on_each_store(&[
        |state| {
            plant(state, 3);
            for n in 1..=2 {
                state.tx().put_run(&rows::run(n));
            }
            for (session, text, at) in [(1, "one", 100), (1, "two", 200), (2, "one", 300)] {
                state.tx().put_kept(&row(session, text, at), text);
            }
            // It comes again, and is as new.
            state.tx().put_kept(&row(1, "one", 400), "one");
        },
        |state| {
            assert_eq!(state.tx().forget_kept(Timestamp(200), 9), 0);
            assert_eq!(state.tx().forget_kept(Timestamp(401), 1), 1, "a page, oldest first");
            assert_eq!(state.tx().forget_kept(Timestamp(301), 9), 1);
            assert_eq!(state.tx().forget_kept(Timestamp(400), 9), 0, "the one that came again");
        },
    ]);
}

#[test]
fn a_text_is_read_by_its_tree_alone() {
    for bench in benches(scripted, &limits()) {
        block_on(async {
            let planted = event(|state| {
                plant(state, 3);
                state.tx().put_run(&rows::run(1));
                state.tx().put_kept(&row(1, "größer 🜁", 100), "größer 🜁");
            });
            commit(&bench, vec![planted]).await;
            let (hash, name) = (Hash::of("größer 🜁"), bench.name);
            let text = bench.store.kept(&rows::key(1), hash).await.unwrap();
            assert_eq!(text.as_deref(), Some("größer 🜁"), "{name}");
            assert_eq!(bench.store.kept(&rows::key(2), hash).await.unwrap(), None, "{name}");
            let world = bench.store.snapshot().await.unwrap();
            assert_eq!(world.kept, [row(1, "größer 🜁", 100)], "{name}");
        });
    }
}
