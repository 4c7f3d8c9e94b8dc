//! `chat.history`: what was said in a session, with the commands that were typed in between, and
//! what waits.

use std::ops::Range;

use machine::rows::CommandRow;
use protocol::ErrorShape;
use protocol::chat::{
    ChatHistoryParams, ChatHistoryResult, Cursor, HistoryKind, PendingInput, PendingInputs,
    PendingState,
};
use protocol::message::{Block, ChatMessage, ChatRole};
use store::StoreError;
use store::query::{Query, ask};
use store::view::{QueuedView, SessionView};
use types::{SessionId, SessionKey};

use crate::gateway::{Gateway, unreadable};
use crate::view;

/// Text of one page of history, in bytes: far below the frame limit, and enough for any screen.
const HISTORY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Commands of one transcript that are shown, the newest: far more than a person types.
const COMMANDS_MAX: usize = 10_000;

/// Inputs that wait and are shown with their text; the others are counted. OpenClaw's bound.
const PENDING_MAX: usize = 20;

/// Transcripts of one key among which an id is looked for.
pub const TRANSCRIPTS_MAX: usize = 1_000;

/// `chat.history`
pub async fn history(
    gateway: &Gateway,
    params: ChatHistoryParams,
) -> Result<ChatHistoryResult, ErrorShape> {
    let session = params.session.clone().resolve(&gateway.default_agent());
    let (key, wanted) = (session.clone(), params.session_id);
    let found = ask(gateway.handle.store(), move |rows| page(rows, session, &params));
    found.await.map_err(unreadable)?.ok_or_else(|| {
        let id = wanted.map(|id| id.to_string()).unwrap_or_default();
        ErrorShape::invalid_request(format!("{id} is no transcript of session {key}"))
    })
}

fn page(
    rows: &dyn Query,
    session_key: SessionKey,
    params: &ChatHistoryParams,
) -> Result<Option<ChatHistoryResult>, StoreError> {
    let Some(session) = rows.session(&session_key)? else {
        return Ok(params.session_id.is_none().then(|| ChatHistoryResult {
            kind: None,
            session_key,
            session_id: None,
            messages: Vec::new(),
            pending_inputs: PendingInputs::default(),
            has_more: false,
            total_messages: 0,
            delta_cursor: None,
        }));
    };
    let transcript = params.session_id.unwrap_or(session.session_id);
    let own = |id: SessionId| -> Result<bool, StoreError> {
        let all = rows.transcripts(&session_key, TRANSCRIPTS_MAX)?;
        Ok(all.iter().any(|row| row.session_id == id))
    };
    if transcript != session.session_id && !own(transcript)? {
        return Ok(None);
    }
    // One of another transcript, or of none, is of no use: the newest messages are shown.
    let after = params.cursor.filter(|cursor| cursor.session_id == transcript);
    let after = after.map(|cursor| cursor.seen);
    let (mut messages, window, total) = said(rows, transcript, params, after)?;
    if let Some(chars) = params.max_chars {
        let chars = usize::try_from(chars).unwrap_or(usize::MAX);
        messages.iter_mut().for_each(|message| shorten(message, chars));
    }
    let (mut end, has_more) = (window.end, window.end < total);
    let has_more = if after.is_some() {
        // From where it was seen on nothing may be left out: the rest comes with the next page.
        let fits = under_bytes(&messages);
        end = window.start + fits as u64;
        let rest = fits < messages.len();
        messages.truncate(fits);
        has_more || rest
    } else {
        let cut = over_bytes(&messages);
        messages.drain(..cut);
        params.offset.saturating_add(messages.len() as u64) < total
    };
    Ok(Some(ChatHistoryResult {
        kind: after.map(|_| HistoryKind::Delta),
        session_id: Some(transcript),
        has_more,
        delta_cursor: Some(Cursor { session_id: transcript, seen: end }),
        messages,
        pending_inputs: pending(rows, &session)?,
        total_messages: total,
        session_key,
    }))
}

