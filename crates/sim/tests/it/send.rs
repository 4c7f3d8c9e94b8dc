//! `sessions_send`: who may, where it goes, how it is answered, and what ends a wait. What never ends
//! is in `circle`.

use std::time::Duration;

use machine::event::Inbound;
use machine::limits::{AllowAgents, Relation, Visibility};
use machine::rows::{InboxKind, InboxRow, LaneName, Outcome, Place, StepState};
use machine::run::{Phase, WaitKind};
use machine::{Event, Limits};
use serde_json::Value;
use sim::plan::{inbound, limits};
use sim::script::{external, internal, spawn, wait};
use types::{
    EffectClass, InternalCall, RunId, SendMode, SendRequest, SendTarget, SessionKey, SessionRef,
    SpawnRequest, TaskTarget, WaitFor, WaitRequest,
};

use crate::bench::{Bench, key, main_session};

const HALF_A_MINUTE: Duration = Duration::from_secs(30);

pub fn ops() -> SessionKey {
    key("agent:ops:main")
}

pub fn plan() -> SessionKey {
    key("agent:main:thread:plan")
}

/// A message that is not waited for.
pub fn note(to: &SessionKey, text: &str) -> SendRequest {
    SendRequest::to(SendTarget::Session(SessionRef::Full(to.clone())), text)
}

/// A message that is waited for half a minute.
pub fn question(to: &SessionKey, text: &str) -> SendRequest {
    SendRequest { wait: HALF_A_MINUTE, ..note(to, text) }
}

pub fn send(request: SendRequest) -> InternalCall {
    InternalCall::Send(Box::new(request))
}

/// A bench on which main and ops have talked to a person, and main is asked something again.
pub fn two_agents(limits: Limits) -> (Bench, RunId) {
    let mut bench = Bench::new(limits);
    bench.send(&ops(), "hello");
    let run = bench.open(&ops());
    bench.say(run, "hello");
    bench.send(&main_session(), "ask ops");
    let run = bench.open(&main_session());
    (bench, run)
}

pub fn rows(bench: &Bench, session: &SessionKey, kind: InboxKind) -> Vec<InboxRow> {
    let rows = bench.disk.world.inbox.iter();
    rows.filter(|row| row.session_key == *session && row.kind == kind).cloned().collect()
}

#[test]
fn an_answer_comes_as_the_result_of_the_call_that_waits() {
    let (mut bench, asker) = two_agents(limits());
    bench.answer(asker, "", vec![internal("c", send(question(&ops(), "how deep?")))]);
    assert_eq!(bench.phase(asker), Phase::Waiting(WaitKind::Reply));
    assert_eq!(bench.run(asker).slot, None);
    let asked = bench.open(&ops());
    assert_eq!(bench.run(asked).lane, LaneName::Subagent);
    let row = &rows(&bench, &ops(), InboxKind::Agent)[0];
    assert_eq!((row.hops, row.sender.clone()), (1, Some(main_session())));
    assert_eq!(row.body_hash, types::Hash::of("how deep?"));

    bench.say(asked, "12 m");
    let result = bench.result(asker, "c");
    assert_eq!((&result["state"], &result["reply"]), (&"replied".into(), &"12 m".into()));
    assert_eq!(bench.phase(asker), Phase::AwaitingModel);
    assert!(rows(&bench, &main_session(), InboxKind::Reply).is_empty());
}

#[test]
fn a_wait_that_ends_first_is_pending_and_the_answer_comes_once() {
    let (mut bench, asker) = two_agents(limits());
    bench.answer(asker, "", vec![internal("c", send(question(&ops(), "how deep?")))]);
    let asked = bench.open(&ops());
    bench.pass(Duration::from_secs(31));
    let result = bench.result(asker, "c");
    assert_eq!(result["status"], "pending", "{result}");
    assert_eq!(result["state"], "started", "its model has been called with it: {result}");
    bench.say(asker, "I will tell you");
    assert_eq!(bench.phase(asker), Phase::Ended(Outcome::Completed));

    bench.say(asked, "12 m");
    let replies = rows(&bench, &main_session(), InboxKind::Reply);
    assert_eq!(replies.len(), 1);
    let message = result["messageId"].as_str().unwrap();
    assert_eq!(replies[0].idem_key, format!("reply:{message}"));
    let again = bench.open(&main_session());
    assert_eq!(bench.run(again).origin, "web", "it answers to the person who had asked");
    bench.say(again, "12 m");
}

