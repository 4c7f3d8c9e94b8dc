//! The same conversations over plain HTTP, as clients of OpenAI's API know them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use machine::rows::EntryKind;
use serde_json::{Value, json};
use store::{Reader, Reads};
use stub::Plan;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::house::{House, WIRES, late};
use crate::judge;

const THREAD: (&str, &str) = ("x-openclaw-session-key", "thread:garden");

async fn open_house(wire: &str) -> House {
    let mut house = House::build(wire, |config| {
        config["gateway"]["http"] =
            json!({ "endpoints": { "chatCompletions": { "enabled": true } } });
    })
    .await;
    house.start().await;
    house
}

fn token(house: &House) -> String {
    std::fs::read_to_string(house.folder.path().join("gateway.token")).unwrap()
}

/// An answer over HTTP: its status, its head, and its body.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    fn content(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
    }

    fn error(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap().to_owned()
    }

    /// The data of each event of a stream.
    fn events(&self) -> Vec<&str> {
        self.body.lines().filter_map(|line| line.strip_prefix("data: ")).collect()
    }
}

/// A request as text, so that nothing is sent that is not said here. In HTTP/1.0 the body ends
/// with the connection.
fn request(house: &House, head: &str, headers: &[(&str, &str)], body: &str) -> Option<Answer> {
    let mut text = format!("{head} HTTP/1.0\r\nHost: 127.0.0.1:{}\r\n", house.port);
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut socket = TcpStream::connect(("127.0.0.1", house.port)).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    socket.write_all(text.as_bytes()).ok()?;
    socket.write_all(body.as_bytes()).ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}

/// Says something over HTTP, off the runtime that the stub lives on.
async fn say(house: &House, body: Value, headers: &[(&str, &str)]) -> Option<Answer> {
    let bearer = format!("Bearer {}", token(house));
    let mut all = vec![("Authorization", bearer.as_str())];
    all.extend_from_slice(headers);
    tokio::task::block_in_place(|| {
        request(house, "POST /v1/chat/completions", &all, &body.to_string())
    })
}

fn hello(text: &str) -> Value {
    json!({ "model": "openclaw", "messages": [{ "role": "user", "content": text }] })
}

fn plan(text: &str) -> String {
    Plan::new().say(text).to_brief()
}

/// Calls methods on one WebSocket, in order; returns the payloads.
async fn socket(house: &House, calls: &[(&str, Value)]) -> Vec<Value> {
    let url = format!("ws://127.0.0.1:{}", house.port);
    let (mut socket, _) = connect_async(url).await.unwrap();
    let connect = json!({
        "minProtocol": 4, "maxProtocol": 4, "role": "operator", "scopes": ["operator.admin"],
        "client": { "id": "test", "version": "1", "platform": "linux", "mode": "test" },
        "auth": { "token": token(house) },
    });
    let mut answers = Vec::new();
    let connect = ("connect", connect);
    for (n, (method, params)) in std::iter::once(&connect).chain(calls).enumerate() {
        let id = n.to_string();
        let frame = json!({ "type": "req", "id": id, "method": method, "params": params });
        socket.send(Message::text(frame.to_string())).await.unwrap();
        loop {
            let Some(Ok(Message::Text(text))) = socket.next().await else { continue };
            let frame: Value = serde_json::from_str(&text).unwrap();
            if frame["type"] == "res" && frame["id"] == id.as_str() {
                assert_eq!(frame["ok"], true, "{method}: {frame}");
                answers.push(frame["payload"].clone());
                break;
            }
        }
    }
    answers.remove(0);
    answers
}

/// What was said by whom in a session, over the WebSocket.
async fn history(house: &House) -> (String, Vec<String>) {
    let call = ("chat.history", json!({ "sessionKey": "thread:garden" }));
    let told = socket(house, &[call]).await.remove(0);
    let messages = told["messages"].as_array().unwrap().iter();
    let said = messages.filter(|message| message["role"] == "assistant");
    let said = said.map(|message| message["content"][0]["text"].as_str().unwrap().to_owned());
    (told["sessionId"].as_str().unwrap().to_owned(), said.collect())
}

