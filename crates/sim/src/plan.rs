//! The plan of a simulated life: what people do, within which limits, and what goes wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use machine::Limits;
use machine::Refusal;
use machine::approve::{ExecMode, ExecRules};
use machine::event::Inbound;
use machine::limits::{
    AgentLimits, AllowAgents, Budgets, Compaction, ProviderLimits, QueueLimits, Rate, Retention,
};
use machine::policy::{AgentRules, Entry, ProviderRules, ToolFact, ToolLists, ToolRules};
use machine::queue::{Drop, QueueMode};
use machine::rows::{InboxKind, LaneName};
use types::excerpt;
use types::{AgentId, Budget, EffectClass, MessageId, MicroUsd, Price, SessionKey, Timestamp};

use crate::fault::Faults;
use crate::order::{self, Order};
use crate::rng::Rng;

/// When a life begins. Any time will do, as long as it is always the same.
pub const BIRTH: Timestamp = Timestamp(1_700_000_000_000);

/// Bytes of a result that is long, in lives in which that makes a difference.
pub const LONG_RESULT: usize = 2_000;

/// From here on nothing goes wrong any more, and everything comes to rest.
const CALM_AFTER: Duration = Duration::from_secs(240);

/// A message of a person, sent until it is accepted or refused for good.
#[derive(Debug)]
pub struct Letter {
    /// Next time that it is sent.
    pub at: Timestamp,
    pub inbound: Inbound,
    /// It goes into the session of a child, whichever there is then.
    pub to_child: bool,
    /// It has been submitted, and there is no answer yet.
    pub on_way: bool,
    pub accepted: Option<MessageId>,
    pub refused: Option<Refusal>,
}

impl Letter {
    pub fn new(at: Timestamp, inbound: Inbound) -> Letter {
        Letter { at, inbound, to_child: false, on_way: false, accepted: None, refused: None }
    }
}

/// A person stops something.
#[derive(Debug)]
pub struct Stop {
    pub at: Timestamp,
    /// This session; a task that is open then if none.
    pub session: Option<SessionKey>,
    pub on_way: bool,
    pub done: bool,
}

/// What is fixed about a life before it begins.
#[derive(Debug)]
pub struct Plan {
    pub seed: u64,
    pub limits: Limits,
    pub faults: Faults,
    pub calm: Timestamp,
    /// Raised events that one commit has room for.
    pub room: usize,
    pub letters: Vec<Letter>,
    pub stops: Vec<Stop>,
    pub orders: Vec<Order>,
    /// Do providers answer in other names than they were asked by, now and then?
    pub renames: bool,
}

impl Plan {
    /// A life in which nothing happens and nothing goes wrong.
    pub fn quiet(seed: u64) -> Plan {
        Plan {
            seed,
            limits: limits(),
            faults: Faults::default(),
            calm: BIRTH + CALM_AFTER,
            room: usize::MAX,
            letters: Vec::new(),
            stops: Vec::new(),
            orders: Vec::new(),
            renames: false,
        }
    }

    /// The life of a seed.
    pub fn of(seed: u64) -> Plan {
        let mut rng = Rng::new(seed);
        let mut plan = Plan::quiet(seed);
        plan.faults = Faults::of(&mut rng);
        plan.renames = seed % 8 == 5;
        plan.room = if rng.chance(300) { rng.below(3) as usize } else { usize::MAX };
        vary(&mut plan.limits, &mut rng);
        keep_warm(&mut plan.limits, seed);
        keep_for_a_while(&mut plan.limits, seed);
        cap(&mut plan.limits, seed);
        keep_ends(&mut plan.limits, seed);
        fall_back(&mut plan.limits, seed);
        squeeze(&mut plan.limits, seed);
        ask(&mut plan.limits, seed);
        for n in 0..1 + rng.below(8) {
            let letter = letter(&mut rng, n);
            plan.letters.push(letter);
        }
        if has_contexts(seed) {
            pad(&mut plan.letters, seed);
            plan.orders = order::compactions(seed, session);
        }
        if rng.chance(600) {
            for _ in 0..1 + rng.below(3) {
                let at = BIRTH + Duration::from_millis(rng.below(120_000));
                let session = rng.chance(500).then(|| session(&mut rng));
                plan.stops.push(Stop { at, session, on_way: false, done: false });
            }
        }
        plan.orders.extend(order::random(seed, session));
        plan.orders.extend(order::asks(seed, session));
        plan.orders.extend(order::retries(seed, session));
        plan.orders.extend(order::flows(seed, session));
        plan
    }
}