#[test]
fn a_message_that_is_not_waited_for_is_answered_with_a_row() {
    let (mut bench, asker) = two_agents(limits());
    let result = bench.call(asker, "c", send(note(&ops(), "how deep?")));
    assert_eq!(result["state"], "accepted");
    let asked = bench.open(&ops());
    bench.say(asked, "12 m");
    let replies = rows(&bench, &main_session(), InboxKind::Reply);
    assert_eq!((replies.len(), replies[0].place), (1, Place::Steer));
    // It enters the open run, whose own question it answers: that is no hop.
    bench.say(asker, "wait");
    assert_eq!(bench.run(asker).hops, 0);
}

#[test]
fn what_a_run_says_at_its_end_is_what_comes_back() {
    #[rustfmt::skip]
    let table: [(&str, &str, Value); 3] = [
        // the answer    state       reply
        ("12 m",         "replied",  "12 m".into()),
        ("REPLY_SKIP",   "replied",  Value::Null),
        (" ",            "failed",   Value::Null),
    ];
    for (text, state, reply) in table {
        let (mut bench, asker) = two_agents(limits());
        bench.answer(asker, "", vec![internal("c", send(question(&ops(), "how deep?")))]);
        let asked = bench.open(&ops());
        bench.say(asked, text);
        let result = bench.result(asker, "c");
        assert_eq!((&result["state"], &result["reply"]), (&state.into(), &reply), "{text:?}");
        assert_eq!(result["skipped"] == true, text == "REPLY_SKIP", "{text:?}");
    }
}

/// Long answers are cut as announces are, and say where the rest is.
#[test]
fn a_long_answer_says_where_it_is_whole() {
    let mut roomy = limits();
    roomy.models.insert("m".to_owned(), 200_000);
    let (mut bench, asker) = two_agents(roomy);
    bench.answer(asker, "", vec![internal("c", send(question(&ops(), "all of it")))]);
    let asked = bench.open(&ops());
    let text = "é".repeat(20_000);
    bench.say(asked, &text);
    let result = bench.result(asker, "c");
    assert_eq!((&result["truncated"], &result["bytes"]), (&true.into(), &40_000.into()));
    assert_eq!(result["sha256"], types::Hash::of(&text).to_string());
    assert!(text.starts_with(result["reply"].as_str().unwrap()));
}

#[test]
fn a_target_that_is_stopped_answers_that_it_has_failed() {
    for started in [true, false] {
        let (mut bench, asker) = two_agents(limits());
        if !started {
            // Somebody else's run is open there: the message waits behind it.
            bench.send(&ops(), "think long");
        }
        bench.answer(asker, "", vec![internal("c", send(question(&ops(), "how deep?")))]);
        bench.apply(Event::Stop { session: ops(), run: None, by: "owner".to_owned() });
        let result = bench.result(asker, "c");
        assert_eq!(result["state"], "failed", "{result}");
        assert!(result["error"].as_str().unwrap().contains("stopped"), "{result}");
        // It is alive: the same message can be sent again, and is answered.
        bench.answer(asker, "", vec![internal("d", send(question(&ops(), "how deep?")))]);
        let asked = bench.open(&ops());
        bench.say(asked, "12 m");
        assert_eq!(bench.result(asker, "d")["reply"], "12 m");
    }
}

/// A sender that was stopped does not wait any more; the answer is kept for its next run.
#[test]
fn an_answer_to_a_stopped_sender_is_held() {
    let (mut bench, asker) = two_agents(limits());
    bench.answer(asker, "", vec![internal("c", send(question(&ops(), "how deep?")))]);
    let asked = bench.open(&ops());
    bench.apply(Event::Stop { session: main_session(), run: None, by: "owner".to_owned() });
    assert!(bench.result(asker, "c").as_str().unwrap().contains("The message was sent"));
    bench.say(asked, "12 m");
    let replies = rows(&bench, &main_session(), InboxKind::Reply);
    assert_eq!((replies.len(), replies[0].place), (1, Place::Hold));
    bench.send(&main_session(), "what did it say?");
    let run = bench.open(&main_session());
    bench.say(run, "12 m");
    assert!(bench.queued(&main_session()).is_empty());
}

