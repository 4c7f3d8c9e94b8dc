//! Actions: each becomes one supervised task, and its end an event. A panic is an end too.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use machine::effect::{Check, ToolStart};
use machine::event::{ModelFailure, Overflow, ToolDone};
use machine::{Action, Event};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tools::{Processes, leftover};
use types::{FailureClass, RunId};

use crate::clock::Clock;
use crate::handle::Handle;
use crate::model_call::{self, Prefixes};
use crate::{deliver, more, pin, tool_call};

/// How long aborted tools have to end their processes: the grace between SIGTERM and SIGKILL, and
/// a second.
const ABORT_GRACE: Duration = Duration::from_secs(4);

/// After that, how long what is left of a run may take to die. Together it is less than the five
/// seconds after which nothing of a stopped run may live.
const DEAD_WITHIN: Duration = Duration::from_millis(600);

/// And how long its calls may then take to come back.
const BACK_WITHIN: Duration = Duration::from_millis(300);

/// Starts what the machine has decided.
#[derive(Debug)]
pub struct Performer {
    shared: Arc<Shared>,
}

/// What a task of the performer needs.
#[derive(Debug)]
pub struct Shared {
    pub handle: Handle,
    /// The commands that go on in the background, whatever configuration they were started with.
    pub processes: Arc<Processes>,
    pub prefixes: Prefixes,
    pub clock: Arc<dyn Clock>,
    tasks: Mutex<HashMap<RunId, Tasks>>,
    /// For the one who waits until nothing is out.
    changed: Notify,
    /// For all who wait until a run has nothing out.
    ended: Notify,
}

/// The tasks of one run.
#[derive(Debug, Default)]
struct Tasks {
    cancel: CancellationToken,
    count: usize,
}

impl Performer {
    pub fn new(handle: Handle, clock: Arc<dyn Clock>) -> Performer {
        let processes = handle.present().toolbox.shared_processes();
        if let Err(error) = processes.recover() {
            tracing::warn!(%error, "what earlier commands have written cannot be read");
        }
        let prefixes = Prefixes::default();
        let (tasks, changed, ended) = (Mutex::default(), Notify::new(), Notify::new());
        let shared = Shared { handle, processes, prefixes, clock, tasks, changed, ended };
        Performer { shared: Arc::new(shared) }
    }

    /// Starts what a commit has decided, each action as a task of its own.
    ///
    /// Calls of our own tools that are started again after a restart are handed in one behind the
    /// other: a yield means those that were called before it.
    pub fn start(&self, actions: Vec<Action>) {
        let mut own: BTreeMap<RunId, Vec<Action>> = BTreeMap::new();
        for action in actions {
            match action {
                Action::Abort { run } => self.shared.abort(run),
                Action::Prove { run, look } => self.prove(run, look),
                Action::StartTool(start) if self.is_own(&start) => {
                    own.entry(start.run).or_default().push(Action::StartTool(start));
                }
                action => self.begin(run_of(&action), vec![action]),
            }
        }
        for (run, actions) in own {
            self.begin(run, actions);
        }
    }

    /// Is it a call of the sessions' own tools?
    fn is_own(&self, start: &ToolStart) -> bool {
        let edition = self.shared.handle.of_run(start.run, &start.session.agent);
        edition.tool(&start.name).is_none()
    }

    /// Starts one task that does `actions` in their order. Each may be done again after a crash,
    /// so each carries its own key.
    fn begin(&self, run: RunId, actions: Vec<Action>) {
        let cancel = self.shared.enter(run);
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            for action in actions {
                let on_panic = on_panic(&action);
                let work = perform(&shared, action, cancel.clone());
                let event = AssertUnwindSafe(work).catch_unwind().await.unwrap_or(on_panic);
                if let Some(event) = event {
                    shared.handle.hand_in(event).await;
                }
            }
            shared.leave(run);
        });
    }

    /// Looks after a run that was ended, and says what of it is left. It is no work of the run, so
    /// nothing waits for it.
    fn prove(&self, run: RunId, look: u32) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            // What went on beside the run's calls has the same time as they have.
            let ending = shared.processes.end_run(run);
            tokio::join!(shared.calls_left(run, ABORT_GRACE), ending);
            let pids = leftover::end(run, DEAD_WITHIN).await;
            // A call whose processes have just been ended comes back at once.
            let calls = shared.calls_left(run, BACK_WITHIN).await;
            let left = !pids.is_empty() || calls > 0;
            // It is looked again and again; once is enough to be said.
            if left && look == 1 {
                tracing::warn!(%run, ?pids, calls, "not proved to be over");
            }
            shared.handle.hand_in(Event::Halted { run, look, pids, calls }).await;
        });
    }

    /// Tasks that are out.
    pub fn in_flight(&self) -> usize {
        self.shared.locked().values().map(|tasks| tasks.count).sum()
    }

    /// Waits until a task has ended.
    pub async fn idle(&self) {
        self.shared.changed.notified().await;
    }

    /// Cancels everything, and gives tools the time to end their processes.
    pub async fn abort_all(&self) {
        for tasks in self.shared.locked().values() {
            tasks.cancel.cancel();
        }
        let all_gone = async {
            while self.in_flight() > 0 {
                self.idle().await;
            }
        };
        let all_gone = tokio::time::timeout(ABORT_GRACE, all_gone);
        let _ = tokio::join!(all_gone, self.shared.processes.end());
    }
}

