//! Every command in its right and wrong forms.

use super::*;

fn name(text: &str) -> Handle {
    Handle::Name(text.to_owned())
}

fn spawn(task: &str, model: Option<&str>) -> Command {
    Command::Subagents(Subagents::Spawn {
        agent: "ops".parse().unwrap(),
        task: task.to_owned(),
        model: model.map(str::to_owned),
    })
}

#[test]
fn every_command() {
    use super::Queue::{Default as Configured, Set, Show};
    use super::Subagents::{Info, Kill, List, Log, Send, Steer};
    use Command::{Agents, Help, New, Queue, Reset, Retry, Status, Stop, Tasks, Threads};

    let sub = Command::Subagents;
    let log = |task, limit| sub(Log { task, limit });
    let one = |handle| sub(Kill(Victims::One(handle)));
    let plain = QueueSettings::default();
    let mode = |mode| Queue(Set(QueueSettings { mode: Some(mode), ..plain }));
    let steer = |task, text: &str| sub(Steer { task, message: text.to_owned() });
    let send = |task, text: &str| sub(Send { task, message: text.to_owned() });
    #[rustfmt::skip]
    let table = [
        ("/help",                       Help),
        ("/commands",                   Help),
        ("  /STATUS\n",                 Status),
        ("/stop",                       Stop),
        ("/stop:",                      Stop),
        ("/new",                        New(None)),
        ("/reset",                      Reset(None)),
        ("/NEW  Plan the garden ",      New(Some("Plan the garden".to_owned()))),
        ("/reset: what now?",           Reset(Some("what now?".to_owned()))),
        ("/agents",                     Agents),
        ("/threads",                    Threads),
        ("/tasks",                      Tasks),
        ("/tasks list",                 Tasks),
        ("/tasks retry #1",             Retry(Handle::Number(1))),
        ("/tasks retry research",       Retry(name("research"))),
        ("/reasoning stream",           Command::Reasoning(Some(Reasoning::Stream))),
        ("/reason: OFF",                Command::Reasoning(Some(Reasoning::Off))),
        ("/reasoning",                  Command::Reasoning(None)),
        ("/context",                    Command::Context(Context::List)),
        ("/context: REFRESH",           Command::Context(Context::Refresh)),
        ("/queue",                      Queue(Show)),
        ("/queue Collect",              mode(QueueMode::Collect)),
        ("/queue: steer",               mode(QueueMode::Steer)),
        ("/queue interrupt",            mode(QueueMode::Interrupt)),
        ("/queue followup",             mode(QueueMode::Followup)),
        ("/queue cap:25 Drop:old",      Queue(Set(QueueSettings { cap: Some(25), drop: Some(QueueDrop::Old), ..plain }))),
        ("/queue collect debounce:2s",  Queue(Set(QueueSettings { mode: Some(QueueMode::Collect), debounce_ms: Some(2_000), ..plain }))),
        ("/queue debounce:500",         Queue(Set(QueueSettings { debounce_ms: Some(500), ..plain }))),
        ("/queue default",              Queue(Configured)),
        ("/queue reset",                Queue(Configured)),
        ("/compact",                    Command::Compact(String::new())),
        ("/compact: keep the  map",     Command::Compact("keep the  map".to_owned())),
        ("/subagents",                  sub(List)),
        ("/subagents list",             sub(List)),
        ("/subagents info #2",          sub(Info(Handle::Number(2)))),
        ("/subagents info 2",           sub(Info(Handle::Number(2)))),
        ("/subagents info research",    sub(Info(name("research")))),
        ("/subagents info Last",        sub(Info(Handle::Last))),
        ("/subagents log tsk_1",        log(name("tsk_1"), 20)),
        ("/subagents log #1 5",         log(Handle::Number(1), 5)),
        ("/subagents steer a  go on",   steer(name("a"), "go on")),
        ("/subagents send #1 a\nb",     send(Handle::Number(1), "a\nb")),
        ("/subagents kill a",           one(name("a"))),
        ("/subagents cancel #3",        one(Handle::Number(3))),
        ("/subagents kill agent:main:subagent:x", one(name("agent:main:subagent:x"))),
        ("/subagents kill all",         sub(Kill(Victims::All))),
        ("/subagents spawn ops look at /tmp", spawn("look at /tmp", None)),
        ("/subagents spawn ops do it --model stub/stub-1", spawn("do it", Some("stub/stub-1"))),
        ("/subagents spawn ops say --model twice now", spawn("say --model twice now", None)),
    ];
    for (text, command) in table {
        assert_eq!(parse(text), Some(Ok(command)), "{text:?}");
    }
}

#[test]
fn what_is_said_to_the_agent() {
    for text in [
        "hello",
        "",
        "/",
        "//",
        "// a comment",
        "/usr/bin is a path",
        "/status/live answers 500",
        "/3 of it",
        "/stop.",
        "/stop, please",
        "please /stop",
        "\"/tmp\" is full",
        "/-x",
        "/ñandú",
    ] {
        assert_eq!(parse(text), None, "{text:?}");
    }
}

#[test]
fn models_and_thinking() {
    let set = |name: &str| Command::Model(Model::Set(name.to_owned()));
    for (text, command) in [
        ("/model", Command::Model(Model::Show)),
        ("/model Opus", set("Opus")),
        ("/model: openai/gpt-5", set("openai/gpt-5")),
        ("/model Default", Command::Model(Model::Default)),
        ("/models", Command::Models(None)),
        ("/models openai", Command::Models(Some("openai".to_owned()))),
        ("/think", Command::Think(Think::Show)),
        ("/t High", Command::Think(Think::Set(Some(Thinking::High)))),
        ("/thinking default", Command::Think(Think::Set(None))),
    ] {
        assert_eq!(parse(text), Some(Ok(command)), "{text}");
    }
}

