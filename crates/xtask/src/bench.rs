//! `cargo xtask bench`: the figures that Windlass promises, measured from outside.
//!
//! ```text
//!  binaries ─▶ gateway (process) ─▶ ask it, watch it ─▶ figures ─▶ table or JSON
//! ```
//!
//! Everything goes through what users have: the binary, its port and its commands. So a
//! figure cannot be better than what a user sees.
//!
//! # Invariants
//!
//! - A figure with a limit that it misses makes the command fail.
//! - The machine's load stands beside the figures: a busy machine explains a bad one.
//! - State lies in the target folder, on a real disk, and not in a `/tmp` made of memory.
//! - Every process that was started is ended, also after an error.

mod binaries;
mod children;
mod client;
mod compact;
mod cpu;
mod database;
mod disk;
mod figure;
mod gateway;
mod lanes;
mod lists;
mod log;
mod memory;
mod model;
mod process;
mod recover;
mod runs;
mod turn;
mod waits;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::metadata::Metadata;
use binaries::Binaries;
use figure::{Figure, Limit};
use gateway::Gateway;
use model::Model;
use waits::millis;

/// How long raw syncs are counted. The count swings, so a moment says nothing.
const DISK_SECONDS: u64 = 3;

/// How often the gateway is started. The median is the figure: one start in a while meets
/// another process at work.
const STARTS: usize = 9;

/// How long an idle gateway settles before its memory is read.
const IDLE_SECONDS: u64 = 5;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Measure only these; all of them if none is named
    #[arg(value_enum)]
    which: Vec<Bench>,

    /// Measure this profile of cargo; only `release` says anything about speed
    #[arg(long, default_value = "release")]
    profile: String,

    /// Print one JSON object per figure and line
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Bench {
    /// Raw syncs per second of the disk under the state folder
    Disk,
    /// Size of the binary
    Size,
    /// Time from start to ready on an empty folder
    Start,
    /// Memory of a gateway with nothing to do
    Idle,
    /// A thousand children of one parent, each announced once
    Children,
    /// Durable runs per second at 64 sessions
    Runs,
    /// Ten thousand waiting inputs, two trees in one lane, memory after many runs
    Lanes,
    /// A list and an update among a hundred thousand sessions
    Lists,
    /// A start after SIGKILL with a thousand runs open
    Recover,
    /// A turn beside its model, and memory as turns go by
    Turn,
    /// 20 sessions beside one that outgrows its window again and again
    Compact,
}

impl Bench {
    /// Without `disk`: its figure is part of `runs`, which depends on it.
    const ALL: &[Bench] = &[
        Bench::Size,
        Bench::Start,
        Bench::Idle,
        Bench::Children,
        Bench::Runs,
        Bench::Lanes,
        Bench::Lists,
        Bench::Recover,
        Bench::Turn,
        Bench::Compact,
    ];
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let which = if args.which.is_empty() { Bench::ALL } else { &args.which };
    let target = Metadata::load()?.target_directory;
    let mut bench = Benches { target: &target, profile: &args.profile, binaries: None };

    let mut figures = vec![load()?];
    for bench_of in which {
        figures.extend(bench.measure(*bench_of)?);
    }
    if args.json {
        figures.iter().for_each(|figure| println!("{}", figure.to_json()));
    } else {
        print!("{}", figure::table(&figures));
    }
    let missed = figures.iter().filter(|figure| figure.is_missed()).count();
    if missed > 0 {
        bail!("{missed} of {} figures miss their limit", figures.len());
    }
    Ok(())
}

struct Benches<'a> {
    target: &'a Path,
    profile: &'a str,
    /// Built when the first bench asks for them.
    binaries: Option<Binaries>,
}

