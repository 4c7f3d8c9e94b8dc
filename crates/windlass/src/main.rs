//! `windlass`: parse, log, run, exit code.

mod address;
mod args;
mod client;
mod commands;
mod output;
mod roster;
mod setup;
mod wire;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use futures::FutureExt;
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, Command, Global};
use crate::commands::{
    agent, agents, approvals, chat, config, context, db, demo, doctor, flow, gateway, mcp, models,
    sandbox, sessions, skills, spawn, status, tasks, tools, usage,
};
use crate::setup::Setup;
use windlass::config::Level;

/// The configuration or the command line is wrong: nothing was tried.
const EXIT_USAGE: u8 = 2;

/// As a shell says of a command that was found and could not be run.
const EXIT_SANDBOX: u8 = 126;

/// An error that has an exit code of its own, for scripts that watch the process.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Exit {
    code: u8,
    message: String,
}

fn main() -> ExitCode {
    if let Some(why) = not_entered() {
        eprintln!("sandbox: {why}");
        return ExitCode::from(EXIT_SANDBOX);
    }
    // The HTTP client is built without a default provider of cryptography, so that only one is
    // ever linked.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    log(cli.global.verbose, level(&cli));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = match runtime {
        // Boxed, or the code of every command would be there once for each way to wait for it.
        Ok(runtime) => runtime.block_on(run(cli).boxed_local()),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if is_broken_pipe(&error) {
                return ExitCode::SUCCESS;
            }
            eprintln!("error: {error:#}");
            let code = error.downcast_ref::<Exit>().map_or(1, |exit| exit.code);
            ExitCode::from(code)
        }
    }
}

/// Becomes a command in a sandbox, if that is what this process was started for. Before all else:
/// there must be no other thread, which would be outside. Returns why it has not.
fn not_entered() -> Option<String> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != ::tools::sandbox::SUBCOMMAND {
        return None;
    }
    match ::tools::sandbox::enter(arguments) {
        Ok(never) => match never {},
        Err(why) => Some(why),
    }
}

/// How much is said by default: a gateway asks its configuration.
fn level(cli: &Cli) -> Level {
    match cli.command {
        // A configuration that is wrong is the command's to report.
        Command::Gateway(_) => {
            Setup::load(&cli.global).map_or(Level::Info, |setup| setup.config.logging.level)
        }
        // Its gateway is nobody's but its own.
        Command::Models(models::ModelsCommand::Probe(_)) => Level::Error,
        _ => Level::Info,
    }
}

/// Words go to stderr, never to stdout: a pipe gets data only.
fn log(verbose: u8, level: Level) {
    let default = match verbose {
        0 => filter(level),
        1 => "info".to_owned(),
        2 => "debug".to_owned(),
        _ => "trace".to_owned(),
    };
    let filter = EnvFilter::try_from_env("WINDLASS_LOG").unwrap_or_else(|_| default.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

/// Of the libraries a step less than of our own parts: they say more.
fn filter(level: Level) -> String {
    let (theirs, ours) = match level {
        Level::Silent => ("off", "off"),
        Level::Fatal | Level::Error => ("error", "error"),
        Level::Warn => ("warn", "warn"),
        Level::Info => ("warn", "info"),
        Level::Debug => ("info", "debug"),
        Level::Trace => ("debug", "trace"),
    };
    format!("{theirs},windlass={ours},runtime={ours},store={ours},mcp={ours},gateway={ours}")
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let out = &mut std::io::stdout().lock();
    let setup = || Setup::load(&cli.global);
    match cli.command {
        Command::Gateway(args) => gateway::run(args, setup()?).await,
        Command::Agent(args) => agent::run(args, &setup()?, out).await,
        Command::Spawn(args) => spawn::run(*args, &setup()?, out).await,
        Command::Chat(args) => chat::run(args, &setup()?).await,
        Command::Agents(command) => agents::run(command, &setup()?, out).await,
        Command::Threads(args) => sessions::threads(args, &setup()?, out).await,
        Command::Sessions(command) => sessions::run(command, &setup()?, out).await,
        Command::Context(args) => context::run(args, &setup()?, out).await,
        Command::Models(command) => models::run(command, &setup()?, out).await,
        Command::Subagents(command) => tasks::subagents(command, &setup()?, out).await,
        Command::Tasks(command) => tasks::tasks(command, &setup()?, out).await,
        Command::Tools(command) => tools::run(command, &setup()?, out).await,
        Command::Mcp(command) => mcp::run(command, &setup()?, out).await,
        Command::Skills(command) => skills::run(command, &setup()?, out),
        Command::Flow(command) => flow::run(command, &setup()?, out).await,
        Command::Approvals(command) => approvals::run(command, &setup()?, out).await,
        Command::Usage(args) => usage::usage(args, &setup()?, out).await,
        Command::Budget(command) => usage::budget(command, &setup()?, out).await,
        Command::Status(args) => status::status(&args, &running(&cli.global)?, out).await,
        Command::Health => status::health(&running(&cli.global)?, out).await,
        Command::Config(command) => config::run(command, &cli.global, out).await,
        Command::Db(command) => db::run(command, &setup()?, out).await,
        Command::Sandbox(command) => sandbox::run(&command, &setup()?, out).await,
        Command::Doctor => doctor::run(&cli.global, out).await,
        Command::Demo(args) => demo::run(args, cli.global.json).await,
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "windlass", out);
            Ok(())
        }
    }
}

/// For what only asks a running gateway: it may be well although its file is wrong by now.
fn running(global: &Global) -> anyhow::Result<Setup> {
    let (setup, wrong) = Setup::load_or_default(global)?;
    if let Some(wrong) = wrong {
        eprintln!("warning: {wrong:#}");
    }
    Ok(setup)
}

/// `windlass sessions list | head` is no error.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
