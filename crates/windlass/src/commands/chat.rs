//! `windlass chat`: a plain conversation, a line at a time.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};

use anyhow::Context;
use clap::Args;
use protocol::agent::{AgentStatus, AgentWaitResult};
use protocol::chat::{ChatEvent, ChatHistoryResult, ChatState};
use protocol::{Method, Response, ServerFrame};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use uuid::Uuid;

use crate::client::{Client, payload};
use crate::setup::Setup;

/// Messages of the conversation so far that are shown at the start.
const SHOWN_MAX: u64 = 10;

/// What was accepted is answered without us, too.
const GONE: &str = "the conversation is cut; nothing is lost: `windlass chat` shows how it went on";

#[derive(Debug, Args)]
pub struct ChatArgs {
    /// Which agent; the default one if none
    #[arg(long, value_name = "ID")]
    pub agent: Option<String>,

    /// In which conversation: `main`, `thread:<name>`, or a full key
    #[arg(long, value_name = "KEY", default_value = "main")]
    pub session_key: String,
}

pub async fn run(args: ChatArgs, setup: &Setup) -> anyhow::Result<()> {
    let key = setup.session_key(&args.session_key, args.agent.as_deref())?;
    let mut client = Client::connect(&setup.target()?).await?;
    let params = json!({ "sessionKey": key, "limit": SHOWN_MAX });
    let history: ChatHistoryResult = client.get(Method::ChatHistory, params).await?;
    for message in &history.messages {
        let text = message.words();
        if !text.is_empty() {
            writeln!(std::io::stdout(), "{}: {text}", message.role)?;
        }
    }
    eprintln!("in {key}; end with Ctrl-D, stop a run with /stop");

    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut talk = Talk {
        client,
        key: key.to_string(),
        printed: String::new(),
        open: Vec::new(),
        asked: HashMap::new(),
    };
    prompt();
    loop {
        tokio::select! {
            line = lines.next_line() => match line.context("cannot read what you type")? {
                None => return talk.drain().await,
                Some(line) => talk.say(line.trim()).await?,
            },
            frame = talk.client.next() => talk.hear(frame.context(GONE)?).await?,
        }
    }
}

/// What a request was about, for the moment of its response.
#[derive(Debug)]
enum Asked {
    /// Takes in the message with this key.
    Send(String),
    /// Asks whether the message with this key is answered.
    Answered(String),
    Stop,
}

/// A conversation, and how far it is.
#[derive(Debug)]
struct Talk {
    client: Client,
    key: String,
    /// What has been printed of the answer that is being made.
    printed: String,
    /// Keys of the messages that have no answer yet.
    open: Vec<String>,
    /// Requests without a response yet, by id: to leave before would lose them.
    asked: HashMap<String, Asked>,
}

fn prompt() {
    if std::io::stdin().is_terminal() {
        eprint!("> ");
    }
}

impl Talk {
    async fn say(&mut self, line: &str) -> anyhow::Result<()> {
        if line.is_empty() {
            prompt();
            return Ok(());
        }
        if line == "/stop" {
            return self
                .ask(Method::ChatAbort, json!({ "sessionKey": self.key }), Asked::Stop)
                .await;
        }
        let key = Uuid::new_v4().to_string();
        let params = json!({ "sessionKey": self.key, "message": line, "idempotencyKey": key });
        self.open.push(key.clone());
        self.ask(Method::ChatSend, params, Asked::Send(key)).await
    }

    async fn ask(&mut self, method: Method, params: Value, asked: Asked) -> anyhow::Result<()> {
        let id = self.client.send(method, params).await?;
        self.asked.insert(id, asked);
        Ok(())
    }

    /// Input has ended: the answers that are still to come are printed.
    async fn drain(&mut self) -> anyhow::Result<()> {
        while !self.open.is_empty() || !self.asked.is_empty() {
            let frame = self.client.next().await.context(GONE)?;
            self.hear(frame).await?;
        }
        Ok(())
    }

    async fn hear(&mut self, frame: ServerFrame) -> anyhow::Result<()> {
        let event = match frame {
            ServerFrame::Response(response) => return self.told(response),
            ServerFrame::Event(event) if event.event == "chat" => event,
            ServerFrame::Event(_) => return Ok(()),
        };
        let Some(body) = event.payload else { return Ok(()) };
        let chat: ChatEvent = serde_json::from_str(body.get())?;
        if chat.session_key.to_string() != self.key || !self.show(chat.state)? {
            return Ok(());
        }
        prompt();
        self.open.retain(|key| *key != chat.run_id);
        // One run may have answered several messages; its end names only one of them.
        for key in self.open.clone() {
            let params = json!({ "runId": key, "timeoutMs": 0 });
            self.ask(Method::AgentWait, params, Asked::Answered(key)).await?;
        }
        Ok(())
    }

    fn told(&mut self, response: Response) -> anyhow::Result<()> {
        let Some(asked) = self.asked.remove(&response.id) else { return Ok(()) };
        let told = payload(response);
        let over = match (asked, told) {
            (Asked::Send(_) | Asked::Stop, Ok(told)) => {
                if told["aborted"] == json!(false) {
                    eprintln!("nothing is running");
                    prompt();
                }
                return Ok(());
            }
            (Asked::Answered(key), Ok(told)) => {
                let told: AgentWaitResult = serde_json::from_value(told)?;
                // A run that failed has said so; a message that no run has seen has nobody else.
                let lost = told.error.filter(|_| told.ended_at.is_none());
                let over = told.status != AgentStatus::Timeout;
                over.then_some((key, lost.map(anyhow::Error::msg)))
            }
            (Asked::Send(key) | Asked::Answered(key), Err(error)) => Some((key, Some(error))),
            (Asked::Stop, Err(error)) => Some((String::new(), Some(error))),
        };
        let Some((key, error)) = over else { return Ok(()) };
        self.open.retain(|open| *open != key);
        if let Some(error) = error {
            eprintln!("error: {error:#}");
            prompt();
        }
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
