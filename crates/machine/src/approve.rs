//! Calls that a person has to allow: asked, answered, or given up.
//!
//! ```text
//!  answer of the model ─▶ judge ─┬─ runs ──────────▶ started
//!                                ├─ refused ───────▶ its result says why
//!                                └─ asks ─▶ step waits ─┬─ allowed ─▶ started, once
//!                                                       └─ denied, too late ─▶ its result
//! ```
//!
//! # Invariants
//!
//! - A call waits without a slot, and has a timer.
//! - The first answer counts, whoever gives it and wherever; later ones are told of it.
//! - What has been allowed is started once: a crash before the start does not lose it, and one
//!   after it does not start it again.

mod rules;

use types::{AgentId, ApprovalId, CommandLine, RunId, ScopeKind};

use crate::effect::{Answer, Decided, Notice, Refusal};
use crate::event::Decision;
use crate::guard;
use crate::rows::{Approval, ApprovalState, Grant, LaneName, Outcome, StepState, TimerKind};
use crate::run::WaitKind;
use crate::state::State;
use crate::step;
use crate::transcript::{Closing, close_tool};
use crate::wait::{self, Turn};

pub use rules::{AskFallback, ExecMode, ExecRules, SAFE, Verdict, WAIT, is_covered};

/// Longest part of a command that is kept with the question: the whole of it is in the
/// transcript.
const COMMAND_CHARS_MAX: usize = 4_000;

/// Patterns that an agent may be allowed for good. More are no answers of a person any more.
const GRANTS_MAX: usize = 1_000;

/// What is done with a call of an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Call {
    Starts,
    Waits,
    /// The text is its result.
    Refused(String),
}

/// Judges a call that would run `command`.
pub fn judge(state: &mut State<'_>, run: RunId, command: Option<&CommandLine>) -> Call {
    let Some(command) = command else { return Call::Starts };
    let (agent, attended) = asker(state, run);
    let rules = rules_of(state, &agent);
    let granted = granted(state, &agent);
    match rules.judge(command, &granted, attended) {
        Verdict::Runs => Call::Starts,
        Verdict::Asks => Call::Waits,
        Verdict::Refused => Call::Refused(refusal(&agent, &rules)),
        Verdict::Unattended => Call::Refused(format!(
            "Not run: it would have to be allowed by a person (tools.exec.mode is \"{}\"), and nobody \
             looks after this run. `tools.exec.allowlist` or `tools.exec.askFallback` of agent \
             {agent} would let it run.",
            rules.mode
        )),
    }
}

fn refusal(agent: &AgentId, rules: &ExecRules) -> String {
    let more = match rules.mode {
        ExecMode::Allowlist => {
            ", and nothing in `tools.exec.allowlist` covers all that the command would start"
        }
        _ => "",
    };
    format!("Not run: tools.exec.mode of agent {agent} is \"{}\"{more}.", rules.mode)
}

/// The agent of a run, and whether a person looks after what it does.
fn asker(state: &mut State<'_>, run: RunId) -> (AgentId, bool) {
    let row = state.run(&run);
    let by_itself = row.lane == LaneName::Cron
        || matches!(row.root_key.scope.kind(), ScopeKind::Cron | ScopeKind::Hook);
    (row.session_key.agent.clone(), !by_itself)
}

fn rules_of(state: &State<'_>, agent: &AgentId) -> ExecRules {
    let limits = state.limits.of_agent(agent);
    limits.agents.get(agent).map(|agent| agent.exec.clone()).unwrap_or_default()
}

fn granted(state: &mut State<'_>, agent: &AgentId) -> Vec<String> {
    let grants = state.tx().grants(agent, GRANTS_MAX);
    grants.into_iter().map(|grant| grant.pattern).collect()
}

/// Puts the question. The step waits for its answer.
pub fn ask(state: &mut State<'_>, run: RunId, n: u32, command: &CommandLine) {
    let agent = state.run(&run).session_key.agent.clone();
    let rules = rules_of(state, &agent);
    let granted = granted(state, &agent);
    let now = state.now();
    let id = ApprovalId::new(state.at.mint());
    let step = state.step_mut(&(run, n));
    step.state = StepState::Waiting;
    let tool = step.name.clone().unwrap_or_default();
    let row = state.run(&run).clone();
    let approval = Approval {
        id,
        run,
        step: n,
        session_key: row.session_key,
        root_key: row.root_key,
        origin: row.origin,
        tool,
        command: shown(&command.text),
        patterns: rules::patterns_for(command, &[&rules.allow, &granted]),
        state: ApprovalState::Pending,
        by: None,
        asked: now,
        expires: now + rules.wait,
        decided: None,
    };
    state.tx().put_approval(&approval);
    state.set_timer(TimerKind::Approval, id, approval.expires);
    state.notices.push(Notice::ApprovalAsked(approval));
}

/// What a person reads must be what runs: nothing in it may move the cursor, hide, or turn the
/// direction of the text.
fn shown(command: &str) -> String {
    let mut plain = String::with_capacity(command.len());
    for c in command.chars() {
        let turns = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}' | '\u{feff}');
        if c.is_control() && c != '\n' && c != '\t' || turns {
            plain.extend(c.escape_unicode());
        } else {
            plain.push(c);
        }
    }
    let command = plain.as_str();
    match command.char_indices().nth(COMMAND_CHARS_MAX) {
        Some((at, _)) => format!("{} [and {} bytes more]", &command[..at], command.len() - at),
        None => command.to_owned(),
    }
}

