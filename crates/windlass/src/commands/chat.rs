//! `windlass chat`: a plain conversation, a line at a time.

use std::collections::{HashMap, HashSet};
use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use protocol::agent::{AgentStatus, AgentWaitResult};
use protocol::chat::{ChatEvent, ChatHistoryResult, ChatState, Cursor};
use protocol::handshake::Cap;
use protocol::{Event, Method, Response, ServerFrame};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use types::{SessionKey, Timestamp};
use uuid::Uuid;

use crate::client::{Client, Target, is_final, payload};
use crate::commands::watch::{self, Aside, Draft};
use crate::setup::Setup;

/// Messages of the conversation so far that are shown at the start.
const SHOWN_MAX: u64 = 10;

/// What was accepted is answered without us, too.
const GONE: &str = "the conversation is cut; nothing is lost: `windlass chat` shows how it went on";

/// Lines that are read ahead of the gateway. Whoever types is slower; a pipe waits.
const LINES_AHEAD: usize = 64;

/// How long an answer is waited for of which it is known that it is there.
const LATE: Duration = Duration::from_millis(500);

/// Pause between two tries to come back.
const AGAIN: Duration = Duration::from_millis(300);

#[derive(Debug, Args)]
pub struct ChatArgs {
    /// Which agent; the default one if none
    #[arg(long, value_name = "ID")]
    pub agent: Option<String>,

    /// In which conversation: `main`, `thread:<name>`, or a full key
    #[arg(long, value_name = "KEY", default_value = "main")]
    pub session_key: String,

    /// Try for so long to come back to a gateway that has gone away
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub reconnect: u64,

    /// Show what the model thinks, too
    #[arg(long)]
    pub thinking: bool,
}

pub async fn run(args: ChatArgs, setup: &Setup) -> anyhow::Result<()> {
    let key = setup.session_key(&args.session_key, args.agent.as_deref())?;
    let target = setup.target()?;
    let caps: &[Cap] = if args.thinking { &[Cap::ThinkingEvents] } else { &[] };
    let mut client = Client::connect_watching(&target, caps).await?;
    let params = json!({ "sessionKey": key, "limit": SHOWN_MAX });
    let history: ChatHistoryResult = client.get(Method::ChatHistory, params).await?;
    tell_again(&history)?;
    eprintln!("in {key}; /help lists commands, Ctrl-C stops a run, Ctrl-D ends");

    let mut talk = Talk {
        target,
        patience: Duration::from_secs(args.reconnect),
        client,
        caps,
        key,
        draft: Draft::default(),
        aside: Aside::default(),
        cursor: history.delta_cursor,
        open: Vec::new(),
        asked: HashMap::new(),
        caught_up: HashSet::new(),
        unseen: HashSet::new(),
        last: None,
        stopping: false,
    };
    talk.converse().await
}

/// Prints what was said.
fn tell_again(history: &ChatHistoryResult) -> anyhow::Result<()> {
    for message in &history.messages {
        let text = message.words();
        if !text.is_empty() {
            writeln!(std::io::stdout(), "{}: {text}", message.role)?;
        }
    }
    Ok(())
}

