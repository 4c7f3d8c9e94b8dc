//! `cargo xtask kill`: pulls the plug as often as you like, and says what came of it.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};

use crate::run;

/// Kills of one story before the other one has its turn: those of one household.
const TURN: u32 = 10;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Kill the gateway so many times, ten times in each household
    #[arg(long, default_value_t = 20, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Draw the moments from this; the same seed draws the same moments
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Tell only this story; without it, both in turn
    #[arg(long, value_enum)]
    only: Option<Story>,
}

/// What the gateway is in the middle of when it is killed. Each is a test that looks at the rows,
/// the answer and the model's journal afterwards.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Story {
    /// A tree of thirty-one children
    Tree,
    /// All of orchestration at once: threads, messages, flows, deadlines, stops, commands
    Orchestra,
}

impl Story {
    fn test(self) -> &'static str {
        match self {
            Story::Tree => "a_tree_survives_being_killed_at_random",
            Story::Orchestra => "all_of_it_survives_being_killed_at_random",
        }
    }
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let stories = args.only.map_or_else(|| vec![Story::Tree, Story::Orchestra], |one| vec![one]);
    for story in &stories {
        // A filter that fits no test succeeds.
        let known = run::capture(it().args(["--list", story.test()]))?;
        ensure!(known.contains(story.test()), "windlass has no test `{}` any more", story.test());
    }
    let start = Instant::now();
    let turns = turns(args.rounds, args.seed);
    for ((rounds, seed), story) in turns.iter().zip(stories.iter().cycle()) {
        tell(*story, *rounds, *seed)?;
    }
    println!(
        "{} kills in {} households, seed {}, {} s; every result arrived once, every person was \
         answered once, no committed answer was asked for again, no command ran twice",
        args.rounds,
        turns.len(),
        args.seed,
        start.elapsed().as_secs(),
    );
    Ok(())
}

/// The rounds of each turn, and its seed: every household has moments of its own.
fn turns(rounds: u32, seed: u64) -> Vec<(u32, u64)> {
    let turns = rounds.div_ceil(TURN);
    let of = |n: u32| (TURN.min(rounds - n * TURN), seed.wrapping_add(u64::from(n)));
    (0..turns).map(of).collect()
}

fn tell(story: Story, rounds: u32, seed: u64) -> anyhow::Result<()> {
    let mut test = it();
    test.args([story.test(), "--nocapture"]);
    test.env("WINDLASS_KILL_ROUNDS", rounds.to_string());
    test.env("WINDLASS_KILL_SEED", seed.to_string());
    run::stream(&mut test).with_context(|| {
        format!(
            "not everything survived {rounds} kills with --only {} --seed {seed}; see the lines \
             above",
            format!("{story:?}").to_lowercase(),
        )
    })
}

/// The whole-binary tests. Cargo builds the gateway that they start.
fn it() -> Command {
    let mut command = run::cargo();
    command.args(["test", "-p", "windlass", "--test", "it", "--"]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_of_ten_kills_and_add_up() {
        assert_eq!(turns(1, 7), [(1, 7)]);
        assert_eq!(turns(20, 1), [(10, 1), (10, 2)]);
        assert_eq!(turns(25, 1), [(10, 1), (10, 2), (5, 3)]);
    }
}
