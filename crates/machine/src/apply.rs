//! One event in, rows changed, what follows out: the front door of the machine.

use crate::effect::{Answer, Notice};
use crate::event::Event;
use crate::rows::JournalLine;
use crate::state::State;
use crate::{
    approve, attempt, budget, command, deliver, flow, halt, inbox, internal, lane, node, recover,
    redeliver, repin, session, step, stop, timer,
};

/// Applies `event` to the rows that it concerns.
///
/// What follows at once is left in `state.raised`, work to start after the commit in
/// `state.actions`, news in `state.notices`. The caller writes the rows back with
/// [`State::flush`].
pub fn apply(state: &mut State<'_>, event: Event) -> Answer {
    let answer = match event {
        Event::MessageReceived(inbound) => inbox::accept(state, inbound),
        Event::Admit(lane) => lane::admit(state, lane),
        Event::PinAgain { run, token } => repin::again(state, run, token),
        Event::ToolsMissing { run, servers } => repin::without(state, run, servers),
        Event::Pinned { run, token, prefix, tokens } => {
            step::on_pinned(state, run, token, &prefix, tokens)
        }
        Event::ModelReplied { run, token, step, reply } => {
            step::on_model_replied(state, run, token, step, reply)
        }
        Event::ModelFailed { run, token, step, failure } => {
            step::on_model_failed(state, run, token, step, &failure)
        }
        Event::ToolFinished { run, token, step, result } => {
            step::on_tool_finished(state, run, token, step, &result)
        }
        Event::Checked { run, token, step, missing } => {
            deliver::on_checked(state, run, token, step, &missing)
        }
        Event::InternalCall { run, token, step, call } => {
            internal::carry_out(state, run, token, step, call)
        }
        Event::Ask(asked) => internal::ask(state, asked),
        Event::Command(command) => command::carry_out(state, command),
        Event::Change { session, by, change } => session::change(state, &session, &by, &change),
        Event::Stop { session, run, by } => stop::stop_session(state, &session, run, &by),
        Event::StopTask { task, by } => stop::stop_task(state, task, &by),
        Event::RetryTask(asked) => attempt::retry(state, &asked).into(),
        Event::Redeliver { task, by } => redeliver::redeliver(state, task, &by).into(),
        Event::StopBelow { task, by } => stop::stop_below(state, task, &by),
        Event::Halted { run, look, pids, calls } => halt::on_halted(state, run, look, pids, calls),
        Event::Tick => timer::tick(state),
        Event::Due(timer) => timer::due(state, &timer),
        Event::NodeStarted { node, pid, version } => node::start(state, node, pid, version),
        Event::Beat => node::beat(state),
        Event::Reconfigured => node::reconfigured(state),
        Event::Drain => node::drain(state),
        Event::NodeStopped => node::stop(state),
        Event::Recover => recover::recover(state),
        Event::Decide { approval, decision, by } => approve::decide(state, approval, decision, &by),
        Event::Revoke { agent, pattern, by } => approve::revoke(state, &agent, &pattern, &by),
        Event::RaiseBudget { budget, by, more } => budget::raise(state, &budget, &by, more),
        Event::AdvanceFlow(flow) => flow::advance(state, flow, false),
        Event::Orphaned { run } => recover::orphaned(state, run),
        Event::Broken { run, why } => recover::broken(state, run, &why),
    };
    write_journal(state);
    answer
}

/// Each piece of news is also a line of history, without its text.
fn write_journal(state: &mut State<'_>) {
    let lines: Vec<(&str, String, String)> = state.notices.iter().map(Notice::line).collect();
    let at = state.now();
    for (kind, subject, detail) in lines {
        let line = JournalLine { kind, subject, root_key: None, detail, at };
        state.tx().add_journal(&line);
    }
}
