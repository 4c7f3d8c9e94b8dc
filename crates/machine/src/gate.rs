//! Gates: what a provider lets through, for all runs at once.
//!
//! ```text
//!             429, overload              reopen
//!   Open ──────────────────▶ Closed ─────────────▶ Probing ── answered ──▶ Open, all go on
//!                              ▲                      │
//!                              └──── refused again ───┘
//! ```
//!
//! There is one gate for each model of an account, closed by what the provider says, and one for
//! the account itself (its model is `*`), which is full when `models.providers.<id>.limits` are.
//! A run that may not call waits at the gate and holds no slot.
//!
//! # Invariants
//!
//! - From a closing on, until the gate is open again, at most one call to its model is out: the
//!   probe's.
//! - A run waits at a gate only while somebody will look at it again: the gate has a timer, or its
//!   probe is out.
//! - A provider's `retry-after` is never cut short, and the jitter only adds to it.
//! - What is in flight is counted from open steps, so a crash cannot make it wrong.

use std::time::Duration;

use types::{FailureClass, RunId, Timestamp};

use crate::effect::Notice;
use crate::event::ModelFailure;
use crate::failover;
use crate::limits::{ProviderLimits, SWEEP_PAGE};
use crate::retry;
use crate::rows::{Gate, GateKey, GateKind, GateState, TimerKind};
use crate::run::{Phase, WaitKind};
use crate::state::State;
use crate::wait::{Turn, requeue, suspend};

/// `rpm` and `tpm` are counted in windows of this length.
const WINDOW: Duration = Duration::from_secs(60);

/// Runs that wait are looked at again after this, whatever has been missed: the run that was to
/// go first may have been stopped before it could call.
const GUARD: Duration = Duration::from_secs(5);

/// First wait for an account without quota, doubled with each refusal: somebody has to pay, or an
/// hour has to pass.
const QUOTA_MS_MIN: u64 = 60_000;
const QUOTA_MS_MAX: u64 = 15 * 60_000;

/// First wait for a provider that cannot be reached, while another is asked.
const NETWORK_MS_MIN: u64 = 15_000;

/// How long a key that is refused or a model that is unknown is not asked again, while others are:
/// somebody has to mend the configuration.
const LASTING_MS_MIN: u64 = 5 * 60_000;
const LASTING_MS_MAX: u64 = 60 * 60_000;

/// Runs that are sent elsewhere by one closing. More go when the gate is looked at.
const LET_GO_MAX: usize = 512;

/// Longest wait that a provider can ask for. More is taken for a mistake, and asked again after.
const RETRY_AFTER_MS_MAX: i64 = 24 * 60 * 60_000;

/// Longest time that the jitter adds, and its share of the wait.
const JITTER_MS_MAX: f64 = 5_000.0;
const JITTER_SHARE: f64 = 0.1;

/// Refusals in a row, at its own calls, after which a run gives up and says why.
pub const REFUSALS_MAX: u32 = 6;

/// What a gate says to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Go,
    /// Alone, to find out.
    GoFirst,
    /// Wait, and look again then.
    Wait(Timestamp),
}

/// May the run call its model now? If not, it waits, and its slot is free.
pub fn pass(state: &mut State<'_>, run: RunId) -> bool {
    let (model, session_id) = {
        let row = state.run(&run);
        (row.model.clone(), row.session_id)
    };
    if !state.limits_of(run).models.contains_key(&model) {
        // Nobody will be asked: the call itself says that there is no such model.
        return true;
    }
    let gate = GateKey::of_model(&model);
    let says = asked(state, &gate);
    if let Says::Wait(until) = says {
        wait(state, run, gate, until);
        return false;
    }
    let account = gate.account_wide();
    let tokens = state.transcript(&session_id).context_tokens;
    if let Err(until) = take_room(state, &account, tokens) {
        wait(state, run, account, until);
        return false;
    }
    if says == Says::GoFirst {
        let row = state.gate_mut(&gate);
        (row.state, row.probe, row.reopen) = (GateState::Probing, Some(run), None);
    }
    true
}

