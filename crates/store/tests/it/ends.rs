//! What the machine asks about how work has ended, on every store.

use machine::State;
use machine::rows::{EntryKind, JournalLine, NodeState, Outcome};
use types::{Hash, Timestamp};

use crate::bench::on_each_store;
use crate::rows::{self, plant, run_id, task_id};

#[test]
fn the_last_words_of_a_run() {
    on_each_store(&[|state| {
        plant(state, 2);
        let tx = state.tx();
        tx.put_run(&rows::run(1));
        tx.put_run(&rows::run(2));
        for (seq, step, kind, body) in [
            (1, 0, EntryKind::Assistant, "first"),
            (2, 1, EntryKind::ToolResult, "a result"),
            (3, 2, EntryKind::Assistant, "second"),
        ] {
            let mut entry = rows::entry(1, seq, Some(step), kind, body);
            entry.call_id = (kind == EntryKind::ToolResult).then(|| "c".to_owned());
            tx.add_entry(&entry);
        }
        let mut before = |step| tx.answer_before(run_id(1), step);
        assert_eq!(before(u32::MAX), Some((2, "second".to_owned())));
        assert_eq!(before(2), Some((0, "first".to_owned())));
        assert_eq!(before(0), None);
        assert_eq!(tx.answer_before(run_id(2), u32::MAX), None);
    }]);
}

/// Three tasks: the second and the third have a name, the first and the third the same words; the
/// fourth is somebody else's.
#[test]
fn the_last_task_of_a_name_and_of_words() {
    on_each_store(&[|state| {
        plant(state, 4);
        let tx = state.tx();
        let words = Hash::of("words");
        for n in 1..=4 {
            let mut task = rows::task(n);
            task.requester_key = if n == 4 { rows::key(4) } else { rows::key(1) };
            task.idem_key = None;
            task.task_name = (n != 1).then(|| "map".to_owned());
            task.dup_hash = if n == 2 { Hash::of("others") } else { words };
            // A name is free again when its task has ended.
            (task.outcome, task.ended) = (Some(Outcome::Failed), Some(Timestamp(n as i64)));
            tx.put_task(&task);
        }
        assert_eq!(tx.last_task_by_name(&rows::key(1), "map"), Some(task_id(3)));
        assert_eq!(tx.last_task_by_name(&rows::key(1), "no"), None);
        assert_eq!(tx.last_task_by_hash(&rows::key(1), words), Some(task_id(3)));
        assert_eq!(tx.last_task_by_hash(&rows::key(1), Hash::of("others")), Some(task_id(2)));
        assert_eq!(tx.last_task_by_hash(&rows::key(4), Hash::of("others")), None);
    }]);
}

fn line(state: &mut State<'_>, kind: &'static str, subject: &str) {
    let (subject, detail) = (subject.to_owned(), format!("{{\"of\":\"{subject}\"}}"));
    let line = JournalLine { kind, subject, root_key: None, detail, at: Timestamp(1) };
    state.tx().add_journal(&line);
}

#[test]
fn the_lines_since_the_newest_start() {
    on_each_store(&[|state| {
        let recovered = |state: &mut State<'_>, limit| -> Vec<String> {
            let lines = state.tx().lines_since_start("run.recovered", limit);
            lines.into_iter().map(|(subject, _)| subject).collect()
        };
        assert_eq!(recovered(state, 9), [""; 0]);
        line(state, "run.recovered", "before any");
        assert_eq!(recovered(state, 9), ["before any"]);
        line(state, "node.started", "one");
        line(state, "run.recovered", "old");
        line(state, "node.started", "two");
        line(state, "run.recovered", "a");
        line(state, "run.ended", "b");
        line(state, "run.recovered", "c");
        assert_eq!(recovered(state, 9), ["a", "c"]);
        assert_eq!(recovered(state, 1), ["a"]);
        let details = state.tx().lines_since_start("run.recovered", 9);
        assert_eq!(details[1].1, "{\"of\":\"c\"}");
    }]);
}

#[test]
fn the_nodes_that_are_not_down() {
    on_each_store(&[|state| {
        let tx = state.tx();
        let states = [NodeState::Up, NodeState::Draining, NodeState::Down, NodeState::Up];
        for (n, state) in (1..).zip(states) {
            let mut node = rows::node(n);
            node.state = state;
            tx.put_node(&node);
        }
        let id = |n| rows::node(n).id;
        let mut others = tx.other_nodes(id(4), 9);
        // The one that commits is there as well.
        others.retain(|node| [id(1), id(2), id(3), id(4)].contains(node));
        assert_eq!(others, [id(1), id(2)]);
        assert_eq!(tx.other_nodes(id(4), 1).len(), 1);
    }]);
}