impl Benches<'_> {
    fn measure(&mut self, bench: Bench) -> anyhow::Result<Vec<Figure>> {
        match bench {
            Bench::Disk => self.disk(),
            Bench::Size => self.size(),
            Bench::Start => self.start(),
            Bench::Idle => self.idle(),
            Bench::Children => self.children(),
            Bench::Runs => self.runs(),
            Bench::Lanes => self.lanes(),
            Bench::Lists => self.lists(),
            Bench::Recover => self.recover(),
            Bench::Turn => self.turn(),
            Bench::Compact => self.compact(),
        }
    }

    fn disk(&self) -> anyhow::Result<Vec<Figure>> {
        let folder = self.state_folder()?;
        let syncs = disk::syncs(folder.path(), Duration::from_secs(DISK_SECONDS))?;
        let slowest = millis(syncs.slowest_percent);
        Ok(vec![
            Figure::new("raw 4 KiB appends with fdatasync", syncs.per_second, "/s"),
            Figure::new("one of them, slowest in a hundred", slowest, "ms"),
        ])
    }

    fn size(&mut self) -> anyhow::Result<Vec<Figure>> {
        let binary = &self.binaries()?.windlass;
        let bytes = binary.metadata().context("the binary is not there")?.len();
        let size = Figure::new("binary", megabytes(bytes), "MB");
        Ok(vec![size.with(Limit::AtMost(30.0))])
    }

    fn start(&mut self) -> anyhow::Result<Vec<Figure>> {
        let mut to_ready = Vec::new();
        let mut to_answer = Vec::new();
        for _ in 0..STARTS {
            let folder = self.state_folder()?;
            let gateway = Gateway::start(&self.binaries()?.windlass, folder.path())?;
            to_ready.push(gateway.ready_after.as_secs_f64() * 1e3);
            let (_, took) = gateway.ask(&["status", "--json"])?;
            to_answer.push(took.as_secs_f64() * 1e3);
            gateway.stop()?;
        }
        Ok(vec![
            Figure::new("from exec to ready, empty folder, median", median(&mut to_ready), "ms")
                .with(Limit::AtMost(100.0)),
            Figure::new("`windlass status --json`, median", median(&mut to_answer), "ms"),
        ])
    }

    fn idle(&mut self) -> anyhow::Result<Vec<Figure>> {
        let folder = self.state_folder()?;
        let gateway = Gateway::start(&self.binaries()?.windlass, folder.path())?;
        std::thread::sleep(Duration::from_secs(IDLE_SECONDS));
        let memory = memory::of(gateway.pid())?;
        gateway.stop()?;
        Ok(vec![
            Figure::new("memory, idle", megabytes(memory.resident_bytes), "MB")
                .with(Limit::AtMost(25.0)),
            Figure::new("memory, highest", megabytes(memory.peak_bytes), "MB"),
        ])
    }

    fn children(&mut self) -> anyhow::Result<Vec<Figure>> {
        let folder = self.state_folder()?;
        let Binaries { windlass, stub } = self.binaries()?;
        let model = Model::start(stub)?;
        let gateway = Gateway::start_with(windlass, folder.path(), children::settings(&model))?;
        let took = children::drive(&mut gateway.connect()?, &gateway.database())?;
        let memory = memory::of(gateway.pid())?;
        let refused = model.refused()?;
        gateway.stop()?;
        model.stop()?;
        let children = children::CHILDREN as f64;
        Ok(vec![
            Figure::new("children of one parent, each announced exactly once", children, "")
                .with(Limit::AtLeast(children)),
            Figure::new("requests that the model refused", refused as f64, "")
                .with(Limit::AtMost(0.0)),
            Figure::new("from the message to the answer", took.as_secs_f64(), "s"),
            Figure::new(
                "memory, highest, with a thousand children",
                megabytes(memory.peak_bytes),
                "MB",
            ),
        ])
    }

    fn runs(&mut self) -> anyhow::Result<Vec<Figure>> {
        let folder = self.state_folder()?;
        let seconds = Duration::from_secs(DISK_SECONDS);
        let raw = || disk::syncs(folder.path(), seconds).map(|syncs| syncs.per_second);
        let windlass = &self.binaries()?.windlass;
        let before = raw()?;
        let gateway = Gateway::start_with(windlass, folder.path(), runs::settings())?;
        let rate = runs::drive(&mut gateway.connect()?, &gateway.database())?;
        let memory = memory::of(gateway.pid())?;
        gateway.stop()?;
        // The disk's rate swings, so it is read on both sides.
        let raw = (before + raw()?) / 2.0;
        let sessions = runs::SESSIONS;
        Ok(vec![
            Figure::new(format!("durable runs, {sessions} sessions"), rate.runs_per_second, "/s")
                .with(Limit::AtLeast(500.0)),
            Figure::new("raw syncs of the same disk, before and after", raw, "/s"),
            Figure::new("durable runs for each raw sync", rate.runs_per_second / raw, ""),
            Figure::new("a run, median", millis(rate.waits.median), "ms"),
            Figure::new("a run, slowest in a hundred", millis(rate.waits.slowest_percent), "ms"),
            Figure::new("memory, highest, with durable runs", megabytes(memory.peak_bytes), "MB"),
        ])
    }

    fn lanes(&mut self) -> anyhow::Result<Vec<Figure>> {
        let folder = self.state_folder()?;
        let gateway =
            Gateway::start_with(&self.binaries()?.windlass, folder.path(), lanes::settings())?;
        let (mut client, database) = (gateway.connect()?, gateway.database());
        lanes::drive(&mut client, &database, 0..lanes::FIRST)?;
        let first = memory::of(gateway.pid())?.resident_bytes;
        let took = lanes::drive(&mut client, &database, lanes::FIRST..lanes::INPUTS)?;
        let last = memory::of(gateway.pid())?.resident_bytes;
        let wrong = lanes::out_of_order(&database)?;
        gateway.stop()?;
        let runs = (lanes::INPUTS - lanes::FIRST) as f64;
        let raw = disk::syncs(folder.path(), Duration::from_secs(DISK_SECONDS))?.per_second;
        let meanwhile = self.fairness()?;
        // Each tree has its turn, and eight of a kind are at work when the small one comes.
        let fair = (lanes::SMALL * 2 + 16) as f64;
        Ok(vec![
            Figure::new("waiting inputs of 1,000 sessions, out of order", wrong as f64, "")
                .with(Limit::AtMost(0.0)),
            Figure::new("from one start to the next", took.as_secs_f64() * 1e3 / runs, "ms"),
            Figure::new("runs for each raw sync of the disk", runs / took.as_secs_f64() / raw, ""),
            Figure::new("ends in a tree of 1,000 until one of 10 is done", meanwhile as f64, "")
                .with(Limit::AtMost(fair)),
            Figure::new("memory after 500 runs", megabytes(first), "MB"),
            Figure::new("memory after 10,000 runs", megabytes(last), "MB"),
            Figure::new("the second for each of the first", last as f64 / first as f64, "")
                .with(Limit::AtMost(1.2)),
        ])
    }

    fn fairness(&mut self) -> anyhow::Result<u64> {
        let folder = self.state_folder()?;
        let Binaries { windlass, stub } = self.binaries()?;
        let model = Model::start(stub)?;
        let settings = lanes::tree_settings(&model);
        let gateway = Gateway::start_with(windlass, folder.path(), settings)?;
        let meanwhile = lanes::fairness(&mut gateway.connect()?, &gateway.database())?;
        gateway.stop()?;
        model.stop()?;
        Ok(meanwhile)
    }

    fn lists(&mut self) -> anyhow::Result<Vec<Figure>> {
        let folder = self.planted()?;
        let windlass = &self.binaries()?.windlass;
        let gateway = Gateway::start_with(windlass, folder.path(), lists::settings())?;
        let ready = gateway.ready_after;
        let seen = lists::drive(&mut gateway.connect()?, &gateway.database(), gateway.pid())?;
        gateway.stop()?;
        let raw = disk::syncs(folder.path(), Duration::from_secs(DISK_SECONDS))?;
        let kib = |bytes: f64| bytes / 1024.0;
        let (update, message) = (seen.update, seen.message);
        let slow = |what: &str, waits: waits::Waits| {
            let name = format!("{what}, slowest in a hundred");
            Figure::new(name, millis(waits.slowest_percent), "ms")
        };
        Ok(vec![
            Figure::new("from exec to ready with 100,000 sessions", millis(ready), "ms"),
            Figure::new("list 50 of 100,000 sessions, slowest", millis(seen.list.slowest), "ms")
                .with(Limit::AtMost(50.0)),
            Figure::new(
                "`status` with 100,000 sessions, slowest",
                millis(seen.status.slowest),
                "ms",
            )
            .with(Limit::AtMost(50.0)),
            Figure::new(
                "`health` with 100,000 sessions, slowest",
                millis(seen.health.slowest),
                "ms",
            )
            .with(Limit::AtMost(50.0)),
            Figure::new("of a core, with nothing to do", seen.idle_cpu * 100.0, "%")
                .with(Limit::AtMost(1.0)),
            Figure::new("change one session, median", millis(update.waits.median), "ms"),
            slow("change one session", update.waits).with(Limit::AtMost(10.0)),
            Figure::new("accept a message, median", millis(message.waits.median), "ms"),
            slow("accept a message", message.waits).with(Limit::AtMost(10.0)),
            Figure::new("a raw sync, slowest in a hundred", millis(raw.slowest_percent), "ms"),
            Figure::new("written to change one session, log and all", kib(update.bytes), "KiB")
                .with(Limit::AtMost(16.0)),
            Figure::new("of that appended to the log", kib(update.log_bytes), "KiB"),
            Figure::new("written for a message and its run", kib(message.bytes), "KiB"),
            Figure::new("of that appended to the log", kib(message.log_bytes), "KiB"),
            Figure::new("in so many commits", message.commits, ""),
        ])
    }

    /// A folder with a hundred thousand sessions in it.
    fn planted(&mut self) -> anyhow::Result<TempDir> {
        let folder = self.state_folder()?;
        let gateway = Gateway::start(&self.binaries()?.windlass, folder.path())?;
        let path = gateway.database().path().to_owned();
        gateway.stop()?;
        lists::plant(&path)?;
        Ok(folder)
    }

    fn recover(&mut self) -> anyhow::Result<Vec<Figure>> {
        let folder = self.planted()?;
        let Binaries { windlass, stub } = self.binaries()?;
        let model = Model::start(stub)?;
        let settings = || recover::settings(&model);
        let gateway = Gateway::start_with(windlass, folder.path(), settings())?;
        recover::open(&mut gateway.connect()?, &gateway.database())?;
        // A gateway that goes out of scope is killed.
        drop(gateway);
        let start = Instant::now();
        let gateway = Gateway::start_with(windlass, folder.path(), settings())?;
        let ready = gateway.ready_after;
        recover::at_work(&gateway.database(), 1)?;
        let took = start.elapsed();
        drop(gateway);
        model.stop()?;
        let runs = recover::RUNS;
        Ok(vec![
            Figure::new(format!("from exec to ready, {runs} runs to recover"), millis(ready), "ms"),
            Figure::new("from exec until all are at work again", took.as_secs_f64(), "s")
                .with(Limit::AtMost(5.0)),
        ])
    }

    fn turn(&mut self) -> anyhow::Result<Vec<Figure>> {
        let folder = self.state_folder()?;
        let Binaries { windlass, stub } = self.binaries()?;
        let model = Model::start(stub)?;
        let gateway = Gateway::start_with(windlass, folder.path(), turn::settings(&model))?;
        let cost = turn::drive(&mut gateway.connect()?, &model, gateway.pid())?;
        gateway.stop()?;
        model.stop()?;
        let mut figures = vec![
            Figure::new("a turn without its model", millis(cost.overhead), "ms"),
            Figure::new("of a core, for a turn", millis(cost.core), "ms"),
            Figure::new("request of a trivial turn", cost.request_bytes / 1024.0, "KiB"),
            Figure::new("requests for each turn", cost.requests, "").with(Limit::AtMost(1.0)),
        ];
        figures.extend(self.growth()?);
        Ok(figures)
    }

    /// Memory with a thousand sessions of fifty entries each, and after more turns in them.
    fn growth(&mut self) -> anyhow::Result<Vec<Figure>> {
        let folder = self.state_folder()?;
        let windlass = &self.binaries()?.windlass;
        let gateway = Gateway::start_with(windlass, folder.path(), lanes::settings())?;
        let (mut client, database) = (gateway.connect()?, gateway.database());
        let resident = || memory::of(gateway.pid()).map(|memory| memory.resident_bytes);
        let idle = resident()?;
        let first = lanes::SESSIONS * turn::TURNS_OF_A_SESSION;
        lanes::drive(&mut client, &database, 0..first)?;
        let before = resident()?;
        lanes::drive(&mut client, &database, first..first + turn::MORE_TURNS)?;
        let after = resident()?;
        gateway.stop()?;
        let grown = after.saturating_sub(before) as f64 / turn::MORE_TURNS as f64;
        Ok(vec![
            Figure::new("memory, idle", megabytes(idle), "MB"),
            Figure::new("memory, 1,000 sessions of 50 entries", megabytes(before), "MB"),
            Figure::new("memory after 10,000 turns more", megabytes(after), "MB"),
            Figure::new("memory that a turn leaves behind", grown, "bytes")
                .with(Limit::AtMost(1024.0)),
        ])
    }

    fn compact(&mut self) -> anyhow::Result<Vec<Figure>> {
        let folder = self.state_folder()?;
        let Binaries { windlass, stub } = self.binaries()?;
        let script = compact::write_script(folder.path())?;
        let model = Model::start_narrow(stub, compact::WINDOW, &script, compact::TAKES)?;
        let gateway = Gateway::start_with(windlass, folder.path(), compact::settings(&model))?;
        let seen = compact::drive(&gateway, &model)?;
        gateway.stop()?;
        model.stop()?;
        let (alone, meanwhile) = (seen.alone.slowest_percent, seen.meanwhile.slowest_percent);
        let sessions = compact::SESSIONS;
        let of = |what: &str| format!("an answer to one of {sessions} sessions, {what}");
        Ok(vec![
            Figure::new(of("median, alone"), millis(seen.alone.median), "ms"),
            Figure::new(of("median, beside it"), millis(seen.meanwhile.median), "ms"),
            Figure::new(of("slowest in a hundred, alone"), millis(alone), "ms"),
            Figure::new(of("slowest in a hundred, beside it"), millis(meanwhile), "ms"),
            Figure::new("the last for each of that alone", millis(meanwhile) / millis(alone), "")
                .with(Limit::AtMost(1.1)),
            Figure::new("compactions meanwhile", seen.compactions as f64, "")
                .with(Limit::AtLeast(10.0)),
            Figure::new("refusals as too long meanwhile", seen.refusals as f64, "")
                .with(Limit::AtLeast(1.0)),
            Figure::new("windows that its results would fill", seen.windows, "")
                .with(Limit::AtLeast(10.0)),
        ])
    }

    fn binaries(&mut self) -> anyhow::Result<&Binaries> {
        if self.binaries.is_none() {
            self.binaries = Some(Binaries::build(self.target, self.profile)?);
        }
        Ok(self.binaries.as_ref().expect("built just now"))
    }

    fn state_folder(&self) -> anyhow::Result<TempDir> {
        let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(self.target);
        folder.with_context(|| format!("cannot make a folder in {}", self.target.display()))
    }
}

/// The machine's load of the last minute: processes that wanted a core.
fn load() -> anyhow::Result<Figure> {
    let text = std::fs::read_to_string("/proc/loadavg").context("benches need Linux's /proc")?;
    let load = text.split(' ').next().and_then(|word| word.parse().ok());
    let load = load.with_context(|| format!("odd text in /proc/loadavg: {text:?}"))?;
    let cores = std::thread::available_parallelism()?;
    Ok(Figure::new(format!("load before, on {cores} cores"), load, ""))
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// The value in the middle, once in order.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_value_in_the_middle() {
        assert_eq!(median(&mut [9.0, 1.0, 5.0]), 5.0);
        assert_eq!(median(&mut [7.0]), 7.0);
    }
}
