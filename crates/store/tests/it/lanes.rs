//! What the machine asks of gates, of lines, and of what is old: on every store.

use machine::rows::{
    Gate, GateKey, GateKind, GateState, Halt, HaltState, InboxKind, InboxState, JournalLine,
    LaneName, Outcome,
};
use machine::run::{Phase, WaitKind};
use types::Timestamp;

use crate::bench::on_each_store;
use crate::rows::{self, plant, run_id, task_id};

fn key() -> GateKey {
    GateKey::of_model("scripted/m")
}

#[test]
fn gates_come_back_as_they_were_put() {
    on_each_store(&[
        |state| {
            assert_eq!(state.tx().gate(&key()), None);
            state.tx().put_gate(&Gate::open(key(), Timestamp(5)));
        },
        |state| {
            let tx = state.tx();
            let mut gate = Gate::open(key(), Timestamp(5));
            assert_eq!(tx.gate(&key()), Some(gate.clone()));
            (gate.state, gate.kind) = (GateState::Probing, Some(GateKind::Quota));
            (gate.probe, gate.strikes) = (Some(run_id(3)), 4);
            (gate.closed, gate.reason) = (Some(Timestamp(6)), Some("no credit".to_owned()));
            (gate.window, gate.requests, gate.tokens) = (Timestamp(7), 8, 9);
            tx.put_gate(&gate);
            assert_eq!(tx.gate(&key()), Some(gate.clone()));
            (gate.state, gate.probe, gate.reopen) = (GateState::Closed, None, Some(Timestamp(8)));
            tx.put_gate(&gate);
            assert_eq!(tx.gate(&key()), Some(gate));
            assert_eq!(tx.gate(&key().account_wide()), None);
        },
    ]);
}

/// What is left of runs that were ended, and of which of them it is not proved that it is nothing.
#[test]
fn halts_come_back_as_they_were_put() {
    fn halt(n: u128, root: &str) -> Halt {
        Halt {
            run: run_id(n),
            root_key: root.parse().unwrap(),
            state: HaltState::Stopping,
            asked: Timestamp(5),
            looks: 1,
            looked: None,
            pids: Vec::new(),
            calls: 0,
        }
    }
    on_each_store(&[
        |state| {
            plant(state, 4);
            let tx = state.tx();
            for n in 1..4 {
                tx.put_run(&rows::run(n));
            }
            assert_eq!(tx.halt(run_id(1)), None);
            for (n, root) in [(3, "agent:main:main"), (1, "agent:main:main")] {
                tx.put_halt(&halt(n, root));
            }
            tx.put_halt(&halt(2, "agent:main:thread:other"));
        },
        |state| {
            let tx = state.tx();
            let left = Halt {
                state: HaltState::Unproved,
                looked: Some(Timestamp(6)),
                looks: 2,
                pids: vec![7, 8],
                calls: 9,
                ..halt(1, "agent:main:main")
            };
            tx.put_halt(&left);
            assert_eq!(tx.halt(run_id(1)), Some(left));
            let ids = |halts: Vec<Halt>| halts.iter().map(|halt| halt.run).collect::<Vec<_>>();
            assert_eq!(ids(tx.open_halts(None, 9)), [run_id(1), run_id(2), run_id(3)]);
            assert_eq!(ids(tx.open_halts(None, 2)), [run_id(1), run_id(2)]);
            let root = "agent:main:main".parse().unwrap();
            assert_eq!(ids(tx.open_halts(Some(&root), 9)), [run_id(1), run_id(3)]);
            let (state, looked) = (HaltState::Stopped, Some(Timestamp(7)));
            tx.put_halt(&Halt { state, looked, ..halt(1, "agent:main:main") });
            assert_eq!(ids(tx.open_halts(Some(&root), 9)), [run_id(3)]);
        },
    ]);
}

#[test]
fn who_waits_at_a_gate_and_what_is_out() {
    on_each_store(&[|state| {
        plant(state, 4);
        let tx = state.tx();
        for n in [3, 1] {
            let mut run = rows::run(n);
            (run.phase, run.rank) = (Phase::Waiting(WaitKind::Gate), None);
            run.lined = None;
            tx.put_run(&run);
        }
        tx.put_run(&rows::working(2, 0));
        let mut step = rows::model_step(2, 0);
        step.model = Some("scripted/m".to_owned());
        tx.put_step(&step);

        assert_eq!(tx.gated_runs("scripted/m", 9), [run_id(1), run_id(3)]);
        assert_eq!(tx.gated_runs("scripted/m", 1), [run_id(1)]);
        assert_eq!(tx.gated_runs("scripted/other", 9), []);
        assert_eq!(tx.gated_models(), ["scripted/m"]);
        let of = |provider: &str, account: &str| GateKey::of_account(provider, account);
        assert_eq!(tx.open_calls(&of("scripted", "default")), 1);
        assert_eq!(tx.open_calls(&of("script", "default")), 0);
        assert_eq!(tx.open_calls(&of("scripted", "work")), 0);
        assert_eq!(tx.slot_holders(LaneName::Main), [run_id(2)]);

        let mut gone = tx.run(run_id(1)).unwrap();
        gone.phase = Phase::Queued;
        gone.rank = Some(1);
        tx.put_run(&gone);
        assert_eq!(tx.gated_runs("scripted/m", 9), [run_id(3)]);
    }]);
}