impl Shared {
    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<RunId, Tasks>> {
        // The map is consistent between any two of its calls, so a poisoned lock is usable.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, run: RunId) -> CancellationToken {
        let mut tasks = self.locked();
        let of_run = tasks.entry(run).or_default();
        of_run.count += 1;
        of_run.cancel.clone()
    }

    fn leave(&self, run: RunId) {
        let mut tasks = self.locked();
        if let Some(of_run) = tasks.get_mut(&run) {
            of_run.count -= 1;
            if of_run.count == 0 {
                tasks.remove(&run);
            }
        }
        drop(tasks);
        self.ended.notify_waiters();
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    /// Waits until the tasks of an aborted run have ended, and says how many have not in time.
    async fn calls_left(&self, run: RunId, within: Duration) -> u32 {
        let count = || self.locked().get(&run).map_or(0, |tasks| tasks.count);
        let all_gone = async {
            loop {
                // Asked for before the count is looked at: a task may end in between.
                let changed = self.ended.notified();
                if count() == 0 {
                    return;
                }
                changed.await;
            }
        };
        let _late = tokio::time::timeout(within, all_gone).await;
        u32::try_from(count()).unwrap_or(u32::MAX)
    }

    fn abort(&self, run: RunId) {
        if let Some(of_run) = self.locked().get(&run) {
            of_run.cancel.cancel();
        }
    }
}

/// Does the work of one action. `None` says that it was cancelled, and nobody waits for it.
async fn perform(shared: &Shared, action: Action, cancel: CancellationToken) -> Option<Event> {
    match action {
        Action::Pin { run, token, agent, role, tools, .. } => {
            let settled = tokio::select! {
                settled = more::settle(shared, run, token) => settled,
                () = cancel.cancelled() => return None,
            };
            if settled.is_some() {
                return settled;
            }
            let (prefix, tokens) = pin::render(shared, run, &agent, role, &tools).await;
            Some(Event::Pinned { run, token, prefix, tokens })
        }
        Action::CallModel(call) => {
            // Dropping the call closes the connection, and with it the provider's work.
            tokio::select! {
                event = model_call::call_model(shared, &call) => Some(event),
                () = cancel.cancelled() => None,
            }
        }
        Action::StartTool(start) => tool_call::call_tool(shared, &start, cancel).await,
        Action::Check(check) => {
            tokio::select! {
                missing = deliver::missing(shared, &check) => {
                    let Check { run, token, step, .. } = check;
                    Some(Event::Checked { run, token, step, missing })
                }
                () = cancel.cancelled() => None,
            }
        }
        Action::Abort { .. } | Action::Prove { .. } => None,
    }
}

fn run_of(action: &Action) -> RunId {
    match action {
        Action::Pin { run, .. } | Action::Abort { run } | Action::Prove { run, .. } => *run,
        Action::CallModel(call) => call.run,
        Action::StartTool(start) => start.run,
        Action::Check(check) => check.run,
    }
}

/// What is told if the work panics. A prefix has no step that could fail, so its run ends: it
/// would hold its slot until the next start.
fn on_panic(action: &Action) -> Option<Event> {
    match action {
        Action::Pin { run, .. } => {
            let why = "the rendering of the prefix panicked".to_owned();
            Some(Event::Broken { run: *run, why })
        }
        Action::Abort { .. } | Action::Prove { .. } => None,
        Action::CallModel(call) => Some(model_panicked(call)),
        Action::StartTool(start) => Some(tool_panicked(start)),
        Action::Check(check) => {
            let missing = vec!["it could not be looked for: the check panicked, a bug".to_owned()];
            let (run, token, step) = (check.run, check.token, check.step);
            Some(Event::Checked { run, token, step, missing })
        }
    }
}

fn model_panicked(call: &machine::effect::ModelCall) -> Event {
    Event::ModelFailed {
        run: call.run,
        token: call.token,
        step: call.step,
        failure: ModelFailure {
            class: FailureClass::Internal,
            message: "the adapter of the model's provider panicked, a bug".to_owned(),
            retry_after_ms: None,
            paid: true,
            overflow: Overflow::default(),
        },
    }
}

fn tool_panicked(start: &ToolStart) -> Event {
    let text = format!("The tool {} panicked, a bug. Its outcome is unknown.", start.name);
    Event::ToolFinished {
        run: start.run,
        token: start.token,
        step: start.step,
        result: ToolDone { text, is_error: true, unknown: true, background: false },
    }
}
