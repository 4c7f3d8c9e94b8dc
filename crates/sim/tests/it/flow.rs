//! Declared flows: waves, results that go down the graph, failures, retries, stops, and one
//! announce at the end.

use machine::event::Asked;
use machine::rows::{FlowNodeState, InboxKind, Outcome, Task, TaskKind};
use machine::run::{Phase, WaitKind};
use machine::{Answer, Event, Rows};
use serde_json::Value;
use sim::plan::limits;
use sim::script::wait;
use types::{
    FlowRequest, FlowTarget, FlowTask, InternalCall, OnFailure, RunId, SessionKey, WaitFor,
};

use crate::bench::{Bench, main_session};

/// `"a; b: a; c: a b"`: names, and what they depend on.
fn flow(graph: &str) -> FlowRequest {
    let task = |text: &str| {
        let (id, needs) = text.trim().split_once(':').unwrap_or((text.trim(), ""));
        let mut task = FlowTask::of(id.parse().unwrap(), &format!("do {id}"));
        task.depends_on = needs.split_whitespace().map(|id| id.parse().unwrap()).collect();
        task
    };
    FlowRequest::of("f", graph.split(';').map(task).collect())
}

/// The main session's agent starts a flow; returns its run and what the tool has answered.
fn started(bench: &mut Bench, request: FlowRequest) -> (RunId, Value) {
    bench.send(&main_session(), "go");
    let run = bench.open(&main_session());
    let reply = bench.call(run, "f", InternalCall::StartFlow(Box::new(request)));
    (run, reply)
}

/// The states of the nodes, in the order of the declaration.
fn states(bench: &Bench) -> Vec<&'static str> {
    bench.disk.world.flow_nodes.iter().map(|node| node.state.as_str()).collect()
}

/// The session of a node's last attempt.
fn session(bench: &Bench, node: &str) -> SessionKey {
    let mut nodes = bench.disk.world.flow_nodes.iter();
    let node = nodes.find(|row| row.name.as_str() == node).expect("there is such a node");
    let task = node.task.expect("it was started");
    bench.tasks().iter().find(|row| row.id == task).expect("its task").session_key.clone()
}

/// The model of a node gives its last answer.
fn says(bench: &mut Bench, node: &str, text: &str) {
    let session = session(bench, node);
    let run = bench.open(&session);
    bench.say(run, text);
}

fn body(bench: &mut Bench, session: &SessionKey, kind: InboxKind) -> String {
    let mut rows = bench.disk.world.inbox.iter();
    let row = rows.rfind(|row| row.session_key == *session && row.kind == kind);
    let seq = row.expect("there is such a row").seq;
    Rows::inbox_body(&mut bench.disk, seq).expect("a row has a body")
}

#[test]
fn waves_go_down_the_graph_with_their_results() {
    let mut bench = Bench::new(limits());
    let (run, reply) = started(&mut bench, flow("a; b: a; c: a; d: c b"));
    assert_eq!(reply["status"], "accepted", "{reply}");
    assert_eq!(reply["running"], serde_json::json!(["a"]));
    assert_eq!(states(&bench), ["running", "pending", "pending", "pending"]);

    let yielded = bench.call(run, "y", InternalCall::Yield(wait(WaitFor::All)));
    assert_eq!((&yielded["status"], &yielded["openChildren"]), (&"waiting".into(), &1.into()));
    assert_eq!(bench.phase(run), Phase::Waiting(WaitKind::Children));

    says(&mut bench, "a", "a was found");
    assert_eq!(states(&bench), ["completed", "running", "running", "pending"]);
    let of_b = session(&bench, "b");
    let brief = body(&mut bench, &of_b, InboxKind::Brief);
    assert!(brief.starts_with("do b\n"), "{brief}");
    assert!(
        brief.contains("node=a outcome=completed bytes=11\n<result>\na was found\n"),
        "{brief}"
    );
    says(&mut bench, "c", "c");
    assert_eq!(bench.phase(run), Phase::Waiting(WaitKind::Children), "the flow is not over");
    says(&mut bench, "b", "b");
    let of_d = session(&bench, "d");
    let brief = body(&mut bench, &of_d, InboxKind::Brief);
    let place = |node: &str| brief.find(&format!("node={node} ")).expect(&brief);
    assert!(place("b") < place("c"), "results come as declared, and not as they ended");
    assert!(!brief.contains("a was found"), "nothing but the dependencies: {brief}");
    says(&mut bench, "d", "the end");

    assert_eq!(bench.phase(run), Phase::AwaitingModel, "woken, and has taken it in");
    let main = main_session();
    let announce = body(&mut bench, &main, InboxKind::Announce);
    assert!(announce.contains("outcome=completed"), "{announce}");
    assert!(announce.contains("The flow has completed: 4 completed."), "{announce}");
    assert!(announce.contains("<result>\nthe end\n</result>"), "{announce}");
    assert!(!announce.contains("a was found"), "only what nobody else has had: {announce}");
    let announces = bench.disk.world.inbox.iter().filter(|row| row.kind == InboxKind::Announce);
    assert_eq!(announces.count(), 1);
}

