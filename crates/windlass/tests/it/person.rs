//! A result that goes to the person: whoever is connected sees it once, and whoever comes later
//! reads it.

use serde_json::{Value, json};
use stub::Plan;

use crate::house::{House, WIRES};
use crate::judge;
use crate::live::Live;
use crate::look::until;

const MAIN: &str = "agent:main:main";

/// The `chat` events with exactly this text in the conversation of the person.
fn told(live: &Live, text: &str) -> usize {
    let chat = |frame: &&Value| {
        let payload = &frame["payload"];
        frame["event"] == "chat"
            && payload["state"] == "final"
            && payload["sessionKey"] == MAIN
            && payload["message"]["content"][0]["text"] == text
    };
    live.seen.iter().filter(chat).count()
}

/// Messages of the history with exactly this text.
async fn in_history(live: &mut Live, text: &str) -> usize {
    let page = live.call("chat.history", json!({ "sessionKey": "main" })).await;
    let messages = page["messages"].as_array().unwrap().iter();
    messages.filter(|message| message["content"][0]["text"] == text).count()
}

/// A child two levels down has a result for the person. Two clients are there and see it once
/// each, in the child's own words; one that comes after a kill sees no event, and reads it once.
#[tokio::test]
async fn a_result_for_the_person_is_seen_once_on_both_wires() {
    for wire in WIRES {
        let mut house = House::build(wire, |_| {}).await;
        house.start().await;
        let words = "  the leaf's own words\n";
        let args = json!({ "announce": "person" }).as_object().unwrap().clone();
        let branch = Plan::new()
            .spawn([("leaf", Plan::new().say(words))])
            .change(|step| step.spawn[0].args = args)
            .yield_()
            .say("the branch's");
        let brief = Plan::named("r").spawn([("b", branch)]).yield_().say("my own").to_brief();

        let mut one = Live::connect(&house).await;
        let mut other = Live::connect(&house).await;
        let send = json!({ "sessionKey": "main", "message": brief, "idempotencyKey": "k1" });
        one.call("chat.send", send).await;
        for live in [&mut one, &mut other] {
            live.answer_of("k1").await;
            assert_eq!(
                (told(live, words), told(live, "my own")),
                (1, 1),
                "{wire}: {:#?}",
                live.seen
            );
        }
        assert_eq!(in_history(&mut one, words).await, 1, "{wire}");

        house.kill();
        house.start().await;
        let mut again = Live::connect(&house).await;
        assert_eq!(in_history(&mut again, words).await, 1, "{wire}");
        let next = Plan::new().say("and now").to_brief();
        let send = json!({ "sessionKey": "main", "message": next, "idempotencyKey": "k2" });
        again.call("chat.send", send).await;
        again.answer_of("k2").await;
        assert_eq!(told(&again, words), 0, "{wire}: it is told again");
        assert_eq!(in_history(&mut again, words).await, 1, "{wire}");
        judge::all_is_well(&house, &Default::default()).await;
    }
}

/// The gateway is killed while the child works: the client that comes back is told the result.
#[tokio::test]
async fn a_client_that_comes_back_is_told() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    let words = "found after the kill";
    let args = json!({ "announce": "person" }).as_object().unwrap().clone();
    let brief = Plan::named("r")
        .spawn([("leaf", Plan::new().say(words).after_ms(2_000))])
        .change(|step| step.spawn[0].args = args)
        .yield_()
        .say("my own")
        .to_brief();
    let mut before = Live::connect(&house).await;
    let send = json!({ "sessionKey": "main", "message": brief, "idempotencyKey": "k1" });
    before.call("chat.send", send).await;
    until(&house, "the child is at work", |world| {
        world.runs.iter().any(|run| run.task.is_some() && run.slot.is_some())
    })
    .await;
    house.kill();
    house.start().await;
    let mut after = Live::connect(&house).await;
    after.answer_of("k1").await;
    // The call of the child is made again, so the client was there before it ended.
    assert_eq!((told(&before, words), told(&after, words)), (0, 1), "{:#?}", after.seen);
    assert_eq!(in_history(&mut after, words).await, 1);
    judge::all_is_well(&house, &Default::default()).await;
}
