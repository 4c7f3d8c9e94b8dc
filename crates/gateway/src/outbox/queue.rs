//! What waits for one client, in order, and what gives way when it is too much. Pure.
//!
//! ```text
//!  1 chat  2 delta  3 delta  answer  4 chat  5 delta      too much
//!  1 chat  gap 2–3           answer  4 chat  gap 5
//! ```
//!
//! Drafts go first: what comes after them says all that they said. Then other events, of which
//! the store has the truth. Answers never go. Where events are missing stands a `gap` with their
//! numbers, so a client knows what it has not seen, and asks for it.

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::event::Gap;
use serde_json::value::RawValue;

/// Frames that may wait: half a minute of a busy run's deltas.
pub const FRAMES_MAX: usize = 1_024;

/// Bytes of frames that may wait before events give way. Each delta repeats the text so far, so
/// it is by bytes that a long answer fills a queue.
const EVENT_BYTES_MAX: usize = 8 * 1_024 * 1_024;

/// Bytes that may wait: `policy.maxBufferedBytes`, which clients are told.
pub const BYTES_MAX: usize = 52_428_800;

/// What a frame takes beside its payload, near enough.
const FRAME: usize = 64;

/// Something to send.
#[derive(Clone, Debug)]
pub enum Outgoing {
    /// A whole frame.
    Text(String),
    /// An event, encoded once for all who get it; its number is the connection's own.
    Event {
        name: &'static str,
        payload: Arc<RawValue>,
        seq: u64,
        draft: bool,
    },
    /// Events that are not sent.
    Gap(Gap),
    Ping,
}

impl Outgoing {
    /// Bytes on the wire, near enough.
    fn bytes(&self) -> usize {
        match self {
            Outgoing::Text(text) => text.len(),
            Outgoing::Event { payload, .. } => payload.get().len() + FRAME,
            Outgoing::Gap(_) | Outgoing::Ping => FRAME,
        }
    }
}

/// The client reads too slowly even for its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<Outgoing>,
    bytes: usize,
    /// Number of the newest event.
    seq: u64,
}

impl Queue {
    pub fn pop(&mut self) -> Option<Outgoing> {
        let next = self.waiting.pop_front()?;
        self.bytes -= next.bytes();
        Some(next)
    }

    pub fn event(
        &mut self,
        name: &'static str,
        payload: Arc<RawValue>,
        draft: bool,
    ) -> Result<(), Full> {
        self.seq += 1;
        self.push(Outgoing::Event { name, payload, seq: self.seq, draft })
    }

    /// So many events were never made.
    pub fn skip(&mut self, missed: u64) -> Result<(), Full> {
        if missed == 0 {
            return Ok(());
        }
        let from = self.seq + 1;
        self.seq += missed;
        self.push(Outgoing::Gap(Gap { from, to: self.seq }))
    }

    pub fn push(&mut self, outgoing: Outgoing) -> Result<(), Full> {
        self.bytes += outgoing.bytes();
        self.waiting.push_back(outgoing);
        if self.waiting.len() <= FRAMES_MAX && self.bytes <= EVENT_BYTES_MAX {
            return Ok(());
        }
        // One frame may be larger than what may pile up; then it is the only one.
        if self.waiting.len() == 1 {
            return Ok(());
        }
        self.give_way(true);
        if self.is_crowded() {
            self.give_way(false);
        }
        let too_many = self.waiting.len() > FRAMES_MAX || self.bytes > BYTES_MAX;
        if too_many && self.waiting.len() > 1 { Err(Full) } else { Ok(()) }
    }

    /// Is it still nearly full? Then it would have to give way again for each frame that comes.
    fn is_crowded(&self) -> bool {
        self.waiting.len() > FRAMES_MAX / 4 * 3 || self.bytes > EVENT_BYTES_MAX / 4 * 3
    }

