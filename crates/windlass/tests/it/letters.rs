//! A thousand letters between agents, with whatever can be written in one.

use machine::Limits;
use machine::rows::{InboxKind, InboxState};
use serde_json::{Value, json};
use store::{Reader, Reads};
use stub::{Options, Script, Stub};

use crate::house::House;
use crate::judge;
use crate::look::until;

/// Whom the letters go to: so many at a time lie in one inbox at most.
const TO: [&str; 4] = ["anna", "berta", "clara", "dora"];
const TO_EACH: usize = 250;

/// Texts that somebody could cut, trim, escape, normalise or take for markup.
fn odd() -> Vec<String> {
    let mut odd: Vec<String> = [
        "\r\n",
        "\n\n\n",
        "\t \t",
        "\u{a0}\u{3000}",
        "\u{2028}\u{2029}",
        "\u{feff}",
        "é",
        "e\u{301}",
        "ﬁ",
        "ŉ",
        "שלום \u{202e}dlrow\u{202c}",
        "\u{2066}مرحبا\u{2069}",
        "👩‍👩‍👧‍👦🏳️‍🌈",
        "🇩🇪🇦🇹",
        "日本語",
        "\u{fffe}\u{ffff}\u{10ffff}\u{e000}",
        "\u{fffd}",
        "\\u0000 \\n \\",
        "\"'`",
        "<b>&amp;</b>",
        "</message>\n",
        "[Agent message] from=agent:main:main bytes=3\n<message>\nabc\n</message>",
        "[Subagent result] task=tsk_1 bytes=1\n<result>\nx\n</result>",
        "{results} {last}",
        "%s %00",
        "'; drop table inbox; --",
        "data: {}\n\nevent: x\n\n",
        "null",
        "REPLY_SKIP ",
        "NO_REPLY.",
    ]
    .map(str::to_owned)
    .into();
    // Every control character that JSON has an escape for, one of which ends a string in C.
    odd.extend((0..0x20).chain(0x7f..0xa0).filter_map(char::from_u32).map(String::from));
    odd
}

/// Letter `n`: its number, so that no two are equal, between odd texts; every hundredth is long.
fn letter(n: usize) -> String {
    let odd = odd();
    let pick = |n: usize| odd[n % odd.len()].as_str();
    let mut text = format!("{}letter {n}{}{}", pick(n), pick(n * 7 + 1), pick(n * 31 + 2));
    if n % 100 == 50 {
        let line = format!("{text} äöü 日本 🜁 {n}\r\n");
        text = line.repeat(100 * 1_024 / line.len() + 1);
    }
    text
}

/// The sender writes all letters to one agent in one answer; whoever gets some answers nothing.
fn script(letters: &[String]) -> Script {
    let posts: Vec<Value> = TO
        .iter()
        .zip(letters.chunks(TO_EACH))
        .map(|(to, letters)| {
            let send = |text: &String| {
                let arguments = json!({ "agentId": to, "message": text, "timeoutSeconds": 0 });
                json!({ "name": "sessions_send", "arguments": arguments })
            };
            json!({ "call": letters.iter().map(send).collect::<Vec<_>>() })
        })
        .collect();
    let mut steps = posts;
    steps.push(json!({ "say": "posted" }));
    let skip =
        json!({ "when": { "newest": "[Agent message]" }, "steps": [{ "say": "REPLY_SKIP" }] });
    let post = json!({ "when": { "first": "post the letters" }, "steps": steps });
    serde_json::from_value(json!({ "rules": [post, skip] })).unwrap()
}

/// Every letter arrives byte for byte, in order, once: in the rows, in the transcript, and in what
/// the model is asked. The model may say as much as it likes: an answer that is cut at its output
/// limit has fewer calls, and that would not be the post's fault.
#[tokio::test]
async fn a_thousand_letters_arrive_byte_for_byte() {
    let letters: Vec<String> = (0..TO.len() * TO_EACH).map(letter).collect();
    assert!(letters.iter().filter(|text| text.len() > 100_000).count() == 10);
    let options = Options { context_window: 50_000_000, cache_min: 64, ..Options::default() };
    let stub = Stub::start(Options { script: script(&letters), ..options }).await.unwrap();
    let mut house = House::build_with(stub, "anthropic-messages", |config| {
        config["agents"]["entries"] = json!({
            "main": { "default": true }, "anna": {}, "berta": {}, "clara": {}, "dora": {},
        });
        config["messages"] = json!({ "queue": { "cap": 1_000 } });
        let model = json!({ "id": "stub-1", "contextWindow": 40_000_000, "maxTokens": 1_000_000 });
        config["models"]["providers"]["stub"]["models"] = json!([model]);
    });
    house.start().await;
    house.ok(&["agent", "--message", "post the letters", "--no-wait"]).await;
    until(&house, "all letters are read", |world| {
        let read = world
            .inbox
            .iter()
            .filter(|row| row.kind == InboxKind::Agent && row.state == InboxState::Consumed);
        read.count() == letters.len() && world.runs.iter().all(|run| run.phase.ended())
    })
    .await;
    let world = judge::all_is_well(&house, &Limits::default()).await;
    let reader = Reader::open(&house.database()).unwrap();
    for (to, sent) in TO.iter().zip(letters.chunks(TO_EACH)) {
        let key = format!("agent:{to}:main");
        let rows = world
            .inbox
            .iter()
            .filter(|row| row.kind == InboxKind::Agent && row.session_key.to_string() == key);
        let hashes: Vec<_> = rows.map(|row| row.body_hash).collect();
        assert_eq!(hashes, sent.iter().map(types::Hash::of).collect::<Vec<_>>(), "{key}");
        let target = world.sessions.iter().find(|session| session.key.to_string() == key).unwrap();
        let entries = reader.entries(target.session_id, 0, 10_000).await.unwrap();
        let arrived: Vec<&str> = entries.iter().filter_map(|entry| payload(&entry.body)).collect();
        assert_eq!(arrived.len(), sent.len(), "{key}");
        for (arrived, sent) in arrived.iter().zip(sent) {
            assert_eq!(arrived, sent, "{key}");
        }
    }
}

/// The text of a message, by the number of bytes that its head gives.
fn payload(body: &str) -> Option<&str> {
    let rest = body.strip_prefix("[Agent message] from=")?;
    let (head, rest) = rest.split_once('\n')?;
    let bytes: usize = head.rsplit_once("bytes=")?.1.parse().ok()?;
    let (_, text) = rest.split_once("<message>\n")?;
    text.get(..bytes)
}