#[test]
fn an_archived_session_says_how_it_is_restored() {
    let (mut bench, asker) = two_agents(limits());
    bench.call(asker, "s", InternalCall::spawn(spawn("count lakes")));
    let child = bench.tasks()[0].clone();
    bench.say(child.run, "12");
    let by = "owner".to_owned();
    let session = child.session_key.clone();
    let change = machine::event::Change::Archive;
    bench.apply(Event::Change { session: session.clone(), by, change });
    let result = bench.call(asker, "c", send(note(&session, "and ponds?")));
    assert_eq!(result["code"], "session_archived");
    assert!(result["error"].as_str().unwrap().contains("windlass sessions restore"), "{result}");
}

/// What must not be sent is not sent, and the refusal names what decides.
#[test]
fn refusals() {
    type Change = fn(&mut Limits);
    let only = |names: &[&str]| {
        AllowAgents::These(names.iter().map(|name| name.parse().unwrap()).collect())
    };
    assert_eq!(only(&["ops"]), AllowAgents::These(vec!["ops".parse().unwrap()]));
    let to = |target: SendTarget| SendRequest::to(target, "x");
    let label = |text: &str| to(SendTarget::Label(text.to_owned()));

    #[rustfmt::skip]
    let table: [(&str, Change, SendRequest, &str); 9] = [
        ("forbidden",         |limits| limits.send.enabled = false,                 note(&ops(), "x"),           "tools.agentToAgent.enabled is false"),
        ("forbidden",         allow_main,                                           note(&ops(), "x"),           "tools.agentToAgent.allow is [main], without \"ops\""),
        ("forbidden",         |l| l.send.visibility = Visibility::Agent,            note(&ops(), "x"),           "tools.sessions.visibility is \"agent\""),
        ("forbidden",         |l| l.send.visibility = Visibility::Own,              to(SendTarget::Agent("ops".parse().unwrap())), "tools.sessions.visibility is \"self\""),
        ("hop_limit",         |limits| limits.send.hops_max = 0,                    note(&ops(), "x"),           "session.agentToAgent.maxPingPongTurns is 0"),
        ("wait_cycle",        |_| {},                                               question(&main_session(), "x"), "nothing was sent"),
        ("session_not_found", |_| {},                                               note(&key("agent:main:thread:none"), "x"), "no session agent:main:thread:none"),
        ("session_not_found", |_| {},                                               to(SendTarget::Agent("nobody".parse().unwrap())), "agents.entries"),
        ("session_not_found", |_| {},                                               label("Nothing"),            "no session has the label"),
    ];

    for (code, change, request, names) in table {
        let mut limits = limits();
        change(&mut limits);
        let (mut bench, asker) = two_agents(limits);
        let before = bench.disk.world.inbox.len();
        let result = bench.call(asker, "c", send(request));
        assert_eq!(
            (&result["status"], &result["code"]),
            (&"error".into(), &code.into()),
            "{result}"
        );
        assert!(result["error"].as_str().unwrap().contains(names), "{code}: {result}");
        assert_eq!(bench.disk.world.inbox.len(), before, "{code}: something was sent");
    }
}

fn allow_main(limits: &mut Limits) {
    limits.send.allow = AllowAgents::These(vec!["main".parse().unwrap()]);
}

#[test]
fn a_session_of_another_owner_is_not_there() {
    let mut bench = Bench::new(limits());
    bench.send_as(Inbound { owner: "ben".to_owned(), ..inbound(&ops(), "hello") });
    bench.send(&main_session(), "go");
    let asker = bench.open(&main_session());
    let result = bench.call(asker, "c", send(question(&ops(), "x")));
    assert_eq!(result["code"], "session_not_found", "{result}");
}

/// Parents and children may always, whatever the policy says.
#[test]
fn who_sees_whom() {
    use Visibility::{Agent, All, Own, Tree};
    let (main, ops, plan) = (main_session(), ops(), plan());
    let child = key("agent:ops:thread:child");
    let top = |key| Relation { key, parent: None, root: key };
    let below = Relation { key: &child, parent: Some(&main), root: &main };

    #[rustfmt::skip]
    let table = [
        // one         other         all   agent  tree   self
        (top(&main),  top(&main),  [true,  true,  true,  true]),
        (top(&main),  top(&plan),  [true,  true,  false, false]),
        (top(&main),  top(&ops),   [true,  false, false, false]),
        (top(&main),  below,       [true,  true,  true,  true]),
        (below,       top(&main),  [true,  true,  true,  true]),
        (below,       top(&ops),   [true,  true,  false, false]),
        (below,       top(&plan),  [true,  false, false, false]),
    ];
    for (one, other, expected) in table {
        let shown = [All, Agent, Tree, Own].map(|visibility| visibility.shows(one, other));
        assert_eq!(shown, expected, "{} and {}", one.key, other.key);
    }
}

