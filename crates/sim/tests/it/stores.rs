//! The simulator keeps its rows itself, so that nothing a database would hide stays hidden. Here
//! its lives are lived again in the stores that ship: same answers, same actions, same rows.

use std::sync::Arc;

use machine::audit::{audit, since};
use machine::check::World;
use machine::{Answer, Limits};
use sim::world::Batch;
use sim::{Plan, Sim, script};
use store::query::Reads;
use store::{Done, Memory, Moment, Options, Sqlite, Store};
use types::{NodeId, Timestamp};

/// Lives a seed, with all that an event raises in its own commit, as the embedded stores do.
fn lived(seed: u64) -> Sim {
    let plan = Plan { room: usize::MAX, ..Plan::of(seed) };
    let mut sim = Sim::new(plan, script::random(seed));
    sim.check_every = u64::MAX;
    sim.batches = Some(Vec::new());
    sim.run_to_idle();
    sim
}

fn moment(batch: &Batch) -> Moment {
    Moment { now: batch.now, seed: batch.seed }
}

fn assert_same(seed: u64, batch: &Batch, done: Done) {
    let what = || format!("seed {seed}, {:?}", batch.events);
    let answers: Result<Vec<Answer>, _> = done.answers.into_iter().collect();
    let answers = answers.unwrap_or_else(|bug| panic!("{bug}: {}", what()));
    // Events that were left by a commit have answers nobody waits for; here nothing is left.
    assert_eq!(answers, batch.done.answers, "{}", what());
    assert_eq!(done.actions, batch.done.actions, "{}", what());
    assert_eq!(done.notices, batch.done.notices, "{}", what());
}

/// Puts the rows in an order that does not depend on the store.
fn sorted(mut world: World) -> World {
    // A body that a session had before, and no session has now.
    let named: Vec<_> = world.sessions.iter().filter_map(|row| row.policy_hash).collect();
    world.policies.retain(|hash, _| named.contains(hash));
    world.lanes.sort_by_key(|row| row.name);
    world.nodes.sort_by_key(|row| row.id);
    world.sessions.sort_by(|a, b| a.key.cmp(&b.key));
    world.transcripts.sort_by_key(|row| row.session_id);
    world.episodes.sort_by_key(|row| (row.session_id, row.n));
    world.entries.sort_by_key(|row| (row.session_id, row.seq));
    world.inbox.sort_by_key(|row| row.seq);
    world.runs.sort_by_key(|row| row.id);
    world.steps.sort_by_key(|row| (row.run, row.n));
    world.tasks.sort_by_key(|row| row.id);
    world.timers.sort();
    world.ledger.sort_by_key(|row| (row.run, row.step));
    world.flows.sort_by_key(|row| row.id);
    world.flow_nodes.sort_by_key(|row| (row.flow, row.place));
    world.gates.sort_by(|a, b| a.key.cmp(&b.key));
    world.approvals.sort_by_key(|row| row.id);
    world.grants.sort_by(|a, b| (&a.agent, &a.pattern).cmp(&(&b.agent, &b.pattern)));
    world.halts.sort_by_key(|halt| halt.run);
    world.kept.sort_by_cached_key(|row| (row.root_key.to_string(), row.hash));
    world
}

fn limits(sim: &Sim) -> Arc<Limits> {
    Arc::new(sim.limits.clone())
}

#[test]
fn the_store_in_memory_does_the_same() {
    for seed in (0..40).chain(300..308) {
        let mut sim = lived(seed);
        let batches = sim.batches.take().expect("it was asked for");
        let memory = Memory::new(limits(&sim), batches[0].node, machine::apply);
        for batch in &batches {
            memory.take_over(batch.node);
            let done = memory.commit_now(moment(batch), &batch.events);
            assert_same(seed, batch, done);
        }
        let world = memory.ask(|query| query.snapshot()).expect("memory answers");
        assert_eq!(sorted(world), sorted(sim.disk.world), "seed {seed}");
    }
}

fn open(dir: &tempfile::TempDir, sim: &Sim, node: NodeId) -> Sqlite {
    let options = Options { ballast_bytes: 0, ..Options::default() };
    Sqlite::open_with(dir.path(), &options, limits(sim), node, machine::apply)
        .expect("a new folder can be used")
}

/// Each start of a gateway opens the file anew.
#[tokio::test]
async fn the_store_in_a_file_does_the_same() {
    for seed in (0..6).chain(300..303) {
        let mut sim = lived(seed);
        let batches = sim.batches.take().expect("it was asked for");
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut node = batches[0].node;
        let mut file = open(&dir, &sim, node);
        for (n, batch) in batches.iter().enumerate() {
            if batch.node != node {
                drop(file);
                node = batch.node;
                file = open(&dir, &sim, node);
            }
            let done = file.commit(moment(batch), batch.events.clone()).await;
            assert_same(seed, batch, done.expect("the disk holds"));
            if n % 20 == 0 {
                audits_agree(&file, &sim.limits, batch.now).await;
            }
        }
        // Much later, when leases are over, timers late and results to be forgotten.
        for hours in [0, 1, 24, 6 * 24, 30 * 24] {
            let after = std::time::Duration::from_secs(hours * 3_600);
            audits_agree(&file, &sim.limits, batches[batches.len() - 1].now + after).await;
        }
        let world = file.snapshot().await.expect("the file can be read");
        assert_eq!(sorted(world), sorted(sim.disk.world), "seed {seed}");
    }
}

/// An audit of what is open finds what an audit of all rows finds.
async fn audits_agree(file: &Sqlite, limits: &Limits, now: Timestamp) {
    let told = |world: &World| {
        let mut found = audit(world, now, limits);
        found.sort_by(|a, b| (a.fault, &a.what).cmp(&(b.fault, &b.what)));
        found
    };
    let open = file.open_rows(since(now, limits)).await.expect("the file can be read");
    let all = file.snapshot().await.expect("the file can be read");
    assert_eq!(told(&open), told(&all));
}
