//! What stays of a conversation that is compacted: its newest part, cut at a place where no call
//! is parted from its results.

use crate::rows::{EntryKind, EntryMark};

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// From here on everything is.
    pub first_seq: i64,
    /// An older input, if what is kept holds none that is an order: what is worked on.
    pub anchor: Option<i64>,
    /// Tokens of all that is kept, uncut.
    pub tokens: u64,
    /// Of inputs and results each may have so many tokens; none if all may stay whole.
    pub cap: Option<u64>,
}

/// A text that is cut keeps at least this, or nobody would know what it was.
const CAP_MIN: u64 = 32;

/// Chooses what is kept: what the model has not answered yet, whatever that takes; of the rest the
/// newest `keep` tokens. If it is more than `room`, the longest texts are cut.
///
/// `marks` are the entries that would be sent, newest first; `next` is the number that comes next.
pub fn choose(marks: &[EntryMark], next: i64, keep: u64, room: u64) -> Tail {
    let needed = unanswered(marks);
    let (mut count, mut tokens) = (needed, sum(&marks[..needed]));
    let (mut seen, mut sum) = (needed, tokens);
    for mark in &marks[needed..] {
        sum = sum.saturating_add(mark.tokens);
        if sum > keep {
            break;
        }
        seen += 1;
        // A stretch can begin anywhere but with a result.
        if mark.kind != EntryKind::ToolResult {
            (count, tokens) = (seen, sum);
        }
    }
    at(marks, next, count, tokens, room)
}

/// What is kept if it begins with the entry `first_seq`.
pub fn from(marks: &[EntryMark], next: i64, first_seq: i64, room: u64) -> Tail {
    let count = marks.iter().take_while(|mark| mark.seq >= first_seq).count();
    at(marks, next, count, sum(&marks[..count]), room)
}

fn at(marks: &[EntryMark], next: i64, count: usize, tokens: u64, room: u64) -> Tail {
    let (kept, older) = marks.split_at(count);
    let at_work = marks.first().is_some_and(|newest| newest.kind != EntryKind::Assistant);
    let has_order = kept.iter().any(|mark| is_order(mark.kind));
    let anchor = older.iter().find(|mark| is_order(mark.kind)).filter(|_| at_work && !has_order);
    let mut all: Vec<EntryMark> = kept.to_vec();
    all.extend(anchor.copied());
    let whole = tokens.saturating_add(anchor.map_or(0, |mark| mark.tokens));
    Tail {
        first_seq: kept.last().map_or(next, |oldest| oldest.seq),
        anchor: anchor.map(|mark| mark.seq),
        tokens: whole,
        cap: cap(&all, room),
    }
}

/// Entries at the end that the model has not answered: inputs, and results with their answer.
fn unanswered(marks: &[EntryMark]) -> usize {
    let open = marks.iter().take_while(|mark| mark.kind != EntryKind::Assistant).count();
    let results = marks[..open].iter().any(|mark| mark.kind == EntryKind::ToolResult);
    open + usize::from(results && open < marks.len())
}

fn is_order(kind: EntryKind) -> bool {
    use EntryKind as K;
    matches!(kind, K::User | K::Agent | K::Brief | K::Cron | K::Hook)
}

fn sum(marks: &[EntryMark]) -> u64 {
    marks.iter().fold(0, |sum, mark| sum.saturating_add(mark.tokens))
}

/// How many tokens each input and result may have, so that all together fit into `room`: the
/// short ones stay whole, the long ones become equal. None if all fit as they are.
pub fn cap(marks: &[EntryMark], room: u64) -> Option<u64> {
    if sum(marks) <= room {
        return None;
    }
    let (answers, texts): (Vec<&EntryMark>, Vec<&EntryMark>) =
        marks.iter().partition(|mark| mark.kind == EntryKind::Assistant);
    let fixed = answers.iter().fold(0_u64, |sum, mark| sum.saturating_add(mark.tokens));
    let mut left = room.saturating_sub(fixed);
    let mut sizes: Vec<u64> = texts.iter().map(|mark| mark.tokens).collect();
    sizes.sort_unstable();
    let mut share = 0;
    for (n, size) in sizes.iter().enumerate() {
        share = left / (sizes.len() - n) as u64;
        if *size > share {
            break;
        }
        left -= size;
    }
    Some(share.max(CAP_MIN))
}

/// Tokens of an entry, if inputs and results may have `cap`.
pub fn cut(mark: &EntryMark, cap: Option<u64>) -> u64 {
    match cap {
        Some(cap) if mark.kind != EntryKind::Assistant => mark.tokens.min(cap),
        _ => mark.tokens,
    }
}

