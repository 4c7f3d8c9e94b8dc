//! One message, and what is waited for, in SQL.

use machine::rows::{InboxKind, InboxState, Outcome};
use types::{MessageId, RunId, TaskId};

use super::columns::{self, Columns, Text};
use super::link::Link;
use crate::error::StoreError;
use crate::view::MessageView;

/// A message, with the run that has taken it in.
pub fn message(link: Link<'_>, id: MessageId) -> Result<Option<MessageView>, StoreError> {
    let sql = "select inbox.id, inbox.session_key, inbox.kind, inbox.state, inbox.sender_key, \
               inbox.task_id, inbox.run_id, runs.outcome, exists (select 1 from steps \
               where steps.run_id = inbox.run_id and steps.kind = 'model' \
               and steps.started_ms >= inbox.done_ms), inbox.at_ms, inbox.done_ms \
               from inbox left join runs on runs.id = inbox.run_id where inbox.id = ?1";
    link.row(sql, [Text(id)], read)
}

fn read(c: &mut Columns<'_, '_>) -> rusqlite::Result<MessageView> {
    Ok(MessageView {
        message: columns::one(c)?,
        session_key: columns::one(c)?,
        kind: columns::one::<InboxKind>(c)?,
        state: columns::one::<InboxState>(c)?,
        sender: c.parsed_or_none()?,
        task: c.parsed_or_none()?,
        run: c.parsed_or_none()?,
        outcome: c.parsed_or_none::<Outcome>()?,
        called: c.get()?,
        at: c.time()?,
        done: c.time_or_none()?,
    })
}

/// Open tasks whose end a run waits for: they are among those that its session has asked for.
pub fn waited_tasks(link: Link<'_>, run: RunId) -> Result<Vec<TaskId>, StoreError> {
    let sql = "select id from tasks where waited_by = ?1 and ended_ms is null \
               and requester_key = (select session_key from runs where id = ?1) order by id";
    link.rows(sql, [Text(run)], columns::one)
}
