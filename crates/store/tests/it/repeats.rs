//! Counts of repeated calls, on every store.

use machine::State;
use machine::rows::Repeats;
use types::Hash;

use crate::bench::on_each_store;
use crate::rows::{key, plant};

fn row(session: u128, call: &str, looks: bool) -> Repeats {
    Repeats {
        session_key: key(session),
        call_hash: Hash::of(call),
        root_key: key(1),
        result_hash: Hash::of("result"),
        count: 1,
        looks,
    }
}

fn there(state: &mut State<'_>, session: u128, call: &str) -> bool {
    state.tx().repeats(&key(session), Hash::of(call)).is_some()
}

#[test]
fn a_count_is_kept_changed_and_forgotten() {
    on_each_store(&[
        |state| {
            plant(state, 3);
            assert!(!there(state, 1, "read"));
            for (session, call, looks) in
                [(1, "read", true), (1, "exec", false), (2, "read", true), (2, "exec", false)]
            {
                state.tx().put_repeats(&row(session, call, looks));
            }
            let elsewhere = Repeats { root_key: key(3), ..row(3, "exec", false) };
            state.tx().put_repeats(&elsewhere);
        },
        |state| {
            assert_eq!(state.tx().repeats(&key(2), Hash::of("exec")), Some(row(2, "exec", false)));
            let changed =
                Repeats { count: 2, result_hash: Hash::of("other"), ..row(2, "exec", false) };
            state.tx().put_repeats(&changed);
            assert_eq!(state.tx().repeats(&key(2), Hash::of("exec")), Some(changed));
            state.tx().clear_looks(&key(1));
            assert!(!there(state, 1, "read") && there(state, 1, "exec") && there(state, 2, "read"));
        },
        |state| {
            state.tx().clear_repeats(&key(1));
            assert!(
                !there(state, 1, "exec") && !there(state, 2, "exec") && !there(state, 2, "read")
            );
            assert!(there(state, 3, "exec"), "another tree");
        },
    ]);
}