/// A thread is one conversation, whichever way it is spoken to: by command, over a WebSocket, over
/// HTTP; also after the gateway was killed.
#[tokio::test(flavor = "multi_thread")]
async fn one_thread_behind_three_doors() {
    for wire in WIRES {
        let mut house = open_house(wire).await;
        let ask = ["agent", "--session-key", "thread:garden", "--message", &plan("by command")];
        assert_eq!(house.ok(&ask).await.trim(), "by command");
        let send = json!({ "sessionKey": "thread:garden", "message": plan("by socket"),
                           "idempotencyKey": "ws-1" });
        let wait = json!({ "runId": "ws-1", "timeoutMs": 60_000 });
        let told = socket(&house, &[("chat.send", send), ("agent.wait", wait)]).await;
        assert_eq!(told[1]["terminalReply"]["text"], "by socket");
        let keyed = [THREAD, ("Idempotency-Key", "http-1")];
        let first = say(&house, hello(&plan("over HTTP")), &keyed).await.unwrap();
        assert_eq!(first.content(), "over HTTP");
        assert!(first.head.contains("x-openclaw-session-key: agent:main:thread:garden"));
        let before = history(&house).await;
        assert_eq!(before.1, ["by command", "by socket", "over HTTP"]);

        house.kill();
        house.start().await;
        assert_eq!(history(&house).await, before, "nothing was lost, and the session is the same");
        let asked = house.stub.journal().requests.len();
        let again = say(&house, hello(&plan("over HTTP")), &keyed).await.unwrap();
        assert_eq!(again.body, first.body, "the same key is answered by the same run");
        assert_eq!(house.stub.journal().requests.len(), asked, "and costs nothing");
        assert_eq!(
            say(&house, hello(&plan("HTTP again")), &[THREAD]).await.unwrap().content(),
            "HTTP again"
        );
        let ask = ["agent", "--session-key", "thread:garden", "--message", &plan("and again")];
        house.ok(&ask).await;
        let after = history(&house).await;
        assert_eq!(after.0, before.0);
        assert_eq!(after.1[3..], ["HTTP again", "and again"]);
        judge::all_is_well(&house, &Default::default()).await;
    }
}

/// The gateway is killed while a client waits. What it has sent is not lost: the same key gets the
/// answer after the restart, and the message is in the conversation once.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_is_answered_after_a_kill() {
    let mut house = open_house("openai-completions").await;
    let body = hello(&late(4_000, "here it is").to_brief());
    let keyed = [THREAD, ("Idempotency-Key", "k")];
    let (port, bearer) = (house.port, format!("Bearer {}", token(&house)));
    let text = body.to_string();
    let waiting = std::thread::spawn(move || {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.0\r\nHost: 127.0.0.1\r\nAuthorization: {bearer}\r\n\
             x-openclaw-session-key: thread:garden\r\nIdempotency-Key: k\r\nContent-Length: {}\r\n\
             \r\n{text}",
            text.len()
        );
        socket.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        let _ = socket.read_to_string(&mut answer);
        answer
    });
    for _ in 0..600 {
        if !house.stub.journal().requests.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    house.kill();
    let cut = tokio::task::spawn_blocking(move || waiting.join().unwrap()).await.unwrap();
    assert_eq!(cut, "", "the client has heard nothing");
    house.start().await;
    let answer = say(&house, body.clone(), &keyed).await.unwrap();
    assert_eq!(answer.content(), "here it is");
    let other = say(&house, hello("something else"), &keyed).await.unwrap();
    assert_eq!(other.status, 400, "{other:?}");
    assert!(other.error().contains("used before with another message"), "{other:?}");
    house.quiet().await;
    let world = judge::all_is_well(&house, &Default::default()).await;
    let users = world.entries.iter().filter(|entry| entry.kind == EntryKind::User);
    assert_eq!(users.count(), 1);
}

