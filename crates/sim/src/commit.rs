//! One commit of a simulated gateway: events applied, and what follows from them.

use std::collections::VecDeque;

use machine::rows::BudgetRow;
use machine::{Action, Answer, At, Event, Limits, Notice, State, budget};
use types::Spend;

use crate::coverage;
use crate::disk::Disk;

/// Raised events of one commit after which they are said to have no end. A start after a crash
/// raises some hundreds.
const RAISED_MAX: usize = 10_000;

/// What came of one commit.
#[derive(Clone, Debug, Default)]
pub struct Done {
    pub answers: Vec<Answer>,
    pub actions: Vec<Action>,
    pub notices: Vec<Notice>,
    /// Raised events for which the commit had no room.
    pub left: Vec<Event>,
}

impl Disk {
    /// Applies a batch as one commit.
    ///
    /// Raised events follow their event at once, as in the embedded store, as long as no more
    /// than `room` of them have; the rest is for the next commits, as in a clustered store.
    pub fn commit(
        &mut self,
        at: &mut At,
        limits: &Limits,
        events: Vec<Event>,
        room: usize,
    ) -> Done {
        let mut done = Done::default();
        let mut raised = VecDeque::new();
        let mut applied = 0;
        for event in events {
            let answer = self.apply(at, limits, event, &mut done, &mut raised);
            done.answers.push(answer);
            while applied < room
                && let Some(event) = raised.pop_front()
            {
                applied += 1;
                assert!(applied < RAISED_MAX, "events raise each other without end: {event:?}");
                self.apply(at, limits, event, &mut done, &mut raised);
            }
        }
        done.left = raised.into();
        done
    }

    fn apply(
        &mut self,
        at: &mut At,
        limits: &Limits,
        event: Event,
        done: &mut Done,
        raised: &mut VecDeque<Event>,
    ) -> Answer {
        let seen = coverage::before(self, &event);
        let budgets = self.world.budgets.clone();
        let mut state = State::new(self, at, limits);
        let answer = machine::apply(&mut state, event);
        state.flush();
        let news = done.notices.len();
        done.actions.append(&mut state.actions);
        done.notices.append(&mut state.notices);
        raised.extend(state.raised.drain(..));
        self.nothing_over(&budgets, limits);
        coverage::after(self, seen, &answer, &done.notices[news..]);
        answer
    }

    /// What was set aside just now is within the cap, with all that is spent and set aside.
    fn nothing_over(&self, before: &[BudgetRow], limits: &Limits) {
        for row in &self.world.budgets {
            let old = before.iter().find(|old| old.key == row.key);
            let old = old.map_or(Spend::default(), |old| old.reserved);
            let more = row.reserved.usd > old.usd || row.reserved.tokens > old.tokens;
            let cap = budget::cap_of(limits, row);
            let within = (row.spent + row.reserved).within(cap);
            assert!(!more || within, "a call goes out over {cap:?}: {row:?}");
        }
    }
}
