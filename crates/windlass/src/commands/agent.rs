//! `windlass agent`: one message in, one answer out.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use protocol::agent::{AgentAccepted, AgentFinal, AgentStatus};
use protocol::handshake::Cap;
use protocol::{Event, EventFrame, Method, ServerFrame};
use serde_json::{Value, json};
use types::SessionKey;
use uuid::Uuid;

use crate::client::{Client, Refused, Target, is_final};
use crate::commands::watch::{self, Aside, Draft};
use crate::setup::Setup;

/// How long the last events are waited for when the answer is there.
const LATE: Duration = Duration::from_millis(500);

/// How long the command goes on trying to come back to a gateway that has gone away. The run goes
/// on without it.
const RECONNECT_FOR: Duration = Duration::from_secs(60);
const RECONNECT_EVERY: Duration = Duration::from_millis(300);

#[derive(Debug, Args)]
pub struct AgentArgs {
    /// Which agent; the default one if none
    #[arg(long, value_name = "ID")]
    pub agent: Option<String>,

    /// What to say to it
    #[arg(short, long, value_name = "TEXT")]
    pub message: String,

    /// In which conversation: `main`, `thread:<name>`, or a full key
    #[arg(long, value_name = "KEY")]
    pub session_key: Option<String>,

    /// The same key is the same message: it is never sent twice
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,

    /// Stop the run after so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,

    /// Print the name of the run and do not wait for the answer
    #[arg(long)]
    pub no_wait: bool,

    /// Print the answer as it is written, and on stderr what the agent does; with --json one line
    /// for each event
    #[arg(long, conflicts_with = "no_wait")]
    pub stream: bool,

    /// With --stream: show on stderr what the model thinks, too
    #[arg(long, requires = "stream")]
    pub thinking: bool,
}

impl AgentArgs {
    /// What is to be told beside the answer.
    fn caps(&self, json: bool) -> Vec<Cap> {
        let tools = (self.stream && json).then_some(Cap::ToolEvents);
        tools.into_iter().chain(self.thinking.then_some(Cap::ThinkingEvents)).collect()
    }
}

pub async fn run(args: AgentArgs, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let target = setup.target()?;
    let key = args.idempotency_key.clone().unwrap_or_else(mint_key);
    let mut params = json!({ "message": args.message, "idempotencyKey": key });
    for (name, value) in [("agentId", &args.agent), ("sessionKey", &args.session_key)] {
        if let Some(value) = value {
            params[name] = json!(value);
        }
    }
    if let Some(timeout) = args.timeout {
        params["timeout"] = json!(timeout);
    }
    let caps = args.caps(setup.json);
    let mut client = Client::connect_watching(&target, &caps).await?;
    let id = client.send(Method::Agent, params.clone()).await?;
    let accepted = client.response(&id).await?;
    if args.no_wait {
        writeln!(out, "{}", if setup.json { accepted.to_string() } else { key })?;
        return Ok(());
    }
    let accepted: AgentAccepted = serde_json::from_value(accepted)?;
    let mut watch = Watch::new(&args, setup.json, accepted.session_key);
    let answer = match last_answer(&mut client, &id, &mut watch, out).await {
        Ok(answer) => answer,
        Err(error) if error.is::<io::Error>() => return Err(error),
        Err(error) => {
            tracing::warn!("{error:#}; the run goes on, coming back to it");
            let again = Again { target: &target, params: &params, caps: &caps };
            let back = again.come_back(&mut watch, out);
            let back = tokio::time::timeout(RECONNECT_FOR, back).await;
            back.with_context(|| {
                format!(
                    "the gateway has been away for {RECONNECT_FOR:?}; nothing is lost: the same \
                     command with --idempotency-key {key} gets the answer"
                )
            })??
        }
    };
    watch.print(&answer, out)
}

/// A key that nobody else has: 122 random bits of the operating system.
fn mint_key() -> String {
    Uuid::new_v4().to_string()
}

/// Waits for the final answer. An error says that the connection, not the run, has ended; or that
/// nobody reads what is printed.
async fn last_answer(
    client: &mut Client,
    id: &str,
    watch: &mut Watch,
    out: &mut impl Write,
) -> anyhow::Result<AgentFinal> {
    loop {
        let response = match client.next().await? {
            ServerFrame::Response(response) if response.id == id => response,
            ServerFrame::Response(_) => continue,
            ServerFrame::Event(event) => {
                watch.see(event, out)?;
                continue;
            }
        };
        // The answer may overtake what was shown of its making.
        let late = async {
            while watch.stream && !watch.over {
                if let ServerFrame::Event(event) = client.next().await? {
                    watch.see(event, out)?;
                }
            }
            anyhow::Ok(())
        };
        let _late_or_gone = tokio::time::timeout(LATE, late).await;
        // A run that has failed comes as an error, with what is known of it.
        return match (response.payload, response.error) {
            (Some(payload), _) => Ok(serde_json::from_value(payload)?),
            (None, Some(error)) => Err(Refused(error).into()),
            (None, None) => bail!("the gateway has answered nothing"),
        };
    }
}

