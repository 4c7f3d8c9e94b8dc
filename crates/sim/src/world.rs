//! A simulated life: rows that stay, work in flight that a crash takes, and time that jumps.
//!
//! The loop applies, commits, answers and acts in the same order as the real driver. What it
//! sees on the way is kept in [`Truth`], which knows more than the machine: what models were
//! really asked and which tools were really begun.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use machine::audit::{Fault, Finding, Severity, audit};
use machine::check::World;
use machine::event::Decision;
use machine::event::Inbound;
use machine::limits::RETENTION;
use machine::rows::{ApprovalState, BudgetKey, NodeState, Task};
use machine::{Answer, At, Event, Limits, Refusal};
use types::{MicroUsd, NodeId, SessionKey, Spend, TaskId, Timestamp};
use uuid::Uuid;

use crate::commit::Done;
use crate::disk::Disk;
use crate::fault::{Cut, Faults};
use crate::flight::Flight;
use crate::order::Order;
use crate::plan::{self, Letter, Plan, Stop, has_budgets, has_questions};
use crate::rng::Rng;
use crate::script::Script;
use crate::truth::Truth;

/// Commits after which a life is said not to come to rest. Most need some hundreds; one that does
/// not end has more rows with each, and each takes longer.
const COMMITS_MAX: u64 = 5_000;

/// Turns of the loop, with those that only move the clock.
const TURNS_MAX: u64 = 4 * COMMITS_MAX;

/// Commits between two audits, beside those after each start.
const AUDIT_EVERY: u64 = 8;

/// How long a restart takes.
const RESTART: Duration = Duration::from_millis(300);

/// A sender who has heard nothing tries again after this.
const PATIENCE: Duration = Duration::from_secs(3);

/// An event on its way into a commit, and who waits for the answer.
#[derive(Clone, Debug)]
pub struct Post {
    pub event: Event,
    pub from: From,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Letter(usize),
    Stop(usize),
    Order(usize),
    /// Work of this life.
    Flight,
    /// Work of a life that is over.
    Late,
    Gateway,
    /// The operator.
    Owner,
}

/// What one commit was made of: enough to do it again on another store.
#[derive(Clone, Debug)]
pub struct Batch {
    pub now: Timestamp,
    pub seed: u64,
    pub node: NodeId,
    pub events: Vec<Event>,
    /// What came of it here.
    pub done: Done,
}

/// One gateway's life over many processes.
pub struct Sim {
    pub seed: u64,
    /// See [`crate::plan::Plan::renames`].
    pub(crate) renames: bool,
    pub now: Timestamp,
    pub limits: Limits,
    /// The limits of its beginning, of which all later ones are made.
    pub(crate) base: Limits,
    pub disk: Disk,
    pub letters: Vec<Letter>,
    pub truth: Truth,
    pub commits: u64,
    pub crashes: u64,
    pub faults: Faults,
    pub(crate) rng: Rng,
    pub(crate) script: Script,
    pub(crate) flights: Vec<Flight>,
    pub(crate) pending: VecDeque<Post>,
    stops: Vec<Stop>,
    pub orders: Vec<Order>,
    pub(crate) calm: Timestamp,
    pub(crate) room: usize,
    left: Vec<Event>,
    pub(crate) node: Option<NodeId>,
    /// Commits between two looks at all invariants.
    pub check_every: u64,
    /// What has happened, a line each, if somebody wants to read it; the last ones, if no more fit.
    pub trace: Option<VecDeque<String>>,
    pub trace_max: usize,
    turns: u64,
    /// All commits, if somebody wants to do them again.
    pub batches: Option<Vec<Batch>>,
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim").field("seed", &self.seed).field("now", &self.now).finish()
    }
}

