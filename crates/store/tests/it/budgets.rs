//! What the machine asks of budgets, on every store.

use machine::rows::{BudgetKey, BudgetRow, BudgetScope, Reservation};
use machine::run::{Phase, WaitKind};
use types::{Budget, MicroUsd, Spend, Timestamp};

use crate::bench::on_each_store;
use crate::rows::{self, key, node, plant, run_id, task_id};

fn spend(usd: u64, tokens: u64) -> Spend {
    Spend { usd: MicroUsd(usd), tokens }
}

fn budget(text: &str) -> BudgetRow {
    let cap = Budget { usd: Some(MicroUsd(1_000_000)), tokens: None };
    BudgetRow::new(text.parse().unwrap(), cap, node(1).id)
}

#[test]
fn budgets_and_what_is_set_aside_come_back_as_they_were_put() {
    on_each_store(&[
        |state| {
            plant(state, 1);
            assert_eq!(state.tx().budget(&budget("day:2026-11-21").key), None);
            state.tx().put_budget(&budget("day:2026-11-21"));
        },
        |state| {
            let tx = state.tx();
            let mut row = budget("day:2026-11-21");
            assert_eq!(tx.budget(&row.key), Some(row.clone()));
            (row.extra, row.reserved, row.spent) = (spend(1, 2), spend(3, 4), spend(5, 6));
            tx.put_budget(&row);
            assert_eq!(tx.budget(&row.key), Some(row));
            tx.put_budget(&budget("tree:agent:main:main"));
            tx.put_run(&rows::run(1));
        },
        |state| {
            let tx = state.tx();
            let aside = |key: &str, usd| Reservation {
                run: run_id(1),
                key: key.parse().unwrap(),
                spend: spend(usd, 9),
            };
            let two = [aside("day:2026-11-21", 7), aside("tree:agent:main:main", 8)];
            two.iter().for_each(|row| tx.add_reservation(row));
            let mut taken = tx.take_reservations(run_id(1));
            taken.sort_by_key(|row| row.spend.usd);
            assert_eq!(taken, two);
            assert_eq!(tx.take_reservations(run_id(1)), []);
        },
    ]);
}

#[test]
fn what_is_spent_is_summed_under_every_budget() {
    on_each_store(&[|state| {
        plant(state, 4);
        let tx = state.tx();
        // Session 1 has asked for task 2, which has asked for task 3.
        let mut below = rows::task(3);
        below.parent = Some(task_id(2));
        below.requester_key = key(2);
        tx.put_task(&rows::task(2));
        tx.put_task(&below);
        for (n, task) in [(1, None), (2, Some(2)), (3, Some(3)), (4, None)] {
            tx.put_run(&rows::run(n));
            let mut row = rows::ledger(n, 0, false);
            row.task = task.map(task_id);
            row.cost = MicroUsd(1 << n);
            // The last second of one day, and the first of the next.
            row.at = Timestamp(if n == 4 { 1_795_132_800_000 } else { 1_795_132_799_999 });
            if n == 4 {
                row.root_key = key(4);
            }
            tx.add_ledger(&row);
        }
        let agent = key(1).agent;
        #[rustfmt::skip]
        let table = [
            (BudgetKey::task(task_id(2)),                                12, 200),
            (BudgetKey::task(task_id(3)),                                 8, 100),
            (BudgetKey::new(BudgetScope::Session, key(1)),               14, 300),
            (BudgetKey::new(BudgetScope::Session, key(2)),               12, 200),
            (BudgetKey::new(BudgetScope::Session, key(4)),               16, 100),
            (BudgetKey::new(BudgetScope::Tree, key(1)),                  14, 300),
            (BudgetKey::new(BudgetScope::Day, "2026-11-19"),             14, 300),
            (BudgetKey::new(BudgetScope::Day, "2026-11-20"),             16, 100),
            (BudgetKey::new(BudgetScope::Agent, format!("{agent}:2026-11-19")), 14, 300),
            (BudgetKey::new(BudgetScope::Agent, "other:2026-11-19"),      0, 0),
        ];
        for (key, usd, tokens) in table {
            assert_eq!(tx.spent(&key), spend(usd, tokens), "{key}");
        }
    }]);
}

#[test]
fn who_waits_for_a_budget() {
    on_each_store(&[|state| {
        plant(state, 3);
        let tx = state.tx();
        let key: BudgetKey = "day:2026-11-21".parse().unwrap();
        for n in [3, 1] {
            let mut run = rows::run(n);
            (run.phase, run.rank, run.lined) = (Phase::Waiting(WaitKind::Budget), None, None);
            run.budget = Some(key.clone());
            tx.put_run(&run);
        }
        assert_eq!(tx.budgeted_runs(&key, 9), [run_id(1), run_id(3)]);
        assert_eq!(tx.budgeted_runs(&key, 1), [run_id(1)]);
        assert_eq!(tx.budgets_waited_for(), std::slice::from_ref(&key));
        for n in [3, 1] {
            tx.put_run(&rows::run(n));
        }
        assert_eq!(tx.budgeted_runs(&key, 9), []);
        assert_eq!(tx.budgets_waited_for(), []);
    }]);
}
