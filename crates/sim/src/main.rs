//! `windlass-sim`: lives seeds, and says which of them broke a promise.

use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use clap::Parser;
use sim::{Failure, Lived, life, seeds};

/// Simulate a gateway through crashes, from seeds
#[derive(Debug, Parser)]
struct Args {
    /// Live this many seeds, after those that once failed
    #[arg(long, default_value_t = 1_000, value_name = "COUNT")]
    seeds: u64,

    /// Begin with this seed
    #[arg(long, default_value_t = 0, value_name = "SEED")]
    from: u64,

    /// Live this seed alone
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,

    /// Print all that happens; only with `--seed`
    #[arg(long, requires = "seed")]
    verbose: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    // A broken promise is a panic, caught and reported with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let failed = match args.seed {
        Some(seed) => alone(seed, args.verbose),
        None => many(args.from..args.from.saturating_add(args.seeds)),
    };
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn alone(seed: u64, verbose: bool) -> u64 {
    if verbose {
        for line in life::traced(seed, usize::MAX).0 {
            println!("{line}");
        }
    }
    let failed = match sim::live(seed) {
        Ok(lived) => {
            println!("seed {seed}: {lived}");
            0
        }
        Err(failure) => {
            println!("{failure}");
            1
        }
    };
    println!("{} passed, {failed} failed", 1 - failed);
    failed
}

/// Failures of which the last events are printed; of the others, one line each.
const SHOWN: usize = 1;

fn many(range: Range<u64>) -> u64 {
    let lives = range.end - range.start;
    let mut todo = seeds::kept();
    todo.extend(range);
    let next = AtomicU64::new(0);
    let ends: Mutex<(Lived, Vec<Failure>)> = Mutex::default();
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(&seed) = todo.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let end = sim::live(seed);
                    let mut ends = ends.lock().unwrap_or_else(PoisonError::into_inner);
                    match end {
                        Ok(lived) => ends.0 += lived,
                        Err(failure) => ends.1.push(failure),
                    }
                }
            });
        }
    });
    let (lived, mut failures) = ends.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.sort_by_key(|failure| failure.seed);
    for failure in failures.iter().skip(SHOWN) {
        println!("seed {} failed: {}", failure.seed, failure.what);
    }
    for failure in failures.iter().take(SHOWN) {
        println!("{failure}");
    }
    print!("{}", lived.coverage);
    println!("{lived}");
    let missing = lived.coverage.missing(lives);
    for what in &missing {
        println!("no life has exercised `{what}`; see coverage.txt");
    }
    let failed = failures.len();
    println!("{} passed, {failed} failed", todo.len() - failed);
    failed as u64 + missing.len() as u64
}