impl Sim {
    pub fn new(plan: Plan, script: Script) -> Sim {
        Sim {
            seed: plan.seed,
            now: plan::BIRTH,
            base: plan.limits.clone(),
            limits: plan.limits,
            disk: Disk::default(),
            letters: plan.letters,
            truth: Truth::default(),
            commits: 0,
            crashes: 0,
            renames: plan.renames,
            faults: plan.faults,
            rng: Rng::new(!plan.seed),
            script,
            flights: Vec::new(),
            pending: VecDeque::new(),
            stops: plan.stops,
            orders: plan.orders,
            calm: plan.calm,
            room: plan.room,
            left: Vec::new(),
            node: None,
            check_every: 1,
            trace: None,
            trace_max: usize::MAX,
            turns: 0,
            batches: None,
        }
    }

    /// Sends `body` to `session` as soon as there is a gateway that takes it.
    pub fn send(&mut self, session: &SessionKey, body: &str) {
        let idem_key = format!("sent-{}", self.letters.len());
        self.post(Inbound { idem_key, ..plan::inbound(session, body) });
    }

    pub fn post(&mut self, inbound: Inbound) {
        self.letters.push(Letter::new(self.now, inbound));
    }

    /// Stops `session`, until somebody confirms it.
    pub fn stop(&mut self, session: &SessionKey) {
        let session = Some(session.clone());
        self.stops.push(Stop { at: self.now, session, on_way: false, done: false });
    }

    /// Lives on until nothing is left to do, and looks whether all is well.
    pub fn run_to_idle(&mut self) {
        self.run_until(|_| false);
        self.check();
        crate::rest::check(self);
    }

    /// Lives on until `enough`, or until nothing is left to do.
    pub fn run_until(&mut self, enough: impl Fn(&Sim) -> bool) {
        while !enough(self) && self.turn() {
            self.turns += 1;
            let comes_to_rest = self.commits < COMMITS_MAX && self.turns < TURNS_MAX;
            assert!(comes_to_rest, "this life does not come to rest");
        }
    }

    /// One commit, or one jump of the clock. Says whether there was anything to do.
    fn turn(&mut self) -> bool {
        if self.now >= self.calm {
            self.faults = Faults::default();
        }
        if self.node.is_none() {
            self.boot();
        }
        if has_budgets(self.seed)
            && self.now >= self.calm
            && self.pending.is_empty()
            && self.rng.chance(100)
        {
            self.allow_more();
        }
        if has_questions(self.seed) && self.pending.is_empty() && self.rng.chance(150) {
            self.answer_a_question();
        }
        self.change_now_and_then();
        self.collect();
        if !self.pending.is_empty() || !self.left.is_empty() {
            self.commit_some();
            self.misfortune();
            return true;
        }
        if let Some(next) = self.next_time() {
            // Now and then the clock jumps further, so that much is due at once.
            let extra = if self.rng.chance(200) { self.rng.below(2_000) } else { 0 };
            self.now = next.max(self.now) + Duration::from_millis(extra);
            return true;
        }
        if self.draining() {
            self.pending.push_back(Post { event: Event::NodeStopped, from: From::Gateway });
            self.commit_some();
            self.crash();
            return true;
        }
        self.allow_more()
    }

    /// Nothing is left to do but what waits for money: a person allows more of it.
    fn allow_more(&mut self) -> bool {
        let waited_for: BTreeSet<BudgetKey> =
            self.disk.world.runs.iter().filter_map(|run| run.budget.clone()).collect();
        let more = Spend { usd: MicroUsd(200), tokens: 2_000 };
        for budget in &waited_for {
            let (budget, by) = (budget.clone(), "owner".to_owned());
            let event = Event::RaiseBudget { budget, by, more };
            self.pending.push_back(Post { event, from: From::Owner });
        }
        !waited_for.is_empty()
    }

    /// A person answers one of the calls that wait, or one that somebody has answered before; now
    /// and then what was allowed for good is taken back.
    fn answer_a_question(&mut self) {
        let asked = &self.disk.world.approvals;
        if asked.is_empty() {
            return;
        }
        let pending: Vec<_> =
            asked.iter().filter(|row| row.state == ApprovalState::Pending).collect();
        let one =
            if pending.is_empty() { self.rng.pick(asked).id } else { self.rng.pick(&pending).id };
        let decision = *self.rng.pick(Decision::ALL);
        let by = "owner".to_owned();
        let event = Event::Decide { approval: one, decision, by: by.clone() };
        self.pending.push_back(Post { event, from: From::Owner });
        if !self.disk.world.grants.is_empty() && self.rng.chance(100) {
            let grant = self.rng.pick(&self.disk.world.grants).clone();
            let event = Event::Revoke { agent: grant.agent, pattern: grant.pattern, by };
            self.pending.push_back(Post { event, from: From::Owner });
        }
    }