/// How the same is asked again.
struct Again<'a> {
    target: &'a Target,
    params: &'a Value,
    caps: &'a [Cap],
}

impl Again<'_> {
    /// Asks again with the same key, which is the same message, until there is an answer.
    async fn come_back(
        &self,
        watch: &mut Watch,
        out: &mut impl Write,
    ) -> anyhow::Result<AgentFinal> {
        loop {
            tokio::time::sleep(RECONNECT_EVERY).await;
            match self.ask(watch, out).await {
                Ok(answer) => return Ok(answer),
                Err(error) if is_final(&error) || error.is::<io::Error>() => return Err(error),
                Err(error) => tracing::debug!("{error:#}"),
            }
        }
    }

    async fn ask(&self, watch: &mut Watch, out: &mut impl Write) -> anyhow::Result<AgentFinal> {
        let mut client = Client::connect_watching(self.target, self.caps).await?;
        let id = client.send(Method::Agent, self.params.clone()).await?;
        client.response(&id).await?;
        last_answer(&mut client, &id, watch, out).await
    }
}

/// What is shown while the answer is made, and then.
struct Watch {
    stream: bool,
    /// The end of the conversation's run has been seen.
    over: bool,
    json: bool,
    session: SessionKey,
    draft: Draft,
    aside: Aside,
}

impl Watch {
    fn new(args: &AgentArgs, json: bool, session: SessionKey) -> Watch {
        let (draft, aside) = (Draft::default(), Aside::default());
        Watch { stream: args.stream, over: false, json, session, draft, aside }
    }

    /// Shows an event of this conversation.
    fn see(&mut self, frame: EventFrame, out: &mut impl Write) -> anyhow::Result<()> {
        if !self.stream {
            return Ok(());
        }
        let Some(event) = Event::parse(&frame)? else { return Ok(()) };
        let ours = match &event {
            Event::Chat(chat) => chat.session_key == self.session,
            Event::Agent(agent) => agent.session_key.as_ref() == Some(&self.session),
            Event::QueueWait(wait) => wait.session_key == self.session,
            Event::ProgressCard(shown) => shown.session_key == self.session,
            Event::Gap(_) => true,
            _ => false,
        };
        if !ours {
            return Ok(());
        }
        self.over |= matches!(&event, Event::Chat(chat) if chat.state.is_terminal());
        if self.json {
            serde_json::to_writer(&mut *out, &frame).map_err(io::Error::from)?;
            writeln!(out)?;
            return Ok(out.flush()?);
        }
        match &event {
            Event::Chat(chat) if !chat.state.is_terminal() => {
                self.aside.end();
                self.draft.grow(&chat.state, out)?;
            }
            Event::Agent(agent) => self.aside.tell(agent, &mut self.draft, out)?,
            Event::ProgressCard(shown) => {
                self.draft.leave(out)?;
                self.aside.end();
                eprintln!("{}", watch::plan(shown.card.as_ref()));
            }
            Event::Gap(gap) => {
                self.draft.leave(out)?;
                eprintln!("{}", watch::missed(*gap));
            }
            _ => {}
        }
        Ok(())
    }

    /// Prints the answer, or what is missing of it.
    fn print(mut self, answer: &AgentFinal, out: &mut impl Write) -> anyhow::Result<()> {
        self.aside.end();
        let meta = answer.result.as_ref().map(|result| &result.meta);
        if self.json {
            serde_json::to_writer(&mut *out, answer)?;
            writeln!(out)?;
        } else if let Some(result) = &answer.result {
            let texts = result.payloads.iter().map(|payload| payload.text.as_str());
            let text = texts.collect::<Vec<_>>().join("\n");
            if result.payloads.is_empty() {
                self.draft.leave(out)?;
            } else {
                self.draft.end(&text, out)?;
            }
        }
        if meta.is_some_and(|meta| meta.stop_reason.as_deref() == Some("length")) {
            eprintln!("note: {}", watch::CUT);
        }
        let aborted = meta.is_some_and(|meta| meta.aborted);
        if answer.status == AgentStatus::Ok && !aborted {
            return Ok(());
        }
        bail!("the run ended without an answer: {}", answer.summary)
    }
}