/// A page of a transcript, and how many messages there are: entries, and of each command the
/// question and the answer.
fn said(
    rows: &dyn Query,
    transcript: SessionId,
    params: &ChatHistoryParams,
    after: Option<u64>,
) -> Result<(Vec<ChatMessage>, Range<u64>, u64), StoreError> {
    let entries = rows.history(transcript, None, 1)?.total;
    let mut commands = rows.commands(transcript, COMMANDS_MAX)?;
    commands.reverse();
    let order = Order { entries, before: commands.iter().map(|c| c.before_seq).collect() };
    let total = order.total();
    let window = match after {
        Some(seen) => following(total, seen, params.limit),
        None => newest(total, params.offset, params.limit),
    };
    let seqs = order.entries_in(&window);
    let count = usize::try_from(seqs.end - seqs.start).unwrap_or(0);
    let found = rows.entries(transcript, seqs.start, count)?;
    let mut messages: Vec<(i64, ChatMessage)> = Vec::with_capacity(found.len());
    for (entry, message) in found.iter().zip(view::messages(rows, &found)?) {
        messages.push((order.place_of_entry(entry.seq), message));
    }
    for (n, command) in commands.iter().enumerate() {
        let place = order.place_of_command(n);
        for (place, message) in [(place, typed(command)), (place + 1, answered(command))] {
            if window.contains(&place) {
                messages.push((place, message));
            }
        }
    }
    messages.sort_by_key(|(place, _)| *place);
    let count = |places: i64| u64::try_from(places).unwrap_or(0);
    let shown = count(window.start)..count(window.end);
    Ok((messages.into_iter().map(|(_, message)| message).collect(), shown, count(total)))
}

/// The oldest `limit` places that have not been seen.
fn following(total: i64, seen: u64, limit: u64) -> Range<i64> {
    let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let start = whole(seen).min(total);
    start..start.saturating_add(whole(limit)).min(total)
}

/// The newest `limit` places, without the newest `offset`.
fn newest(total: i64, offset: u64, limit: u64) -> Range<i64> {
    let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let end = total.saturating_sub(whole(offset)).max(0);
    end.saturating_sub(whole(limit)).max(0)..end
}

/// Entries and commands in the order in which they were said. Entries have numbers without a gap,
/// from 1; a command stands before an entry, and takes two places.
struct Order {
    entries: i64,
    /// Of each command, the entry before which it stands; ascending.
    before: Vec<i64>,
}

impl Order {
    fn total(&self) -> i64 {
        self.entries + 2 * self.before.len() as i64
    }

    fn place_of_entry(&self, seq: i64) -> i64 {
        let commands = self.before.partition_point(|before| *before <= seq) as i64;
        seq - 1 + 2 * commands
    }

    fn place_of_command(&self, n: usize) -> i64 {
        self.before[n] - 1 + 2 * n as i64
    }

    /// Numbers of the entries that have a place in `window`.
    fn entries_in(&self, window: &Range<i64>) -> Range<i64> {
        self.first_from(window.start)..self.first_from(window.end)
    }

