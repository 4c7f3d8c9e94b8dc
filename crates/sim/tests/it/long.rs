//! Results that are too long for their announce.

use machine::limits::{ANNOUNCE_BYTES_MAX, ANNOUNCE_HEAD_BYTES};
use machine::rows::EntryKind;
use sim::plan::limits;
use sim::script::{external, spawn};
use types::{EffectClass, InternalCall};

use crate::bench::{Bench, main_session};

/// The announce holds the beginning, and names the call that reads on: in the very entry in which
/// the child has written its answer.
#[test]
fn a_long_result_says_where_it_is_read_on() {
    for bytes in [ANNOUNCE_BYTES_MAX, ANNOUNCE_BYTES_MAX + 1] {
        let mut bench = Bench::new(limits());
        bench.send(&main_session(), "go");
        let run = bench.open(&main_session());
        bench.call(run, "s", InternalCall::spawn(spawn("look")));
        let task = bench.tasks()[0].clone();
        bench.answer(task.run, "I look", vec![external("t", EffectClass::Pure)]);
        bench.tool_done(task.run);
        bench.say(task.run, &"x".repeat(bytes));

        let child = bench.run(task.run).session_id;
        let entries = bench.disk.world.entries.iter().filter(|entry| entry.session_id == child);
        let last = entries.max_by_key(|entry| entry.seq).unwrap();
        assert_eq!(last.kind, EntryKind::Assistant);
        let body = bench.body(&main_session(), "announce:");
        let call = format!(
            "sessions_history {{\"sessionKey\":\"{}\",\"seq\":{},\"fromByte\":{}}}",
            task.session_key, last.seq, ANNOUNCE_HEAD_BYTES,
        );
        assert_eq!(body.contains(&call), bytes > ANNOUNCE_BYTES_MAX, "{bytes}: {body}");
    }
}
