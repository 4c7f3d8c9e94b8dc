//! Work in flight: model calls, tools and pins, from their start to the hearing of what came.

use std::time::Duration;

use machine::effect::{ModelCall, ToolStart};
use machine::event::{CallPlan, ModelFailure, ModelReply, Overflow, ToolDone};
use machine::rows::{ApprovalState, EntryKind, GateKey};
use machine::{Action, Event};
use types::{AgentId, EffectClass, FailureClass, RunId, Timestamp, Usage};

use crate::plan::{LONG_RESULT, has_contexts};
use crate::rng::Rng;
use crate::script::{Asked, Said, reply};
use crate::world::{From, Post, Sim};

/// The name that a provider gives itself now and then: that of an edition of the model, or of
/// another.
fn answered_as(seed: u64, call: &ModelCall) -> Option<String> {
    let mut rng = Rng::about(seed, &format!("named {} {}", call.run, call.step));
    if !rng.chance(80) {
        return None;
    }
    let edition = format!("{}-2026-01-31", GateKey::base(&call.model));
    Some(if rng.chance(500) { edition } else { "another".to_owned() })
}

/// Something that comes to an end by itself.
#[derive(Clone, Debug)]
pub struct Flight {
    pub due: Timestamp,
    pub run: RunId,
    /// What will be heard of it.
    pub event: Event,
    /// The life that has begun it is over.
    pub late: bool,
}

impl Sim {
    /// Begins what the machine has asked for.
    pub(crate) fn start(&mut self, action: Action) {
        match action {
            Action::Pin { run, token, agent, role, .. } => {
                let prefix = format!("prefix of {agent}, {role}");
                // Now and then tools become known meanwhile: once for each life of a run.
                let news = token.nonce & 3 == 0 && self.limits.result_bytes_max < LONG_RESULT;
                let event = match news && self.truth.pinned_again.insert((run, token.nonce)) {
                    true => Event::PinAgain { run, token },
                    false => Event::Pinned { run, token, prefix, tokens: 500 },
                };
                self.take_off(run, event, 50);
            }
            Action::CallModel(call) => self.call_model(call),
            Action::StartTool(start) => self.start_tool(start),
            Action::Check(check) => {
                let (run, token, step) = (check.run, check.token, check.step);
                let missing = if self.rng.chance(500) { vec!["a.md".to_owned()] } else { vec![] };
                self.truth.checked.insert((run, step), missing.is_empty());
                self.take_off(run, Event::Checked { run, token, step, missing }, 500);
            }
            Action::Abort { run } => self.abort(run),
            Action::Prove { run, look } => {
                // Now and then something takes longer to die.
                let pids = if self.rng.chance(200) { vec![4_711] } else { Vec::new() };
                self.take_off(run, Event::Halted { run, look, pids, calls: 0 }, 4_000);
            }
        }
    }

    fn take_off(&mut self, run: RunId, event: Event, ms_max: i64) {
        let slow = if self.rng.chance(20) { 20 } else { 1 };
        let ms = self.rng.between(1, ms_max * slow) as u64;
        let due = self.now + Duration::from_millis(ms);
        self.flights.push(Flight { due, run, event, late: false });
    }

    fn call_model(&mut self, call: ModelCall) {
        self.truth.model_called(&self.disk, &call);
        let run = self.disk.run_row(call.run).expect("a call names its run").clone();
        let gone = self.knows_its_model(&run, &call.model);
        let size = has_contexts(self.seed).then(|| self.size(&call));
        let failure = size
            .and_then(|size| self.too_long(size, (run.id, &run.session_key.agent), &call.model));
        let failure = gone.or(failure);
        let world = &self.disk.world;
        let session = world.sessions.iter().find(|session| session.key == run.session_key);
        let depth = session.expect("a run has a session").depth;
        let asked = Asked { world, run: &run, step: call.step, depth };
        let (run, token, step) = (call.run, call.token, call.step);
        let said = (self.script)(&asked);
        if let Some(failure) = failure {
            return self.take_off(run, Event::ModelFailed { run, token, step, failure }, 1_000);
        }
        // What a model wants to say does not always fit.
        let cut_at = self.rng.chance(20).then_some(10);
        let reply = |text: &str, calls| {
            let plain = reply(&asked, text, calls);
            let usage = size.map_or(plain.usage, |input| Usage {
                input,
                output: 10 + text.len() as u64 / 4,
                ..Usage::default()
            });
            let renamed = answered_as(self.seed, &call).filter(|_| self.renames);
            let model = renamed.unwrap_or(plain.model);
            ModelReply { cut_at, usage, model, ..plain }
        };
        let event = match said {
            Said::Fails(failure) => Event::ModelFailed { run, token, step, failure },
            Said::Text(text) => replied(&call, reply(&text, Vec::new())),
            Said::Calls(calls) => {
                let reply = reply("", calls.clone());
                self.truth.planned.insert((run, step), calls);
                replied(&call, reply)
            }
        };
        self.take_off(run, event, 8_000);
    }

