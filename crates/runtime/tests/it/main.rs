//! The driver over both stores, with the model that follows a script.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use machine::event::Inbound;
use machine::limits::AgentLimits;
use machine::policy::ToolRules;
use machine::rows::{InboxKind, Outcome};
use machine::{Answer, Event, Limits, Notice};
use providers::{Script, Scripted};
use runtime::driver::Incarnation;
use runtime::{Agent, Clock, Config, Driver, Handle, LiveEvent, Model, SystemClock};
use store::{Done, Memory, Moment, Reads, Sqlite, Store, StoreError};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use types::{AgentId, NodeId};
use uuid::Uuid;

/// A driver that runs.
struct Running {
    handle: Handle,
    shutdown: CancellationToken,
    driver: JoinHandle<Result<(), runtime::DriverError>>,
    folder: Arc<TempDir>,
}

fn limits() -> Arc<Limits> {
    limits_on("scripted/demo")
}

/// One agent, and one model.
fn limits_on(model: &str) -> Arc<Limits> {
    let agent = AgentLimits::of(model);
    let toolbox = tools::Toolbox::builtin(&tools::Config::default());
    let tools = ToolRules { catalogue: runtime::catalogue(&toolbox, None), ..ToolRules::default() };
    Arc::new(Limits {
        tools,
        agents: BTreeMap::from([(AgentId::main(), agent)]),
        models: BTreeMap::from([(model.to_owned(), 200_000)]),
        ..Limits::default()
    })
}

fn node() -> NodeId {
    let clock = SystemClock;
    let nobody = NodeId::new(Uuid::nil());
    NodeId::new(machine::At::new(clock.now(), clock.seed(), nobody).mint())
}

/// The script as a model of this name, for one agent with a workspace of this name.
fn config_on(folder: &TempDir, model: &str, workspace: &str) -> Config {
    let scripted = Model {
        provider: Arc::new(Scripted::new(Script::demo())),
        name: "demo".to_owned(),
        max_output_tokens: 4_096,
    };
    let agent = Agent::at(folder.path().join(workspace));
    Config {
        limits: limits_on(model),
        agents: BTreeMap::from([(AgentId::main(), agent)]),
        models: BTreeMap::from([(model.to_owned(), scripted)]),
        tuning: BTreeMap::new(),
        tools: tools::Config::default(),
        more: None,
        skills: Arc::default(),
        drain: Duration::from_secs(20),
    }
}

impl Running {
    fn start(folder: Arc<TempDir>, store: Arc<dyn Store>, node: NodeId) -> Running {
        let config = config_on(&folder, "scripted/demo", "workspace");
        let shutdown = CancellationToken::new();
        let clock = Arc::new(SystemClock);
        let (driver, handle) = Driver::new(store, clock, Arc::new(config), shutdown.clone());
        let who = Incarnation { node, pid: std::process::id(), version: "test".to_owned() };
        Running { handle, shutdown, driver: tokio::spawn(driver.run(who)), folder }
    }

    fn on_disk(folder: Arc<TempDir>) -> Running {
        let node = node();
        let store = Sqlite::open(folder.path(), limits(), node, machine::apply).unwrap();
        Running::start(folder, Arc::new(store), node)
    }

    async fn send(&self, text: &str) -> Answer {
        let event = Event::MessageReceived(Inbound {
            session: "agent:main:main".parse().unwrap(),
            kind: InboxKind::User,
            body: text.to_owned(),
            idem_key: format!("key of {text}"),
            origin: "{}".to_owned(),
            owner: "operator".to_owned(),
            mode: None,
            model: None,
            label: None,
            timeout_ms: None,
            sender: None,
            hops: 0,
        });
        self.handle.submit(event).await.unwrap()
    }

    async fn stop(self) -> Arc<TempDir> {
        self.shutdown.cancel();
        self.driver.await.unwrap().unwrap();
        self.folder
    }
}

