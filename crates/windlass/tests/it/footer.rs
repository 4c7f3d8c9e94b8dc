//! What an answer took, told under it to people, and to nobody else.

use serde_json::json;

use crate::house::{House, WIRES};
use crate::judge;
use crate::live::Live;

/// The line holds for one conversation, survives a kill, and is no part of what was said: the stub
/// would refuse an answer that comes back otherwise than it was given.
#[tokio::test]
async fn what_an_answer_took_stands_under_it() {
    for wire in WIRES {
        let mut house = House::build(wire, |config| {
            let model = json!([{ "id": "stub-1", "cost": { "input": 2.0, "output": 10.0 } }]);
            config["models"]["providers"]["stub"]["models"] = model;
        })
        .await;
        house.start().await;
        assert_eq!(house.ask("one").await, "stub heard: one\n");
        let told = house.ask("/usage tokens").await;
        assert!(told.contains("Under each answer stand the tokens"), "{told}");
        let two = house.ask("two").await;
        let (answer, line) = two.trim_end().split_once("\n\n").unwrap();
        assert_eq!(answer, "stub heard: two", "{wire}");
        let last = house.stub.journal().requests.pop().unwrap();
        assert!(line.starts_with("Usage: ") && line.ends_with(" out"), "{wire}: {line}");
        let output = last.usage.output;
        assert!(line.contains(&format!(", {output} out")), "{wire}: {line}, {output}");

        house.kill();
        house.start().await;
        house.ask("/usage full").await;
        let three = house.ask("three").await;
        assert!(three.contains(" out; $0.0"), "{wire}: {three}");
        let shown = house.ask("/usage").await;
        assert!(shown.contains("under each answer: full"), "{shown}");
        // Elsewhere nobody has asked for it, and what was said is what was said.
        let other = ["agent", "--session-key", "thread:other", "--message", "four"];
        assert_eq!(house.ok(&other).await, "stub heard: four\n");
        let kept = house.ok(&["sessions", "show", "main", "--json"]).await;
        assert!(kept.contains("stub heard: three") && !kept.contains("Usage: "), "{kept}");

        let mut live = Live::connect(&house).await;
        let patch = |word| json!({ "key": "main", "responseUsage": word });
        live.call("sessions.patch", patch(json!("on"))).await;
        let send = json!({ "sessionKey": "main", "message": "five", "idempotencyKey": "k5" });
        live.call("chat.send", send).await;
        live.answer_of("k5").await;
        let last = &live.seen.last().unwrap()["payload"]["message"]["content"][0]["text"];
        let last = last.as_str().unwrap();
        assert!(
            last.starts_with("stub heard: five\n\nUsage: ") && last.ends_with(" out"),
            "{last}"
        );
        live.call("sessions.patch", patch(json!(null))).await;
        let (told, _) = live.refused("sessions.patch", patch(json!("loud"))).await;
        assert!(told.contains("`responseUsage`: expected one of \"off\", \"tokens\""), "{told}");
        assert_eq!(house.ask("six").await, "stub heard: six\n");
        judge::all_is_well(&house, &Default::default()).await;
    }
}