/// Of entries that are to be summarised, how many fit into `room`, newest first, and how long each
/// input and result may then be.
pub fn fitting(marks: &[EntryMark], room: u64) -> (usize, Option<u64>) {
    // What cannot be cut may take half of it.
    let (mut answers, mut count) = (0_u64, 0);
    for (n, mark) in marks.iter().enumerate() {
        let least = if mark.kind == EntryKind::Assistant { mark.tokens } else { CAP_MIN };
        answers = answers.saturating_add(least.min(mark.tokens));
        if answers > room / 2 {
            break;
        }
        if mark.kind != EntryKind::ToolResult {
            count = n + 1;
        }
    }
    (count, cap(&marks[..count], room))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a conversation as `u5 a3 t9`: kinds and tokens, oldest first.
    fn marks(text: &str) -> Vec<EntryMark> {
        let mut marks: Vec<EntryMark> = Vec::new();
        for (n, word) in text.split_whitespace().enumerate() {
            let kind = match &word[..1] {
                "u" => EntryKind::User,
                "a" => EntryKind::Assistant,
                "t" => EntryKind::ToolResult,
                "s" => EntryKind::System,
                other => panic!("{other}"),
            };
            let tokens = word[1..].parse().unwrap();
            marks.push(EntryMark { seq: n as i64 + 1, kind, tokens, silent: false });
        }
        marks.reverse();
        marks
    }

    #[test]
    fn what_is_kept() {
        #[rustfmt::skip]
        let table = [
            // conversation                 keep  room   first anchor tokens cap
            ("",                            10,   100,   (1,   None,    0,   None)),
            ("u5",                          10,   100,   (1,   None,    5,   None)),
            ("u5 a5 u5",                    10,   100,   (2,   None,    10,  None)),
            ("u5 a5 u5",                    0,    100,   (3,   None,    5,   None)),
            // The newest question stays, however large it is.
            ("u5 a5 u50",                   10,   100,   (3,   None,    50,  None)),
            ("u5 a5 u500",                  10,   100,   (3,   None,    500, Some(100))),
            // Results stay with their answer, and the question with both.
            ("u5 a5 t9 t9",                 0,    100,   (2,   Some(1), 28,  None)),
            ("u5 a5 t9 a5 t9",              14,   100,   (4,   Some(1), 19,  None)),
            // What the model has not answered stays, and a stretch does not begin with a result.
            ("u5 a5 t9 t9 u5",              20,   100,   (2,   None,    28,   None)),
            ("u5 a5 t9 t9 a2",              20,   100,   (5,   None,    2,  None)),
            ("u5 a5 t9 t9 a2 u5",           20,   100,   (5,   None,    7,   None)),
            // A note of the gateway is no order: what it is about stays, too.
            ("u5 a5 t9 s1",                 0,    100,   (2,   Some(1), 20,  None)),
            // Nothing is being worked on.
            ("u5 a5",                       0,    100,   (3,   None,    0,   None)),
            ("u5 a5 u5 a5",                 12,   100,   (3,   None,    10,  None)),
            // The longest are cut to one length.
            ("u5 a10 t9 t90 t400",          0,    150,   (2,   Some(1), 514, Some(63))),
            ("u5 a10 t900 t900",            0,    50,    (2,   Some(1), 1815, Some(32))),
        ];
        for (text, keep, room, (first_seq, anchor, tokens, cap)) in table {
            let marks = marks(text);
            let next = marks.len() as i64 + 1;
            let expected = Tail { first_seq, anchor, tokens, cap };
            assert_eq!(choose(&marks, next, keep, room), expected, "{text} keep {keep}");
            assert_eq!(from(&marks, next, first_seq, room), expected, "{text} from {first_seq}");
        }
    }

    #[test]
    fn what_is_cut_fits() {
        for room in [200, 500, 1_000, 5_000] {
            let marks = marks("u7 a40 t900 t30 t4000 u100 s3");
            let cap = cap(&marks, room);
            let sent: u64 = marks.iter().map(|mark| cut(mark, cap)).sum();
            assert!(sent <= room.max(40 + 6 * CAP_MIN), "{room}: {sent} {cap:?}");
        }
    }

    #[test]
    fn what_is_too_much_for_a_summary_begins_later() {
        #[rustfmt::skip]
        let table = [
            ("u5 a5 t9 u5 a5",     100, (5, None)),
            ("u5 a60 t900 u50 a60", 200, (2, None)),
            ("u5 a10 t900 u50 a10", 200, (5, Some(125))),
        ];
        for (text, room, expected) in table {
            assert_eq!(fitting(&marks(text), room), expected, "{text}");
        }
    }
}