/// Limits of two agents and one model.
pub fn limits() -> Limits {
    // Sessions stay where a scenario has left them, unless it is about that.
    let (allow_agents, archive_after) = (AllowAgents::All, None);
    let agent = AgentLimits { allow_agents, archive_after, ..AgentLimits::of("m") };
    let ops: AgentId = "ops".parse().expect("an agent id");
    let tools = ToolRules { catalogue: catalogue(), ..ToolRules::default() };
    Limits {
        tools,
        agents: BTreeMap::from([(AgentId::main(), agent.clone()), (ops, agent)]),
        models: BTreeMap::from([("m".to_owned(), 2_000)]),
        ..Limits::default()
    }
}

/// Tools of every effect, by the word of the effect, and those that the machine carries out.
fn catalogue() -> Vec<ToolFact> {
    const OWN: &[&str] =
        &["sessions_spawn", "sessions_yield", "sessions_send", "subagents", "flows"];
    let of_effects =
        EffectClass::ALL.iter().map(|effect| fact(effect.as_str(), *effect, "runtime"));
    let own = OWN.iter().map(|name| fact(name, EffectClass::Internal, "sessions"));
    of_effects.chain(own).collect()
}

fn fact(name: &str, effect: EffectClass, group: &str) -> ToolFact {
    ToolFact {
        name: name.to_owned(),
        effect,
        groups: vec![group.to_owned()],
        description: String::new(),
    }
}

/// Does this life have budgets? Lives that older seeds have found stay as they were.
pub fn has_budgets(seed: u64) -> bool {
    seed / 100 % 5 == 4
}

/// Can calls of this life go to other models and accounts? Lives that older seeds have found stay
/// as they were.
pub fn has_fallbacks(seed: u64) -> bool {
    seed.is_multiple_of(10)
}

/// Agents whose calls may go elsewhere: to two accounts of one provider, to another, or both.
fn fall_back(limits: &mut Limits, seed: u64) {
    if !has_fallbacks(seed) {
        return;
    }
    let mut rng = Rng::about(seed, "fallbacks");
    for model in ["p/a", "p/a#one", "p/a#two", "q/b", "q/b#one", "r/c"] {
        limits.models.insert(model.to_owned(), 2_000);
    }
    if rng.chance(600) {
        let accounts = ["one", "two"].map(str::to_owned).to_vec();
        limits.accounts.insert("p".to_owned(), accounts);
    }
    if rng.chance(300) {
        let concurrent = Some(1 + rng.below(3) as u32);
        limits
            .providers
            .insert("p".to_owned(), ProviderLimits { concurrent, ..Default::default() });
    }
    // What the second choice may not do, and is asked to by a prefix of the first.
    if seed.is_multiple_of(20) {
        let lists = ToolLists { deny: vec![Entry::of("opaque")], ..ToolLists::default() };
        let denied = ProviderRules { profile: None, lists };
        limits.tools.providers.insert("q".to_owned(), denied.clone());
        limits.tools.providers.insert("p/a".to_owned(), ProviderRules::default());
        limits.tools.providers.insert("r/c".to_owned(), denied);
    }
    for agent in limits.agents.values_mut() {
        agent.model = "p/a".to_owned();
        let others = ["q/b", "r/c"].iter().filter(|_| rng.chance(600));
        agent.fallbacks = others.map(|model| (*model).to_owned()).collect();
        if rng.chance(300) {
            agent.child_model = Some("r/c".to_owned());
            agent.child_fallbacks = vec!["p/a".to_owned()];
        }
    }
}

/// Are people asked in this life? Lives that older seeds have found stay as they were.
pub fn has_questions(seed: u64) -> bool {
    seed / 100 % 5 == 3
}

