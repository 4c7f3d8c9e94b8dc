use std::time::Duration;

use serde_json::{Value, json};
use types::{
    Access, Announce, Cleanup, Deliverables, Name, Reuse, SendMode, SendRequest, SendTarget,
    SpawnContext, SpawnRequest, TaskId, WaitFor, WaitRequest, WhenBusy, YieldRequest,
};
use uuid::Uuid;

use super::*;

fn call(name: &str, arguments: Value) -> Result<SessionsCall, String> {
    parse(name, &arguments.to_string())
}

fn spawn(arguments: Value) -> SpawnRequest {
    match call("sessions_spawn", arguments) {
        Ok(SessionsCall::Internal(InternalCall::Spawn(request))) => *request,
        other => panic!("expected a spawn, got {other:?}"),
    }
}

fn wait(arguments: Value) -> YieldRequest {
    match call("sessions_yield", arguments) {
        Ok(SessionsCall::Internal(InternalCall::Yield(request))) => request,
        other => panic!("expected a yield, got {other:?}"),
    }
}

fn plain(task: &str) -> SpawnRequest {
    SpawnRequest::of(task)
}

#[test]
fn a_spawn_with_everything() {
    let request = spawn(json!({
        "task": " look\n", "label": "Look", "taskName": "look-1", "agentId": "Ops",
        "model": "anthropic/x", "runTimeoutSeconds": 90, "cleanup": "delete",
        "announce": "none", "expectsCompletionMessage": false, "idempotencyKey": "k",
        "cwd": "sub", "context": "isolated", "runtime": "subagent",
    }));
    let expected = SpawnRequest {
        label: Some("Look".to_owned()),
        task_name: Some("look-1".to_owned()),
        agent: Some("ops".parse().unwrap()),
        model: Some("anthropic/x".to_owned()),
        run_timeout: Some(Duration::from_secs(90)),
        cleanup: Cleanup::Delete,
        announce: Announce::None,
        idempotency_key: Some("k".to_owned()),
        cwd: Some("sub".to_owned()),
        ..plain(" look\n")
    };
    assert_eq!(request, expected);
}

#[test]
fn what_a_spawn_leaves_out_has_a_default() {
    assert_eq!(spawn(json!({"task": "x"})), plain("x"));
    let blank = json!({"task": "x", "label": "", "taskName": " ", "agentId": "", "model": null,
        "cwd": "", "cleanup": "", "announce": "", "context": ""});
    assert_eq!(spawn(blank), plain("x"));
    assert_eq!(
        spawn(json!({"task": "x", "runTimeoutSeconds": 0})).run_timeout,
        Some(Duration::ZERO)
    );
    let quiet = spawn(json!({"task": "x", "expectsCompletionMessage": false}));
    assert_eq!(quiet.announce, Announce::None);
}

#[test]
fn a_bad_spawn_is_refused_by_name() {
    let table = [
        (json!({}), "`task` is missing"),
        (json!({"task": " \n"}), "`task` is empty"),
        (json!({"task": 7}), "`task` must be a string; got 7"),
        (json!({"tsk": "x"}), "has no argument `tsk`; did you mean `task`?"),
        (json!({"task": "x", "task_name": "a"}), "did you mean `taskName`?"),
        (
            json!({"task": "x", "timeoutSeconds": 5}),
            "does not take `timeoutSeconds`: use `runTimeoutSeconds`",
        ),
        (json!({"task": "x", "timeout_seconds": 5}), "use `runTimeoutSeconds`"),
        (
            json!({"task": "x", "runTimeoutSeconds": "5"}),
            "`runTimeoutSeconds` must be an integer from 0 to 31536000; got the string \"5\"",
        ),
        (json!({"task": "x", "runTimeoutSeconds": -5}), "got -5"),
        (
            json!({"task": "x", "taskName": "Look"}),
            "`taskName` must match ^[a-z][a-z0-9_-]{0,63}$; got `Look`",
        ),
        (json!({"task": "x", "taskName": "1st"}), "must match"),
        (json!({"task": "x", "taskName": "a".repeat(65)}), "must match"),
        (json!({"task": "x", "taskName": "last"}), "must not be `last`"),
        (json!({"task": "x", "taskName": "all"}), "must not be `all`"),
        (json!({"task": "x", "agentId": "a b"}), "`agentId` is not valid"),
        (
            json!({"task": "x", "cleanup": "burn"}),
            "`cleanup` must be one of `keep`, `delete`; got `burn`",
        ),
        (
            json!({"task": "x", "announce": "mother"}),
            "`announce` must be one of `parent`, `person`, `none`; got `mother`",
        ),
        (json!({"task": "x", "announce": "none", "expectsCompletionMessage": true}), "contradict"),
        (
            json!({"task": "x", "expectsCompletionMessage": "no"}),
            "must be true or false; got the string \"no\"",
        ),
        (json!({"task": "x", "runtime": "acp"}), "`runtime` must be one of `subagent`; got `acp`"),
        (
            json!({"task": "x", "label": "l".repeat(513)}),
            "`label` has 513 bytes; at most 512 are allowed",
        ),
        (
            json!({"task": "x".repeat(MESSAGE_BYTES_MAX + 1)}),
            "`task` has 1048577 bytes; at most 1048576",
        ),
        (json!(["x"]), "must be a JSON object; got an array of 1"),
    ];
    for (arguments, expected) in table {
        let error = call("sessions_spawn", arguments).unwrap_err();
        assert!(error.contains(expected), "expected {expected:?} in {error:?}");
    }
    assert_eq!(spawn(json!({"task": "x".repeat(MESSAGE_BYTES_MAX)})).task.len(), MESSAGE_BYTES_MAX);
}

