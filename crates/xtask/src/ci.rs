//! `cargo xtask ci`: what a change must pass, cheapest check first.

use crate::{fuzz, run, test, tidy};

pub fn run() -> anyhow::Result<()> {
    // A stale lock file would make every later step test something else than what a
    // fresh clone builds.
    run::stream(run::cargo().args(["fetch", "--locked"]))?;
    run::stream(run::cargo().args(["fmt", "--all", "--check"]))?;
    tidy::run()?;
    run::stream(run::cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    test::run(&test::Args::default())?;
    fuzz::run(&fuzz::Args::default())
}