/// Modes of `exec` that ask, and deadlines short enough that some answers come too late.
fn ask(limits: &mut Limits, seed: u64) {
    if !has_questions(seed) {
        return;
    }
    let mut rng = Rng::about(seed, "questions");
    for agent in limits.agents.values_mut() {
        let modes = [ExecMode::Ask, ExecMode::Ask, ExecMode::Auto, ExecMode::Allowlist];
        agent.exec = ExecRules {
            mode: *rng.pick(&modes),
            allow: vec!["cargo *".to_owned()],
            wait: Duration::from_millis(2_000 + rng.below(60_000)),
            ..ExecRules::default()
        };
    }
}

/// Prices, and caps of the operator, tight enough that lives run into them.
fn cap(limits: &mut Limits, seed: u64) {
    if !has_budgets(seed) {
        return;
    }
    let mut rng = Rng::about(seed, "budgets");
    let cents = |cents: u64| MicroUsd(cents * 10_000);
    let (input, output) = (cents(10), cents(50));
    let price = Price { input, output, cache_read: cents(1), cache_write: cents(12) };
    let price = rng.chance(800).then_some(price);
    limits.rates.insert("m".to_owned(), Rate { price, output_max: 10 + rng.below(200) });
    let mut tokens = |chance, least| {
        let tokens = least + rng.below(4_000);
        Budget { usd: None, tokens: rng.chance(chance).then_some(tokens) }
    };
    limits.budgets =
        Budgets { day: tokens(300, 2_000), agent: tokens(200, 2_000), tree: tokens(400, 1_000) };
    let (budget, child_budget) = (tokens(300, 600), tokens(300, 300));
    for agent in limits.agents.values_mut() {
        (agent.budget, agent.child_budget) = (budget, child_budget);
    }
}

/// Do the conversations of this life grow until they have to be compacted?
pub fn has_contexts(seed: u64) -> bool {
    seed / 100 % 5 == 2
}

/// A small window, and a tool with which notes can be written.
fn squeeze(limits: &mut Limits, seed: u64) {
    if !has_contexts(seed) {
        return;
    }
    let mut rng = Rng::about(seed, "contexts");
    limits.models.insert("m".to_owned(), 1_500 + rng.below(4_000));
    limits.compaction = Compaction {
        enabled: rng.chance(800),
        soft_permille: 500 + rng.below(450) as u32,
        keep_recent_tokens: rng.below(2_000),
        notes: rng.chance(700),
    };
    limits.tools.catalogue.push(ToolFact {
        name: "write".to_owned(),
        effect: EffectClass::Probed,
        groups: vec!["fs".to_owned()],
        description: String::new(),
    });
}

/// Some messages are long, and some are longer than any window.
fn pad(letters: &mut [Letter], seed: u64) {
    for (n, letter) in letters.iter_mut().enumerate() {
        let mut rng = Rng::about(seed, &format!("letter {n}"));
        let long = if rng.chance(150) { 40_000 } else { 2_500 };
        if rng.chance(600) {
            letter.inbound.body += &" and more".repeat(1 + rng.below(long / 9) as usize);
        }
    }
}

fn vary(limits: &mut Limits, rng: &mut Rng) {
    for lane in LaneName::ALL {
        limits.lanes.insert(*lane, 1 + rng.below(4) as u32);
    }
    limits.spawn_depth_max = 1 + rng.below(4) as u32;
    limits.children_max = 1 + rng.below(5) as u32;
    limits.tasks_per_tree_max = 3 + rng.below(20) as u32;
    limits.queue = QueueLimits {
        mode: *rng.pick(QueueMode::ALL),
        debounce: Duration::from_millis(*rng.pick(&[0, 500, 10_000])),
        cap: 1 + rng.below(8) as usize,
        drop: *rng.pick(Drop::ALL),
    };
    rules(&mut limits.tools, rng);
    if rng.chance(300) {
        let of_account = ProviderLimits {
            rpm: rng.chance(500).then(|| 1 + rng.below(20) as u32),
            tpm: rng.chance(500).then(|| 50 + rng.below(4_000)),
            concurrent: rng.chance(500).then(|| 1 + rng.below(3) as u32),
        };
        limits.providers.insert(String::new(), of_account);
    }
    if rng.chance(200) {
        let timeout = Duration::from_millis(1_000 + rng.below(30_000));
        limits.agents.values_mut().for_each(|agent| agent.child_timeout = Some(timeout));
    }
}