/// A person answers.
pub fn decide(state: &mut State<'_>, id: ApprovalId, decision: Decision, by: &str) -> Answer {
    let Some(approval) = state.tx().approval(id) else {
        return Answer::Refused(Refusal::ApprovalNotFound(id));
    };
    if approval.state != ApprovalState::Pending {
        return Answer::Decided(Decided { approval, before: true });
    }
    if decision == Decision::AllowAlways {
        let (agent, at) = (approval.session_key.agent.clone(), state.now());
        for pattern in approval.patterns.clone() {
            let grant = Grant { agent: agent.clone(), pattern, by: by.to_owned(), at };
            state.tx().add_grant(&grant);
        }
    }
    let approval = match decision {
        Decision::AllowOnce | Decision::AllowAlways => allow(state, approval, by),
        Decision::Deny => {
            let text = format!("Not run: denied by {by}. Do not try it again in another way.");
            deny(state, approval, ApprovalState::Denied, Some(by), &text)
        }
    };
    Answer::Decided(Decided { approval, before: false })
}

impl Decided {
    /// What a person reads who has answered.
    pub fn words(&self) -> String {
        let Approval { id, state, by, command, .. } = &self.approval;
        let by = by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
        if self.before {
            return format!("{id} was {state}{by} before; nothing is changed.");
        }
        format!("{id} is {state}: {command}")
    }
}

/// The call may be started: at once if its run is at work, else when that is.
fn allow(state: &mut State<'_>, approval: Approval, by: &str) -> Approval {
    let (run, n) = (approval.run, approval.step);
    let approval = end(state, approval, ApprovalState::Allowed, Some(by));
    state.step_mut(&(run, n)).state = StepState::Intent;
    let phase = state.run(&run).phase;
    if phase.waits() {
        wait::back_in_line(state, run, Turn::InLine);
    } else if phase.holds_slot() && !step::ends_here(state, run) && !step::drains_here(state, run) {
        step::start_tool(state, run, n, false);
    }
    approval
}

/// The call is not started, and says why.
fn deny(
    state: &mut State<'_>,
    approval: Approval,
    to: ApprovalState,
    by: Option<&str>,
    text: &str,
) -> Approval {
    let (run, n) = (approval.run, approval.step);
    let approval = end(state, approval, to, by);
    guard::heard(state, run, n, text, true);
    close_tool(state, run, n, Closing { text, is_error: true, state: StepState::Done });
    wait::on_answered(state, run);
    approval
}

fn end(state: &mut State<'_>, approval: Approval, to: ApprovalState, by: Option<&str>) -> Approval {
    let decided = Some(state.now());
    let approval = Approval { state: to, by: by.map(str::to_owned), decided, ..approval };
    state.tx().put_approval(&approval);
    state.clear_timer(TimerKind::Approval, approval.id);
    state.notices.push(Notice::ApprovalEnded(approval.clone()));
    approval
}

/// Nobody has answered in time.
pub fn on_timeout(state: &mut State<'_>, id: ApprovalId) {
    let Some(approval) = state.tx().approval(id) else { return };
    if approval.state == ApprovalState::Pending {
        let minutes = approval.expires.since(approval.asked).as_secs().div_ceil(60);
        let text = format!(
            "Not run: it had to be allowed by a person, and nobody has answered within {minutes} \
             minutes (tools.exec.approvalTimeoutSeconds). Go on without it, or say what you need."
        );
        deny(state, approval, ApprovalState::Expired, None, &text);
    }
}

/// Closes the questions of a run that ends.
pub fn abandon(state: &mut State<'_>, run: RunId, outcome: Outcome) {
    for approval in state.tx().pending_approvals(run) {
        let n = approval.step;
        end(state, approval, ApprovalState::Cancelled, None);
        let text =
            format!("Not run: the run was ended ({outcome}) before a person had allowed it.");
        close_tool(state, run, n, Closing { text: &text, is_error: true, state: StepState::Done });
    }
}

/// What was allowed for good has to be asked about again.
pub fn revoke(state: &mut State<'_>, agent: &AgentId, pattern: &str, by: &str) -> Answer {
    if !state.tx().delete_grant(agent, pattern) {
        let (agent, pattern) = (agent.clone(), pattern.to_owned());
        return Answer::Refused(Refusal::GrantNotFound { agent, pattern });
    }
    let (agent, pattern) = (agent.clone(), pattern.to_owned());
    state.notices.push(Notice::GrantRevoked { agent, pattern, by: by.to_owned() });
    Answer::Done
}

/// What a run with calls that wait, and none that is out, waits for.
pub fn wait_kind(state: &mut State<'_>, run: RunId) -> WaitKind {
    let waiting = state.tx().waiting_steps(run);
    let answer = waiting.into_iter().any(|n| state.step(&(run, n)).waits_on.is_some());
    if answer { WaitKind::Reply } else { WaitKind::Approval }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_it_is() {
        assert_eq!(shown("ls -l\n\tcat é"), "ls -l\n\tcat é");
        assert_eq!(shown("rm x\u{1b}[2K\rls"), "rm x\\u{1b}[2K\\u{d}ls");
        assert_eq!(shown("a\u{202e}b"), "a\\u{202e}b");
        let long = shown(&"x".repeat(COMMAND_CHARS_MAX + 5));
        assert!(long.ends_with("x [and 5 bytes more]"), "{long}");
    }
}