#[test]
fn where_a_run_stands_in_line() {
    on_each_store(&[|state| {
        plant(state, 3);
        let tx = state.tx();
        for (n, rank) in [(1, 5), (2, 3), (3, 3)] {
            let mut run = rows::run(n);
            run.rank = Some(rank);
            tx.put_run(&run);
        }
        for (n, rank, place) in [(2, 3, 1), (3, 3, 2), (1, 5, 3)] {
            assert_eq!(tx.place_in_line(LaneName::Main, rank, run_id(n)), place);
        }
        assert_eq!(tx.place_in_line(LaneName::Cron, 3, run_id(2)), 1);
    }]);
}

/// A run that is taken back leaves its place in line, its session and its name to others.
#[test]
fn a_run_that_has_done_nothing_is_taken_back() {
    on_each_store(&[
        |state| {
            plant(state, 2);
            state.tx().put_run(&rows::run(1));
        },
        |state| {
            let tx = state.tx();
            let name = tx.run(run_id(1)).unwrap().wire_id;
            tx.delete_run(run_id(1));
            tx.delete_run(run_id(1));
            assert_eq!((tx.run(run_id(1)), tx.run_by_wire_id(&name)), (None, None));
            assert_eq!(tx.queued_runs(LaneName::Main, 9), []);
            tx.put_run(&rows::run(1));
            assert_eq!(tx.run_by_wire_id(&name), Some(run_id(1)));
        },
    ]);
}

/// Only what is done with for long goes: nothing that is queued or dead, nothing of a run or task
/// that was open by then, and never the newest row, whose number must not come again.
#[test]
fn what_is_old_is_forgotten() {
    on_each_store(&[|state| {
        plant(state, 4);
        let tx = state.tx();
        let mut ended = rows::run(1);
        (ended.phase, ended.rank, ended.lined) = (Phase::Ended(Outcome::Completed), None, None);
        ended.ended = Some(Timestamp(400));
        tx.put_run(&ended);
        tx.put_run(&rows::working(2, 0));
        tx.put_task(&rows::task(3));

        let mut row = |seq: i64, state: InboxState, run: Option<u128>, done: Option<i64>| {
            let mut row = rows::inbox(seq, 1);
            row.id = types::MessageId::new(rows::uuid(seq as u128));
            row.idem_key = format!("key-{seq}");
            (row.state, row.run) = (state, run.map(run_id));
            row.done = done.map(Timestamp);
            if seq == 6 {
                (row.kind, row.task) = (InboxKind::Brief, Some(task_id(3)));
            }
            tx.add_inbox(&row, "body");
        };
        row(1, InboxState::Consumed, Some(1), Some(300));
        row(2, InboxState::Dropped, None, Some(310));
        row(3, InboxState::Queued, None, None);
        row(4, InboxState::Dead, None, Some(300));
        row(5, InboxState::Consumed, Some(2), Some(300));
        row(6, InboxState::Cancelled, None, Some(300));
        row(7, InboxState::Cancelled, None, Some(900));
        row(8, InboxState::Cancelled, None, Some(300));

        let tx = state.tx();
        assert_eq!(tx.forget_inbox(Timestamp(400), 9), 1, "a run that ended just then is kept");
        assert_eq!(tx.forget_inbox(Timestamp(500), 9), 1);
        assert_eq!(tx.forget_inbox(Timestamp(500), 9), 0);
        let left: Vec<i64> = (1..=8).filter(|seq| tx.inbox(*seq).is_some()).collect();
        assert_eq!(left, [3, 4, 5, 6, 7, 8]);
        assert_eq!(tx.inbox_by_idem(&rows::key(1), "key-1"), None);
        assert_eq!(tx.inbox_by_idem(&rows::key(1), "key-7"), Some(7));
        assert_eq!(tx.next_inbox_seq(), 9);

        for at in [100, 200, 300] {
            tx.add_journal(&JournalLine {
                kind: "test",
                subject: "s".to_owned(),
                root_key: None,
                detail: "{}".to_owned(),
                at: Timestamp(at),
            });
        }
        assert_eq!(tx.forget_journal(Timestamp(250), 1), 1);
        assert_eq!(tx.forget_journal(Timestamp(250), 9), 1);
        assert_eq!(tx.forget_journal(Timestamp(999), 9), 0, "the newest stays");
    }]);
}
