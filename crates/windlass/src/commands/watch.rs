//! What an agent does, as it is told at a terminal: what it says to stdout, the rest to stderr.

use std::io::{self, IsTerminal, Write};

use protocol::agent::{AgentEvent, AgentStream, Item, ItemStatus, RunPhase, RunStatus};
use protocol::chat::ChatState;
use protocol::event::Gap;
use types::Card;

/// What has been printed of the answer that is being made.
#[derive(Debug, Default)]
pub struct Draft {
    printed: String,
}

impl Draft {
    /// Goes to a line of its own, if something stands on this one. What stands there was a draft,
    /// or words before a tool was called.
    pub fn leave(&mut self, out: &mut impl Write) -> io::Result<()> {
        if !std::mem::take(&mut self.printed).is_empty() {
            writeln!(out)?;
        }
        Ok(())
    }

    /// Prints what is new in a delta. Its whole text decides: pieces may have been missed.
    pub fn grow(&mut self, state: &ChatState, out: &mut impl Write) -> io::Result<()> {
        let ChatState::Delta { message, delta_text, replace } = state else { return Ok(()) };
        let whole = match message {
            Some(message) => message.words(),
            None if *replace => delta_text.clone(),
            None => format!("{}{delta_text}", self.printed),
        };
        if *replace || !whole.starts_with(&self.printed) {
            self.leave(out)?;
        }
        write!(out, "{}", &whole[self.printed.len()..])?;
        self.printed = whole;
        out.flush()
    }

    /// Prints what is missing of an answer that is over: all of it, on a line of its own, if what
    /// stands there was said before a tool was called.
    pub fn end(&mut self, text: &str, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}", unprinted(&std::mem::take(&mut self.printed), text))
    }
}

fn unprinted(printed: &str, text: &str) -> String {
    match text.strip_prefix(printed) {
        Some(rest) => rest.to_owned(),
        None if text.is_empty() => String::new(),
        None => format!("\n{text}"),
    }
}

/// What is told beside the answer.
#[derive(Debug, Default)]
pub struct Aside {
    /// Something is thought on the line of the screen.
    thinking: bool,
}

impl Aside {
    /// Tells of one thing that a run does. A `draft` on the screen is left first.
    pub fn tell(
        &mut self,
        event: &AgentEvent,
        draft: &mut Draft,
        out: &mut impl Write,
    ) -> io::Result<()> {
        if let AgentStream::Thinking { delta, .. } = &event.stream {
            draft.leave(out)?;
            self.thinking = true;
            eprint!("{}", dim(delta));
            return Ok(());
        }
        if let Some(line) = line(&event.stream) {
            draft.leave(out)?;
            self.end();
            eprintln!("{}", dim(&line));
        }
        Ok(())
    }

    /// What follows stands on a line of its own.
    pub fn end(&mut self) {
        if std::mem::take(&mut self.thinking) {
            eprintln!();
        }
    }
}

/// So many events did not come.
pub fn missed(gap: Gap) -> String {
    let count = gap.to.saturating_sub(gap.from) + 1;
    dim(&format!("[{count} events came faster than they were read: {} to {}]", gap.from, gap.to))
}

/// The plan that an agent shows.
pub fn plan(card: Option<&Card>) -> String {
    match card {
        Some(card) => dim(&card.to_string()),
        None => dim("[the plan is taken down]"),
    }
}

/// Why an answer is shorter than it was meant to be.
pub const CUT: &str = "the answer was cut at the output limit of its model; say \"go on\" for the \
                       rest, or raise `maxTokens` of the model";

/// What is worth a line. None of it is part of an answer.
fn line(stream: &AgentStream) -> Option<String> {
    match stream {
        AgentStream::Item(item) => Some(of_item(item)),
        AgentStream::RunStatus(status) => of_status(status),
        AgentStream::Lifecycle(_)
        | AgentStream::Assistant { .. }
        | AgentStream::Thinking { .. }
        | AgentStream::Tool(_) => None,
    }
}

fn of_item(item: &Item) -> String {
    let took = item.duration_ms.map(|ms| format!(", {:.1} s", ms as f64 / 1_000.0));
    let took = took.unwrap_or_default();
    match item.status {
        ItemStatus::Running if item.title.is_empty() => format!("· {}", item.name),
        ItemStatus::Running => format!("· {}: {}", item.name, item.title),
        ItemStatus::Completed => format!("· {}: ok{took}", item.name),
        ItemStatus::Failed => format!("· {}: failed{took}", item.name),
    }
}

fn of_status(status: &RunStatus) -> Option<String> {
    let what = match status.phase {
        RunPhase::Queued | RunPhase::PreparingContext | RunPhase::StartingModel => return None,
        RunPhase::Retrying => "the model call failed",
        RunPhase::Fallback => "another model answers",
        RunPhase::MemoryFlushing => "notes are written",
        RunPhase::Compacting => "older messages are summarised",
        RunPhase::WaitingChildren => "waits for",
        RunPhase::WaitingProvider => "waits for its provider",
        RunPhase::WaitingBudget => "waits for a budget",
    };
    Some(match &status.detail {
        Some(detail) if status.phase == RunPhase::WaitingChildren => format!("· {what} {detail}"),
        Some(detail) => format!("· {what}: {detail}"),
        None => format!("· {what}"),
    })
}

fn dim(text: &str) -> String {
    let plain = !io::stderr().is_terminal() || std::env::var_os("NO_COLOR").is_some();
    if plain { text.to_owned() } else { format!("\x1b[2m{text}\x1b[0m") }
}

#[cfg(test)]
mod tests {
    use protocol::agent::{ItemKind, ItemPhase};
    use protocol::message::{ChatMessage, ChatRole};
    use types::Timestamp;

    use super::*;

    #[test]
    fn an_answer_is_printed_whole_whatever_was_said_before_it() {
        assert_eq!(unprinted("", "all"), "all");
        assert_eq!(unprinted("al", "all"), "l");
        assert_eq!(unprinted("let me look", "found"), "\nfound");
        assert_eq!(unprinted("let me look", ""), "");
    }

    #[test]
    fn a_draft_is_right_also_when_pieces_of_it_were_missed() {
        let delta = |whole: &str, new: &str, replace| ChatState::Delta {
            message: Some(ChatMessage::text(ChatRole::Assistant, whole, Timestamp(1))),
            delta_text: new.to_owned(),
            replace,
        };
        let mut draft = Draft::default();
        let mut out = Vec::new();
        for state in [
            delta("a", "a", false),
            delta("abcd", "d", false),
            delta("new", "new", true),
            delta("other", "her", false),
        ] {
            draft.grow(&state, &mut out).unwrap();
        }
        draft.end("other words", &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "abcd\nnew\nother words\n");
    }

    #[test]
    fn a_call_is_a_line_at_its_start_and_at_its_end() {
        let item = |status, duration_ms| Item {
            item_id: "tool:c".to_owned(),
            tool_call_id: "c".to_owned(),
            name: "exec".to_owned(),
            kind: ItemKind::Tool,
            phase: ItemPhase::Start,
            title: "ls".to_owned(),
            status,
            started_at: Timestamp(1),
            ended_at: None,
            duration_ms,
        };
        let told = |status, ms| line(&AgentStream::Item(item(status, ms))).unwrap();
        assert_eq!(told(ItemStatus::Running, None), "· exec: ls");
        assert_eq!(told(ItemStatus::Completed, Some(340)), "· exec: ok, 0.3 s");
        assert_eq!(told(ItemStatus::Failed, Some(2_000)), "· exec: failed, 2.0 s");
    }
}
