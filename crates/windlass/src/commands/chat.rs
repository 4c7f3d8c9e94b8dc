//! `windlass chat`: a plain conversation, a line at a time.

use std::collections::{HashMap, HashSet};
use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use protocol::agent::{AgentStatus, AgentWaitResult};
use protocol::chat::{ChatEvent, ChatHistoryResult, ChatState};
use protocol::{Method, Response, ServerFrame};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use types::Timestamp;
use uuid::Uuid;

use crate::client::{Client, Target, is_final, payload};
use crate::setup::Setup;

/// Messages of the conversation so far that are shown at the start.
const SHOWN_MAX: u64 = 10;

/// What was accepted is answered without us, too.
const GONE: &str = "the conversation is cut; nothing is lost: `windlass chat` shows how it went on";

/// Lines that are read ahead of the gateway. Whoever types is slower; a pipe waits.
const LINES_AHEAD: usize = 64;

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
}

pub async fn run(args: ChatArgs, setup: &Setup) -> anyhow::Result<()> {
    let key = setup.session_key(&args.session_key, args.agent.as_deref())?;
    let target = setup.target()?;
    let mut client = Client::connect(&target).await?;
    let params = json!({ "sessionKey": key, "limit": SHOWN_MAX });
    let history: ChatHistoryResult = client.get(Method::ChatHistory, params).await?;
    for message in &history.messages {
        let text = message.words();
        if !text.is_empty() {
            writeln!(std::io::stdout(), "{}: {text}", message.role)?;
        }
    }
    eprintln!("in {key}; /help lists commands, Ctrl-C stops a run, Ctrl-D ends");

    let mut talk = Talk {
        target,
        patience: Duration::from_secs(args.reconnect),
        client,
        key: key.to_string(),
        printed: String::new(),
        open: Vec::new(),
        asked: HashMap::new(),
        caught_up: HashSet::new(),
        last: None,
        stopping: false,
    };
    talk.converse().await
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
    key: String,
    /// What has been printed of the answer that is being made.
    printed: String,
    open: Vec<Open>,
    /// Requests without a response yet, by id: to leave before would lose them.
    asked: HashMap<String, Asked>,
    /// Messages whose answer was asked for because its end was missed.
    caught_up: HashSet<String>,
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
            back = tokio::time::timeout(self.patience, reconnect(&self.target)) => back,
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
        if !std::mem::take(&mut self.printed).is_empty() {
            // What stands there was a draft.
            writeln!(std::io::stdout())?;
        }
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
            ServerFrame::Event(event) if event.event == "chat" => event,
            ServerFrame::Event(_) => return Ok(()),
        };
        let Some(body) = event.payload else { return Ok(()) };
        let chat: ChatEvent = serde_json::from_str(body.get())?;
        let heard = self.caught_up.contains(&chat.run_id);
        if chat.session_key.to_string() != self.key || heard || !self.show(chat.state)? {
            return Ok(());
        }
        self.stopping = false;
        prompt();
        self.open.retain(|open| open.key != chat.run_id);
        // One run may have answered several messages; its end names only one of them.
        let keys: Vec<String> = self.open.iter().map(|open| open.key.clone()).collect();
        for key in keys {
            let params = json!({ "runId": key, "timeoutMs": 0 });
            self.ask(Method::AgentWait, params, Asked::Answered(key)).await?;
        }
        Ok(())
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
                self.settle(&key, lost.map(anyhow::Error::msg));
                Ok(())
            }
            (Asked::Missed(key), Ok(told)) => self.catch_up(key, serde_json::from_value(told)?),
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
            (Asked::Stop, Err(error)) => {
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
        if let ChatState::Delta { delta_text, replace, .. } = state {
            if replace && !self.printed.is_empty() {
                // What stands above was a draft, or words before a tool was called.
                writeln!(out)?;
                self.printed.clear();
            }
            write!(out, "{delta_text}")?;
            out.flush()?;
            self.printed += &delta_text;
            return Ok(false);
        }
        let printed = std::mem::take(&mut self.printed);
        if let ChatState::Final { message, yielded, .. } = state {
            let text = message.map(|message| message.words()).unwrap_or_default();
            writeln!(out, "{}", unprinted(&printed, &text))?;
            return Ok(!yielded);
        }
        if !printed.is_empty() {
            writeln!(out)?;
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
async fn reconnect(target: &Target) -> anyhow::Result<Client> {
    loop {
        match Client::connect(target).await {
            Ok(client) => return Ok(client),
            Err(error) if is_final(&error) => return Err(error),
            Err(error) => tracing::debug!("{error:#}"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// What is still to be printed of an answer: all of it, on a line of its own, if what stands there
/// was said before a tool was called.
fn unprinted(printed: &str, text: &str) -> String {
    match text.strip_prefix(printed) {
        Some(rest) => rest.to_owned(),
        None if text.is_empty() => String::new(),
        None => format!("\n{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::unprinted;

    #[test]
    fn an_answer_is_printed_whole_whatever_was_said_before_it() {
        assert_eq!(unprinted("", "all"), "all");
        assert_eq!(unprinted("al", "all"), "l");
        assert_eq!(unprinted("let me look", "found"), "\nfound");
        assert_eq!(unprinted("let me look", ""), "");
    }
}