#[test]
fn a_spawn_into_a_session_that_has_a_name() {
    let key = |text: &str| Some(text.parse().unwrap());
    let request = spawn(json!({"task": "x", "sessionKey": "thread:Budget", "whenBusy": "fresh",
        "resumeIfExists": true, "access": "read-only"}));
    let expected = SpawnRequest {
        session: key("thread:budget"),
        resume_if_exists: true,
        when_busy: Some(WhenBusy::Fresh),
        access: Access::ReadOnly,
        ..plain("x")
    };
    assert_eq!(request, expected);
    let full = spawn(json!({"task": "x", "sessionKey": "agent:ops:thread:b", "reuse": "never"}));
    assert_eq!(full.session, key("agent:ops:thread:b"));
    #[rustfmt::skip]
    let table = [
        // arguments                        reuse              reuseKey
        (json!({"reuse": "pool"}),          Some(Reuse::Pool), None),
        (json!({"reuse": "key"}),           Some(Reuse::Key),  None),
        (json!({"reuseKey": "helper"}),     Some(Reuse::Key),  Some("helper")),
        (json!({"reuseMain": true}),        Some(Reuse::Main), None),
        (json!({"reuseMain": false}),       None,              None),
    ];
    for (mut arguments, reuse, key) in table {
        arguments["task"] = json!("x");
        let request = spawn(arguments.clone());
        let found = (request.reuse, request.reuse_key.as_ref().map(Name::as_str));
        assert_eq!(found, (reuse, key), "{arguments}");
    }
    assert_eq!(spawn(json!({"task": "x", "context": "fork"})).context, SpawnContext::Fork);
}

#[test]
fn what_a_spawn_cannot_mean_is_refused() {
    let table = [
        (json!({"sessionKey": "main", "reuse": "pool"}), "`reuse` \"pool\" name two sessions"),
        (json!({"sessionKey": "main", "reuseMain": true}), "`reuse` \"main\" name two sessions"),
        (json!({"reuseKey": "a", "reuse": "pool"}), "`reuseKey` goes with `reuse` \"key\""),
        (json!({"reuseKey": "a", "reuseMain": true}), "name two sessions"),
        (json!({"reuseMain": true, "reuse": "never"}), "contradict"),
        (json!({"resumeIfExists": true}), "`resumeIfExists` goes with `sessionKey`"),
        (json!({"context": "fork", "reuse": "pool"}), "begins a new session"),
        (
            json!({"context": "fork", "sessionKey": "thread:a", "resumeIfExists": true}),
            "begins a new session",
        ),
        (json!({"cleanup": "delete", "reuse": "pool"}), "`cleanup` \"delete\" puts a session away"),
        (json!({"cleanup": "delete", "sessionKey": "thread:a"}), "wants to find again"),
        (json!({"reuse": "pool", "whenBusy": "queue"}), "takes idle sessions only"),
        (json!({"reuse": "never", "whenBusy": "queue"}), "a new session is not busy"),
        (json!({"sessionKey": "thread:"}), "`sessionKey` is not valid"),
        (json!({"reuseKey": "a b"}), "`reuseKey` is not valid"),
        (json!({"context": "full"}), "`context` must be one of `isolated`, `fork`; got `full`"),
    ];
    for (mut arguments, expected) in table {
        arguments["task"] = json!("x");
        let error = call("sessions_spawn", arguments.clone()).unwrap_err();
        assert!(error.contains(expected), "{arguments}: expected {expected:?} in {error:?}");
    }
}

