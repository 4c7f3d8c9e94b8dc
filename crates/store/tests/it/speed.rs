//! How many runs a second the file keeps, with every commit synced. Run by hand:
//!
//! ```text
//! cargo test -p windlass-store --test it -- --ignored speed --nocapture
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use machine::event::{Inbound, ModelReply};
use machine::limits::{AgentLimits, AllowAgents, BATCH};
use machine::rows::{InboxKind, LaneName};
use machine::{Action, Event, Limits};
use store::{Done, Moment};
use types::{AgentId, Timestamp, Usage};

use crate::bench::{Bench, benches, block_on, node};

const ROUNDS: usize = 40;

fn limits() -> Arc<Limits> {
    let agent = AgentLimits { allow_agents: AllowAgents::All, ..AgentLimits::of("m") };
    Arc::new(Limits {
        lanes: BTreeMap::from([(LaneName::Main, BATCH as u32)]),
        agents: BTreeMap::from([(AgentId::main(), agent)]),
        models: BTreeMap::from([("m".to_owned(), 100_000)]),
        ..Limits::default()
    })
}

fn message(session: usize, round: usize) -> Event {
    Event::MessageReceived(Inbound {
        session: format!("agent:main:thread:t{session}").parse().unwrap(),
        kind: InboxKind::User,
        body: "b".repeat(500),
        idem_key: format!("key-{session}-{round}"),
        origin: "webchat".to_owned(),
        owner: "ann".to_owned(),
        mode: None,
        model: None,
        label: None,
        timeout_ms: None,
        sender: None,
        hops: 0,
    })
}

fn result(action: Action) -> Option<Event> {
    match action {
        Action::Pin { run, token, .. } => {
            Some(Event::Pinned { run, token, prefix: "prefix".to_owned(), tokens: 5 })
        }
        Action::CallModel(call) => {
            let reply = ModelReply {
                body: "a".repeat(1_000),
                text: "answer".to_owned(),
                calls: Vec::new(),
                usage: Usage { input: 1, output: 1, ..Usage::default() },
                model: "m".to_owned(),
                cut_at: None,
            };
            let (run, token, step) = (call.run, call.token, call.step);
            Some(Event::ModelReplied { run, token, step, reply })
        }
        Action::Prove { run, look } => {
            Some(Event::Halted { run, look, pids: Vec::new(), calls: 0 })
        }
        Action::StartTool(_) | Action::Check(_) | Action::Abort { .. } => None,
    }
}

async fn commit(bench: &Bench, seed: u64, events: Vec<Event>) -> Done {
    let moment = Moment { now: Timestamp(1_000_000 + seed as i64), seed };
    let done = bench.store.commit(moment, events).await.unwrap();
    assert!(done.answers.iter().all(Result::is_ok), "{:?}", done.answers);
    done
}

#[test]
#[ignore = "a measurement, not a test"]
fn runs_per_second() {
    for bench in benches(machine::apply, &limits()) {
        block_on(async {
            let start = Event::NodeStarted { node: node(), pid: 1, version: "1".to_owned() };
            commit(&bench, 0, vec![start]).await;
            let (begun, mut commits) = (Instant::now(), 0);
            for round in 0..ROUNDS {
                let mut events: Vec<Event> =
                    (0..BATCH).map(|session| message(session, round)).collect();
                while !events.is_empty() {
                    commits += 1;
                    let done = commit(&bench, commits, events).await;
                    events = done.actions.into_iter().filter_map(result).collect();
                }
            }
            let seconds = begun.elapsed().as_secs_f64();
            let ended = bench.store.snapshot().await.unwrap().runs.len();
            assert_eq!(ended, ROUNDS * BATCH);
            println!(
                "{}: {:.0} runs/s, {:.0} commits/s",
                bench.name,
                ended as f64 / seconds,
                commits as f64 / seconds
            );
        });
    }
}