/// What a place says to a call that could go there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stands {
    Free,
    /// Our own limits of its account are reached.
    Full,
    Closed {
        kind: GateKind,
        /// It is looked at again then.
        until: Timestamp,
        reason: String,
    },
}

/// How a place stands, for a prompt of so many tokens.
pub fn stands(state: &mut State<'_>, target: &str, tokens: u64) -> Stands {
    let key = GateKey::of_model(target);
    if let Says::Wait(until) = asked(state, &key) {
        let gate = state.gate(&key);
        let (kind, reason) = (gate.kind.unwrap_or(GateKind::Rate), gate.reason.clone());
        return Stands::Closed { kind, until, reason: reason.unwrap_or_default() };
    }
    if room_for(state, &key.account_wide(), tokens).is_ok() { Stands::Free } else { Stands::Full }
}

/// What the gate of a model says now.
fn asked(state: &mut State<'_>, key: &GateKey) -> Says {
    let now = state.now();
    let born = state.this_node().map(|node| node.started);
    let Some(gate) = state.find_gate(key) else { return Says::Go };
    // Somebody may have mended the configuration before this start.
    let lasts = gate.kind.is_some_and(GateKind::lasts);
    let before = born.is_some_and(|born| gate.closed.is_some_and(|closed| closed < born));
    if gate.state == GateState::Closed && lasts && before {
        return Says::GoFirst;
    }
    says(gate, now)
}

fn says(gate: &Gate, now: Timestamp) -> Says {
    match (gate.state, gate.reopen) {
        (GateState::Open, _) => Says::Go,
        (GateState::Closed, Some(reopen)) if reopen > now => Says::Wait(reopen),
        (GateState::Closed, _) => Says::GoFirst,
        (GateState::Probing, _) => Says::Wait(now + GUARD),
    }
}

/// Lets the run wait at a gate that is looked at again at `until`.
fn wait(state: &mut State<'_>, run: RunId, gate: GateKey, until: Timestamp) {
    suspend(state, run, WaitKind::Gate);
    state.set_timer(TimerKind::Gate, &gate, until);
    let session = state.run(&run).session_key.clone();
    state.notices.push(Notice::AtGate { run, session, gate, until });
}

/// Takes one call and its prompt out of what the account may have, or says when to look again.
fn take_room(state: &mut State<'_>, account: &GateKey, tokens: u64) -> Result<(), Timestamp> {
    if !state.limits.providers.contains_key(&account.provider) {
        return Ok(());
    }
    room_for(state, account, tokens)?;
    let row = window(state, account);
    row.requests += 1;
    row.tokens = row.tokens.saturating_add(tokens);
    Ok(())
}

/// Has the account room for one call and its prompt? If not, when to look again.
fn room_for(state: &mut State<'_>, account: &GateKey, tokens: u64) -> Result<(), Timestamp> {
    let Some(limits) = state.limits.providers.get(&account.provider).copied() else {
        return Ok(());
    };
    let now = state.now();
    if limits.concurrent.is_some_and(|most| state.tx().open_calls(account) >= most) {
        ensure(state, account);
        return Err(now + GUARD);
    }
    let row = window(state, account);
    let end = row.window + WINDOW;
    let over = |taken: u64, more: u64, most: Option<u64>| most.is_some_and(|m| taken + more > m);
    // One prompt that is larger than the whole window has to be let through some time.
    let tokens_over = row.tokens > 0 && over(row.tokens, tokens, limits.tpm);
    if over(row.requests.into(), 1, limits.rpm.map(u64::from)) || tokens_over {
        return Err(end);
    }
    Ok(())
}

fn ensure<'s>(state: &'s mut State<'_>, key: &GateKey) -> &'s mut Gate {
    let now = state.now();
    if state.find_gate(key).is_none() {
        state.add_gate(Gate::open(key.clone(), now));
    }
    state.gate_mut(key)
}

/// The account's row, with a new window if the last one is over.
fn window<'s>(state: &'s mut State<'_>, account: &GateKey) -> &'s mut Gate {
    let now = state.now();
    let row = ensure(state, account);
    if now >= row.window + WINDOW {
        (row.window, row.requests, row.tokens) = (now, 0, 0);
    }
    row
}