#[test]
fn what_a_task_is_to_hand_in() {
    let files = |files: &[&str]| files.iter().map(|file| (*file).to_owned()).collect();
    let schema = json!({"type": "object"});
    for (value, expected) in [
        (
            json!(["a.md", "b/c.md"]),
            Some(Deliverables { files: files(&["a.md", "b/c.md"]), schema: None }),
        ),
        (
            json!({"files": ["a.md"], "schema": schema}),
            Some(Deliverables { files: files(&["a.md"]), schema: Some(schema.clone()) }),
        ),
        (json!([]), None),
    ] {
        let request = spawn(json!({"task": "x", "deliverables": value}));
        assert_eq!(request.deliverables, expected, "{value}");
    }
    for (value, expected) in [
        (json!("a.md"), "must be a list of files, or an object"),
        (json!([1]), "must be a list of files, or an object"),
        (json!(["/etc/passwd"]), "such as `report.md`; got `/etc/passwd`"),
        (json!(["a.md", "../a"]), "`deliverables.files[1]` must name a file below the working"),
        (json!([""]), "below the working folder"),
        (json!(["."]), "below the working folder"),
        (json!(["sub/"]), "below the working folder"),
        (json!({"file": "a"}), "unknown field `file`"),
        (json!({"schema": "x"}), "`deliverables.schema` must be a JSON schema"),
        (json!({"schema": {"type": "objekt"}}), "is no JSON schema at `/type`"),
        (
            json!({"schema": {"properties": {"n": {"minimum": "one"}}}}),
            "is no JSON schema at `/properties/n/minimum`",
        ),
        (json!({"schema": {"$ref": "https://example.com/x.json"}}), "is no JSON schema"),
    ] {
        let error = call("sessions_spawn", json!({"task": "x", "deliverables": value}));
        let error = error.unwrap_err();
        assert!(error.contains(expected), "{value}: expected {expected:?} in {error:?}");
    }
}

/// All that OpenClaw 2026.9 sends for a spawn is either taken or refused with advice.
#[test]
fn every_argument_of_openclaw_is_known_by_name() {
    let theirs = "task taskName label runtime agentId model runTimeoutSeconds thinking cwd mode \
        cleanup expectsCompletionMessage completionTarget sandbox context lightContext fastMode \
        placement visible group projectId projectGitUrl worktree worktreeName worktreeBaseRef \
        attachments attachAs collect outputSchema groupId thread resumeSessionId streamTo target \
        transport channel to threadId thread_id replyTo reply_to timeoutSeconds timeout_seconds";
    let properties = &spec("sessions_spawn").unwrap().input_schema["properties"];
    for name in theirs.split_whitespace() {
        let error = call("sessions_spawn", json!({"task": "x", name: {}})).unwrap_err();
        let taken = properties.get(name).is_some() || spawn::HIDDEN.contains(&name);
        let refused = error.starts_with(&format!("`sessions_spawn` does not take `{name}`: "));
        assert!(taken != refused, "{name}: {error}");
    }
}

#[test]
fn no_argument_is_both_taken_and_refused() {
    for (name, refused) in [
        ("sessions_spawn", spawn::REFUSED),
        ("sessions_yield", wait::REFUSED),
        ("sessions_send", send::REFUSED),
        ("subagents", SUBAGENTS_REFUSED),
        ("sessions_list", LIST_REFUSED),
        ("result_read", kept::REFUSED),
        ("sessions_history", HISTORY_REFUSED),
        ("progress_card", show::CARD_REFUSED),
        ("message", show::MESSAGE_REFUSED),
    ] {
        let properties = &spec(name).unwrap().input_schema["properties"];
        for (argument, _) in refused {
            assert!(properties.get(argument).is_none(), "{name} {argument}");
        }
    }
    assert_eq!(specs().len(), 12);
}

fn send(arguments: Value) -> SendRequest {
    match call("sessions_send", arguments) {
        Ok(SessionsCall::Internal(InternalCall::Send(request))) => *request,
        other => panic!("expected a message, got {other:?}"),
    }
}

