//! `cargo xtask kill`: pulls the plug as often as you like, and says what came of it.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};

use crate::run;

/// The test that does the work: it kills a real gateway in the middle of a tree of thirty-one
/// children, and looks at the rows, the answer and the model's journal afterwards.
const TEST: &str = "a_tree_survives_being_killed_at_random";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Kill the gateway so many times, ten times in each tree
    #[arg(long, default_value_t = 20, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Draw the moments from this; the same seed draws the same moments
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let Args { rounds, seed } = args;
    // A filter that fits no test succeeds.
    let known = run::capture(it().args(["--list", TEST]))?;
    ensure!(known.contains(TEST), "windlass has no test `{TEST}` any more");
    let mut test = it();
    test.args([TEST, "--nocapture"]);
    test.env("WINDLASS_KILL_ROUNDS", rounds.to_string());
    test.env("WINDLASS_KILL_SEED", seed.to_string());
    let start = Instant::now();
    run::stream(&mut test).with_context(|| {
        format!("not everything survived {rounds} kills with seed {seed}; see the lines above")
    })?;
    let (took, trees) = (start.elapsed().as_secs(), rounds.div_ceil(10));
    println!(
        "{rounds} kills, trees of 31 children: {trees}, seed {seed}, {took} s; every result \
         arrived once, every person was answered once, no committed answer was asked for again, \
         no command ran twice"
    );
    Ok(())
}

/// The whole-binary tests. Cargo builds the gateway that they start.
fn it() -> Command {
    let mut command = run::cargo();
    command.args(["test", "-p", "windlass", "--test", "it", "--"]);
    command
}