/// A stream is the answer in pieces, and ends with all of it; what the agent says before it uses a
/// tool comes before.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_answer() {
    let house = open_house("anthropic-messages").await;
    let steps = Plan::new()
        .call("exec", json!({ "command": "echo found" }))
        .thinking("hm")
        .change(|step| step.say = Some("I look.".to_owned()))
        .say("There it is.");
    let mut body = hello(&steps.to_brief());
    body["stream"] = json!(true);
    body["stream_options"] = json!({ "include_usage": true });
    let keyed = [THREAD, ("Idempotency-Key", "s")];
    for again in [false, true] {
        let answer = say(&house, body.clone(), &keyed).await.unwrap();
        assert!(answer.head.contains("content-type: text/event-stream"), "{answer:?}");
        let events = answer.events();
        assert_eq!(events.last(), Some(&"[DONE]"), "{answer:?}");
        let chunks: Vec<Value> =
            events[..events.len() - 1].iter().map(|e| serde_json::from_str(e).unwrap()).collect();
        let said: String = chunks
            .iter()
            .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
            .collect();
        assert!(said.ends_with("There it is."), "{said}");
        assert!(!again || said == "There it is.", "{said}");
        assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
        assert!(chunks.iter().all(|chunk| chunk["object"] == "chat.completion.chunk"));
        let ends = chunks.iter().filter(|c| c["choices"][0]["finish_reason"] == "stop");
        assert_eq!(ends.count(), 1);
        assert!(chunks.last().unwrap()["usage"]["completion_tokens"].as_u64() > Some(0));
    }
    // What was thought is in it if the session shows it, under the field's usual name.
    let thought = |answer: &Answer| {
        let events = answer.events().into_iter().filter_map(|e| serde_json::from_str(e).ok());
        let thoughts = events.filter_map(|chunk: Value| {
            Some(chunk["choices"][0]["delta"]["reasoning_content"].as_str()?.to_owned())
        });
        thoughts.collect::<String>()
    };
    for (order, expected) in [("/reasoning off", ""), ("/reasoning stream", "hm")] {
        say(&house, hello(order), &[THREAD]).await.unwrap();
        let answer = say(&house, body.clone(), &[THREAD]).await.unwrap();
        assert_eq!(thought(&answer), expected, "{order}: {answer:?}");
        assert_eq!(answer.events().last(), Some(&"[DONE]"));
    }
    let fails = Plan::new().say("never").failing(400, 9);
    let mut body = hello(&fails.to_brief());
    body["stream"] = json!(true);
    let failed = say(&house, body, &[THREAD]).await.unwrap();
    let last = failed.events().last().map(|event| serde_json::from_str::<Value>(event).unwrap());
    let last = last.unwrap();
    assert_eq!(last["error"]["code"], "failed", "{failed:?}");
}

/// Who may ask, and for what: everything else is refused with the reason, and leaves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_ask_and_for_what() {
    let mut house = open_house("anthropic-messages").await;
    let body = hello("x");
    let bearer = format!("Bearer {}", token(&house));
    let key = |key: &'static str| [("x-openclaw-session-key", key)];
    type Header = (&'static str, &'static str);
    #[rustfmt::skip]
    let table: [(Value, &[Header], u16, &str); 8] = [
        (body.clone(), &[("Origin", "http://evil.test")],          403, "allowedOrigins"),
        (body.clone(), &key("agent:main:subagent:helper"),         400, "is reserved"),
        (body.clone(), &key("agent:main:cron:nightly"),            400, "is reserved"),
        (body.clone(), &key("a b"),                                400, "session key"),
        (body.clone(), &[("x-openclaw-agent-id", "nobody")],       404, "nobody"),
        (body.clone(), &[("x-openclaw-model", "a/b")],             400, "x-openclaw-model"),
        (json!({ "model": "gpt-4", "messages": [] }), &[],         404, "`openclaw/<agentId>`"),
        (json!({ "model": "openclaw", "messages": [] }), &[],      400, "`messages`"),
    ];
    for (body, headers, status, told) in table {
        let answer = say(&house, body, headers).await.unwrap();
        assert_eq!(answer.status, status, "{headers:?}: {answer:?}");
        assert!(answer.body.contains(told), "{headers:?}: {answer:?}");
        assert!(answer.head.contains("x-should-retry: false"), "{answer:?}");
    }
    let ask = |head: &str, headers: &[(&str, &str)]| {
        tokio::task::block_in_place(|| request(&house, head, headers, &body.to_string())).unwrap()
    };
    for headers in [&[][..], &[("Authorization", "Bearer wrong")]] {
        let stranger = ask("POST /v1/chat/completions", headers);
        assert_eq!((stranger.status, stranger.error().as_str()), (401, "Unauthorized"));
    }
    let models = ask("GET /v1/models", &[("Authorization", &bearer)]).json();
    assert_eq!(models["data"][2]["id"], "openclaw/main");
    let world = Reader::open(&house.database()).unwrap().snapshot().await.unwrap();
    assert!(world.inbox.is_empty() && world.sessions.is_empty());

    house.terminate().await;
    let file = house.folder.path().join("windlass.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    config["gateway"]["http"]["endpoints"]["chatCompletions"]["enabled"] = json!(false);
    std::fs::write(&file, config.to_string()).unwrap();
    house.start().await;
    let off = say(&house, hello("x"), &[]).await.unwrap();
    assert_eq!(off.status, 404);
    assert!(off.error().contains("gateway.http.endpoints.chatCompletions.enabled"), "{off:?}");
}