#[test]
fn a_message_arrives_byte_for_byte_and_waits_half_a_minute() {
    let key = SendTarget::Session("agent:ops:thread:plan".parse().unwrap());
    let plain = send(json!({"sessionKey": "agent:ops:thread:plan", "message": " a\r\n\u{0}é "}));
    let wait = Duration::from_secs(30);
    assert_eq!(plain, SendRequest { wait, ..SendRequest::to(key, " a\r\n\u{0}é ") });
    let full = send(json!({
        "agentId": "Ops", "content": "x", "timeoutSeconds": 0, "mode": "resume", "watch": true,
        "idempotencyKey": "k",
    }));
    let expected = SendRequest {
        mode: SendMode::Resume,
        watch: true,
        idempotency_key: Some("k".to_owned()),
        ..SendRequest::to(SendTarget::Agent("ops".parse().unwrap()), "x")
    };
    assert_eq!(full, expected);
    let short = send(json!({"sessionKey": "main", "message": "x", "timeoutSeconds": 5}));
    assert_eq!(short.target, SendTarget::Session("main".parse().unwrap()));
}

fn task(n: u128) -> TaskId {
    TaskId::new(Uuid::from_u128(n))
}

#[test]
fn what_a_yield_waits_for() {
    let ids = json!([task(1), task(2), task(1)]);
    for (arguments, wait_for, at_least) in [
        (json!({}), WaitFor::All, None),
        (json!({"waitFor": "all", "atLeast": 3}), WaitFor::All, Some(3)),
        (json!({"waitFor": "any"}), WaitFor::Any, None),
        (json!({"waitFor": "message"}), WaitFor::Message, None),
        (json!({"waitFor": ids}), WaitFor::Tasks(vec![task(1), task(2)]), None),
        (json!({"waitFor": [task(1)], "atLeast": 1}), WaitFor::Tasks(vec![task(1)]), Some(1)),
    ] {
        let request = wait(arguments.clone());
        assert_eq!((request.wait_for, request.at_least), (wait_for, at_least), "{arguments}");
    }
    let request = wait(json!({"message": "m", "acknowledgment": "a", "timeoutSeconds": 60}));
    assert_eq!(request.message.as_deref(), Some("m"));
    assert_eq!(request.acknowledgment.as_deref(), Some("a"));
    assert_eq!(request.timeout, Some(Duration::from_secs(60)));
}

#[test]
fn a_bad_yield_is_refused_by_name() {
    let table = [
        (
            json!({"waitFor": "some"}),
            "`waitFor` must be `all`, `any`, `message` or a list of task ids; got the \
             string \"some\"",
        ),
        (json!({"waitFor": []}), "got an array of 0"),
        (json!({"waitFor": 3}), "got 3"),
        (json!({"waitFor": ["look-1"]}), "`waitFor[0]` must be a task id"),
        (json!({"waitFor": "any", "atLeast": 2}), "`atLeast` goes with"),
        (
            json!({"waitFor": [task(1), task(1)], "atLeast": 2}),
            "`atLeast` is 2, but `waitFor` names 1 tasks",
        ),
        (json!({"atLeast": 0}), "`atLeast` must be an integer from 1"),
        (json!({"timeoutSeconds": 0}), "`timeoutSeconds` must be an integer from 1"),
        (json!({"waitfor": "all"}), "did you mean `waitFor`?"),
        (json!({"taskIds": []}), "use `waitFor`"),
    ];
    for (arguments, expected) in table {
        let error = call("sessions_yield", arguments).unwrap_err();
        assert!(error.contains(expected), "expected {expected:?} in {error:?}");
    }
}

#[test]
fn subagents_reads_and_decides() {
    let target = || TaskTarget("look-1".to_owned());
    let read = SessionsCall::Read;
    let kill = || SessionsCall::Internal(InternalCall::Kill { target: target() });
    let steer = InternalCall::Steer { target: target(), message: " go\n".to_owned() };
    let table = [
        (json!({}), read(SessionsRead::SubagentsList { recent_minutes: 30 })),
        (
            json!({"action": "list", "target": "", "recentMinutes": 5}),
            read(SessionsRead::SubagentsList { recent_minutes: 5 }),
        ),
        (
            json!({"action": "info", "target": " look-1 "}),
            read(SessionsRead::SubagentsInfo { target: target() }),
        ),
        (
            json!({"action": "log", "target": "look-1"}),
            read(SessionsRead::SubagentsLog { target: target(), limit: 50 }),
        ),
        (
            json!({"action": "log", "target": "look-1", "limit": 9}),
            read(SessionsRead::SubagentsLog { target: target(), limit: 9 }),
        ),
        (json!({"action": "kill", "target": "look-1"}), kill()),
        (json!({"action": "cancel", "target": "look-1", "message": ""}), kill()),
        (
            json!({"action": "steer", "target": "look-1", "message": " go\n"}),
            SessionsCall::Internal(steer),
        ),
    ];
    for (arguments, expected) in table {
        let effect = match expected {
            SessionsCall::Internal(_) => EffectClass::Internal,
            SessionsCall::Read(_) | SessionsCall::Kept(_) => EffectClass::Pure,
        };
        let parsed = call("subagents", arguments.clone()).unwrap();
        assert_eq!(parsed, expected, "{arguments}");
        assert_eq!(parsed.effect(), effect);
    }
}