#[test]
fn a_label_names_one_session_or_none() {
    let (mut bench, asker) = two_agents(limits());
    for session in [plan(), key("agent:main:thread:other")] {
        let label = Some("Plan".to_owned());
        bench.send_as(Inbound { label, ..inbound(&session, "hello") });
    }
    let to = || SendRequest::to(SendTarget::Label("Plan".to_owned()), "x");
    let result = bench.call(asker, "c", send(to()));
    assert_eq!(result["code"], "ambiguous_label", "{result}");
    for session in ["agent:main:thread:plan", "agent:main:thread:other"] {
        assert!(result["error"].as_str().unwrap().contains(session), "{result}");
    }
    let by = "owner".to_owned();
    let change = machine::event::Change::Delete;
    bench.apply(Event::Change { session: key("agent:main:thread:other"), by, change });
    let result = bench.call(asker, "d", send(to()));
    assert_eq!(result["sessionKey"], "agent:main:thread:plan", "{result}");
}

#[test]
fn an_agent_is_meant_with_its_main_session() {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let asker = bench.open(&main_session());
    let to = SendTarget::Agent("ops".parse().unwrap());
    let result = bench.call(asker, "c", send(SendRequest::to(to, "x")));
    assert_eq!(result["sessionKey"], "agent:ops:main", "{result}");
    let made = bench.disk.world.sessions.iter().find(|session| session.key == ops()).unwrap();
    assert_eq!(made.owner, "owner");
}

#[test]
fn the_same_key_sends_the_same_message_once() {
    let (mut bench, asker) = two_agents(limits());
    let keyed =
        |text: &str| SendRequest { idempotency_key: Some("k".to_owned()), ..note(&ops(), text) };
    let first = bench.call(asker, "c", send(keyed("x")));
    let again = bench.call(asker, "d", send(keyed("x")));
    assert_eq!((&again["messageId"], &again["duplicate"]), (&first["messageId"], &true.into()));
    assert_eq!(bench.call(asker, "e", send(keyed("y")))["code"], "idempotency_conflict");
    assert_eq!(rows(&bench, &ops(), InboxKind::Agent).len(), 1);
}

/// Whatever stands between the sending and the answer: a restart changes nothing.
#[test]
fn a_restart_at_any_point_of_an_exchange() {
    for cut in 0..5 {
        let (mut bench, asker) = two_agents(limits());
        let crash = |bench: &mut Bench, at: u32| {
            if at == cut {
                bench.restart();
            }
        };
        let calls = vec![
            internal("c", send(question(&ops(), "how deep?"))),
            external("t", EffectClass::Pure),
        ];
        bench.answer(asker, "", calls);
        crash(&mut bench, 0);
        let asked = bench.open(&ops());
        bench.pin(asked);
        crash(&mut bench, 1);
        bench.tool_done(asker);
        assert_eq!(bench.phase(asker), Phase::Waiting(WaitKind::Reply), "cut {cut}");
        crash(&mut bench, 2);
        bench.say(asked, "12 m");
        crash(&mut bench, 3);
        assert_eq!(bench.result(asker, "c")["reply"], "12 m", "cut {cut}");
        bench.say(asker, "12 m deep");
        crash(&mut bench, 4);
        assert_eq!(bench.phase(asker), Phase::Ended(Outcome::Completed), "cut {cut}");
        assert!(rows(&bench, &main_session(), InboxKind::Reply).is_empty(), "cut {cut}");
    }
}