/// A model has answered: what it has really used counts instead of the estimate.
pub fn settle(state: &mut State<'_>, model: &str, estimated: u64, used: u64) {
    let account = GateKey::of_model(model).account_wide();
    if state.limits.providers.contains_key(&account.provider) {
        let row = window(state, &account);
        row.tokens = row.tokens.saturating_sub(estimated).saturating_add(used);
    }
}

/// A model call is over, whatever came of it: its place is free, and if it was a probe, the gate
/// is open, or the next one may try.
pub fn on_call_ended(state: &mut State<'_>, run: RunId, model: &str, answered: bool) {
    let gate = GateKey::of_model(model);
    if is_probe(state, &gate, run) {
        if answered {
            open(state, &gate);
        } else {
            // It was cut, and says nothing about the provider.
            let now = state.now();
            let row = state.gate_mut(&gate);
            (row.state, row.probe, row.reopen) = (GateState::Closed, None, Some(now));
            state.set_timer(TimerKind::Gate, &gate, now);
        }
    }
    let account = gate.account_wide();
    let limits = state.limits.providers.get(&account.provider);
    if limits.is_some_and(|limits| limits.concurrent.is_some()) {
        let_in(state, &account);
    }
}

fn is_probe(state: &mut State<'_>, gate: &GateKey, run: RunId) -> bool {
    let row = state.find_gate(gate);
    row.is_some_and(|row| row.state == GateState::Probing && row.probe == Some(run))
}

fn open(state: &mut State<'_>, gate: &GateKey) {
    let row = state.gate_mut(gate);
    (row.state, row.kind, row.reopen, row.probe) = (GateState::Open, None, None, None);
    (row.strikes, row.reason) = (0, None);
    state.notices.push(Notice::GateOpened { gate: gate.clone() });
    release(state, gate);
}

/// The provider has refused a call, or something else went wrong with it. Returns when the gate
/// opens again, if the failure is one that closes it for all.
///
/// Called before the step is closed, while the run is still the probe.
pub fn on_failed(
    state: &mut State<'_>,
    run: RunId,
    model: &str,
    failure: &ModelFailure,
) -> Option<Timestamp> {
    let gate = GateKey::of_model(model);
    let kind = match failure.class {
        FailureClass::RateLimit => GateKind::Rate,
        FailureClass::Quota => GateKind::Quota,
        FailureClass::Overload => GateKind::Overload,
        FailureClass::Network if gives_up_on(state, run) => GateKind::Network,
        FailureClass::Auth if failover::has_others(state, run) => GateKind::Auth,
        FailureClass::UnknownModel if failover::has_others(state, run) => GateKind::UnknownModel,
        // Nobody has answered: the next one may try.
        FailureClass::Network | FailureClass::Budget | FailureClass::Internal => return None,
        // The provider has answered, and its answer is about this one call.
        FailureClass::InvalidReply
        | FailureClass::Auth
        | FailureClass::BadRequest
        | FailureClass::Overflow
        | FailureClass::WrongModel
        | FailureClass::UnknownModel => {
            if is_probe(state, &gate, run) {
                open(state, &gate);
            }
            return None;
        }
    };
    Some(close(state, run, gate, kind, failure))
}

/// Has the run tried often enough to reach a provider, and is there another place to go to?
fn gives_up_on(state: &mut State<'_>, run: RunId) -> bool {
    state.run(&run).retries >= retry::RETRIES_BEFORE_ANOTHER && failover::has_others(state, run)
}

