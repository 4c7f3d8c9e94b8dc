//! `cargo xtask fuzz`: a search, guided by coverage, for bytes that break a promise.
//!
//! ```text
//!  seeds ─▶ corpus ─▶ libFuzzer ◀─▶ target, instrumented ─▶ artifacts (what was found)
//! ```
//!
//! # Invariants
//!
//! - Stable Rust is enough: LLVM's pass is asked for by a wrapper of the compiler, which cargo
//!   calls for our own crates only. Dependencies are those of the tests, and are not built again.
//! - The corpus lies in the target folder and grows from one search to the next.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use crate::metadata::Metadata;
use crate::run;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Search only these; all of them if none is named
    #[arg(value_enum)]
    targets: Vec<Target>,

    /// How long each is searched
    #[arg(long, default_value_t = SECONDS)]
    seconds: u32,
}

impl Default for Args {
    fn default() -> Args {
        Args { targets: Vec::new(), seconds: SECONDS }
    }
}

const SECONDS: u32 = 60;

/// Longest input, in bytes. Recorded streams have up to 3 KiB.
const INPUT_BYTES_MAX: u32 = 4096;

/// An input that takes longer than this is a finding, too.
const INPUT_SECONDS_MAX: u32 = 10;

/// So is a target that needs more memory, in MiB.
const MEMORY_MIB_MAX: u32 = 2048;

/// One for each function of `crates/fuzz/src/lib.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Target {
    Stream,
    Event,
    Config,
    Frame,
}

impl Target {
    const ALL: &[Target] = &[Target::Stream, Target::Event, Target::Config, Target::Frame];

    fn name(self) -> &'static str {
        match self {
            Target::Stream => "stream",
            Target::Event => "event",
            Target::Config => "config",
            Target::Frame => "frame",
        }
    }

    fn binary(self) -> String {
        format!("fuzz-{}", self.name())
    }

    /// What its search begins with.
    fn seeds(self) -> &'static str {
        match self {
            Target::Stream | Target::Event => "crates/providers/fixtures",
            Target::Config => "crates/fuzz/seeds/config",
            Target::Frame => "crates/fuzz/seeds/frame",
        }
    }
}

/// Searches each target for a while, and fails if one of them breaks.
pub fn run(args: &Args) -> anyhow::Result<()> {
    require_cpp_compiler()?;
    let targets = if args.targets.is_empty() { Target::ALL } else { &args.targets };
    let folder = Metadata::load()?.target_directory;
    build()?;
    let work = folder.join("fuzz");
    for target in targets {
        search(*target, &folder.join("debug"), &work.join(target.name()), args.seconds)?;
    }
    Ok(())
}

/// Builds the programs. All of the workspace is named, as by the tests: with the features of one
/// package alone, most dependencies would be built a second time.
fn build() -> anyhow::Result<()> {
    let wrapper = run::root().join("crates/fuzz/instrument.sh");
    let mut command = run::cargo();
    command.args(["build", "--workspace", "--features", "windlass-fuzz/libfuzzer"]);
    for target in Target::ALL {
        command.args(["--bin", &target.binary()]);
    }
    run::stream(command.env("RUSTC_WORKSPACE_WRAPPER", wrapper))
}

fn search(target: Target, binaries: &Path, work: &Path, seconds: u32) -> anyhow::Result<()> {
    let (corpus, artifacts) = (work.join("corpus"), work.join("artifacts"));
    for folder in [&corpus, &artifacts] {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let mut command = Command::new(binaries.join(target.binary()));
    command
        .args([&corpus, &run::root().join(target.seeds())])
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
        .args(["-print_final_stats=1", "-verbosity=0"])
        .current_dir(run::root());
    run::stream(&mut command).with_context(|| {
        format!(
            "{} breaks on the newest file of {}: put it into {}, where the tests read it, and \
             mend the reader",
            target.name(),
            artifacts.display(),
            target.seeds()
        )
    })
}

/// libFuzzer is C++.
fn require_cpp_compiler() -> anyhow::Result<()> {
    if run::succeeds(Command::new("c++").arg("--version")) {
        return Ok(());
    }
    bail!("no C++ compiler: `c++` must be on the PATH (Debian: apt-get install g++)")
}
