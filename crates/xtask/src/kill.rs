//! `cargo xtask kill`: pulls the plug as often as you like, and says what came of it.

use std::time::Instant;

use anyhow::Context;

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
    // The test starts the stub in its own process, but the gateway as a binary.
    run::stream(run::cargo().args(["test", "-p", "windlass", "--test", "it", "--no-run"]))?;
    let mut test = run::cargo();
    test.args(["test", "-p", "windlass", "--test", "it", "--", TEST, "--nocapture"]);
    test.env("WINDLASS_KILL_ROUNDS", rounds.to_string());
    test.env("WINDLASS_KILL_SEED", seed.to_string());
    let start = Instant::now();
    run::stream(&mut test).with_context(|| {
        format!("not everything survived {rounds} kills with seed {seed}; see the lines above")
    })?;
    let (took, trees) = (start.elapsed().as_secs(), rounds.div_ceil(10));
    println!(
        "{rounds} kills in {trees} trees of 31 children, seed {seed}, {took} s: every result \
         arrived once, every person was answered once, no committed answer was asked for again, \
         nothing ran twice"
    );
    Ok(())
}