    /// Tokens of a request as the provider of this life counts them, which is not how we do.
    fn size(&self, call: &ModelCall) -> u64 {
        let words = |hash| self.disk.kept(hash).map_or(0, |text| text.len() as u64 / 4);
        let mut tokens = 500;
        for span in &call.shown.spans {
            tokens += span.head.map_or(0, words);
        }
        for (entry, clip) in self.disk.shown(call) {
            let most = clip.map_or(u64::MAX, |clip| 50 + clip.bytes / 4);
            let cut = entry.kind != EntryKind::Assistant;
            tokens += if cut { entry.tokens.min(most) } else { entry.tokens };
        }
        tokens += call.shown.ask.as_ref().map_or(0, |ask| ask.text.len() as u64 / 4);
        tokens * (700 + self.seed % 7 * 150) / 1_000
    }

    /// The provider refuses a prompt that does not fit, in one way or another.
    fn too_long(
        &self,
        size: u64,
        (run, agent): (RunId, &AgentId),
        model: &str,
    ) -> Option<ModelFailure> {
        let mut rng = Rng::about(self.seed, "window");
        let configured = self.limits.of_run(run, agent).window(model);
        // Now and then the configuration promises more than there is.
        let window = if rng.chance(300) { configured * 3 / 4 } else { configured };
        let overflow = match rng.below(3) {
            0 => Overflow::default(),
            1 => Overflow { sent: None, window: Some(window) },
            _ => Overflow { sent: Some(size), window: Some(window) },
        };
        let message = "the prompt is too long".to_owned();
        let class = FailureClass::Overflow;
        let failure = ModelFailure { class, message, retry_after_ms: None, paid: false, overflow };
        (size > window).then_some(failure)
    }

    fn start_tool(&mut self, start: ToolStart) {
        let row = self.disk.step_row((start.run, start.step)).expect("a start names its step");
        let effect = row.effect;
        let calls = &self.truth.planned[&(start.run, start.asked_by)];
        let planned = calls.iter().find(|call| call.call_id == start.call_id);
        let planned = planned.expect("a start names a call of its answer").clone();
        let (run, token, step) = (start.run, start.token, start.step);
        if let CallPlan::Internal(call) = planned.plan {
            let event = Event::InternalCall { run, token, step, call };
            self.pending.push_back(Post { event, from: From::Flight });
            return;
        }
        let asked = self.disk.world.approvals.iter();
        let mut asked = asked.filter(|row| row.run == run && row.step == step);
        let allowed = asked.all(|row| row.state == ApprovalState::Allowed);
        assert!(allowed, "step {step} of {run} was started, and nobody has allowed it");
        self.truth.tool_started(&start, effect);
        let unknown = effect == Some(EffectClass::Probed) && self.rng.chance(100);
        let is_error = unknown || self.rng.chance(150);
        // All are the same, so that the guard has something to do; in some lives all are long.
        let long = self.limits.result_bytes_max < LONG_RESULT;
        let text = if has_contexts(self.seed) {
            // The same for the same call: the loop guard counts those.
            let mut rng = Rng::about(self.seed, &format!("result of {}", planned.name));
            "a result ".repeat(1 + rng.below(1_000) as usize)
        } else if long {
            "x".repeat(LONG_RESULT)
        } else {
            "a result".to_owned()
        };
        // Some commands go on beside their run; no draw, so that it is the same in every life.
        let background = effect == Some(EffectClass::Opaque) && step % 3 == 0;
        let result = ToolDone { text, is_error, unknown, background };
        self.take_off(run, Event::ToolFinished { run, token, step, result }, 5_000);
    }

    fn abort(&mut self, run: RunId) {
        let (of_run, others): (Vec<Flight>, Vec<Flight>) =
            self.flights.drain(..).partition(|flight| flight.run == run);
        self.flights = others;
        // What was ended in full flight is looked at, until nothing is left of it.
        let halted = self.disk.world.halts.iter().any(|halt| halt.run == run);
        let out = of_run.iter().find(|flight| !flight.late && is_out(&flight.event));
        assert!(halted || out.is_none(), "{run} was ended, and nobody looks after {out:?}");
        self.let_some_end(of_run);
    }

    /// The process is gone, and what it was doing with it, but for what cannot be called back.
    pub(crate) fn lose_flights(&mut self) {
        let flights = self.flights.drain(..).collect();
        self.let_some_end(flights);
    }

    fn let_some_end(&mut self, flights: Vec<Flight>) {
        for mut flight in flights {
            if self.rng.chance(self.faults.late) {
                flight.late = true;
                flight.due = flight.due.max(self.now + Duration::from_secs(1));
                self.flights.push(flight);
            }
        }
    }

    /// What is due is heard, in any order, some of it twice.
    pub(crate) fn land(&mut self) {
        let now = self.now;
        let (mut due, others): (Vec<Flight>, Vec<Flight>) =
            self.flights.drain(..).partition(|flight| flight.due <= now);
        self.flights = others;
        while !due.is_empty() {
            let at = self.rng.below(due.len() as u64) as usize;
            let flight = due.swap_remove(at);
            let from = if flight.late { From::Late } else { From::Flight };
            let post = Post { event: flight.event, from };
            if self.rng.chance(self.faults.doubled) {
                self.pending.push_back(post.clone());
            }
            self.pending.push_back(post);
        }
    }
}

/// Is it a call in the world, that outlives the order to end it?
fn is_out(event: &Event) -> bool {
    matches!(
        event,
        Event::ModelReplied { .. } | Event::ModelFailed { .. } | Event::ToolFinished { .. }
    )
}

fn replied(call: &ModelCall, reply: ModelReply) -> Event {
    Event::ModelReplied { run: call.run, token: call.token, step: call.step, reply }
}
