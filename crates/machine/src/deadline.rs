//! Deadlines: a run is told before its time is over, and at the end hands in what it has said.
//!
//! ```text
//!  admitted          warning                         deadline
//!  ├─────────────────┼───────────────────────────────┤
//!                    "hand in what you have"         timed_out, with the text so far
//! ```
//!
//! Both are timers in the store, so they hold over a restart, and a run that hangs in a call ends
//! at its deadline all the same.

use std::time::Duration;

use types::RunId;

use crate::event::Inbound;
use crate::finish::{End, finish};
use crate::inbox;
use crate::rows::{InboxRow, Outcome, Place, TimerKind};
use crate::state::State;
use crate::stop;
use crate::wait;

/// Shortest bound with a warning: in less time no model has read it and answered.
const WARNED_MIN: Duration = Duration::from_secs(5);

/// How long before the end a run is told, if its bound leaves so much: a fifth of the bound, but
/// time for an answer, and no more than that takes.
const LEAD_MIN: Duration = Duration::from_secs(10);
const LEAD_MAX: Duration = Duration::from_secs(60);

/// Answers of a run that are searched for its last words. Most answers say something.
const ANSWERS_MAX: u32 = 200;

/// The key of every warning begins with this.
pub const WARNING: &str = "deadline-warning:";

/// Returns how long before its end a run of this bound is warned, or none if it is not.
///
/// | bound           | warning before the end |
/// |-----------------|------------------------|
/// | under 5 s       | none                   |
/// | up to 20 s      | half of it             |
/// | up to 50 s      | 10 s                   |
/// | up to 5 minutes | a fifth of it          |
/// | longer          | 60 s                   |
pub fn lead(bound: Duration) -> Option<Duration> {
    (bound >= WARNED_MIN).then(|| (bound / 5).clamp(LEAD_MIN, LEAD_MAX).min(bound / 2))
}

/// Sets the deadline of a run that starts for the first time, and its warning.
pub fn set(state: &mut State<'_>, run: RunId) {
    let now = state.now();
    let Some(ms) = state.run(&run).timeout_ms else { return };
    let bound = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    let deadline = now + bound;
    state.run_mut(&run).deadline = Some(deadline);
    state.set_timer(TimerKind::Deadline, run, deadline);
    if let Some(lead) = lead(bound) {
        state.set_timer(TimerKind::DeadlineWarning, run, now + (bound - lead));
    }
}

/// Tells an open run that its time will soon be over. One that waits for its children goes on
/// with that: what they have not handed in by the deadline is lost to it.
pub fn warn(state: &mut State<'_>, run: RunId) {
    let row = state.run(&run).clone();
    let Some(deadline) = row.deadline else { return };
    let key = format!("{WARNING}{run}");
    // Two looks at the timers may find the same one.
    if state.tx().inbox_by_idem(&row.session_key, &key).is_some() {
        return;
    }
    let seconds = deadline.since(state.now()).as_secs_f64();
    let body = format!(
        "[System] Your time ends in {seconds:.0} s. Hand in now: answer with what you have, and \
         say what is missing. What you have said last is given to whoever asked; work that is \
         still open at the end is stopped."
    );
    let inbound = Inbound::system(row.session_key.clone(), row.origin, key, body);
    let seq = inbox::put(state, &inbound, Place::Steer);
    // It is for this run and no other: if it comes too late, it ends with it.
    state.inbox_mut(&seq).run = Some(run);
    wait::wake(state, &row.session_key, seq);
}

/// Is this row the warning of a run? It is no reason to ask a model that has answered again.
pub fn is_warning(row: &InboxRow) -> bool {
    row.idem_key.starts_with(WARNING)
}

/// The run's time is over, and with it that of what it has spawned: nobody waits for it. Its last
/// words are its partial result.
pub fn time_out(state: &mut State<'_>, run: RunId) {
    let row = state.run(&run).clone();
    let seconds = row.timeout_ms.unwrap_or(0) as f64 / 1_000.0;
    let why = format!("its time of {seconds} s is over");
    let text = last_words(state, run);
    stop::stop_below_run(state, run, "deadline");
    finish(state, run, End { text, ..End::without_answer(Outcome::TimedOut, &why) });
}

/// The newest text that a run has said, beside whatever tools it called with it.
pub fn last_words(state: &mut State<'_>, run: RunId) -> Option<String> {
    let mut before = u32::MAX;
    for _ in 0..ANSWERS_MAX {
        let (step, body) = state.tx().answer_before(run, before)?;
        if let Some(text) = text_of(&body) {
            return Some(text);
        }
        before = step;
    }
    None
}

/// The text of an answer, if it says anything.
pub fn text_of(body: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Said {
        text: String,
    }
    let said: Said = serde_json::from_str(body).ok()?;
    (!said.text.trim().is_empty()).then_some(said.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_before_its_end_a_run_is_warned() {
        #[rustfmt::skip]
        let table = [
            // bound    lead, in seconds
            (0.0,       None),
            (4.9,       None),
            (5.0,       Some(2.5)),
            (12.0,      Some(6.0)),
            (20.0,      Some(10.0)),
            (45.0,      Some(10.0)),
            (100.0,     Some(20.0)),
            (300.0,     Some(60.0)),
            (36_000.0,  Some(60.0)),
        ];
        for (bound, expected) in table {
            let lead = lead(Duration::from_secs_f64(bound)).map(|lead| lead.as_secs_f64());
            assert_eq!(lead, expected, "{bound} s");
        }
    }

    #[test]
    fn only_what_says_something_is_a_text() {
        assert_eq!(text_of(r#"{"text":"so far","calls":[{}]}"#).as_deref(), Some("so far"));
        assert_eq!(text_of(r#"{"text":" \n","calls":[]}"#), None);
        assert_eq!(text_of("{"), None);
    }
}
