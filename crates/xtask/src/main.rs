//! `cargo xtask`: the project's own commands, so that a fresh clone needs only Rust.

mod bench;
mod ci;
mod fuzz;
mod kill;
mod layers;
mod metadata;
mod npm;
mod prices;
mod run;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::Parser;

/// Build, check and measure Windlass
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
enum Args {
    /// Install what the tests need, then run all of them
    Test(test::Args),

    /// Install the tool servers of others that tests talk to
    Npm,

    /// Check the rules of STYLE.md that a program can check
    Tidy,

    /// Check which crate may depend on which
    Layers,

    /// Measure the figures that Windlass promises
    Bench(bench::Args),

    /// Generate the price catalogue from the model data of rig-core
    Prices(prices::Args),

    /// Kill a gateway at random moments of its work, and see that nothing is lost or doubled
    Kill(kill::Args),

    /// Search for bytes of strangers that break a promise
    Fuzz(fuzz::Args),

    /// Do everything that a change must pass, in the order of .ci/run
    Ci,
}

fn main() -> ExitCode {
    let done = match Args::parse() {
        Args::Test(args) => test::run(&args),
        Args::Npm => npm::install(),
        Args::Tidy => tidy::run(),
        Args::Layers => layers::run(),
        Args::Bench(args) => bench::run(&args),
        Args::Prices(args) => prices::run(&args),
        Args::Kill(args) => kill::run(&args),
        Args::Fuzz(args) => fuzz::run(&args),
        Args::Ci => ci::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
