//! Plays the cases: a gateway in this process, on a folder that is gone afterwards.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use machine::budget;
use machine::check::World;
use machine::rows::{GateKey, GateState, InboxState, Outcome, Place, Run};
use machine::run::{Phase, WaitKind};
use protocol::Method;
use serde_json::json;
use store::{Reader, Reads};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use types::{AgentId, MicroUsd, SessionKey, Usage};
use uuid::Uuid;

use super::case::{Case, TIME_MAX};
use super::plan::Plan;
use super::scene::{End, Moment, Scene};
use super::stage::{Counted, Stage, WORKER, Worker};
use crate::client::{Client, Target};
use crate::commands::demo::folder::Folder;
use crate::setup::Setup;
use crate::wire::{self, Until};

/// How often it is looked whether a case is over.
const LOOK: Duration = Duration::from_millis(150);

/// How long a case that is stopped may take to stand still.
const STOP: Duration = Duration::from_secs(15);

/// Entries of a case that are read: a dozen answers, each with some calls.
const ENTRIES_MAX: usize = 500;

/// What has come of all cases.
#[derive(Debug)]
pub struct Played {
    pub scenes: Vec<Scene>,
    /// Calls of the model, what it was sent and has said.
    pub calls: u64,
    pub usage: Usage,
    pub cost: MicroUsd,
    /// Calls whose numbers are ours, because they were cut.
    pub estimated: u64,
}

/// Plays all cases, one after the other, so that their parts of the money are their own.
pub async fn play(plan: &Plan, setup: &Setup) -> anyhow::Result<Played> {
    let folder = Folder::make()?;
    let token = Uuid::new_v4().simple().to_string();
    let stage = Arc::new(Stage::new(Uuid::new_v4().simple().to_string()));
    let config = plan.config(setup, folder.path(), &token);
    let house = setup.elsewhere(config, folder.path());
    let limits = house.limits()?;

    let done = CancellationToken::new();
    let (listening, url) = oneshot::channel();
    let (cast, name) = (Arc::clone(&stage), plan.model.to_string());
    let change = move |models: &mut wire::Models| {
        for (target, model) in models.iter_mut() {
            if GateKey::base(target) == name {
                let real = Arc::clone(&model.provider);
                model.provider = Arc::new(Counted { model: real, stage: Arc::clone(&cast) });
            } else if *target == format!("scripted/{WORKER}") {
                model.provider = Arc::new(Worker(Arc::clone(&cast)));
            }
        }
    };
    let gateway = wire::run_with(house, Until::Told(done.clone()), change, |url| {
        let _ = listening.send(url.to_owned());
    });
    tokio::pin!(gateway);

    let cases = async {
        let url = url.await.context("the gateway of the probe did not start")?;
        let reader = Reader::open(&folder.path().join(store::sqlite::FILE))?;
        let target = Target { url, token: Some(token) };
        let theatre = Theatre { reader, target, limits, stage };
        let played = theatre.all().await;
        done.cancel();
        played
    };
    tokio::pin!(cases);
    let played = tokio::select! {
        ended = &mut gateway => match ended {
            Ok(()) => bail!("the probe was stopped"),
            Err(error) => return Err(error.context("the gateway of the probe")),
        },
        played = &mut cases => played,
    };
    // In good order, so that nothing of it is left.
    done.cancel();
    gateway.await?;
    played
}

struct Theatre {
    reader: Reader,
    target: Target,
    limits: machine::Limits,
    stage: Arc<Stage>,
}

impl Theatre {
    async fn all(&self) -> anyhow::Result<Played> {
        let mut scenes = Vec::new();
        for case in Case::ALL {
            let scene = self.case(*case).await?;
            // Who cannot be asked the first cannot be asked the others.
            let hopeless = scene.is_mute();
            scenes.push(scene);
            if hopeless {
                break;
            }
        }
        let world = self.reader.snapshot().await?;
        let mut played = Played {
            scenes,
            calls: 0,
            usage: Usage::default(),
            cost: MicroUsd::default(),
            estimated: 0,
        };
        for row in world.ledger.iter().filter(|row| row.model != WORKER) {
            played.calls += 1;
            played.usage += row.usage;
            played.cost += row.cost;
            played.estimated += u64::from(row.estimated);
        }
        Ok(played)
    }