/// First the answer, then the children: one run waits for both, one behind the other.
#[test]
fn a_yield_beside_a_send_waits_after_it() {
    let (mut bench, asker) = two_agents(limits());
    bench.answer(
        asker,
        "",
        vec![
            internal("s", InternalCall::spawn(spawn("count lakes"))),
            internal("c", send(question(&ops(), "how deep?"))),
            internal("y", InternalCall::Yield(wait(WaitFor::All))),
        ],
    );
    assert_eq!(bench.phase(asker), Phase::Waiting(WaitKind::Reply));
    let asked = bench.open(&ops());
    bench.say(asked, "12 m");
    assert_eq!(bench.phase(asker), Phase::Waiting(WaitKind::Children));
    let child = bench.tasks()[0].run;
    bench.say(child, "7 lakes");
    assert_eq!(bench.phase(asker), Phase::AwaitingModel);
}

/// Who has only written to others rests until one of them answers, and no longer.
#[test]
fn a_yield_for_a_message() {
    for answer in ["12 m", "REPLY_SKIP"] {
        let (mut bench, asker) = two_agents(limits());
        bench.answer(
            asker,
            "",
            vec![
                internal("c", send(note(&ops(), "how deep?"))),
                internal("y", InternalCall::Yield(wait(WaitFor::Message))),
            ],
        );
        assert_eq!(bench.phase(asker), Phase::Waiting(WaitKind::Children), "{answer}");
        let asked = bench.open(&ops());
        bench.say(asked, answer);
        assert_eq!(bench.phase(asker), Phase::AwaitingModel, "{answer}");
        bench.say(asker, "so");
        let nothing = bench.queued(&main_session());
        assert!(nothing.is_empty(), "{answer}: {nothing:?}");
    }
}

/// What a person says is not left lying until an agent answers.
#[test]
fn a_person_ends_the_wait_for_an_answer() {
    let (mut bench, asker) = two_agents(limits());
    bench.answer(asker, "", vec![internal("c", send(question(&ops(), "how deep?")))]);
    bench.send(&main_session(), "never mind");
    assert_eq!(bench.result(asker, "c")["status"], "pending");
    assert_eq!(bench.phase(asker), Phase::AwaitingModel);
    // From elsewhere: it waits for its turn, and the run for its answer.
    let (mut bench, asker) = two_agents(limits());
    bench.answer(asker, "", vec![internal("c", send(question(&ops(), "how deep?")))]);
    bench.send_as(Inbound { origin: "chat".to_owned(), ..inbound(&main_session(), "hello") });
    assert_eq!(bench.phase(asker), Phase::Waiting(WaitKind::Reply));
}

/// A message from elsewhere does not end the wait of a parent: it waits for its turn.
#[test]
fn an_agent_does_not_end_the_rest_of_another() {
    let (mut bench, top) = two_agents(limits());
    bench.answer(
        top,
        "",
        vec![
            internal("s", InternalCall::spawn(spawn("count lakes"))),
            internal("y", InternalCall::Yield(wait(WaitFor::All))),
        ],
    );
    bench.send(&ops(), "ask main");
    let other = bench.open(&ops());
    bench.answer(other, "", vec![internal("c", send(question(&main_session(), "busy?")))]);
    assert_eq!(bench.phase(top), Phase::Waiting(WaitKind::Children));
    bench.say(bench.tasks()[0].run, "7");
    bench.say(top, "7 lakes");
    let mine = bench.open(&main_session());
    bench.say(mine, "not any more");
    assert_eq!(bench.result(other, "c")["reply"], "not any more");
}

/// Sending to a child that has failed goes on with it: with a message, or as a new task.
#[test]
fn a_failed_child_is_continued() {
    for mode in [SendMode::Message, SendMode::Resume] {
        let (mut bench, top) = two_agents(limits());
        let named = SpawnRequest { task_name: Some("lakes".into()), ..spawn("count lakes") };
        bench.call(top, "s", InternalCall::spawn(named));
        let first = bench.tasks()[0].clone();
        bench.say(first.run, " ");
        assert_eq!(bench.outcomes(), [Some(Outcome::NoResult)]);
        let request = SendRequest { mode, ..question(&first.session_key, "go on") };
        bench.answer(top, "", vec![internal("c", send(request))]);
        match mode {
            SendMode::Message => {
                let again = bench.open(&first.session_key);
                assert_eq!(bench.run(again).task, None);
                bench.say(again, "12");
                assert_eq!(bench.result(top, "c")["reply"], "12");
            }
            SendMode::Resume => {
                let second = bench.tasks()[1].clone();
                assert_eq!(second.session_key, first.session_key);
                assert_eq!(bench.result(top, "c")["taskId"], second.id.to_string());
                bench.say(second.run, "12");
                let heard = rows(&bench, &main_session(), InboxKind::Announce);
                assert_eq!(heard.len(), 2);
            }
        }
    }
}

