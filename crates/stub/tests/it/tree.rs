use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use stub::wire::Wire;
use stub::{Options, Plan, Stub};

use crate::client::Talk;

/// The smallest gateway there is: it runs a brief, its children when the model yields, and hands
/// their results over, `at_once` of them with each wake.
fn run(
    url: Arc<str>,
    wire: Wire,
    brief: String,
    tasks: Arc<AtomicU32>,
    at_once: usize,
) -> Pin<Box<dyn Future<Output = String> + Send>> {
    Box::pin(async move {
        let mut talk = Talk::new(&url, wire);
        let mut children: Vec<(String, String)> = Vec::new();
        let mut answer = None;
        talk.user(&brief);
        while answer.is_none() {
            let said = talk.ask().await;
            let mut due = Vec::new();
            for call in &said.calls {
                let text = match call.name.as_str() {
                    "sessions_spawn" => {
                        let task = format!("tsk_{}", tasks.fetch_add(1, Ordering::SeqCst));
                        let brief = call.arguments["task"].as_str().unwrap().to_owned();
                        children.push((task.clone(), brief));
                        json!({"status": "accepted", "taskId": task}).to_string()
                    }
                    "sessions_yield" => {
                        due = children.drain(..at_once.min(children.len())).collect();
                        json!({"status": "yielded"}).to_string()
                    }
                    other => panic!("unexpected call of {other}"),
                };
                talk.result(&call.id, &text);
            }
            for (task, brief) in due {
                let result = run(url.clone(), wire, brief, tasks.clone(), at_once).await;
                talk.user(&format!("[Subagent result] task={task} outcome=completed\n{result}"));
            }
            answer = said.calls.is_empty().then_some(said.text);
        }
        answer.unwrap()
    })
}

/// A root, two branches, three leaves each: however the results arrive, every leaf's words are in
/// the root's answer once, and no conversation is answered twice.
#[tokio::test]
async fn a_tree_of_depth_three_brings_every_leaf_home() {
    let leaf = Plan::new().say("<{name}>");
    let branch = Plan::new()
        .spawn_many(3, "leaf", leaf)
        .say_when_results(3, "{name} has {count}: {results}");
    let root = Plan::named("root")
        .spawn([("a", branch.clone()), ("b", branch)])
        .say_when_results(2, "all: {results}");
    for wire in Wire::ALL {
        for at_once in [1, 2, 9] {
            let stub = Stub::start(Options::default()).await.unwrap();
            let (url, tasks) = (stub.url().into(), Arc::default());
            let answer = run(url, wire, root.to_brief(), tasks, at_once).await;
            for branch in ["a", "b"] {
                assert_eq!(answer.matches(&format!("root.{branch} has 3:")).count(), 1, "{answer}");
                for leaf in 1..=3 {
                    let leaf = format!("<root.{branch}.leaf-{leaf}>");
                    assert_eq!(answer.matches(&leaf).count(), 1, "{leaf} in {answer}");
                }
            }
            let journal = stub.journal();
            assert_eq!(journal.invalid, 0);
            assert!(journal.answered_twice().is_empty());
        }
    }
}

/// Where a plan stands follows from the conversation: another stub goes on with it.
#[tokio::test]
async fn a_plan_survives_a_restart_of_the_stub() {
    for wire in Wire::ALL {
        let first = Stub::start(Options::default()).await.unwrap();
        let mut talk = Talk::new(&first.url(), wire);
        let plan = Plan::new().call("exec", json!({})).thinking("hm").call("exec", json!({"n": 2}));
        talk.user(&plan.say("end of {tools}").to_brief());
        let mut answers: Vec<Value> = Vec::new();
        for round in 0..3 {
            let stub = Stub::start(Options::default()).await.unwrap();
            let mut next = Talk::new(&stub.url(), wire);
            let _ = talk.body();
            next.messages = talk.messages.clone();
            let said = next.ask().await;
            if let Some(call) = said.calls.first() {
                next.result(&call.id, &format!("r{round}"));
            }
            answers.push(json!([said.text, said.calls.len()]));
            talk = next;
            stub.stop().await;
        }
        assert_eq!(json!(answers), json!([["", 1], ["", 1], ["end of r0\nr1", 0]]), "{wire}");
    }
}