#[test]
fn bad_reads_are_refused_by_name() {
    let table = [
        ("subagents", json!({"action": "wait"}), "the action `wait` needs a task"),
        ("subagents", json!({"action": "wait", "taskIds": []}), "a list of tasks"),
        ("subagents", json!({"action": "spawn"}), "`action` must be one of `list`, `info`"),
        (
            "subagents",
            json!({"action": "kill"}),
            "`target` is missing: the action `kill` needs a task",
        ),
        ("subagents", json!({"action": "steer", "target": "a"}), "`message` is missing"),
        (
            "subagents",
            json!({"action": "kill", "target": "a", "message": "m"}),
            "`message` does not go with the action `kill`",
        ),
        ("subagents", json!({"target": "a"}), "`target` does not go with the action `list`"),
        (
            "subagents",
            json!({"action": "info", "target": "a", "recentMinutes": 1}),
            "`recentMinutes` does not go with",
        ),
        (
            "subagents",
            json!({"action": "cancel", "taskId": "a"}),
            "does not take `taskId`: use `target`",
        ),
        (
            "sessions_list",
            json!({"limit": 201}),
            "`limit` must be an integer from 1 to 200; got 201",
        ),
        (
            "sessions_list",
            json!({"kinds": "main"}),
            "`kinds` must be a list of words, not empty; got the string \"main\"",
        ),
        (
            "sessions_list",
            json!({"kinds": ["main", "node"]}),
            "`kinds[1]` must be one of `main`, `thread`",
        ),
        ("sessions_list", json!({"group": "x"}), "does not take `group`"),
        ("session_status", json!({"model": "x"}), "does not take `model`"),
        ("sessions_history", json!({}), "`sessionKey` is missing"),
        (
            "sessions_history",
            json!({"sessionKey": "main", "limit": 0}),
            "`limit` must be an integer from 1 to 1000; got 0",
        ),
        ("sessions_history", json!({"sessionkey": "main"}), "did you mean `sessionKey`?"),
        ("sessions_history", json!({"sessionKey": "main", "fromByte": 1}), "goes with `seq`"),
        (
            "sessions_history",
            json!({"sessionKey": "main", "seq": 1, "limit": 1}),
            "`limit` does not go with `seq`",
        ),
        ("sessions_run", json!({}), "`sessions_run` is not a session tool"),
    ];
    refused(&table);
}

fn refused(table: &[(&str, Value, &str)]) {
    for (name, arguments, expected) in table {
        let error = call(name, arguments.clone()).unwrap_err();
        assert!(error.contains(expected), "{name}: expected {expected:?} in {error:?}");
    }
}

#[test]
fn bad_sends_are_refused_by_name() {
    refused(&[
        ("sessions_send", json!({}), "`message` is missing"),
        ("sessions_send", json!({"message": "hi"}), "name one session a call"),
        (
            "sessions_send",
            json!({"message": "hi", "label": "x", "sessionKey": "main"}),
            "more than one target",
        ),
        ("sessions_send", json!({"message": " ", "label": "x"}), "`message` is empty"),
        (
            "sessions_send",
            json!({"message": "hi", "label": "x", "mode": "steer"}),
            "`mode` must be one of `message`, `resume`; got `steer`",
        ),
        ("sessions_send", json!({"message": "hi", "taskId": "x"}), "does not take `taskId`"),
    ]);
}

