//! A session that changes its model in the middle: whatever was said before, and by whom, the next
//! provider takes it. The stub refuses what the providers refuse.

use std::sync::Arc;

use proptest::prelude::*;
use providers::{HttpConfig, ModelRequest, Provider, Sampling};
use serde_json::json;
use stub::directive::{Call, Step, Stop};
use stub::{Options, Plan, Stub};
use types::{FailureClass, Message, Prefix, Thinking, ToolResult, ToolSpec, Wire};

use crate::provider;

const WIRES: [Wire; 4] = [
    Wire::AnthropicMessages,
    Wire::OpenaiCompletions,
    Wire::OpenaiResponses,
    Wire::GoogleGenerativeAi,
];

/// One call of a model, and what happens until the next.
#[derive(Clone, Debug)]
struct Round {
    /// Who is asked: a wire, and one of two accounts that speak it.
    wire: usize,
    account: usize,
    step: Step,
    /// How many of the results are recorded: a crash may lose some.
    results: usize,
    is_error: bool,
    words: Vec<&'static str>,
    thinking: Option<Thinking>,
}

fn step() -> impl Strategy<Value = Step> {
    let think = prop::option::of(prop::sample::select(vec!["hm", "let me think about that"]));
    let say = prop::option::of(prop::sample::select(vec!["words", "more words: ä€𝄞"]));
    let raw = prop::option::weighted(0.2, Just("{\"command\": ".to_owned()));
    let call = (prop::sample::select(vec!["exec", "read"]), raw).prop_map(|(name, raw)| Call {
        name: name.to_owned(),
        arguments: json!({"command": "ls -l", "n": 1.5}),
        raw,
    });
    let stop = prop::option::weighted(0.2, prop::sample::select(vec![Stop::Length, Stop::Refusal]));
    (think, say, prop::collection::vec(call, 0..3), stop).prop_map(|(think, say, call, stop)| {
        // A step that says nothing at all is no step.
        let say = say.or((call.is_empty()).then_some("ok"));
        Step {
            think: think.map(str::to_owned),
            say: say.map(str::to_owned),
            call,
            stop,
            ..Step::default()
        }
    })
}

fn round() -> impl Strategy<Value = Round> {
    let words = prop::collection::vec(prop::sample::select(vec!["go on", "and?", ""]), 0..3);
    let thinking = prop::option::of(prop::sample::select(Thinking::ALL));
    (0..4_usize, 0..2_usize, step(), 0..4_usize, any::<bool>(), words, thinking).prop_map(
        |(wire, account, step, results, is_error, words, thinking)| Round {
            wire,
            account,
            step,
            results,
            is_error,
            words,
            thinking,
        },
    )
}

fn providers(stub: &Stub) -> Vec<[Arc<dyn Provider>; 2]> {
    let of = |wire: Wire| {
        let base = match wire {
            Wire::OpenaiCompletions | Wire::OpenaiResponses => format!("{}/v1", stub.url()),
            _ => stub.url(),
        };
        ["one", "two"].map(|id| provider(wire, HttpConfig::new(id, &base)))
    };
    WIRES.map(of).into()
}

fn request(messages: &[Message], number: usize) -> ModelRequest {
    let tool = |name: &str| ToolSpec {
        name: name.to_owned(),
        description: format!("does {name}"),
        input_schema: json!({"type": "object", "properties": {}}),
    };
    ModelRequest {
        model: "stub-1".to_owned(),
        prefix: Arc::new(Prefix {
            system: "Be brief.".to_owned(),
            tools: vec![tool("exec"), tool("read")],
        }),
        messages: messages.to_vec(),
        max_output_tokens: 4_000,
        thinking: None,
        sampling: Sampling::default(),
        idempotency_key: format!("k-{number}"),
        conversation: "s-1".to_owned(),
    }
}

async fn live(rounds: &[Round]) -> Result<(), TestCaseError> {
    let stub = Stub::start(Options::default()).await.unwrap();
    let providers = providers(&stub);
    let plan = Plan { steps: rounds.iter().map(|r| r.step.clone()).collect(), ..Plan::new() };
    let mut messages = vec![Message::User(plan.to_brief())];
    for (number, round) in rounds.iter().enumerate() {
        let ask = ModelRequest { thinking: round.thinking, ..request(&messages, number) };
        let mut reply = providers[round.wire][round.account].call(&ask, &mut |_| ()).await;
        // A call that cannot be read never leaves Google's provider: another one is asked.
        if reply.as_ref().is_err_and(|error| error.class() == FailureClass::InvalidReply) {
            prop_assert_eq!(WIRES[round.wire], Wire::GoogleGenerativeAi);
            reply = providers[0][round.account].call(&ask, &mut |_| ()).await;
        }
        let message = reply.map_err(|error| TestCaseError::fail(error.to_string()))?.message;
        let calls = message.calls.clone();
        messages.push(Message::Assistant(message));
        messages.extend(calls.iter().take(round.results).map(|call| {
            let (call_id, name) = (call.id.clone(), call.name.clone());
            let text = format!("result of {name}");
            Message::ToolResult(ToolResult { call_id, name, text, is_error: round.is_error })
        }));
        messages.extend(round.words.iter().map(|text| Message::User((*text).to_owned())));
        // A model is called when there is something new: the runtime sees to that.
        if calls.is_empty() {
            messages.push(Message::User("go on".to_owned()));
        }
    }
    // All four take what there is at the end.
    for wire in &providers {
        let last = wire[0].call(&request(&messages, rounds.len()), &mut |_| ()).await;
        last.map_err(|error| TestCaseError::fail(error.to_string()))?;
    }
    prop_assert_eq!(stub.journal().invalid, 0);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whoever_spoke_before_the_next_provider_takes_the_conversation(
        rounds in prop::collection::vec(round(), 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(live(&rounds))?;
    }
}