/// Closes a gate for everyone. Calls that were out together are refused together, which counts
/// once.
fn close(
    state: &mut State<'_>,
    run: RunId,
    gate: GateKey,
    kind: GateKind,
    failure: &ModelFailure,
) -> Timestamp {
    let now = state.now();
    let jitter = (state.at.random() >> 11) as f64 / (1_u64 << 53) as f64;
    let asked = failure.retry_after_ms.unwrap_or(0).clamp(0, RETRY_AFTER_MS_MAX) as u64;
    let row = ensure(state, &gate);
    if row.state == GateState::Probing && row.probe != Some(run) {
        // A call from before the closing: what holds now, the probe finds out.
        return now + closed_for(kind, row.strikes.max(1), asked, jitter);
    }
    let again = row.state == GateState::Closed && row.reopen.is_some_and(|reopen| reopen > now);
    row.strikes += u32::from(!again);
    let reopen = now + closed_for(kind, row.strikes, asked, jitter);
    let reopen = row.reopen.map_or(reopen, |before| before.max(reopen));
    (row.state, row.kind, row.reopen) = (GateState::Closed, Some(kind), Some(reopen));
    (row.probe, row.closed) = (None, Some(now));
    row.reason = Some(failure.message.clone());
    state.set_timer(TimerKind::Gate, &gate, reopen);
    let reason = failure.message.clone();
    let key = gate.clone();
    state.notices.push(Notice::GateClosed { gate, kind, reopen, reason });
    if kind.lasts() || reopen > now + failover::PATIENCE {
        let_go(state, &key, kind.lasts());
    }
    reopen
}

/// Sends those who wait at a gate on their way again, if they have another or nobody should wait
/// here.
fn let_go(state: &mut State<'_>, gate: &GateKey, all: bool) {
    for run in state.tx().gated_runs(&gate.reference(), LET_GO_MAX) {
        if all || failover::has_others(state, run) {
            back_in_line(state, run);
        }
    }
}

/// How long a gate stays closed.
///
/// | argument  | meaning                                           | unit, range   |
/// |-----------|---------------------------------------------------|---------------|
/// | `kind`    | why the provider has refused                      |               |
/// | `strikes` | closings since it was open, with this one         | count, from 1 |
/// | `asked`   | the provider's `retry-after`, zero if none        | ms            |
/// | `jitter`  | a draw from the uniform distribution              | `[0, 1)`      |
fn closed_for(kind: GateKind, strikes: u32, asked: u64, jitter: f64) -> Duration {
    let strikes = strikes.saturating_sub(1);
    let doubled = |min: u64, max: u64| {
        Duration::from_millis(min.saturating_mul(2_u64.saturating_pow(strikes)).min(max))
    };
    let ours = match kind {
        GateKind::Rate | GateKind::Overload => retry::delay(strikes, Duration::ZERO, jitter),
        GateKind::Quota => doubled(QUOTA_MS_MIN, QUOTA_MS_MAX),
        GateKind::Network => doubled(NETWORK_MS_MIN, QUOTA_MS_MAX),
        GateKind::Auth | GateKind::UnknownModel => doubled(LASTING_MS_MIN, LASTING_MS_MAX),
    };
    // Many gateways of one account must not come back in the same instant.
    let spread = (asked as f64 * JITTER_SHARE).min(JITTER_MS_MAX) * jitter;
    let asked = Duration::from_millis(asked.saturating_add(spread as u64));
    ours.max(asked)
}

/// A run's own call was refused: it waits with all others until the gate opens.
pub fn wait_until(state: &mut State<'_>, run: RunId, reopen: Timestamp) {
    let gate = GateKey::of_model(&state.run(&run).model);
    wait(state, run, gate, reopen);
}

/// A gate is looked at again.
pub fn on_due(state: &mut State<'_>, key: &GateKey) {
    if key.is_account() {
        let_in(state, key);
        return;
    }
    let now = state.now();
    let known = state.limits.models.contains_key(&key.reference());
    let says = if known { asked(state, key) } else { Says::Go };
    match says {
        Says::Go => release(state, key),
        // Whoever calls first is the probe; this one is sent to.
        Says::GoFirst => wake_some(state, key, 1, now + GUARD),
        Says::Wait(until) => wake_some(state, key, 0, until),
    }
}

/// Sends all who wait for a model back in line, a page at a time.
fn release(state: &mut State<'_>, gate: &GateKey) {
    let now = state.now();
    wake_some(state, gate, SWEEP_PAGE, now);
}

