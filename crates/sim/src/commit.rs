//! One commit of a simulated gateway: events applied, and what follows from them.

use std::collections::VecDeque;

use machine::{Action, Answer, At, Event, Limits, Notice, State};

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
        let mut state = State::new(self, at, limits);
        let answer = machine::apply(&mut state, event);
        state.flush();
        let news = done.notices.len();
        done.actions.append(&mut state.actions);
        done.notices.append(&mut state.notices);
        raised.extend(state.raised.drain(..));
        coverage::after(self, seen, &answer, &done.notices[news..]);
        answer
    }
}