    /// A process starts and takes over what the one before has left.
    fn boot(&mut self) {
        self.now = self.now + RESTART;
        let node = NodeId::new(Uuid::from_u128(u128::from(self.rng.draw())));
        self.node = Some(node);
        let event = Event::NodeStarted { node, pid: 1, version: "sim".to_owned() };
        self.pending.push_front(Post { event, from: From::Gateway });
    }

    /// Memory and work in flight are gone; what was committed is not.
    pub fn crash(&mut self) {
        self.note(|| "crash".to_owned());
        self.disk.coverage.meets("crash", &self.disk.world);
        self.crashes += 1;
        self.node = None;
        self.left.clear();
        self.begin_anew();
        let patience = self.now + PATIENCE;
        for letter in self.letters.iter_mut().filter(|letter| letter.on_way) {
            (letter.on_way, letter.at) = (false, patience);
        }
        for stop in self.stops.iter_mut().filter(|stop| stop.on_way) {
            (stop.on_way, stop.at) = (false, patience);
        }
        for order in self.orders.iter_mut().filter(|order| order.on_way) {
            (order.on_way, order.at) = (false, patience);
        }
        self.pending.clear();
        self.lose_flights();
    }

    fn misfortune(&mut self) {
        let draining = self.draining();
        if self.rng.chance(self.faults.crash) {
            self.crash();
        } else if self.node.is_some() && !draining && self.rng.chance(self.faults.drain) {
            self.pending.push_back(Post { event: Event::Drain, from: From::Gateway });
        }
    }

    pub(crate) fn node_state(&self) -> Option<NodeState> {
        let mut nodes = self.disk.world.nodes.iter();
        nodes.find(|node| Some(node.id) == self.node).map(|node| node.state)
    }

    pub fn draining(&self) -> bool {
        self.node_state() == Some(NodeState::Draining)
    }

    pub fn drain(&mut self) {
        self.pending.push_back(Post { event: Event::Drain, from: From::Gateway });
    }

    /// Whatever is due now joins those who wait for a commit.
    fn collect(&mut self) {
        for (n, letter) in self.letters.iter_mut().enumerate() {
            let open = letter.accepted.is_none() && letter.refused.is_none();
            if open && !letter.on_way && letter.at <= self.now {
                letter.on_way = true;
                // Whichever it is, it stays the same when the message is sent again.
                let tasks = &self.disk.world.tasks;
                if std::mem::take(&mut letter.to_child) && !tasks.is_empty() {
                    letter.inbound.session = self.rng.pick(tasks).session_key.clone();
                }
                let event = Event::MessageReceived(letter.inbound.clone());
                self.pending.push_back(Post { event, from: From::Letter(n) });
            }
        }
        for n in 0..self.stops.len() {
            let stop = &self.stops[n];
            if stop.done || stop.on_way || stop.at > self.now {
                continue;
            }
            let target = stop.session.clone();
            let event = match target {
                Some(session) => Some(Event::Stop { session, run: None, by: "owner".to_owned() }),
                None => self.open_task().map(|task| Event::StopTask { task, by: "owner".into() }),
            };
            (self.stops[n].on_way, self.stops[n].done) = (event.is_some(), event.is_none());
            self.pending.extend(event.map(|event| Post { event, from: From::Stop(n) }));
        }
        self.collect_orders();
        self.land();
        let look = self.limits.retention.keep < RETENTION && self.disk.looks_at(self.now);
        if look || self.disk.next_wake().is_some_and(|due| due <= self.now) {
            self.pending.push_back(Post { event: Event::Tick, from: From::Gateway });
        }
        if self.rng.chance(30) {
            self.pending.push_back(Post { event: Event::Beat, from: From::Gateway });
        }
    }