#[test]
fn no_more_run_than_was_asked() {
    let mut bench = Bench::new(limits());
    started(&mut bench, FlowRequest { max_parallel: Some(2), ..flow("a; b; c; d") });
    assert_eq!(states(&bench), ["running", "running", "pending", "pending"]);
    says(&mut bench, "b", "b");
    assert_eq!(states(&bench), ["running", "completed", "running", "pending"]);
}

#[test]
fn a_failure_is_tried_again_in_the_same_session_and_then_stops_the_rest() {
    let mut bench = Bench::new(limits());
    let mut request = flow("a; b; c: a; d: b");
    request.tasks[0].retries = 1;
    let (run, _) = started(&mut bench, request);
    bench.call(run, "y", InternalCall::Yield(wait(WaitFor::All)));
    let first = session(&bench, "a");
    says(&mut bench, "a", " ");
    assert_eq!(session(&bench, "a"), first);
    let attempts: Vec<_> = bench.tasks().iter().filter(|t| t.session_key == first).collect();
    assert_eq!(attempts.iter().map(|task| task.attempt).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(attempts[0].outcome, Some(Outcome::NoResult));
    says(&mut bench, "a", "");
    assert_eq!(states(&bench), ["failed", "running", "skipped", "skipped"], "b goes on");
    says(&mut bench, "b", "b");
    let announce = body(&mut bench, &main_session(), InboxKind::Announce);
    assert!(announce.contains("outcome=failed"), "{announce}");
    assert!(announce.contains("| a | failed | 2 |"), "{announce}");
}

#[test]
fn a_failure_may_leave_the_others_alone() {
    let mut bench = Bench::new(limits());
    let request = FlowRequest { on_failure: OnFailure::Continue, ..flow("a; b; c: a; d: b; e: c") };
    started(&mut bench, request);
    says(&mut bench, "a", "");
    assert_eq!(states(&bench), ["failed", "running", "skipped", "pending", "skipped"]);
    says(&mut bench, "b", "b");
    says(&mut bench, "d", "d");
    let flow = bench.tasks().iter().find(|task| task.kind == TaskKind::Flow).unwrap();
    assert_eq!(flow.outcome, Some(Outcome::Failed));
}

#[test]
fn one_of_which_a_task_could_never_start_is_refused_whole() {
    let mut bench = Bench::new(limits());
    let agent = |i: usize| {
        let mut request = flow("a; b; c");
        request.tasks[i].agent_id = Some("nobody".parse().unwrap());
        request
    };
    let mut model = flow("a; b");
    model.tasks[1].model = Some("no-such-model".to_owned());
    let table = [
        (flow("a: c; b: a; c: b"), "invalid_argument", "could ever start: a → c → b → a"),
        (flow("a: x"), "invalid_argument", "`tasks[0].dependsOn[0]`: no task `x`"),
        (agent(2), "agent_not_allowed", "`tasks[2]`: agentId \"nobody\" is not configured"),
        (model, "model_unavailable", "`tasks[1]`: model \"no-such-model\""),
    ];
    bench.send(&main_session(), "go");
    let run = bench.open(&main_session());
    for (i, (request, code, told)) in table.into_iter().enumerate() {
        let reply = bench.call(run, &format!("f{i}"), InternalCall::StartFlow(Box::new(request)));
        assert_eq!(reply["code"], code, "{reply}");
        assert!(reply["error"].as_str().unwrap().contains(told), "{reply}");
        assert!(bench.tasks().is_empty() && bench.disk.world.flows.is_empty(), "{reply}");
    }
}

/// Room in the tree is taken by the flow as a whole; of the requester's children it is one.
#[test]
fn a_flow_counts_as_one_child_and_as_all_its_tasks_in_the_tree() {
    let mut limits = limits();
    (limits.children_max, limits.tasks_per_tree_max) = (2, 8);
    let mut bench = Bench::new(limits);
    let (run, reply) = started(&mut bench, flow("a; b; c; d"));
    assert_eq!(reply["status"], "accepted", "{reply}");
    let more = |bench: &mut Bench, id: &str, request| {
        bench.call(run, id, InternalCall::StartFlow(Box::new(request)))
    };
    let reply = more(&mut bench, "g", flow("x; y; z: x"));
    assert_eq!(reply["code"], "tree_exceeded", "{reply}");
    let reply = more(&mut bench, "h", flow("x: y; y"));
    assert_eq!(reply["status"], "accepted", "{reply}");
    let reply = more(&mut bench, "i", flow("z"));
    assert_eq!(reply["code"], "children_exceeded", "{reply}");
    let again = more(&mut bench, "j", flow("a; b; c; d"));
    assert_eq!(again["status"], "duplicate", "{again}");
}

#[test]
fn a_cancel_ends_the_subtree_and_is_announced_once() {
    let mut bench = Bench::new(limits());
    let (run, reply) = started(&mut bench, flow("a; b: a"));
    let below = bench.open(&session(&bench, "a"));
    bench.call(below, "g", InternalCall::StartFlow(Box::new(flow("x; y: x"))));
    let target: FlowTarget = reply["flowId"].as_str().unwrap().parse().unwrap();
    let told = bench.call(run, "c", InternalCall::CancelFlow { target });
    assert_eq!(told["status"], "stopped", "{told}");
    assert_eq!(states(&bench), ["cancelled", "skipped", "cancelled", "skipped"]);
    assert!(bench.outcomes().iter().all(|end| *end == Some(Outcome::Cancelled)));
    let own = bench.disk.world.inbox.iter().filter(|row| row.kind == InboxKind::Announce);
    assert_eq!(own.filter(|row| row.session_key == main_session()).count(), 1);
    let again = bench.call(run, "d", InternalCall::CancelFlow { target });
    assert_eq!(again["status"], "already_ended", "{again}");
}

/// A person starts one without a model, is not announced to, and stops their session.
#[test]
fn a_person_starts_a_flow_and_stops_the_session() {
    let mut bench = Bench::new(limits());
    let request = FlowRequest { announce: types::Announce::None, ..flow("a; b") };
    let asked = |call| Asked {
        session: main_session(),
        owner: "owner".to_owned(),
        origin: "web".to_owned(),
        mark: "m".to_owned(),
        call,
    };
    let answer = bench.apply(Event::Ask(asked(InternalCall::StartFlow(Box::new(request)))));
    assert!(matches!(answer, Answer::Told { is_error: false, .. }), "{answer:?}");
    says(&mut bench, "a", "a");
    bench.apply(Event::Stop { session: main_session(), run: None, by: "owner".to_owned() });
    assert_eq!(states(&bench), ["completed", "cancelled"]);
    let flow = bench.tasks().iter().find(|task| task.kind == TaskKind::Flow).unwrap();
    assert_eq!(flow.outcome, Some(Outcome::Cancelled));
    assert!(bench.disk.world.inbox.iter().all(|row| row.kind != InboxKind::Announce));
}

/// A node that names a session goes on in it; two that name one are done in it one after the other.
#[test]
fn a_node_may_have_a_session_of_a_name() {
    let mut bench = Bench::new(limits());
    let mut request = flow("a; b; c: a");
    for task in &mut request.tasks {
        task.session_key = Some("thread:plan".parse().unwrap());
    }
    let (_, reply) = started(&mut bench, request);
    assert_eq!(reply["status"], "accepted", "{reply}");
    let plan: SessionKey = "agent:main:thread:plan".parse().unwrap();
    for text in ["a", "b", "c"] {
        let run = bench.open(&plan);
        bench.say(run, text);
    }
    assert_eq!(states(&bench), ["completed", "completed", "completed"]);
    let of_plan = |task: &&Task| task.session_key == plan;
    assert_eq!(bench.tasks().iter().filter(of_plan).count(), 3);
}

/// A row that says that a node runs whose task is over, which only a fault leaves: the next start
/// counts it as ended, and what was to be tried again is, once, and the others are not lost.
#[test]
fn nodes_that_only_seem_to_run_are_tried_again_at_the_next_start() {
    #[rustfmt::skip]
    let table = [
        ("a; b; c: a", 0, "failed failed skipped",   Some(Outcome::Failed)),
        ("a; b; c: a", 1, "running running pending", None),
        ("a; b",       0, "failed failed",           Some(Outcome::Failed)),
        ("a; b",       1, "running running",         None),
    ];
    for (graph, retries, expected, outcome) in table {
        let mut bench = Bench::new(limits());
        let mut request = FlowRequest { on_failure: OnFailure::Continue, ..flow(graph) };
        request.tasks.iter_mut().for_each(|task| task.retries = retries);
        started(&mut bench, request);
        bench.checked = false;
        for task in bench.tasks().to_vec() {
            if task.kind == TaskKind::FlowNode {
                let (outcome, ended) = (Some(Outcome::Failed), Some(bench.at.now));
                bench.disk.put_task(&Task { outcome, ended, ..task });
            }
        }
        bench.restart();
        assert_eq!(states(&bench).join(" "), expected, "{graph}, {retries} retries");
        let flow = bench.tasks().iter().find(|task| task.kind == TaskKind::Flow).unwrap();
        assert_eq!(flow.outcome, outcome, "{graph}, {retries} retries");
    }
}

/// A start loses nothing of a flow: what ran goes on, and what comes next still comes.
#[test]
fn a_flow_goes_on_after_a_crash() {
    let mut bench = Bench::new(limits());
    started(&mut bench, flow("a; b: a"));
    bench.restart();
    bench.apply(Event::Recover);
    says(&mut bench, "a", "a");
    bench.restart();
    bench.apply(Event::Recover);
    says(&mut bench, "b", "b");
    let world = &bench.disk.world;
    assert!(world.flow_nodes.iter().all(|node| node.state == FlowNodeState::Completed));
    assert!(world.flow_nodes.iter().all(|node| node.attempt == 1), "each once");
}
