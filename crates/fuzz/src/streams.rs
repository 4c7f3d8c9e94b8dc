//! Streams and refusals of providers.

use providers::replay::{Replayed, refusal, replay};
use types::Wire;

const WIRES: [Wire; 4] = [
    Wire::AnthropicMessages,
    Wire::OpenaiCompletions,
    Wire::OpenaiResponses,
    Wire::GoogleGenerativeAi,
];

/// Statuses whose body decides what a refusal means.
const STATUSES: [u16; 5] = [200, 400, 413, 429, 500];

/// A stream is the same answer, and the same deltas, however its bytes are cut.
pub fn stream(bytes: &[u8]) {
    for wire in WIRES {
        let whole = replay(wire, &[bytes]);
        check(wire, &whole);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(replay(wire, &single), whole, "{wire}, byte by byte");
        let (head, tail) = bytes.split_at(bytes.len() / 2);
        assert_eq!(replay(wire, &[head, tail]), whole, "{wire}, in two");
    }
}

/// Each line is the JSON of one event, with or without `data: ` before it, or the body of a
/// refusal: whatever it says, it is told in bounded words, or is an answer that can be kept.
pub fn event(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let data = text.lines().map(|line| line.strip_prefix("data: ").unwrap_or(line));
    let data = data.filter(|data| !data.is_empty() && !data.starts_with("event:"));
    let events: String = data.map(|data| format!("data: {data}\n\n")).collect();
    for wire in WIRES {
        check(wire, &replay(wire, &[events.as_bytes()]));
    }
    for status in STATUSES {
        let error = refusal(status, &text);
        assert!(error.to_string().chars().count() < 700, "{status}: {error}");
    }
}

fn check(wire: Wire, replayed: &Replayed) {
    match &replayed.reply {
        Ok(reply) => {
            let kept = serde_json::to_string(&reply.message).expect("an answer is JSON");
            let read = serde_json::from_str::<types::AssistantMessage>(&kept);
            assert_eq!(read.as_ref().ok(), Some(&reply.message), "{wire}: {read:?}");
            let mut ids: Vec<&str> = reply.message.calls.iter().map(|call| &*call.id).collect();
            ids.sort_unstable();
            assert!(ids.windows(2).all(|two| two[0] != two[1]), "{wire}: {ids:?}");
            assert!(!ids.contains(&""), "{wire}: a call without an id");
        }
        Err(error) => assert!(error.to_string().chars().count() < 700, "{wire}: {error}"),
    }
}