    fn collect_orders(&mut self) {
        for (n, order) in self.orders.iter_mut().enumerate() {
            if order.heard.is_some() || order.on_way || order.at > self.now {
                continue;
            }
            let tasks = &self.disk.world.tasks;
            if std::mem::take(&mut order.of_child) && !tasks.is_empty() {
                order.session = self.rng.pick(tasks).session_key.clone();
            }
            if std::mem::take(&mut order.of_task) && !tasks.is_empty() {
                let open: Vec<&Task> = tasks.iter().filter(|task| order.means(task)).collect();
                let one = if open.is_empty() { self.rng.pick(tasks) } else { self.rng.pick(&open) };
                order.aim(one);
            }
            order.on_way = true;
            order.sent += 1;
            self.pending.push_back(Post { event: order.event(), from: From::Order(n) });
        }
    }

    fn open_task(&mut self) -> Option<TaskId> {
        let tasks = self.disk.world.tasks.iter();
        let open: Vec<TaskId> =
            tasks.filter(|task| task.outcome.is_none()).map(|task| task.id).collect();
        (!open.is_empty()).then(|| *self.rng.pick(&open))
    }

    fn next_time(&self) -> Option<Timestamp> {
        let flights = self.flights.iter().map(|flight| flight.due);
        if self.draining() {
            return flights.min();
        }
        let open = |letter: &&Letter| letter.accepted.is_none() && letter.refused.is_none();
        let letters = self.letters.iter().filter(open).map(|letter| letter.at);
        let stops = self.stops.iter().filter(|stop| !stop.done).map(|stop| stop.at);
        let orders = self.orders.iter().filter(|order| order.heard.is_none());
        let stops = stops.chain(orders.map(|order| order.at));
        flights.chain(letters).chain(stops).chain(self.disk.next_wake()).min()
    }

    /// Commits some of what is pending, answers, acts; or is cut on the way.
    fn commit_some(&mut self) {
        let most = *self.rng.pick(&[1, 1, 4, 64]);
        let size = most.min(self.pending.len());
        let posts: Vec<Post> = self.pending.drain(..size).collect();
        let cut = self.faults.draw_cut(&mut self.rng);
        self.now = self.now + Duration::from_millis(1);
        if cut == Some(Cut::Before) {
            self.note(|| format!("cut before {posts:?}"));
            return self.crash();
        }
        let was_draining = self.draining();
        let done = self.commit(&posts);
        self.truth.observe(&self.disk, &posts, &done, was_draining);
        let keep = self.limits.retention.keep.as_millis() as i64;
        self.truth.forgets_well(&self.disk, Timestamp(self.now.ms() - keep));
        if self.left.is_empty() {
            self.truth.stops_are_done(&self.disk, &posts, &done);
        }
        if self.commits.is_multiple_of(self.check_every) {
            self.check();
            let started = |post: &Post| matches!(post.event, Event::NodeStarted { .. });
            if posts.iter().any(started) || self.commits.is_multiple_of(AUDIT_EVERY) {
                self.audit();
            }
        }
        if cut == Some(Cut::After) {
            return self.crash();
        }
        for (post, answer) in posts.iter().zip(&done.answers) {
            self.hear(post, answer);
        }
        let started = match cut {
            Some(Cut::AfterAnswers) => 0,
            Some(Cut::AfterActions(most)) => most,
            _ => usize::MAX,
        };
        for action in done.actions.into_iter().take(started) {
            self.start(action);
        }
        if cut.is_some() {
            self.crash();
        }
    }

    fn commit(&mut self, posts: &[Post]) -> Done {
        let left = std::mem::take(&mut self.left);
        let before = left.len();
        let posted = posts.iter().map(|post| post.event.clone());
        let events: Vec<Event> = left.into_iter().chain(posted).collect();
        self.note(|| format!("commit {events:?}"));
        let (now, seed, node) = (self.now, self.rng.draw(), self.node.expect("a process runs"));
        let again = self.batches.as_ref().map(|_| events.clone());
        let mut at = At::new(now, seed, node);
        let mut done = self.disk.commit(&mut at, &self.limits, events, self.room);
        self.commits += 1;
        if let (Some(batches), Some(events)) = (&mut self.batches, again) {
            batches.push(Batch { now, seed, node, events, done: done.clone() });
        }
        done.answers.drain(..before);
        self.left = std::mem::take(&mut done.left);
        self.note(|| format!("answers {:?} actions {:?}", done.answers, done.actions));
        done
    }

