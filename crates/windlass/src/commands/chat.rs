//! `windlass chat`: a plain conversation, a line at a time.

use std::io::{IsTerminal, Write};

use anyhow::Context;
use clap::Args;
use protocol::chat::{ChatEvent, ChatHistoryResult, ChatState};
use protocol::{Method, ServerFrame};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use uuid::Uuid;

use crate::client::{Client, payload};
use crate::setup::Setup;

/// Messages of the conversation so far that are shown at the start.
const SHOWN_MAX: u64 = 10;

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
            println!("{}: {text}", message.role);
        }
    }
    eprintln!("in {key}; end with Ctrl-D, stop a run with /stop");

    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut draft = Draft::default();
    prompt();
    loop {
        tokio::select! {
            line = lines.next_line() => match line.context("cannot read what you type")? {
                None => return drain(&mut client, &key.to_string(), &mut draft).await,
                Some(line) => say(&mut client, &key.to_string(), line.trim(), &mut draft).await?,
            },
            frame = client.next() => show(frame?, &key.to_string(), &mut draft)?,
        }
    }
}

/// What has been printed of the answer that is being made.
#[derive(Debug, Default)]
struct Draft {
    printed: String,
    /// Messages that have no answer yet.
    open: usize,
    /// Requests that the gateway has not acknowledged yet: to leave before would lose them.
    unacknowledged: usize,
}

fn prompt() {
    if std::io::stdin().is_terminal() {
        eprint!("> ");
    }
}

async fn say(client: &mut Client, key: &str, line: &str, draft: &mut Draft) -> anyhow::Result<()> {
    if line.is_empty() {
        prompt();
        return Ok(());
    }
    if line == "/stop" {
        client.send(Method::ChatAbort, json!({ "sessionKey": key })).await?;
        draft.unacknowledged += 1;
        return Ok(());
    }
    let params = json!({
        "sessionKey": key,
        "message": line,
        "idempotencyKey": Uuid::new_v4().to_string(),
    });
    client.send(Method::ChatSend, params).await?;
    draft.open += 1;
    draft.unacknowledged += 1;
    Ok(())
}

/// Input has ended: the answers that are still to come are printed.
async fn drain(client: &mut Client, key: &str, draft: &mut Draft) -> anyhow::Result<()> {
    while draft.open + draft.unacknowledged > 0 {
        let frame = client.next().await?;
        show(frame, key, draft)?;
    }
    Ok(())
}

fn show(frame: ServerFrame, key: &str, draft: &mut Draft) -> anyhow::Result<()> {
    let event = match frame {
        ServerFrame::Response(response) => {
            draft.unacknowledged = draft.unacknowledged.saturating_sub(1);
            if let Err(error) = payload(response) {
                eprintln!("error: {error:#}");
                draft.open = draft.open.saturating_sub(1);
                prompt();
            }
            return Ok(());
        }
        ServerFrame::Event(event) if event.event == "chat" => event,
        ServerFrame::Event(_) => return Ok(()),
    };
    let Some(body) = event.payload else { return Ok(()) };
    let chat: ChatEvent = serde_json::from_str(body.get())?;
    if chat.session_key.to_string() != key {
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    match chat.state {
        ChatState::Delta { delta_text, replace, .. } => {
            if replace && !draft.printed.is_empty() {
                // What stands above was a draft, or words before a tool was called.
                writeln!(out)?;
                draft.printed.clear();
            }
            write!(out, "{delta_text}")?;
            draft.printed += &delta_text;
            out.flush()?;
            return Ok(());
        }
        ChatState::Final { message, yielded, .. } => {
            let text = message.map(|message| message.words()).unwrap_or_default();
            if draft.printed.is_empty() {
                writeln!(out, "{text}")?;
            } else {
                let rest = text.strip_prefix(&*draft.printed).unwrap_or("");
                writeln!(out, "{rest}")?;
            }
            draft.printed.clear();
            if yielded {
                return Ok(());
            }
        }
        ChatState::Aborted { .. } => writeln!(out, "[stopped]")?,
        ChatState::Error { error_message, .. } => eprintln!("error: {error_message}"),
    }
    draft.printed.clear();
    draft.open = draft.open.saturating_sub(1);
    prompt();
    Ok(())
}