#[test]
fn a_wrong_form_is_told_the_right_one() {
    let told = |text: &str| match parse(text) {
        Some(Err(wrong)) => wrong.to_string(),
        other => panic!("{text:?} is {other:?}"),
    };
    #[rustfmt::skip]
    let table = [
        ("/help me",                    "/help"),
        ("/status all",                 "/status"),
        ("/stop it",                    "/stop"),
        ("/reset soft",                 "/reset"),
        ("/agents x",                   "/agents"),
        ("/threads x",                  "/threads"),
        ("/tasks x",                    "/tasks"),
        ("/tasks retry",                "/tasks retry <task>"),
        ("/tasks retry a b",            "/tasks retry <task>"),
        ("/context all",                "/context [list|detail|json]"),
        ("/queue shout",                "/queue [steer|followup|collect|interrupt]"),
        ("/queue steer collect",        "/queue [steer|followup|collect|interrupt]"),
        ("/queue steer cap:0",          "/queue [steer|followup|collect|interrupt]"),
        ("/queue cap:3 cap:4",          "/queue [steer|followup|collect|interrupt]"),
        ("/queue debounce:2h",          "/queue [steer|followup|collect|interrupt]"),
        ("/queue drop:all",             "/queue [steer|followup|collect|interrupt]"),
        ("/queue speed:9",              "/queue [steer|followup|collect|interrupt]"),
        ("/subagents list all",         "/subagents list"),
        ("/subagents dance",            "/subagents spawn <agentId> <brief>"),
        ("/subagents info",             "/subagents info <task>"),
        ("/subagents info a b",         "/subagents info <task>"),
        ("/subagents info #0",          "/subagents info <task>"),
        ("/subagents info #x",          "/subagents info <task>"),
        ("/subagents log",              "/subagents log <task> [lines]"),
        ("/subagents log a 0",          "/subagents log <task> [lines]"),
        ("/subagents log a 201",        "/subagents log <task> [lines]"),
        ("/subagents log a many",       "/subagents log <task> [lines]"),
        ("/subagents steer",            "/subagents steer <task> <message>"),
        ("/subagents steer a",          "/subagents steer <task> <message>"),
        ("/subagents send a",           "/subagents send <task> <message>"),
        ("/subagents kill",             "/subagents kill <task>|all"),
        ("/subagents kill a b",         "/subagents kill <task>|all"),
        ("/subagents spawn",            "/subagents spawn <agentId> <brief>"),
        ("/subagents spawn ops",        "/subagents spawn <agentId> <brief>"),
        ("/subagents spawn -x do it",   "/subagents spawn <agentId> <brief>"),
        ("/subagents spawn ops --model a/b", "/subagents spawn <agentId> <brief>"),
        ("/subagents spawn ops x --model",   "/subagents spawn <agentId> <brief>"),
        ("/model a b",                  "/model <name>"),
        ("/models a b",                 "/models [provider]"),
        ("/think hard",                 "/think off|minimal|low|medium|high|xhigh|max|default"),
        ("/mode",                       "There is no command /mode"),
        ("/tmp is full",                "There is no command /tmp"),
    ];
    for (text, form) in table {
        assert!(told(text).contains(form), "{text:?} is told {:?}", told(text));
    }
    assert!(told("/subagents kill").contains("`last`"), "how a task is named");
    for other in ["/stop it", "/subagents spawn ops"] {
        assert!(!told(other).contains("`last`"), "{other}");
    }
}

#[test]
fn usage_is_shown_or_told_under_answers() {
    for (text, footer) in [
        ("/usage", None),
        ("/usage cost", None),
        ("/usage Tokens", Some(Footer::Tokens)),
        ("/usage on", Some(Footer::Tokens)),
        ("/usage full", Some(Footer::Full)),
        ("/usage off", Some(Footer::Off)),
        ("/usage reset", Some(Footer::Off)),
    ] {
        assert_eq!(parse(text), Some(Ok(Command::Usage(footer))), "{text}");
    }
    assert!(parse("/usage loud").unwrap().unwrap_err().to_string().contains("off|tokens|full"));
}

#[test]
fn what_the_table_says_is_read() {
    for (form, _) in TABLE {
        let text = form
            .replace("[steer|followup|collect|interrupt]", "steer")
            .replace("[list|detail|json]", "json")
            .replace("[debounce:2s] [cap:25] [drop:summarize|old|new]", "debounce:2s cap:25")
            .replace("[id] [always]", "apr_12 always")
            .replace("[id]", "apr_12")
            .replace("<task>|all", "all")
            .replace("on|off|stream", "stream")
            .replace("off|tokens|full", "full")
            .replace("spawn <agentId> <brief> [--model <provider/model>]", "spawn ops do it")
            .replace("off|minimal|low|medium|high|xhigh|max|default", "xhigh")
            .replace("[provider]", "openai")
            .replace("<name>", "opus")
            .replace("[lines]", "3")
            .replace("<task>", "#1")
            .replace("<message>", "words");
        assert!(matches!(parse(&text), Some(Ok(_))), "{text}");
        assert!(help().contains(form));
    }
}

/// The manual's table is the one that `/help` prints.
#[test]
fn the_manual_says_the_same() {
    let manual = include_str!("../../../../docs/commands.md");
    let rows = manual.lines().filter(|line| line.starts_with("| `/"));
    let table = TABLE.map(|(form, what)| format!("| `{}` | {what} |", form.replace('|', "\\|")));
    assert_eq!(rows.collect::<Vec<_>>(), table);
}