    /// Takes events out, oldest first, until half of the room is free: drafts only, or any. What
    /// came last stays, or a client that reads again would first hear of what is long past.
    fn give_way(&mut self, drafts_only: bool) {
        let (mut count, mut bytes) = (self.waiting.len(), self.bytes);
        let mut kept = VecDeque::with_capacity(count);
        let mut gap: Option<Gap> = None;
        while let Some(next) = self.waiting.pop_front() {
            let newest = self.waiting.is_empty();
            let crowded = count > FRAMES_MAX / 2 || bytes > EVENT_BYTES_MAX / 2;
            let missed = match &next {
                Outgoing::Gap(gap) => Some((gap.from, gap.to)),
                Outgoing::Event { seq, draft, .. }
                    if crowded && !newest && (*draft || !drafts_only) =>
                {
                    Some((*seq, *seq))
                }
                _ => None,
            };
            if let Some((from, to)) = missed {
                count -= 1;
                bytes -= next.bytes();
                match &mut gap {
                    Some(gap) => gap.to = to,
                    None => gap = Some(Gap { from, to }),
                }
                continue;
            }
            // An answer has no number: the gap may go on behind it.
            if matches!(next, Outgoing::Event { .. }) {
                kept.extend(gap.take().map(Outgoing::Gap));
            }
            kept.push_back(next);
        }
        kept.extend(gap.map(Outgoing::Gap));
        self.bytes = kept.iter().map(Outgoing::bytes).sum();
        self.waiting = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(bytes: usize) -> Arc<RawValue> {
        RawValue::from_string(format!("\"{}\"", "x".repeat(bytes))).unwrap().into()
    }

    /// What comes out: `7` an event, `d7` a draft, `g2-5` a gap, `a` an answer.
    fn drained(queue: &mut Queue) -> Vec<String> {
        std::iter::from_fn(|| queue.pop())
            .map(|next| match next {
                Outgoing::Event { seq, draft: true, .. } => format!("d{seq}"),
                Outgoing::Event { seq, .. } => seq.to_string(),
                Outgoing::Gap(Gap { from, to }) => format!("g{from}-{to}"),
                Outgoing::Text(_) => "a".to_owned(),
                Outgoing::Ping => "p".to_owned(),
            })
            .collect()
    }

    /// Numbers that were sent or named as missing, in order.
    fn told_of(lines: &[String]) -> Vec<u64> {
        let mut told = Vec::new();
        for line in lines {
            let digits = line.trim_start_matches(['d', 'g']);
            match digits.split_once('-') {
                Some((from, to)) => told.extend(from.parse::<u64>().unwrap()..=to.parse().unwrap()),
                None => told.extend(digits.parse::<u64>()),
            }
        }
        told
    }

    #[test]
    fn nothing_gives_way_while_there_is_room() {
        let mut queue = Queue::default();
        queue.event("chat", payload(1), true).unwrap();
        queue.push(Outgoing::Text("{}".to_owned())).unwrap();
        queue.event("chat", payload(1), false).unwrap();
        assert_eq!(drained(&mut queue), ["d1", "a", "2"]);
        assert_eq!(queue.bytes, 0);
    }

    #[test]
    fn the_oldest_drafts_give_way_first_and_are_named() {
        let mut queue = Queue::default();
        for n in 0..FRAMES_MAX {
            queue.event("chat", payload(1), n % 4 != 0).unwrap();
            if n == 5 {
                queue.push(Outgoing::Text("{}".to_owned())).unwrap();
            }
        }
        let lines = drained(&mut queue);
        assert!(lines.len() <= FRAMES_MAX / 2 + FRAMES_MAX / 4, "{}", lines.len());
        assert_eq!(lines[..7], ["1", "g2-4", "5", "a", "g6-8", "9", "g10-12"]);
        assert_eq!(lines.last().unwrap(), &format!("d{FRAMES_MAX}"), "the newest stays");
        let finals = lines.iter().filter(|line| line.parse::<u64>().is_ok()).count();
        assert_eq!(finals, FRAMES_MAX / 4, "no other event is lost");
        assert_eq!(told_of(&lines), (1..=FRAMES_MAX as u64).collect::<Vec<_>>());
    }

    #[test]
    fn then_other_events_and_never_an_answer() {
        let mut queue = Queue::default();
        for _ in 0..20 * FRAMES_MAX {
            queue.event("sessions.changed", payload(1), false).unwrap();
            assert!(queue.waiting.len() <= FRAMES_MAX);
        }
        for _ in 0..FRAMES_MAX / 4 {
            queue.push(Outgoing::Text("{}".to_owned())).unwrap();
        }
        let lines = drained(&mut queue);
        assert_eq!(lines.iter().filter(|line| *line == "a").count(), FRAMES_MAX / 4);
        assert_eq!(told_of(&lines), (1..=20 * FRAMES_MAX as u64).collect::<Vec<_>>());
    }

    #[test]
    fn answers_that_nobody_reads_fill_it() {
        let mut queue = Queue::default();
        let answer = || Outgoing::Text("{}".to_owned());
        for _ in 0..FRAMES_MAX {
            queue.push(answer()).unwrap();
        }
        assert_eq!(queue.push(answer()), Err(Full));
        let mut queue = Queue::default();
        queue.push(Outgoing::Text("x".repeat(BYTES_MAX + 1))).unwrap();
        assert_eq!(queue.push(answer()), Err(Full));
    }

    #[test]
    fn long_drafts_give_way_by_their_bytes() {
        let mut queue = Queue::default();
        for _ in 0..400 {
            queue.event("chat", payload(100_000), true).unwrap();
            assert!(queue.bytes <= EVENT_BYTES_MAX);
        }
        let lines = drained(&mut queue);
        assert!(lines[0].starts_with("g1-") && lines.last().unwrap() == "d400", "{lines:?}");
    }

    #[test]
    fn events_that_were_never_made_are_missing_like_others() {
        let mut queue = Queue::default();
        queue.event("chat", payload(1), true).unwrap();
        queue.skip(0).unwrap();
        queue.skip(7).unwrap();
        queue.event("chat", payload(1), true).unwrap();
        assert_eq!(drained(&mut queue), ["d1", "g2-8", "d9"]);
    }
}
