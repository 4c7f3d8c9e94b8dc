//! `windlass-stub`: the stub as a program.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;
use stub::{Fault, FaultRule, Options, Script};
use tokio::net::TcpListener;

/// Serve a scripted LLM over the Anthropic Messages and OpenAI Chat Completions wires
///
/// Every request is checked as strictly as the real providers check it. Prompt caching is counted
/// by real prefix match. What is answered follows from a script file (--script), from a directive
/// in the newest user message that holds one (`<<stub [{"say":"hi"}]>>`), or is an echo.
///
/// GET /journal tells what was asked, POST /journal/reset forgets it, POST /faults sets faults.
#[derive(Debug, Parser)]
#[command(name = "windlass-stub", version)]
struct Args {
    /// Listen at this address
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_name = "ADDRESS")]
    bind: IpAddr,

    /// Listen at this port; 0 takes a free one
    #[arg(long, default_value_t = 4010)]
    port: u16,

    /// Print `listening on http://ADDRESS:PORT` as the first line of stdout
    #[arg(long)]
    print_port: bool,

    /// Know this model; may be repeated [default: stub-1 and stub-2]
    #[arg(long = "model", value_name = "NAME")]
    models: Vec<String>,

    /// Know every model
    #[arg(long, conflicts_with = "models")]
    any_model: bool,

    /// Answer for this model in another name, as providers do; may be repeated
    #[arg(long, value_name = "MODEL=NAME", value_parser = parse_name)]
    answer_as: Vec<(String, String)>,

    /// Let in only requests with this key; may be repeated
    #[arg(long = "api-key", value_name = "KEY")]
    api_keys: Vec<String>,

    /// Refuse prompts over so many tokens (a token is 4 bytes)
    #[arg(long, default_value_t = 200_000, value_name = "TOKENS")]
    context_window: u64,

    /// Refuse requests over so many bytes
    #[arg(long, default_value_t = 32 * 1024 * 1024, value_name = "BYTES")]
    body_limit: usize,

    /// Cache only prefixes of at least so many tokens
    #[arg(long, default_value_t = 1_024, value_name = "TOKENS")]
    cache_min: u64,

    /// Answer by the rules of this JSON file
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,

    /// Append each request to this file, as a line of JSON, when its answer has ended
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,

    /// Let this fault strike, such as '{"kind":"error","status":529,"times":2}'; may be repeated
    #[arg(long = "fault", value_name = "JSON", value_parser = parse_fault)]
    faults: Vec<FaultRule>,

    /// Wait so long before every answer
    #[arg(long, default_value_t = 0, value_name = "MS")]
    latency_ms: u64,

    /// Take so long for every token of an answer
    #[arg(long, default_value_t = 0, value_name = "MS")]
    token_ms: u64,

    /// Fix the draws of faults with a probability
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

fn parse_name(text: &str) -> Result<(String, String), String> {
    let (model, name) = text.split_once('=').ok_or("expected MODEL=NAME")?;
    Ok((model.to_owned(), name.to_owned()))
}

fn parse_fault(text: &str) -> Result<FaultRule, serde_json::Error> {
    serde_json::from_str(text)
}

fn read_script(path: &Path) -> anyhow::Result<Script> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read the script {}", path.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("failed to understand the script {}", path.display()))
}

impl Args {
    fn options(self) -> anyhow::Result<Options> {
        let mut faults = self.faults;
        let paces = [
            (self.latency_ms, Fault::Latency { ms: self.latency_ms }),
            (self.token_ms, Fault::Slow { ms: self.token_ms }),
        ];
        faults
            .extend(paces.into_iter().filter(|(ms, _)| *ms > 0).map(|(_, f)| FaultRule::always(f)));
        let models = match (self.any_model, self.models) {
            (true, _) => Vec::new(),
            (false, models) if models.is_empty() => Options::default().models,
            (false, models) => models,
        };
        Ok(Options {
            port: self.port,
            models,
            names: self.answer_as.into_iter().collect(),
            api_keys: self.api_keys,
            context_window: self.context_window,
            body_limit: self.body_limit,
            cache_min: self.cache_min,
            seed: self.seed,
            faults,
            script: self.script.as_deref().map(read_script).transpose()?.unwrap_or_default(),
            journal: self.journal,
        })
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let (bind, port, print_port) = (args.bind, args.port, args.print_port);
    let options = args.options()?;
    let listener = TcpListener::bind((bind, port))
        .await
        .with_context(|| format!("failed to listen at {bind} port {port}"))?;
    let stub = stub::serve(listener, options).context("failed to open the journal file")?;
    let line = format!("listening on {}", stub.url());
    if print_port {
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{line}").and_then(|()| stdout.flush()).context("failed to print")?;
    } else {
        eprintln!("{line}");
    }
    stub.wait().await.context("the listener failed")
}