    /// The first entry whose place is not before `place`.
    fn first_from(&self, place: i64) -> i64 {
        let (mut low, mut high) = (1, self.entries + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.place_of_entry(middle) < place {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

fn typed(command: &CommandRow) -> ChatMessage {
    ChatMessage {
        idempotency_key: Some(format!("{}:user", command.idem_key)),
        ..ChatMessage::text(ChatRole::User, command.text.clone(), command.at)
    }
}

fn answered(command: &CommandRow) -> ChatMessage {
    view::told(&command.answer, command.at)
}

/// What waits in the inbox, oldest first.
pub fn pending(rows: &dyn Query, session: &SessionView) -> Result<PendingInputs, StoreError> {
    let waiting = rows.queued(&session.key, PENDING_MAX)?;
    let items = waiting.into_iter().map(|row| pending_input(rows, row));
    Ok(PendingInputs { items: items.collect::<Result<_, _>>()?, total: session.queued.into() })
}

fn pending_input(rows: &dyn Query, row: QueuedView) -> Result<PendingInput, StoreError> {
    let run_id = match row.run {
        Some(run) => rows.run(run)?.map(|run| run.facts.wire_id),
        None => None,
    };
    Ok(PendingInput {
        id: row.message.to_string(),
        run_id,
        message: match view::for_person(rows, row.kind.into(), &row.body, row.at)? {
            Some(told) => told,
            None => view::input(row.kind.into(), &row.body, row.at),
        },
        accepted_at: row.at,
        state: PendingState::Queued,
    })
}

fn shorten(message: &mut ChatMessage, chars: usize) {
    for block in &mut message.content {
        if let Block::Text { text } = block {
            *text = view::clip(text, chars);
        }
    }
}

/// How many of the oldest messages do not fit. The newest always does.
fn over_bytes(messages: &[ChatMessage]) -> usize {
    let mut bytes = 0;
    for (n, message) in messages.iter().enumerate().rev() {
        bytes += serde_json::to_string(message).map_or(0, |text| text.len());
        if bytes > HISTORY_BYTES_MAX {
            return (n + 1).min(messages.len() - 1);
        }
    }
    0
}

/// How many of the oldest messages fit. The first always does.
fn under_bytes(messages: &[ChatMessage]) -> usize {
    let mut bytes = 0;
    let over = messages.iter().position(|message| {
        bytes += serde_json::to_string(message).map_or(0, |text| text.len());
        bytes > HISTORY_BYTES_MAX
    });
    over.map_or(messages.len(), |n| n.max(1))
}

#[cfg(test)]
mod tests {
    use types::Timestamp;

    use super::*;

    #[test]
    fn a_page_that_is_too_large_loses_its_oldest() {
        let message =
            |bytes: usize| ChatMessage::text(ChatRole::User, "x".repeat(bytes), Timestamp(1));
        assert_eq!(over_bytes(&[]), 0);
        assert_eq!(over_bytes(&[message(10), message(10)]), 0);
        assert_eq!(over_bytes(&[message(HISTORY_BYTES_MAX), message(10), message(10)]), 1);
        assert_eq!(over_bytes(&[message(10), message(HISTORY_BYTES_MAX)]), 1);
        assert_eq!(under_bytes(&[]), 0);
        assert_eq!(under_bytes(&[message(10), message(10)]), 2);
        assert_eq!(under_bytes(&[message(HISTORY_BYTES_MAX), message(10)]), 1);
        assert_eq!(under_bytes(&[message(10), message(HISTORY_BYTES_MAX), message(1)]), 1);
    }

    /// Three entries, and commands before the first, the third (two), and the end.
    #[test]
    fn every_message_has_one_place_and_every_page_its_messages() {
        let order = Order { entries: 3, before: vec![1, 3, 3, 4] };
        assert_eq!(order.total(), 11);
        let mut places: Vec<i64> = (1..=3).map(|seq| order.place_of_entry(seq)).collect();
        assert_eq!(places, [2, 3, 8]);
        for n in 0..4 {
            let place = order.place_of_command(n);
            places.extend([place, place + 1]);
        }
        places.sort_unstable();
        assert_eq!(places, (0..11).collect::<Vec<i64>>());

        let mut seen = Vec::new();
        for offset in (0..11).step_by(2) {
            let window = newest(order.total(), offset, 2);
            let entries = order.entries_in(&window);
            assert!(entries.clone().all(|seq| window.contains(&order.place_of_entry(seq))));
            seen.extend(entries);
        }
        seen.sort_unstable();
        assert_eq!(seen, [1, 2, 3], "pages are told apart, and nothing is left out");
        assert!(newest(0, 0, 5).is_empty() && newest(3, 9, 5).is_empty());
        assert_eq!(following(11, 4, 3), 4..7);
        assert_eq!(following(11, 10, 3), 10..11);
        assert!(following(11, 11, 3).is_empty() && following(11, u64::MAX, 3).is_empty());
    }
}
