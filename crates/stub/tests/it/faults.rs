use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stub::wire::Wire;
use stub::{Failure, Fault, FaultRule, Options, Outcome, Plan, Stub};

use crate::client::{Talk, http};

async fn set(stub: &Stub, faults: Value) {
    let url = format!("{}/faults", stub.url());
    let response = http().post(url).json(&faults).send().await.unwrap();
    assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
}

fn talk(stub: &Stub, wire: Wire, stream: bool) -> Talk {
    let mut talk = Talk { stream, ..Talk::new(&stub.url(), wire) };
    talk.user("hello, this is a text of some length");
    talk
}

async fn outcome(stub: &Stub) -> Outcome {
    // The end of a stream is noted when the server sees it, which is after the client has.
    for _ in 0..200 {
        let outcome = stub.journal().requests.pop().unwrap().outcome;
        if outcome != Outcome::Open {
            return outcome;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Outcome::Open
}

#[tokio::test]
async fn errors_come_in_the_shape_of_the_wire_and_run_out() {
    let stub = Stub::start(Options::default()).await.unwrap();
    for (wire, class) in Wire::ALL.into_iter().zip([
        "rate_limit_error",
        "requests",
        "requests",
        "RESOURCE_EXHAUSTED",
    ]) {
        let fault = json!({"kind": "error", "status": 429, "retry_after_s": 7, "times": 2});
        set(&stub, json!([fault, {"kind": "latency", "ms": 1}])).await;
        for _ in 0..2 {
            let response = talk(&stub, wire, true).send().await.unwrap();
            assert_eq!(response.status(), 429);
            assert_eq!(response.headers()["retry-after"], "7");
            let body: Value = response.json().await.unwrap();
            let key = if wire == Wire::Google { "status" } else { "type" };
            assert_eq!(body["error"][key], class, "{body}");
            assert_eq!(outcome(&stub).await, Outcome::Failed);
        }
        talk(&stub, wire, true).ask().await;
    }
    let body = json!({"kind": "nonsense"});
    let url = format!("{}/faults", stub.url());
    let response = http().post(url).json(&body).send().await.unwrap();
    assert_eq!(response.status(), 400);
}

#[tokio::test]
async fn a_cut_ends_in_the_middle_of_a_frame() {
    for wire in Wire::ALL {
        for stream in [true, false] {
            let faults = vec![FaultRule::times(Fault::Cut { after_tokens: 4 }, 1)];
            let stub = Stub::start(Options { faults, ..Options::default() }).await.unwrap();
            let mut response = talk(&stub, wire, stream).send().await.unwrap();
            assert_eq!(response.status(), 200);
            let mut received = Vec::new();
            let error = loop {
                match response.chunk().await {
                    Ok(Some(chunk)) => received.extend(chunk),
                    Ok(None) => panic!("the stream ended as if it were whole"),
                    Err(error) => break error,
                }
            };
            assert!(error.is_body() || error.is_decode(), "{error:?}");
            assert!(!received.is_empty() && !received.ends_with(b"\n\n"));
            assert_eq!(outcome(&stub).await, Outcome::Cut);
            talk(&stub, wire, stream).ask().await;
        }
    }
}

#[tokio::test]
async fn a_stall_lasts_until_the_client_leaves() {
    let stub = Stub::start(Options::default()).await.unwrap();
    for wire in Wire::ALL {
        set(&stub, json!({"kind": "stall", "after_tokens": 4})).await;
        let mut response = talk(&stub, wire, true).send().await.unwrap();
        let wait = Duration::from_millis(200);
        let mut received = Vec::new();
        while let Ok(chunk) = tokio::time::timeout(wait, response.chunk()).await {
            received.extend(chunk.unwrap().expect("a stalled stream does not end"));
        }
        assert!(String::from_utf8(received).unwrap().contains("stub heard"));
        assert_eq!(stub.journal().open_streams, 1);
        drop(response);
        assert_eq!(outcome(&stub).await, Outcome::Aborted);
        assert_eq!(stub.journal().open_streams, 0);
    }
}

#[tokio::test]
async fn a_stop_cuts_what_is_stalled() {
    let faults = vec![FaultRule::always(Fault::Stall { after_tokens: 1 })];
    let stub = Stub::start(Options { faults, ..Options::default() }).await.unwrap();
    let response = talk(&stub, Wire::Anthropic, true).send().await.unwrap();
    let start = Instant::now();
    stub.stop().await;
    assert!(response.text().await.is_err(), "a stalled answer does not end well");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test]
async fn garbage_errors_and_floods_come_inside_the_stream() {
    let stub = Stub::start(Options::default()).await.unwrap();
    for wire in Wire::ALL {
        set(&stub, json!({"kind": "garbage"})).await;
        let text = talk(&stub, wire, true).send().await.unwrap().text().await.unwrap();
        let text = text.replace("\r\n", "\n");
        assert!(text.contains("\n\ndata: {\"type\": no json\n\n"), "{text}");

        set(&stub, json!({"kind": "error_event", "status": 500, "class": "odd_error"})).await;
        let text = talk(&stub, wire, true).send().await.unwrap().text().await.unwrap();
        assert!(text.trim_end().ends_with("}}") && text.contains("odd_error"), "{text}");
        assert_eq!(talk(&stub, wire, false).send().await.unwrap().status(), 500);

        set(&stub, json!({"kind": "flood", "bytes": 100_000})).await;
        for stream in [true, false] {
            let said = talk(&stub, wire, stream).ask().await;
            assert!(said.text.len() >= 100_000 && said.text.contains("stub heard"));
        }
    }
}

#[tokio::test]
async fn slow_tokens_take_their_time() {
    let faults = vec![
        FaultRule::always(Fault::Slow { ms: 10 }),
        FaultRule::always(Fault::Latency { ms: 50 }),
    ];
    let stub = Stub::start(Options { faults, ..Options::default() }).await.unwrap();
    for stream in [true, false] {
        let start = Instant::now();
        let said = talk(&stub, Wire::Openai, stream).ask().await;
        let least = Duration::from_millis(50 + 10 * said.text.len() as u64 / 4);
        assert!(start.elapsed() >= least, "{:?}", start.elapsed());
    }
}

/// A step's faults are counted by request, so a retry gets through and the plan goes on.
#[tokio::test]
async fn a_step_fails_its_first_attempts_and_then_answers() {
    let stub = Stub::start(Options::default()).await.unwrap();
    let quota = Failure { class: Some("insufficient_quota".to_owned()), ..Failure::status(429) };
    let brief = Plan::new()
        .say("first")
        .failing(529, 2)
        .fault(FaultRule::times(Fault::Cut { after_tokens: 0 }, 1))
        .say("second")
        .fault(FaultRule::always(Fault::Error(quota)))
        .to_brief();
    for (round, key) in [None, Some("k1"), Some("k2")].into_iter().enumerate() {
        let mut talk = Talk { key: key.map(str::to_owned), ..Talk::new(&stub.url(), Wire::ALL[0]) };
        talk.user(&brief);
        for status in [529, 529, 200] {
            assert_eq!(talk.send().await.unwrap().status(), status, "round {round}");
        }
        assert_eq!(talk.ask().await.text, "first");
        talk.key = talk.key.map(|key| key + " next");
        talk.user("go on");
        let response = talk.send().await.unwrap();
        assert_eq!(response.status(), 429);
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"]["type"], "insufficient_quota");
        if key.is_none() {
            assert_eq!(stub.journal().requests[0].faults, ["error"]);
        }
    }
}
