//! What is sent before and with a conversation: shown with its sizes, and read anew on request.

use std::fs;

use serde_json::Value;
use stub::Plan;

use crate::house::{House, WIRES};
use crate::judge;

async fn context(house: &House) -> Value {
    house.json(&["context", "--session", "main", "--json"]).await.remove(0)
}

fn state<'a>(context: &'a Value, name: &str) -> &'a str {
    let parts = context["prefix"]["parts"].as_array().unwrap();
    let part = parts.iter().find(|part| part["name"] == name);
    part.map_or("none", |part| part["state"].as_str().unwrap())
}

async fn say(house: &House, text: &str) {
    assert_eq!(house.ask(&Plan::new().say(text).to_brief()).await.trim(), text);
}

/// A person edits a file: the account says so, the agent does not see it, and after a refresh it
/// does. The price is said before, and the journal has what was paid for.
#[tokio::test]
async fn a_file_is_edited_shown_as_changed_and_read_anew_on_both_wires() {
    for wire in WIRES {
        let mut house = House::build(wire, |config| {
            let model = &mut config["models"]["providers"]["stub"]["models"][0];
            model["cost"] = serde_json::json!({
                "input": 3.0, "output": 15.0, "cacheRead": 0.3, "cacheWrite": 3.75,
            });
        })
        .await;
        house.start().await;
        let soul = house.folder.path().join("workspace/SOUL.md");
        assert!(house.ask("/context").await.contains("nothing has been said here yet"));
        say(&house, "first").await;
        let before = context(&house).await;
        let prefix = &before["prefix"];
        assert_eq!((prefix["changed"].as_bool(), state(&before, "SOUL.md")), (Some(false), "same"));
        assert_eq!(prefix["reason"], "start");
        let sum = |name: &str| -> u64 {
            let rows = prefix[name].as_array().unwrap();
            rows.iter().map(|row| row["tokens"].as_u64().unwrap()).sum()
        };
        let whole = prefix["tokens"].as_u64().unwrap();
        let parts = sum("tools") + sum("parts") + prefix["systemTokens"].as_u64().unwrap();
        assert_eq!(parts, whole, "{wire}: nothing is left out of the account");
        assert!(before["windowTokens"].as_u64() > before["totalTokens"].as_u64());

        fs::write(&soul, "Never say please.\n").unwrap();
        say(&house, "second").await;
        let edited = context(&house).await;
        assert_eq!(edited["prefix"]["hash"], prefix["hash"], "{wire}: an open episode stays");
        assert_eq!(state(&edited, "SOUL.md"), "changed");
        let shown = house.ok(&["context", "--session", "main"]).await;
        assert!(shown.contains("SOUL.md") && shown.contains("changed since"), "{shown}");

        let told = house.ask("/context refresh").await;
        assert!(told.contains("Changed since it was pinned: SOUL.md."), "{told}");
        assert!(told.contains("as a cache write instead of $"), "{told}");
        say(&house, "third").await;
        let after = context(&house).await;
        assert_ne!(after["prefix"]["hash"], prefix["hash"]);
        assert_eq!(
            (&after["prefix"]["reason"], state(&after, "SOUL.md")),
            (&"refresh".into(), "same")
        );

        let world = judge::all_is_well(&house, &Default::default()).await;
        assert_eq!(world.episodes.len(), 2, "{wire}");
        let journal = house.stub.journal();
        let entries: Vec<_> = journal.requests.iter().collect();
        assert_eq!(entries.len(), 3, "{wire}: no command has cost a call");
        assert_eq!(entries[0].prefix_hash, entries[1].prefix_hash, "{wire}");
        assert_ne!(entries[1].prefix_hash, entries[2].prefix_hash, "{wire}");
        assert!(entries[2].messages >= 5, "{wire}: the conversation goes on");
        let lines = "kind = 'prefix.pinned' and json_extract(detail, '$.reason') = 'refresh' \
                     and json_extract(detail, '$.writtenUsd') > json_extract(detail, '$.readUsd')";
        assert_eq!(judge::count(&house, "journal", lines), 1, "{wire}");
    }
}

/// A refresh that finds nothing new sends the same bytes: it costs nothing.
#[tokio::test]
async fn a_refresh_that_finds_nothing_costs_nothing() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    say(&house, "first").await;
    let told = house.ask("/context refresh").await;
    assert!(told.contains("No file has changed"), "{told}");
    say(&house, "second").await;
    let requests = house.stub.journal().requests;
    assert_eq!(requests[0].prefix_hash, requests[1].prefix_hash);
    let (first, second) = (requests[0].usage, requests[1].usage);
    assert!(second.cache_read >= first.cache_read + first.cache_write(), "{second:?}");
    let lines = "kind = 'prefix.pinned' and json_extract(detail, '$.same') = 1";
    assert_eq!(judge::count(&house, "journal", lines), 1);
    judge::all_is_well(&house, &Default::default()).await;
    let detail = house.ask("/context detail").await;
    for word in ["sessions_spawn", "apply_patch", "conversation", "(refresh)"] {
        assert!(detail.contains(word), "{detail}");
    }
    let json: Value = serde_json::from_str(&house.ask("/context json").await).unwrap();
    assert_eq!(json["sessionKey"], "agent:main:main");
}