/// Sends the first of those who wait for a model back in line; if more wait, the gate is looked
/// at again at `again`.
fn wake_some(state: &mut State<'_>, gate: &GateKey, most: usize, again: Timestamp) {
    let mut waiting = state.tx().gated_runs(&gate.reference(), most + 1);
    let more = waiting.len() > most;
    waiting.truncate(most);
    for run in waiting {
        back_in_line(state, run);
    }
    if more {
        state.set_timer(TimerKind::Gate, gate, again);
    }
}

pub fn back_in_line(state: &mut State<'_>, run: RunId) {
    if state.run(&run).phase == Phase::Waiting(WaitKind::Gate) {
        requeue(state, run, Turn::InLine);
    }
}

/// Sends as many as an account has room for back in line, of those whose model is not closed.
fn let_in(state: &mut State<'_>, account: &GateKey) {
    let prefix = account.prefix();
    // Those that are asked for: a run may wait for one that is not configured any more.
    let mut models = state.tx().gated_models();
    models.retain(|model| model.starts_with(&prefix));
    let (mut room, again) = room(state, account);
    let mut left = false;
    for model in models {
        let gate = GateKey::of_model(&model);
        if gate.account_wide() != *account {
            continue;
        }
        let may = match asked(state, &gate) {
            Says::Go => room,
            Says::GoFirst => room.min(1),
            // It is looked at again at a time of its own.
            Says::Wait(_) => continue,
        };
        let mut waiting = state.tx().gated_runs(&model, may + 1);
        left |= waiting.len() > may;
        waiting.truncate(may);
        room -= waiting.len();
        for run in waiting {
            back_in_line(state, run);
        }
    }
    if left {
        state.set_timer(TimerKind::Gate, account, again);
    }
}

/// How many calls an account has room for, and when to look again if that is not enough.
fn room(state: &mut State<'_>, account: &GateKey) -> (usize, Timestamp) {
    let now = state.now();
    let Some(limits) = state.limits.providers.get(&account.provider).copied() else {
        return (SWEEP_PAGE, now);
    };
    let ProviderLimits { rpm, tpm, concurrent } = limits;
    let out = state.tx().open_calls(account);
    let row = window(state, account);
    let in_window = rpm.map_or(u32::MAX, |most| most.saturating_sub(row.requests));
    let spent = tpm.is_some_and(|most| row.tokens >= most);
    if in_window == 0 || spent {
        return (0, row.window + WINDOW);
    }
    let places = concurrent.map_or(u32::MAX, |most| most.saturating_sub(out));
    (SWEEP_PAGE.min(in_window.min(places) as usize), now + GUARD)
}

/// Lets every gate at which somebody waits be looked at: limits may have changed since, and so
/// may the models that there are.
pub fn look_at_all(state: &mut State<'_>) {
    let now = state.now();
    for model in state.tx().gated_models() {
        state.set_timer(TimerKind::Gate, GateKey::of_model(&model), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_gate_stays_closed() {
        use GateKind::*;

        #[rustfmt::skip]
        let table = [
            // kind    strikes asked    jitter  ms
            (Rate,     1,      0,       0.0,    500),
            (Rate,     1,      0,       0.5,    750),
            (Rate,     1,      30_000,  0.0,    30_000),
            (Rate,     1,      30_000,  0.5,    31_500),
            (Rate,     9,      0,       0.0,    15_000),
            (Overload, 3,      0,       0.0,    2_000),
            (Overload, 1,      600_000, 0.5,    602_500),
            (Quota,    1,      0,       0.9,    60_000),
            (Quota,    3,      0,       0.0,    240_000),
            (Quota,    40,     0,       0.0,    900_000),
            (Quota,    1,      3_600_000, 0.0,  3_600_000),
            (Network,  1,      0,       0.5,    15_000),
            (Network,  9,      0,       0.5,    900_000),
            (Auth,     1,      0,       0.5,    300_000),
            (Auth,     9,      0,       0.5,    3_600_000),
            (UnknownModel, 1,  0,       0.5,    300_000),
        ];

        for (kind, strikes, asked, jitter, ms) in table {
            let closed = closed_for(kind, strikes, asked, jitter);
            assert_eq!(closed.as_millis(), ms, "{kind}, {strikes} strikes, asked {asked}");
        }
    }
}