/// Reads what is typed in a thread of its own: a read of a terminal cannot be given up, and would
/// hold up the end of the program.
fn typed() -> mpsc::Receiver<std::io::Result<String>> {
    let (sender, receiver) = mpsc::channel(LINES_AHEAD);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            let failed = line.is_err();
            if sender.blocking_send(line).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

/// What a request was about, for the moment of its response.
#[derive(Debug)]
enum Asked {
    /// Takes in the message with this key.
    Send(String),
    /// The same, after the connection was lost: it may have been answered meanwhile.
    SendAgain(String),
    /// Asks whether the message with this key is answered.
    Answered(String),
    /// Asks for the answer to this message, which we have not heard.
    Missed(String),
    /// Asks how far the conversation is.
    Cursor,
    /// Asks for what was said since, because events were missed.
    Again,
    Stop,
}

/// A message that has no answer yet.
#[derive(Debug)]
struct Open {
    key: String,
    line: String,
}

/// A conversation, and how far it is.
#[derive(Debug)]
struct Talk {
    target: Target,
    /// How long to try to come back.
    patience: Duration,
    client: Client,
    caps: &'static [Cap],
    key: SessionKey,
    /// What has been printed of the answer that is being made.
    draft: Draft,
    aside: Aside,
    /// How far the conversation was when nothing was open.
    cursor: Option<Cursor>,
    open: Vec<Open>,
    /// Requests without a response yet, by id: to leave before would lose them.
    asked: HashMap<String, Asked>,
    /// Messages whose answer was asked for because its end was missed.
    caught_up: HashSet<String>,
    /// Messages that are answered, and whose run's end was not seen: it may come at once, or never
    /// if another run has answered them.
    unseen: HashSet<String>,
    /// The answer that was printed last of those.
    last: Option<(Option<Timestamp>, String)>,
    /// Ctrl-C was pressed, and nothing has ended since.
    stopping: bool,
}

fn prompt() {
    if std::io::stdin().is_terminal() {
        eprint!("> ");
    }
}

impl Talk {
    async fn converse(&mut self) -> anyhow::Result<()> {
        let mut lines = typed();
        let mut more = true;
        prompt();
        while more || !self.open.is_empty() || !self.asked.is_empty() {
            let step = tokio::select! {
                line = lines.recv(), if more => match line {
                    None => {
                        more = false;
                        Ok(())
                    }
                    Some(line) => {
                        let line = line.context("cannot read what you type")?;
                        self.say(line.trim()).await
                    }
                },
                frame = self.client.next() => match frame {
                    Ok(frame) => self.hear(frame).await,
                    Err(error) => Err(Cut(error).into()),
                },
                interrupted = tokio::signal::ctrl_c() => {
                    interrupted?;
                    if self.stopping || self.open.is_empty() {
                        return Ok(());
                    }
                    self.stop().await
                }
            };
            match step {
                Ok(()) => {}
                Err(error) => match error.downcast::<Cut>() {
                    Ok(Cut(why)) => self.come_back(why).await?,
                    Err(error) => return Err(error),
                },
            }
        }
        // That something is answered may be known before the answer is here.
        let late = async {
            while !self.unseen.is_empty() {
                let frame = self.client.next().await?;
                self.hear(frame).await?;
            }
            anyhow::Ok(())
        };
        let _late_or_gone = tokio::time::timeout(LATE, late).await;
        Ok(())
    }

    async fn say(&mut self, line: &str) -> anyhow::Result<()> {
        if line.is_empty() {
            prompt();
            return Ok(());
        }
        let key = Uuid::new_v4().to_string();
        let params = self.message(&key, line);
        self.open.push(Open { key: key.clone(), line: line.to_owned() });
        self.ask(Method::ChatSend, params, Asked::Send(key)).await
    }

    fn message(&self, key: &str, line: &str) -> Value {
        json!({ "sessionKey": self.key, "message": line, "idempotencyKey": key })
    }

    async fn stop(&mut self) -> anyhow::Result<()> {
        self.stopping = true;
        eprintln!("stopping; Ctrl-C again leaves");
        self.ask(Method::ChatAbort, json!({ "sessionKey": self.key }), Asked::Stop).await
    }

    async fn ask(&mut self, method: Method, params: Value, asked: Asked) -> anyhow::Result<()> {
        let id = self.client.send(method, params).await.map_err(Cut)?;
        self.asked.insert(id, asked);
        Ok(())
    }

    /// The connection is lost. Every message that has no answer is sent again under its key, by
    /// which the gateway knows it: none is lost, and none is taken in twice.
    async fn come_back(&mut self, why: anyhow::Error) -> anyhow::Result<()> {
        eprintln!("{why:#}; waiting for it to come back");
        let back = tokio::select! {
            back = tokio::time::timeout(self.patience, reconnect(&self.target, self.caps)) => back,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                return Err(why.context(GONE));
            }
        };
        self.client = match back {
            Ok(client) => client?,
            Err(_) => return Err(why.context(GONE)),
        };
        eprintln!("it is back");
        self.aside.end();
        self.draft.leave(&mut std::io::stdout())?;
        let stopped = self.asked.drain().any(|(_, asked)| matches!(asked, Asked::Stop));
        for n in 0..self.open.len() {
            let Open { key, line } = &self.open[n];
            let (params, key) = (self.message(key, line), key.clone());
            self.resume(Method::ChatSend, params, Asked::SendAgain(key)).await;
        }
        if stopped {
            let params = json!({ "sessionKey": self.key });
            self.resume(Method::ChatAbort, params, Asked::Stop).await;
        }
        Ok(())
    }

    /// Asks again. If the connection is lost once more, the next read says so.
    async fn resume(&mut self, method: Method, params: Value, asked: Asked) {
        if let Err(error) = self.ask(method, params, asked).await {
            tracing::debug!("{error:#}");
        }
    }

    async fn hear(&mut self, frame: ServerFrame) -> anyhow::Result<()> {
        let event = match frame {
            ServerFrame::Response(response) => return self.told(response).await,
            ServerFrame::Event(event) => Event::parse(&event)?,
        };
        match event {
            Some(Event::Chat(chat)) if chat.session_key == self.key => self.hear_chat(*chat).await,
            Some(Event::Agent(agent)) if agent.session_key.as_ref() == Some(&self.key) => {
                self.aside.tell(&agent, &mut self.draft, &mut std::io::stdout())?;
                Ok(())
            }
            Some(Event::ProgressCard(shown)) if shown.session_key == self.key => {
                self.draft.leave(&mut std::io::stdout())?;
                self.aside.end();
                eprintln!("{}", watch::plan(shown.card.as_ref()));
                Ok(())
            }
            Some(Event::Gap(gap)) => {
                self.draft.leave(&mut std::io::stdout())?;
                eprintln!("{}", watch::missed(gap));
                let params = json!({ "sessionKey": self.key, "cursor": self.cursor });
                self.ask(Method::ChatHistory, params, Asked::Again).await
            }
            _ => Ok(()),
        }
    }

    async fn hear_chat(&mut self, chat: ChatEvent) -> anyhow::Result<()> {
        if self.caught_up.contains(&chat.run_id) || !self.show(chat.state)? {
            return Ok(());
        }
        self.stopping = false;
        self.unseen.remove(&chat.run_id);
        prompt();
        self.open.retain(|open| open.key != chat.run_id);
        if self.open.is_empty() {
            let params = json!({ "sessionKey": self.key, "limit": 1, "maxChars": 1 });
            self.ask(Method::ChatHistory, params, Asked::Cursor).await?;
        }
        self.look_for_answers().await
    }

    /// One run may have answered several messages; its end names only one of them.
    async fn look_for_answers(&mut self) -> anyhow::Result<()> {
        let keys: Vec<String> = self.open.iter().map(|open| open.key.clone()).collect();
        for key in keys {
            let params = json!({ "runId": key, "timeoutMs": 0 });
            self.ask(Method::AgentWait, params, Asked::Answered(key)).await?;
        }
        Ok(())
    }

    /// Prints what was said since the place that is known, a page at a time.
    async fn repair(&mut self, history: ChatHistoryResult) -> anyhow::Result<()> {
        self.draft.leave(&mut std::io::stdout())?;
        if !history.messages.is_empty() {
            eprintln!("what was said since, from the history:");
        }
        tell_again(&history)?;
        self.cursor = history.delta_cursor;
        if history.kind.is_some() && history.has_more {
            let params = json!({ "sessionKey": self.key, "cursor": self.cursor });
            return self.ask(Method::ChatHistory, params, Asked::Again).await;
        }
        // An answer among them is the end of a message.
        self.look_for_answers().await
    }

    async fn told(&mut self, response: Response) -> anyhow::Result<()> {
        let Some(asked) = self.asked.remove(&response.id) else { return Ok(()) };
        let told = payload(response);
        match (asked, told) {
            (Asked::Send(_) | Asked::Stop, Ok(_)) => Ok(()),
            (Asked::SendAgain(key), Ok(told)) => {
                if told["status"] != "ok" {
                    return Ok(());
                }
                let params = json!({ "runId": key, "timeoutMs": 0 });
                self.ask(Method::AgentWait, params, Asked::Missed(key)).await
            }
            (Asked::Answered(key), Ok(told)) => {
                let told: AgentWaitResult = serde_json::from_value(told)?;
                if told.status == AgentStatus::Timeout {
                    return Ok(());
                }
                // A run that failed has said so; a message that no run has seen has nobody else.
                let lost = told.error.filter(|_| told.ended_at.is_none());
                if lost.is_none() && self.open.iter().any(|open| open.key == key) {
                    self.unseen.insert(key.clone());
                }
                self.settle(&key, lost.map(anyhow::Error::msg));
                Ok(())
            }
            (Asked::Missed(key), Ok(told)) => self.catch_up(key, serde_json::from_value(told)?),
            (Asked::Cursor, Ok(told)) => {
                let history: ChatHistoryResult = serde_json::from_value(told)?;
                if self.open.is_empty() {
                    self.cursor = history.delta_cursor;
                }
                Ok(())
            }
            (Asked::Again, Ok(told)) => self.repair(serde_json::from_value(told)?).await,
            (
                Asked::Send(key)
                | Asked::SendAgain(key)
                | Asked::Answered(key)
                | Asked::Missed(key),
                Err(error),
            ) => {
                self.settle(&key, Some(error));
                Ok(())
            }
            (Asked::Stop | Asked::Cursor | Asked::Again, Err(error)) => {
                self.settle("", Some(error));
                Ok(())
            }
        }
    }

    /// A message has its answer, or will get none.
    fn settle(&mut self, key: &str, error: Option<anyhow::Error>) {
        self.open.retain(|open| open.key != *key);
        if let Some(error) = error {
            eprintln!("error: {error:#}");
            prompt();
        }
    }

    /// Prints the answer to a message that came while the connection was lost. Messages that one
    /// run has answered have one answer.
    fn catch_up(&mut self, key: String, told: AgentWaitResult) -> anyhow::Result<()> {
        let open = self.open.iter().any(|open| open.key == key);
        if !open || told.status == AgentStatus::Timeout {
            return Ok(());
        }
        let text = told.terminal_reply.map(|reply| reply.text).unwrap_or_default();
        let answer = (told.ended_at, text);
        let error = told.error.filter(|_| answer.1.is_empty());
        if error.is_none() && self.last.as_ref() != Some(&answer) {
            writeln!(std::io::stdout(), "{}", answer.1)?;
        }
        self.last = Some(answer);
        self.settle(&key, error.map(anyhow::Error::msg));
        self.caught_up.insert(key);
        prompt();
        Ok(())
    }

    /// Prints what is new. Says whether a run has ended with it.
    fn show(&mut self, state: ChatState) -> anyhow::Result<bool> {
        let mut out = std::io::stdout().lock();
        if matches!(state, ChatState::Status { .. }) {
            return Ok(false);
        }
        self.aside.end();
        match state {
            ChatState::Delta { .. } => {
                self.draft.grow(&state, &mut out)?;
                return Ok(false);
            }
            ChatState::Final { message, yielded, stop_reason, .. } => {
                let text = message.map(|message| message.words()).unwrap_or_default();
                self.draft.end(&text, &mut out)?;
                if stop_reason.as_deref() == Some("length") {
                    eprintln!("note: {}", watch::CUT);
                }
                return Ok(!yielded);
            }
            _ => self.draft.leave(&mut out)?,
        }
        match state {
            ChatState::Error { error_message, .. } => eprintln!("error: {error_message}"),
            _ => writeln!(out, "[stopped]")?,
        }
        Ok(true)
    }
}

/// The connection is lost: how it was said.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
struct Cut(anyhow::Error);

/// Tries until there is a gateway that lets us in, or one that will never do.
async fn reconnect(target: &Target, caps: &[Cap]) -> anyhow::Result<Client> {
    loop {
        match Client::connect_watching(target, caps).await {
            Ok(client) => return Ok(client),
            Err(error) if is_final(&error) => return Err(error),
            Err(error) => tracing::debug!("{error:#}"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}