    pub fn check(&self) {
        check(&self.disk.world, &self.limits);
    }

    /// Looks whether anything lies or hangs. Nobody beats for this node as often as a gateway does.
    fn audit(&self) {
        if !self.left.is_empty() || self.node_state() != Some(NodeState::Up) {
            return;
        }
        let world = &self.disk.world;
        let own = |finding: &Finding| {
            let run = finding.run_id.and_then(|id| self.disk.run_row(id));
            finding.fault == Fault::LeaseLost && run.is_some_and(|run| run.node == self.node)
        };
        let found = audit(world, self.now, &self.limits).into_iter();
        // The next turn looks at what is due; a debounce may be over when its timer is set.
        let is_due = |one: &Finding| matches!(one.fault, Fault::TimerOverdue);
        let lies = |one: &Finding| one.severity == Severity::Error && !own(one) && !is_due(one);
        let found: Vec<Finding> = found.filter(lies).collect();
        assert!(found.is_empty(), "the audit finds {found:#?}");
    }

    fn hear(&mut self, post: &Post, answer: &Answer) {
        match (post.from, answer) {
            (From::Letter(n), Answer::Accepted(accepted)) => {
                let letter = &mut self.letters[n];
                letter.on_way = false;
                let before = letter.accepted.replace(accepted.message);
                assert!(before.is_none_or(|id| id == accepted.message), "one key, two messages");
                // Some do not trust the answer.
                if self.rng.chance(self.faults.resent) {
                    let (letter, at) = (&mut self.letters[n], self.now + PATIENCE);
                    (letter.at, letter.accepted) = (at, None);
                }
            }
            (From::Letter(n), Answer::Refused(refusal)) => {
                let letter = &mut self.letters[n];
                letter.on_way = false;
                match refusal.retry_after_ms() {
                    Some(ms) => letter.at = self.now + Duration::from_millis(ms),
                    None => letter.refused = Some(refusal.clone()),
                }
            }
            (From::Stop(n), Answer::Stopped(_) | Answer::Refused(Refusal::SessionNotFound(_))) => {
                (self.stops[n].on_way, self.stops[n].done) = (false, true);
            }
            (From::Order(n), answer) => {
                if let Some(wait) = self.orders[n].hear(answer) {
                    self.orders[n].at = self.now + wait;
                } else if self.rng.chance(self.faults.resent) {
                    // Some do not trust the answer.
                    self.orders[n].heard = None;
                    self.orders[n].at = self.now + PATIENCE;
                }
            }
            (From::Late, answer) => {
                // With no room for raised events, a result may come before the take-over.
                let fenced = *answer == Answer::Fenced || self.room < usize::MAX;
                assert!(fenced, "a late result is taken: {:?}", post.event);
            }
            (From::Owner, Answer::Told { is_error: false, .. } | Answer::Decided(_)) => {}
            // Somebody has taken it back just before.
            (From::Owner, Answer::Done | Answer::Refused(Refusal::GrantNotFound { .. })) => {}
            (From::Flight | From::Gateway, Answer::Done | Answer::Fenced) => {}
            (from, answer) => panic!("{from:?} is answered {answer:?}"),
        }
    }

    /// Adds a line to the trace, if somebody reads it.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let at = self.now.since(plan::BIRTH).as_millis();
            trace.push_back(format!("{at} {}", line()));
            if trace.len() > self.trace_max {
                trace.pop_front();
            }
        }
    }
}

/// Looks at all invariants.
///
/// # Panics
///
/// If one is broken.
pub fn check(world: &World, limits: &Limits) {
    let found = machine::check::check(world, limits);
    let found: Vec<String> = found.iter().map(|violation| violation.to_string()).collect();
    assert!(found.is_empty(), "{}", found.join("; "));
}
