//! Messages between sessions as readers see them, the same on every store.

use machine::State;
use machine::rows::{InboxKind, InboxState, StepState};
use machine::run::Phase;
use store::query::ask;
use types::Timestamp;

use crate::bench::{benches, block_on, commit, event, limits, scripted};
use crate::rows::{self, plant, run_id};

/// Run 1 has sent three messages: one waits in line, one is taken in, one was answered.
fn world(state: &mut State<'_>) {
    plant(state, 3);
    let tx = state.tx();
    tx.put_run(&rows::working(1, 0));
    tx.put_run(&rows::working(2, 1));
    let mut over = rows::run(3);
    (over.phase, over.rank) = (Phase::Ended(machine::rows::Outcome::Completed), None);
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