/// Draws how long children are kept. It has dice of its own, so that lives which older seeds have
/// found stay as they were.
fn keep_warm(limits: &mut Limits, seed: u64) {
    let mut rng = Rng::about(seed, "warm");
    for agent in limits.agents.values_mut() {
        agent.archive_after =
            rng.chance(500).then(|| Duration::from_millis(1_000 + rng.below(120_000)));
        agent.allow_reuse_main = rng.chance(500);
    }
}

/// Draws after how long what is done with is deleted: in half of all lives while they go on, and
/// no sooner than anybody sends a message again.
fn keep_for_a_while(limits: &mut Limits, seed: u64) {
    let mut rng = Rng::about(seed, "retention");
    if rng.chance(500) {
        limits.retention = Retention {
            keep: Duration::from_millis(30_000 + rng.below(60_000)),
            every: Duration::from_millis(500 + rng.below(10_000)),
        };
    }
}

/// Draws whether long results enter by their ends, and whether anybody can read the rest.
fn keep_ends(limits: &mut Limits, seed: u64) {
    let mut rng = Rng::about(seed, "kept");
    if rng.chance(300) {
        limits.result_bytes_max = LONG_RESULT / 2;
        let reader = fact(excerpt::READER, EffectClass::Pure, "sessions");
        limits.tools.catalogue.extend(rng.chance(800).then_some(reader));
    }
}

/// Who may do what, so that agents name tools that they do not have.
fn rules(tools: &mut ToolRules, rng: &mut Rng) {
    let some = |rng: &mut Rng| -> Vec<Entry> {
        let words = ["pure", "idempotent", "probed", "opaque", "sessions_*", "group:runtime"];
        words.iter().filter(|_| rng.chance(150)).map(|word| Entry::of(word)).collect()
    };
    tools.lists.deny = if rng.chance(100) { some(rng) } else { Vec::new() };
    tools.subagents.deny = some(rng);
    for id in ["main", "ops"] {
        let id: AgentId = id.parse().expect("an agent id");
        let mut own =
            AgentRules { repeats_max: rng.chance(800).then_some(3), ..AgentRules::default() };
        own.lists.deny = some(rng);
        if rng.chance(300) {
            own.delegate.insert("*".to_owned(), some(rng));
        }
        tools.agents.insert(id, own);
    }
}

fn session(rng: &mut Rng) -> SessionKey {
    let keys = ["agent:main:main", "agent:main:main", "agent:main:thread:plan", "agent:ops:main"];
    rng.pick(&keys).parse().expect("a session key")
}

fn letter(rng: &mut Rng, n: u64) -> Letter {
    // Now and then two messages share a key: the second is a copy, or a conflict.
    let key = if rng.chance(100) { n / 2 } else { n };
    let inbound = Inbound {
        body: format!("message {}", if rng.chance(50) { n } else { key }),
        mode: rng.chance(500).then(|| *rng.pick(QueueMode::ALL)),
        timeout_ms: rng.chance(150).then(|| rng.between(1, 60_000)),
        origin: (*rng.pick(&["web", "web", "chat"])).to_owned(),
        idem_key: format!("key-{key}"),
        ..inbound(&session(rng), "")
    };
    let at = BIRTH + Duration::from_millis(rng.below(90_000));
    Letter { to_child: rng.chance(150), ..Letter::new(at, inbound) }
}

/// A message of the owner from the web.
pub fn inbound(session: &SessionKey, body: &str) -> Inbound {
    Inbound {
        session: session.clone(),
        kind: InboxKind::User,
        body: body.to_owned(),
        idem_key: String::new(),
        origin: "web".to_owned(),
        owner: "owner".to_owned(),
        mode: None,
        model: None,
        label: None,
        timeout_ms: None,
        sender: None,
        hops: 0,
    }
}
