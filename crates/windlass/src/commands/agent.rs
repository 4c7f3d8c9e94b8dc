//! `windlass agent`: one message in, one answer out.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use protocol::Method;
use protocol::agent::{AgentFinal, AgentStatus};
use serde_json::json;
use uuid::Uuid;

use crate::client::{Client, Refused, Target, is_final};
use crate::setup::Setup;

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
    let mut client = Client::connect(&target).await?;
    let id = client.send(Method::Agent, params.clone()).await?;
    let accepted = client.response(&id).await?;
    if args.no_wait {
        writeln!(out, "{}", if setup.json { accepted.to_string() } else { key })?;
        return Ok(());
    }
    let answer = match last_answer(&mut client, &id).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::warn!("{error:#}; the run goes on, coming back to it");
            let back = tokio::time::timeout(RECONNECT_FOR, come_back(&target, &params)).await;
            back.with_context(|| {
                format!(
                    "the gateway has been away for {RECONNECT_FOR:?}; nothing is lost: the same \
                     command with --idempotency-key {key} gets the answer"
                )
            })??
        }
    };
    print(setup.json, &answer, out)
}

/// A key that nobody else has: 122 random bits of the operating system.
fn mint_key() -> String {
    Uuid::new_v4().to_string()
}

/// Waits for the final answer. An error says that the connection, not the run, has ended.
async fn last_answer(client: &mut Client, id: &str) -> anyhow::Result<AgentFinal> {
    let response = client.raw_response(id).await?;
    // A run that has failed comes as an error, with what is known of it.
    match (response.payload, response.error) {
        (Some(payload), _) => Ok(serde_json::from_value(payload)?),
        (None, Some(error)) => Err(Refused(error).into()),
        (None, None) => anyhow::bail!("the gateway has answered nothing"),
    }
}

/// Asks again with the same key, which is the same message, until there is an answer.
async fn come_back(target: &Target, params: &serde_json::Value) -> anyhow::Result<AgentFinal> {
    loop {
        tokio::time::sleep(RECONNECT_EVERY).await;
        let again = async {
            let mut client = Client::connect(target).await?;
            let id = client.send(Method::Agent, params.clone()).await?;
            client.response(&id).await?;
            last_answer(&mut client, &id).await
        };
        match again.await {
            Ok(answer) => return Ok(answer),
            Err(error) if is_final(&error) => return Err(error),
            Err(error) => tracing::debug!("{error:#}"),
        }
    }
}

fn print(json: bool, answer: &AgentFinal, out: &mut impl Write) -> anyhow::Result<()> {
    if json {
        serde_json::to_writer(&mut *out, answer)?;
        writeln!(out)?;
    } else if let Some(result) = &answer.result {
        for payload in &result.payloads {
            writeln!(out, "{}", payload.text)?;
        }
    }
    let aborted = answer.result.as_ref().is_some_and(|result| result.meta.aborted);
    if answer.status == AgentStatus::Ok && !aborted {
        return Ok(());
    }
    bail!("the run ended without an answer: {}", answer.summary)
}