/// Waits for the end of a run that a person has opened.
async fn answer(watch: &mut tokio::sync::broadcast::Receiver<Arc<LiveEvent>>) -> (Outcome, String) {
    let ended = async {
        loop {
            let event = watch.recv().await.unwrap();
            if let LiveEvent::Notice(Notice::RunEnded(end)) = &*event
                && end.session.to_string() == "agent:main:main"
            {
                return (end.outcome, end.text.clone().unwrap_or_default());
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("no answer")
}

/// A person asks, three children work with real tools, and one answer quotes all three.
async fn main_job(running: Running) {
    let mut watch = running.handle.subscribe();
    let Answer::Accepted(accepted) = running.send("Research A, analyse B, draft C.").await else {
        panic!("not accepted");
    };
    assert!(!accepted.duplicate);
    let (outcome, text) = answer(&mut watch).await;
    assert_eq!(outcome, Outcome::Completed, "{text}");
    let world = running.handle.store().snapshot().await.unwrap();
    assert_eq!(machine::check::check(&world, &limits()), []);
    assert_eq!(world.tasks.len(), 3);
    assert!(world.tasks.iter().all(|task| task.outcome == Some(Outcome::Completed)));
    running.stop().await;
}

#[tokio::test]
async fn the_main_job_in_memory() {
    let node = node();
    let store = Arc::new(Memory::new(limits(), node, machine::apply));
    main_job(Running::start(Arc::new(TempDir::new().unwrap()), store, node)).await;
}

#[tokio::test]
async fn the_main_job_on_disk() {
    main_job(Running::on_disk(Arc::new(TempDir::new().unwrap()))).await;
}

/// A drain in the middle of the main job lets every call end, and the next start goes on.
#[tokio::test]
async fn a_drain_loses_nothing() {
    let running = Running::on_disk(Arc::new(TempDir::new().unwrap()));
    running.send("Research A, analyse B, draft C.").await;
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    let folder = running.stop().await;

    let running = Running::on_disk(folder);
    let mut watch = running.handle.subscribe();
    let (outcome, text) = answer(&mut watch).await;
    assert_eq!(outcome, Outcome::Completed, "{text}");
    let world = running.handle.store().snapshot().await.unwrap();
    assert_eq!(machine::check::check(&world, &limits()), []);
    assert!(world.runs.iter().all(|run| run.recoveries == 0));
    assert!(world.ledger.iter().all(|row| !row.estimated), "a call was cut by the drain");
    let Answer::Accepted(again) = running.send("Research A, analyse B, draft C.").await else {
        panic!("not accepted");
    };
    assert!(again.duplicate, "the same key is the same message, also after a restart");
    running.stop().await;
}

/// Another configuration under an open run: it goes on with its model, which is not there any more;
/// what is opened after that has the new one, and nothing earlier is kept when it is over.
#[tokio::test]
async fn an_open_run_keeps_its_configuration() {
    let running = Running::on_disk(Arc::new(TempDir::new().unwrap()));
    let mut watch = running.handle.subscribe();
    running.send("Research A, analyse B, draft C.").await;
    let other = config_on(&running.folder, "other/demo", "elsewhere");
    assert_eq!(running.handle.reconfigure(other).await, Ok(1), "one run was open");
    assert_eq!(running.handle.config().models.keys().collect::<Vec<_>>(), ["other/demo"]);
    assert_eq!(running.handle.limits().held.runs(), 1);

    let (outcome, text) = answer(&mut watch).await;
    assert_eq!(outcome, Outcome::Completed, "{text}");
    let world = running.handle.store().snapshot().await.unwrap();
    assert_eq!(machine::check::check(&world, &running.handle.limits()), []);
    let (parents, children): (Vec<_>, Vec<_>) =
        world.runs.iter().partition(|run| run.task.is_none());
    assert!(parents.iter().all(|run| run.model == "scripted/demo"), "{parents:#?}");
    assert!(children.len() == 3 && children.iter().all(|run| run.model == "other/demo"));
    assert!(world.runs.iter().all(|run| run.phase.outcome() == Some(Outcome::Completed)));
    assert_eq!(running.handle.limits().held.runs(), 0, "it has been let go");
    running.stop().await;
}

/// A bug that strikes whenever a tool has finished.
fn buggy(state: &mut machine::State<'_>, event: Event) -> Answer {
    assert!(!matches!(event, Event::ToolFinished { .. }), "planted in the test");
    machine::apply(state, event)
}

/// A bug in the machine costs the run that it strikes, and nobody else: the run ends as failed, its
/// slot is free, its requester is told, and the person gets an answer.
#[tokio::test]
async fn a_bug_ends_the_run_that_it_strikes_and_no_other() {
    let node = node();
    let store = Arc::new(Memory::new(limits(), node, buggy));
    let running = Running::start(Arc::new(TempDir::new().unwrap()), store, node);
    let mut watch = running.handle.subscribe();
    running.send("Research A, analyse B, draft C.").await;
    let (outcome, text) = answer(&mut watch).await;
    assert_eq!(outcome, Outcome::Completed, "{text}");
    let world = running.handle.store().snapshot().await.unwrap();
    assert_eq!(machine::check::check(&world, &limits()), []);
    assert!(world.tasks.iter().all(|task| task.outcome == Some(Outcome::Failed)));
    let child = world.runs.iter().find(|run| run.task.is_some()).unwrap();
    assert!(child.error.as_deref().unwrap().contains("planted in the test"), "{:?}", child.error);
    running.stop().await;
}

/// A store on a disk that is full at will.
#[derive(Debug)]
struct Disk {
    store: Memory,
    full: AtomicBool,
}

#[async_trait]
impl Reads for Disk {
    async fn with_snapshot(&self, job: store::query::Job) -> Result<(), StoreError> {
        self.store.with_snapshot(job).await
    }
}

#[async_trait]
impl Store for Disk {
    async fn commit(&self, moment: Moment, events: Vec<Event>) -> Result<Done, StoreError> {
        if self.full.load(Ordering::Relaxed) {
            return Err(StoreError::Full { path: "/state/windlass.db".into() });
        }
        self.store.commit(moment, events).await
    }

    fn set_limits(&self, limits: Arc<Limits>) {
        self.store.set_limits(limits);
    }
}

/// A commit that fails without harm gives inputs back, and does not keep a gateway from stopping.
#[tokio::test]
async fn a_full_disk_gives_inputs_back_and_lets_go_of_the_driver() {
    let node = node();
    let memory = Memory::new(limits(), node, machine::apply);
    let disk = Arc::new(Disk { store: memory, full: AtomicBool::new(false) });
    let store = Arc::clone(&disk) as Arc<dyn Store>;
    let running = Running::start(Arc::new(TempDir::new().unwrap()), store, node);
    running.send("Research A, analyse B, draft C.").await;

    disk.full.store(true, Ordering::Relaxed);
    let stop = Event::Stop {
        session: "agent:main:main".parse().unwrap(),
        run: None,
        by: "owner".to_owned(),
    };
    let stopped = tokio::time::timeout(Duration::from_secs(10), running.handle.submit(stop));
    running.shutdown.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(10), running.driver);
    let (stopped, ended) = tokio::join!(stopped, ended);
    assert!(stopped.unwrap().is_err(), "nothing of it was stored");
    let error = ended.unwrap().unwrap().unwrap_err().to_string();
    assert!(error.contains("full"), "{error}");
}
