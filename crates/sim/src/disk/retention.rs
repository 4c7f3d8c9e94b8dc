//! Inbox rows that have been kept long enough, and where the others are then; and when it is time
//! to look.

use std::collections::BTreeSet;

use machine::rows::{InboxRow, InboxState, TimerKind};
use types::Timestamp;

use super::Disk;

impl Disk {
    /// Where a row is, unless it is gone. Rows are in the order of their numbers.
    pub(super) fn place(&self, seq: i64) -> Option<usize> {
        self.world.inbox.binary_search_by_key(&seq, |row| row.seq).ok()
    }

    /// When the earliest timer is due, of those that something waits for. The look for what is
    /// too old comes every hour, and no life would ever be at rest.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let timers = self.world.timers.iter();
        let waits = timers.filter(|timer| timer.kind != TimerKind::Retention);
        waits.map(|timer| timer.due).min()
    }

    /// Is it time to look for what is too old?
    pub fn looks_at(&self, now: Timestamp) -> bool {
        let mut timers = self.world.timers.iter();
        timers.any(|timer| timer.kind == TimerKind::Retention && timer.due <= now)
    }

    /// Inbox rows, those too that are gone.
    pub fn all_rows(&self) -> impl Iterator<Item = &InboxRow> + Clone {
        self.forgotten.iter().chain(&self.world.inbox)
    }

    /// Deletes what was done with before `before`, oldest first; the newest row stays, for its
    /// number.
    pub(super) fn forget(&mut self, before: Timestamp, limit: usize) -> usize {
        let rows = self.world.inbox.iter();
        let newest = self.world.inbox.last().map(|row| row.seq);
        let old = rows.filter(|row| Some(row.seq) < newest && self.is_settled(row, before));
        let mut old: Vec<_> = old.map(|row| (row.done, row.seq)).collect();
        old.sort_unstable();
        old.truncate(limit);
        let gone: BTreeSet<i64> = old.into_iter().map(|(_, seq)| seq).collect();
        for seq in &gone {
            let row = self.world.inbox.remove(self.place(*seq).expect("a row that was found"));
            self.idem.remove(&(row.session_key.clone(), row.idem_key.clone()));
            self.messages.remove(&row.id);
            self.bodies.remove(seq);
            self.forgotten.push(row);
        }
        gone.len()
    }

    /// Counts the lines of history that are deleted now. They stay here, for who looks at a life.
    pub(super) fn forget_lines(&mut self, before: Timestamp, limit: usize) -> usize {
        let newest = self.lines.len().saturating_sub(1);
        let kept = self.lines.get(self.lines_gone..newest).unwrap_or_default();
        let gone = kept.iter().take(limit).filter(|at| **at < before).count();
        self.lines_gone += gone;
        gone
    }

    /// Was the row done with before then, and with it its run and its task?
    fn is_settled(&self, row: &InboxRow, before: Timestamp) -> bool {
        let run = row.run.and_then(|id| self.run_row(id));
        let task = row.task.and_then(|id| self.tasks.get(&id)).map(|&at| &self.world.tasks[at]);
        !matches!(row.state, InboxState::Queued | InboxState::Dead)
            && row.done.is_some_and(|done| done < before)
            && run.is_none_or(|run| run.ended.is_some_and(|ended| ended < before))
            && task.is_none_or(|task| task.ended.is_some_and(|ended| ended < before))
    }
}