/// One `user` is one conversation; a request that names nothing is one of its own, with all that
/// the client says was said before.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_names_no_session() {
    let house = open_house("anthropic-messages").await;
    let mut mine = hello(&plan("one"));
    mine["user"] = json!("Bob");
    assert_eq!(say(&house, mine.clone(), &[]).await.unwrap().content(), "one");
    mine["messages"] = json!([
        { "role": "user", "content": plan("one") }, { "role": "assistant", "content": "one" },
        { "role": "user", "content": plan("two") },
    ]);
    assert_eq!(say(&house, mine.clone(), &[]).await.unwrap().content(), "two");
    let mut alone = hello("");
    alone["messages"] = json!([
        { "role": "user", "content": "my name is Bob" }, { "role": "assistant", "content": "hi" },
        { "role": "user", "content": "what is my name?" },
    ]);
    let heard = say(&house, alone, &[]).await.unwrap().content();
    assert!(heard.contains("my name is Bob") && heard.contains("what is my name?"), "{heard}");
    let world = judge::all_is_well(&house, &Default::default()).await;
    assert_eq!(world.sessions.len(), 2);
    let bobs = world.sessions.iter().find(|s| s.key.to_string().contains("openai-user")).unwrap();
    let entries = world.entries.iter().filter(|entry| entry.session_id == bobs.session_id);
    assert_eq!(entries.count(), 4, "what the session knows is not said to it again");
}

const SDK: &str = r#"
import sys
from openai import OpenAI
client = OpenAI(base_url=sys.argv[1], api_key=sys.argv[2])
print([model.id for model in client.models.list()][0])
ask = dict(model="openclaw/main", user="sdk", temperature=0)
said = client.chat.completions.create(messages=[{"role": "user", "content": sys.argv[3]}], **ask)
print(said.choices[0].message.content, said.choices[0].finish_reason, said.usage.total_tokens > 0)
parts = client.chat.completions.create(
    messages=[{"role": "user", "content": sys.argv[4]}], stream=True, **ask)
print("".join(chunk.choices[0].delta.content or "" for chunk in parts))
"#;

/// The client library of OpenAI itself, where there is one: `WINDLASS_TEST_PYTHON` names a Python
/// that has it.
#[tokio::test(flavor = "multi_thread")]
async fn the_library_of_openai() {
    let python = std::env::var("WINDLASS_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let there = Command::new(&python).args(["-c", "import openai"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: `{python}` has no package openai");
        return;
    }
    let house = open_house("openai-completions").await;
    let url = format!("http://127.0.0.1:{}/v1", house.port);
    let args = ["-c", SDK, &url, &token(&house), &plan("hello"), &plan("in pieces")];
    let mut command = Command::new(python);
    command.args(args);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let why = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "openclaw\nhello stop True\nin pieces\n", "{why}");
}