#[test]
fn lists_and_histories() {
    let list = SessionsRead::List(ListRequest {
        limit: 100,
        kinds: Some(vec![ScopeKind::Main, ScopeKind::Subagent]),
        active_minutes: Some(5),
        search: Some("lake".to_owned()),
        ..ListRequest::default()
    });
    let arguments = json!({"kinds": ["main", "subagent"], "activeMinutes": 5, "search": "lake"});
    assert_eq!(call("sessions_list", arguments), Ok(SessionsCall::Read(list)));

    let history = SessionsRead::History {
        session_key: "thread:budget".to_owned(),
        limit: 50,
        include_tools: true,
        offset: 10,
    };
    let arguments = json!({"sessionKey": "thread:budget", "includeTools": true, "offset": 10});
    assert_eq!(call("sessions_history", arguments), Ok(SessionsCall::Read(history)));
    let session_key = "thread:budget".to_owned();
    let message = SessionsRead::Message { session_key, seq: 7, from_byte: 4_096 };
    let arguments = json!({"sessionKey": "thread:budget", "seq": 7, "fromByte": 4_096});
    assert_eq!(call("sessions_history", arguments), Ok(SessionsCall::Read(message)));
}

#[test]
fn tasks_are_waited_for_by_name() {
    let arguments = json!({"action": "wait", "target": "map", "taskIds": ["lakes", "ponds"]});
    let names = ["map", "lakes", "ponds"].map(|name| TaskTarget(name.to_owned()));
    let wait = WaitRequest { targets: names.to_vec(), timeout: Duration::from_secs(30) };
    assert_eq!(call("subagents", arguments), Ok(SessionsCall::Internal(InternalCall::Wait(wait))));
}

#[test]
fn a_status_is_of_the_own_session_if_none_is_named() {
    for (arguments, session_key) in [
        (json!({}), None),
        (json!({"sessionKey": "current"}), None),
        (json!({"sessionKey": "main"}), Some("main".to_owned())),
    ] {
        let status = SessionsRead::Status { session_key };
        assert_eq!(call("session_status", arguments), Ok(SessionsCall::Read(status)));
    }
    assert_eq!(call("agents_list", json!({})), Ok(SessionsCall::Read(SessionsRead::Agents)));
}

proptest::proptest! {
    #[test]
    fn whatever_a_model_writes_is_answered(text in ".{0,40}", name in "[a-zA-Z_]{0,12}") {
        for spec in specs() {
            let _ = parse(&spec.name, &text);
            let _ = parse(&spec.name, &format!(r#"{{"{name}": [{{}}, "é"]}}"#));
        }
    }
}

fn shown(arguments: Value) -> Result<types::Card, String> {
    match call("progress_card", arguments)? {
        SessionsCall::Internal(InternalCall::Card(card)) => Ok(*card),
        other => panic!("expected a card, got {other:?}"),
    }
}

#[test]
fn a_plan_is_read_whole_or_refused_with_what_is_wrong() {
    let card = shown(json!({"plan": [{"step": "look", "status": "in_progress"}]})).unwrap();
    assert_eq!(card.to_string(), "[>] look");
    assert!(shown(json!({"plan": []})).unwrap().is_empty());
    let long = json!({"plan": vec![json!({"step": "x", "status": "pending"}); 51]});
    for (arguments, expected) in [
        (json!({}), "give `plan`"),
        (json!({"plan": "look"}), "`plan` is not valid"),
        (json!({"plan": [{"step": "x", "status": "done"}]}), "`in_progress` or `completed`"),
        (json!({"plan": [{"step": " ", "status": "pending"}]}), "`plan[0].step` has 1 bytes"),
        (long, "51 steps; at most 50"),
        (json!({"markdown": "x".repeat(9_000)}), "`markdown`"),
        (json!({"steps": []}), "use `plan`"),
    ] {
        let error = shown(arguments.clone()).unwrap_err();
        assert!(error.contains(expected), "{arguments}: {error}");
    }
}

#[test]
fn a_message_goes_to_the_person_here_and_to_nobody_else() {
    let said = |arguments| match call("message", arguments) {
        Ok(SessionsCall::Internal(InternalCall::Say { text })) => Ok(text),
        Ok(other) => panic!("expected words, got {other:?}"),
        Err(error) => Err(error),
    };
    assert_eq!(said(json!({"message": "half way"})), Ok("half way".to_owned()));
    let here = json!({"action": "send", "channel": "current", "to": "", "message": "x"});
    assert_eq!(said(here), Ok("x".to_owned()));
    for (arguments, expected) in [
        (json!({"message": " "}), "`message` is empty"),
        (json!({"message": "x", "channel": "telegram"}), "this gateway has no channels"),
        (json!({"message": "x", "targets": ["a"]}), "`targets` names somebody outside"),
        (json!({"message": "x", "action": "react"}), "expected `send`"),
        (json!({"message": "x", "media": "a.png"}), "name the file in `message`"),
    ] {
        let error = said(arguments.clone()).unwrap_err();
        assert!(error.contains(expected), "{arguments}: {error}");
    }
}
