//! `windlass demo`: three sub-agents finish their work although the gateway is killed.
//!
//! Nothing is staged: the gateway is another process of this very binary, it is killed with
//! SIGKILL while the sub-agents are at work, and a new one is started on the same folder. What is
//! shown is read from the database, also while no gateway runs.

pub mod folder;
mod gateway_process;
mod proof;
mod screen;
mod settings;
mod tree;

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use protocol::Method;
use protocol::agent::{AgentFinal, AgentStatus};
use serde_json::json;
use store::Reader;
use tokio::signal::unix::{SignalKind, signal};

use crate::client::{Client, Target};
use folder::Folder;
use gateway_process::GatewayProcess;
use proof::Proof;
use screen::Screen;
use tree::View;

/// How often the tree is read anew.
const FRAME: Duration = Duration::from_millis(100);

/// Frames for which all children have to be at work before the plug is pulled: time for some
/// steps.
const FRAMES_BEFORE_KILL: u32 = 9;

/// The demo's one message: the same key before and after the kill, so it is one message.
const KEY: &str = "demo-1";

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Use a real model: a provider such as `anthropic` or `ollama` (with its usual key in the
    /// environment), or the URL of a server that speaks OpenAI's chat completions
    #[arg(long, value_name = "NAME|URL")]
    pub provider: Option<String>,

    /// Which model of that provider
    #[arg(long, value_name = "ID", requires = "provider")]
    pub model: Option<String>,

    /// What to ask for
    #[arg(long, value_name = "TEXT", default_value = "Research A, analyse B, draft C.")]
    pub message: String,

    /// Do not kill the gateway
    #[arg(long)]
    pub no_kill: bool,

    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub timeout: u64,
}

pub async fn run(args: DemoArgs, json: bool) -> anyhow::Result<()> {
    let settings = settings::choose(&args)?;
    let folder = Folder::make()?;
    settings.write(folder.path())?;
    let mut screen = Screen::new(json);
    screen.say(&format!("folder   {}", folder.path().display()));
    screen.say(&format!("model    {}", settings.model));
    screen.say(&format!("message  {}\n", args.message));

    let limit = Duration::from_secs(args.timeout);
    let played = play(&args, &settings.token, folder.path(), &mut screen);
    // An end in good order: else the gateway and its folder would stay behind.
    let mut term = signal(SignalKind::terminate())?;
    let played = tokio::select! {
        played = tokio::time::timeout(limit, played) => played,
        _ = tokio::signal::ctrl_c() => bail!("the demo was stopped"),
        _ = term.recv() => bail!("the demo was stopped"),
    };
    let (answer, proof) =
        played.with_context(|| format!("the demo did not end in {limit:?}"))??;
    let mut out = std::io::stdout();
    if json {
        writeln!(out, "{}", json!({ "answer": answer, "proof": proof }))?;
    } else {
        writeln!(out, "\nanswer\n\n  {}\n\n{proof}\n", answer.replace('\n', "\n  "))?;
        writeln!(out, "{GO_ON}")?;
    }
    if proof.is_clean() { Ok(()) } else { bail!("something was done twice, or is broken") }
}

const GO_ON: &str = "\
To go on with your own key:

  export ANTHROPIC_API_KEY=…      (or OPENAI_API_KEY=…)
  windlass gateway                in one terminal
  windlass chat                   in another

To see this with your own model: windlass demo --provider NAME|URL";

async fn play(
    args: &DemoArgs,
    token: &str,
    folder: &Path,
    screen: &mut Screen,
) -> anyhow::Result<(String, Proof)> {
    let mut gateway = GatewayProcess::start(folder).await?;
    screen.say(&format!("gateway started, process {}, {}", gateway.pid(), gateway.url()));
    let mut client = ask(&gateway, token, &args.message).await?;
    let file = folder.join(store::sqlite::FILE);
    let reader = Reader::open(&file).context("cannot read the demo's database")?;

    if !args.no_kill {
        match until_all_at_work(&reader, screen, &mut client).await? {
            Moment::AtWork => pull_the_plug(&mut gateway, folder, &reader, screen).await?,
            Moment::Ended => screen.say("the model has answered without sub-agents at work"),
        }
        // The same key is the same message: it is not sent again, only asked after. The answer may
        // have come already, to a connection that was not listened to.
        client = ask(&gateway, token, &args.message).await?;
    }
    let answer = until_answer(&reader, screen, client).await?;
    screen.draw(&View::read(&reader).await?.lines());
    if answer.status != AgentStatus::Ok {
        bail!("the run ended without an answer: {}", answer.summary);
    }
    let texts = answer.result.into_iter().flat_map(|result| result.payloads);
    let texts: Vec<String> = texts.map(|payload| payload.text).collect();
    let proof = Proof::read(&reader).await?;
    gateway.stop().await?;
    Ok((texts.join("\n"), proof))
}

/// Kills the gateway, shows what the database says without it, and starts another.
async fn pull_the_plug(
    gateway: &mut GatewayProcess,
    folder: &Path,
    reader: &Reader,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    screen.draw(&View::read(reader).await?.lines());
    gateway.kill().await?;
    screen.say(&format!("\n*** kill -9 {} ***  the gateway is gone", gateway.pid()));
    screen.say("what the database says now (a lease lasts 20 s at most):");
    screen.draw(&View::read(reader).await?.lines());
    *gateway = GatewayProcess::start(folder).await?;
    let pid = gateway.pid();
    screen.say(&format!("\ngateway started again, process {pid}; nobody tells it what to do"));
    Ok(())
}

/// Sends the message, or asks after it, and leaves its final answer to come.
async fn ask(gateway: &GatewayProcess, token: &str, message: &str) -> anyhow::Result<Client> {
    let target = Target { url: gateway.url().to_owned(), token: Some(token.to_owned()) };
    let mut client = Client::connect(&target).await?;
    let params = json!({ "message": message, "idempotencyKey": KEY, "sessionKey": "main" });
    let id = client.send(Method::Agent, params).await?;
    client.response(&id).await.context("the gateway did not take the message")?;
    Ok(client)
}

enum Moment {
    AtWork,
    Ended,
}

/// Draws until all children have been at work for a while, or the run has ended.
async fn until_all_at_work(
    reader: &Reader,
    screen: &mut Screen,
    client: &mut Client,
) -> anyhow::Result<Moment> {
    let mut frames = 0;
    let mut interval = tokio::time::interval(FRAME);
    loop {
        tokio::select! {
            // What the gateway says is not looked at here, but it must not pile up.
            frame = client.next() => { frame?; continue; }
            _ = interval.tick() => {}
        }
        let view = View::read(reader).await?;
        screen.draw(&view.lines());
        if view.ended() {
            return Ok(Moment::Ended);
        }
        frames = if view.all_at_work() { frames + 1 } else { 0 };
        if frames > FRAMES_BEFORE_KILL {
            return Ok(Moment::AtWork);
        }
    }
}

/// Draws until the run has ended, and returns its answer.
async fn until_answer(
    reader: &Reader,
    screen: &mut Screen,
    mut client: Client,
) -> anyhow::Result<AgentFinal> {
    // The first request of a connection is `connect`, the second is the message.
    let answer = client.raw_response("2");
    tokio::pin!(answer);
    let mut interval = tokio::time::interval(FRAME);
    loop {
        tokio::select! {
            answer = &mut answer => {
                let payload = answer?.payload.context("the gateway has answered nothing")?;
                return Ok(serde_json::from_value(payload)?);
            }
            _ = interval.tick() => screen.draw(&View::read(reader).await?.lines()),
        }
    }
}
