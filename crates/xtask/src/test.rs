//! `cargo xtask test`: installs what the tests need, then runs all of them.

use std::process::Command;

use anyhow::bail;

use crate::metadata::Metadata;
use crate::{npm, run};

/// How many simulated worlds one test run looks at. Each takes under a millisecond.
const SEEDS: u32 = 1_000;

#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Pass these to `cargo nextest run`, and run neither doctests nor simulator
    #[arg(last = true, value_name = "NEXTEST ARGS")]
    nextest: Vec<String>,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    require_c_compiler()?;
    ensure(TOOLS)?;
    npm::install()?;

    // The whole-binary tests start `windlass` and `windlass-stub` from the folder that
    // they run in. With all targets the features are those of the tests, so nothing is
    // compiled twice.
    run::stream(run::cargo().args(["build", "--workspace", "--all-targets"]))?;
    unit_and_integration(&args.nextest)?;
    if args.nextest.is_empty() {
        run::stream(run::cargo().args(["test", "--workspace", "--doc"]))?;
        simulate()?;
    }
    Ok(())
}

fn unit_and_integration(args: &[String]) -> anyhow::Result<()> {
    // Without a word of the caller's, all crates: the workspace's default is the binary alone.
    let all: &[&str] = if args.is_empty() { &["--workspace"] } else { &[] };
    if run::succeeds(run::cargo().args(["nextest", "--version"])) {
        return run::stream(
            run::cargo().args(["nextest", "run", "--no-fail-fast"]).args(all).args(args),
        );
    }
    eprintln!(
        "cargo-nextest is not installed; using `cargo test`, which runs one test binary at a \
         time.\nFor faster runs: cargo install --locked cargo-nextest"
    );
    run::stream(run::cargo().args(["test", "--no-fail-fast", "--all-targets"]).args(all).args(args))
}

/// Runs the simulator's binary that was just built: `cargo run` would choose features anew
/// and compile half of the tree again.
fn simulate() -> anyhow::Result<()> {
    let binary = Metadata::load()?.target_directory.join("debug/windlass-sim");
    run::stream(Command::new(binary).args(["--seeds", &SEEDS.to_string()]).current_dir(run::root()))
}

/// SQLite and ring are C; without a compiler the build fails minutes later and less clearly.
fn require_c_compiler() -> anyhow::Result<()> {
    if run::succeeds(Command::new("cc").arg("--version")) {
        return Ok(());
    }
    bail!("no C compiler: `cc` must be on the PATH (Debian: apt-get install gcc libc6-dev)")
}

/// A program that tests use as users do.
struct Tool {
    name: &'static str,
    /// Asks whether it is there.
    version: &'static str,
    package: &'static str,
    why: &'static str,
}

const TOOLS: &[Tool] = &[
    Tool {
        name: "sqlite3",
        version: "--version",
        package: "sqlite3",
        why: "one test reads the live database with it (macOS has it)",
    },
    Tool {
        name: "dot",
        version: "-V",
        package: "graphviz",
        why: "one test has `windlass flow show --dot` drawn by it (macOS: brew install graphviz)",
    },
    Tool {
        name: "node",
        version: "--version",
        package: "nodejs",
        why: "tests talk to MCP servers that are written for it, version 20 or later",
    },
    Tool { name: "npm", version: "--version", package: "npm", why: "it installs those servers" },
];

/// Installs what is missing, where that can be done without asking anybody.
fn ensure(tools: &[Tool]) -> anyhow::Result<()> {
    let present = |tool: &Tool| run::succeeds(Command::new(tool.name).arg(tool.version));
    let missing: Vec<&Tool> = tools.iter().filter(|tool| !present(tool)).collect();
    let Some(first) = missing.first() else { return Ok(()) };
    if !rustix::process::geteuid().is_root() || !run::succeeds(apt().arg("--version")) {
        let Tool { name, package, why, .. } = first;
        bail!("`{name}` is missing: {why} (Debian: sudo apt-get install {package})");
    }
    run::stream(apt().arg("update"))?;
    let packages = missing.iter().map(|tool| tool.package);
    run::stream(apt().args(["install", "--yes", "--no-install-recommends"]).args(packages))?;
    match missing.iter().find(|tool| !present(tool)) {
        None => Ok(()),
        Some(tool) => bail!("apt-get installed {}, but it does not run", tool.name),
    }
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    // Without it, a package that wants to ask a question waits for ever.
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}