#[test]
fn waiting_for_named_tasks_answers_with_their_states() {
    let (mut bench, top) = two_agents(limits());
    for name in ["one", "two"] {
        let request = SpawnRequest { task_name: Some(name.into()), ..spawn(name) };
        bench.call(top, name, InternalCall::spawn(request));
    }
    let tasks: Vec<_> = bench.tasks().to_vec();
    bench.say(tasks[0].run, "first");
    let ids = |ids: &[String]| ids.iter().map(|id| TaskTarget(id.clone())).collect();
    let both = WaitRequest {
        targets: ids(&[tasks[0].id.to_string(), "two".to_owned()]),
        timeout: HALF_A_MINUTE,
    };
    let result = bench.call(top, "w", InternalCall::Wait(both.clone()));
    assert_eq!(result["tasks"][0]["state"], "completed", "{result}");
    assert_eq!(result["tasks"][1]["state"], "pending", "{result}");
    assert_eq!(bench.phase(top), Phase::Waiting(WaitKind::Children));
    bench.pass(Duration::from_secs(31));
    assert_eq!(bench.phase(top), Phase::AwaitingModel, "the time is over");
    bench.say(tasks[1].run, "second");
    let other = WaitRequest { targets: ids(&[tasks[0].id.to_string()]), ..both };
    let result = bench.call(top, "w2", InternalCall::Wait(other));
    assert_eq!(result["status"], "ready", "{result}");
    assert_eq!(rows(&bench, &main_session(), InboxKind::Announce).len(), 2);
}

#[test]
fn whoever_watches_hears_of_an_end_without_an_answer() {
    for watch in [true, false] {
        let (mut bench, asker) = two_agents(limits());
        let request = SendRequest { watch, ..note(&ops(), "just so that you know") };
        bench.call(asker, "c", send(request));
        let asked = bench.open(&ops());
        bench.say(asked, "REPLY_SKIP");
        let heard = rows(&bench, &main_session(), InboxKind::Reply).len();
        assert_eq!(heard, usize::from(watch));
    }
}

/// A full queue answers whoever waits for what it drops.
#[test]
fn a_dropped_message_is_answered() {
    let mut limits = limits();
    limits.queue.cap = 1;
    let (mut bench, asker) = two_agents(limits);
    bench.send(&ops(), "think long");
    bench.answer(asker, "", vec![internal("c", send(question(&ops(), "how deep?")))]);
    bench.send_as(Inbound { origin: "chat".to_owned(), ..inbound(&ops(), "me first") });
    let result = bench.result(asker, "c");
    assert_eq!(result["state"], "failed", "{result}");
    assert!(result["error"].as_str().unwrap().contains("dropped unread"), "{result}");
    let open = bench.disk.world.steps.iter().filter(|step| step.state == StepState::Waiting);
    assert_eq!(open.count(), 0);
}

/// A task for a session that is at work stands in line there: it is carried by a run of its own,
/// after the one that goes on, and announces once.
#[test]
fn a_task_for_a_session_at_work_waits_its_turn() {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let main = bench.open(&main_session());
    let first = bench.call(main, "s", InternalCall::spawn(spawn("first")));
    let child = key(first["childSessionKey"].as_str().unwrap());
    let to = SendTarget::Session(SessionRef::Full(child.clone()));
    let resume = SendRequest { mode: SendMode::Resume, ..SendRequest::to(to, "second") };
    let told = bench.call(main, "r", InternalCall::Send(Box::new(resume)));
    assert_eq!((&told["status"], &told["queued"]), (&"accepted".into(), &true.into()), "{told}");
    let [one, two] = [0, 1].map(|n| bench.tasks()[n].run);
    assert_eq!(bench.open(&child), one, "what runs goes on");
    bench.restart();
    bench.say(one, "the first is done");
    assert_eq!(bench.open(&child), two);
    bench.say(two, "and the second");
    assert_eq!(bench.outcomes(), [Some(Outcome::Completed); 2]);
    let announces = bench.disk.world.inbox.iter().filter(|row| row.kind == InboxKind::Announce);
    assert_eq!(announces.count(), 2);
}
