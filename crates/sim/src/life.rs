//! One seed, from birth to rest: what came of it, or how it failed.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::ops::AddAssign;
use std::panic::{AssertUnwindSafe, catch_unwind};

use machine::rows::EntryKind;

use crate::coverage::Coverage;
use crate::plan::Plan;
use crate::script;
use crate::world::Sim;

/// One life in so many is looked at after every commit; the others after every eighth. A look
/// costs more than a commit does.
const WATCHED: u64 = 8;

/// Lines of a trace that are shown of a seed that failed.
const SHOWN: usize = 40;

/// A life that has come to rest with all its promises kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lived {
    pub commits: u64,
    pub crashes: u64,
    pub runs: usize,
    pub tasks: usize,
    /// Results of children that were taken in.
    pub heard: usize,
    pub coverage: Coverage,
}

impl AddAssign for Lived {
    fn add_assign(&mut self, other: Lived) {
        self.commits += other.commits;
        self.crashes += other.crashes;
        self.runs += other.runs;
        self.tasks += other.tasks;
        self.heard += other.heard;
        self.coverage += &other.coverage;
    }
}

impl fmt::Display for Lived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lived { commits, crashes, runs, tasks, heard, .. } = self;
        write!(f, "{commits} commits, {crashes} crashes, {runs} runs, {tasks} tasks, ")?;
        write!(f, "{heard} results taken in")
    }
}

/// A seed for which a promise was broken.
#[derive(Clone, Debug)]
pub struct Failure {
    pub seed: u64,
    pub what: String,
    /// The last events.
    pub last: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.last {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "seed {} failed: {}", self.seed, self.what)
    }
}

impl std::error::Error for Failure {}

/// The simulator of a seed.
pub fn sim(seed: u64) -> Sim {
    let mut sim = Sim::new(Plan::of(seed), script::random(seed));
    sim.check_every = if seed.is_multiple_of(WATCHED) { 1 } else { WATCHED };
    sim
}

/// Lives a seed. A seed that fails is lived again, for its trace.
pub fn live(seed: u64) -> Result<Lived, Failure> {
    attempt(&mut sim(seed)).map_err(|what| {
        let (last, again) = traced(seed, SHOWN);
        let what = match again {
            Err(again) if again == what => what,
            other => format!("{what}; and the second time {other:?}: it is not deterministic"),
        };
        Failure { seed, what, last }
    })
}

/// Lives a seed with its trace, of which the last `most` lines are kept.
pub fn traced(seed: u64, most: usize) -> (Vec<String>, Result<Lived, String>) {
    let mut sim = sim(seed);
    (sim.trace, sim.trace_max) = (Some(VecDeque::new()), most);
    let lived = attempt(&mut sim);
    (sim.trace.take().unwrap_or_default().into(), lived)
}

fn attempt(sim: &mut Sim) -> Result<Lived, String> {
    catch_unwind(AssertUnwindSafe(|| {
        sim.run_to_idle();
        let world = &sim.disk.world;
        let mut coverage = sim.disk.coverage.clone();
        coverage.rest(world);
        sim.disk.forgotten.iter().for_each(|row| coverage.count(format!("row {} gone", row.kind)));
        let heard = world.entries.iter().filter(|entry| entry.kind == EntryKind::Announce);
        Lived {
            commits: sim.commits,
            crashes: sim.crashes,
            runs: world.runs.len(),
            tasks: world.tasks.len(),
            heard: heard.count(),
            coverage,
        }
    }))
    .map_err(|payload| reason(&*payload))
}

fn reason(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".into())
}