    async fn case(&self, case: Case) -> anyhow::Result<Scene> {
        self.stage.begin(case);
        let key = SessionKey::resolve(&format!("thread:{case}"), &AgentId::main())?;
        let mut client = Client::connect(&self.target).await?;
        let params = json!({
            "message": case.message(), "idempotencyKey": case.as_str(), "sessionKey": key,
        });
        let id = client.send(Method::Agent, params).await?;
        client.response(&id).await.context("the gateway of the probe did not take a message")?;
        // What the gateway says goes on to nobody; it is read in the rows.
        drop(client);
        let stopped = self.until_over(&key).await?;
        if stopped.is_some() {
            self.stop(&key).await?;
        }
        let world = self.reader.snapshot().await?;
        let transcript = world.transcripts.iter().rfind(|of| of.session_key == key);
        let session = transcript.context("the case has no transcript")?.session_id;
        let entries = self.reader.entries(session, 0, ENTRIES_MAX).await?;
        let moments = entries.iter().map(Moment::read).collect::<anyhow::Result<_>>()?;
        let end = match stopped {
            _ if self.stage.was_too_long() => End::TooManyCalls,
            Some(end) => end,
            None => end_of(&world, &key),
        };
        Ok(Scene { case, moments, end })
    }

    /// Waits until nothing of the case is open, and says why if it has to be stopped.
    async fn until_over(&self, key: &SessionKey) -> anyhow::Result<Option<End>> {
        let watched = async {
            loop {
                let world = self.reader.snapshot().await?;
                if is_still(&world) {
                    return Ok(None);
                }
                if is_out_of_money(&world, &self.limits) {
                    return Ok(Some(End::OutOfBudget));
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(TIME_MAX, watched).await {
            Ok(over) => over,
            Err(_) => {
                let world = self.reader.snapshot().await?;
                Ok(Some(End::TimedOut { waits_for: waits_for(&world, key) }))
            }
        }
    }

    async fn stop(&self, key: &SessionKey) -> anyhow::Result<()> {
        let mut client = Client::connect(&self.target).await?;
        client.call(Method::SessionsAbort, json!({ "key": key })).await?;
        let stopped = async {
            while !is_still(&self.reader.snapshot().await?) {
                tokio::time::sleep(LOOK).await;
            }
            Ok(())
        };
        let stopped = tokio::time::timeout(STOP, stopped).await;
        stopped.unwrap_or_else(|_| bail!("a case of the probe cannot be stopped"))
    }
}

/// Is nothing open, and does nothing wait to be taken in?
fn is_still(world: &World) -> bool {
    let waits =
        |row: &machine::rows::InboxRow| row.state == InboxState::Queued && row.place != Place::Hold;
    let open = |run: &Run| !matches!(run.phase, Phase::Ended(_));
    !world.runs.iter().any(open) && !world.inbox.iter().any(waits)
}

/// Does a run wait for money that nobody will add?
fn is_out_of_money(world: &World, limits: &machine::Limits) -> bool {
    world.runs.iter().filter(|run| run.phase == Phase::Waiting(WaitKind::Budget)).any(|run| {
        let row = world.budgets.iter().find(|row| Some(&row.key) == run.budget.as_ref());
        row.is_some_and(|row| budget::is_over(world, limits, row, run))
    })
}

fn waits_for(world: &World, key: &SessionKey) -> Option<String> {
    let run = world.runs.iter().rfind(|run| run.session_key == *key)?;
    let closed = world.gates.iter().find(|gate| gate.state != GateState::Open);
    match (run.phase, closed) {
        (Phase::Waiting(WaitKind::Gate), Some(gate)) => {
            Some(format!("the provider takes no calls: {}", gate.reason.as_deref().unwrap_or("-")))
        }
        (Phase::Waiting(kind), _) => Some(format!("it waits: {}", kind.as_str())),
        _ => None,
    }
}

fn end_of(world: &World, key: &SessionKey) -> End {
    let failed = |run: &&Run| {
        run.session_key == *key && !matches!(run.phase, Phase::Ended(Outcome::Completed))
    };
    let failed = world.runs.iter().rfind(failed);
    match failed.and_then(|run| Some((run.error_class?, run.error.clone()?))) {
        Some((class, why)) => End::Failed { class, why },
        None => End::Answered,
    }
}
