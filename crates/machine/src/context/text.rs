//! Texts: what is too long is cut in the middle and says so, and what a model is asked.

/// A text of at most `bytes` and a line that says what is missing, or none if it is not longer. The
/// whole of it can be read where it is.
pub fn clip(text: &str, bytes: u64) -> Option<String> {
    let (head, tail) = ends(text, bytes)?;
    Some(format!(
        "{head}\n[cut here to make room: {} of {} bytes are shown; sessions_history has it all]\n\
         {tail}",
        head.len() + tail.len(),
        text.len(),
    ))
}

/// The beginning and the end of a text that is longer than `bytes`: two thirds and one.
fn ends(text: &str, bytes: u64) -> Option<(&str, &str)> {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    if text.len() <= bytes {
        return None;
    }
    let last = bytes / 3;
    let head = &text[..text.floor_char_boundary(bytes - last)];
    let tail = &text[text.ceil_char_boundary(text.len() - last)..];
    Some((head, tail))
}

/// The question for notes.
pub(super) fn ask_for_notes(day: &str) -> String {
    format!(
        "[System] This conversation is about to be compacted: a summary will take the place of \
         what was said so far. Write down now what must not be lost (decisions, facts, promises, \
         open ends, where things are) in memory/{day}.md, with your file tools; if the file is \
         there, add to it. Nobody reads what you answer here. When that is done, or if nothing is \
         worth keeping, answer exactly NO_REPLY."
    )
}

/// The question for a summary of at most so many tokens.
pub(super) fn ask_for_summary(tokens: u64, hint: &str) -> String {
    let words = (tokens * 3 / 4).max(50);
    let hint = match hint.trim() {
        "" => String::new(),
        hint => format!(" The person asks for this above all: {hint}"),
    };
    format!(
        "[System] This conversation is being compacted. Answer with a summary, in at most {words} \
         words, that will take the place of everything above: what was asked and by whom, what \
         was decided and why, what has been done and with what result, what is open and what \
         comes next. Keep names, ids, paths, numbers and commands exactly as they are. Call no \
         tool, address nobody, and write nothing but the summary.{hint}"
    )
}

/// What stands in the place of what is too much even for a summary.
pub(super) const LEFT_OUT: &str =
    "[System] What was said before this is too long to be shown here.";

/// What stands in the place of what was left out.
pub(super) fn head(entries: u64, tokens: u64, summary: &str) -> String {
    format!(
        "[System] What was said before is not shown here any more: {entries} entries, about \
         {tokens} tokens. This summary of it was made then:\n\n{}",
        summary.trim()
    )
}

/// What stands in the place of what was left out without a summary.
pub(super) fn digest(entries: u64, tokens: u64, kinds: &str, before: Option<&str>) -> String {
    let mut text = format!(
        "[System] What was said before is not shown here any more: {entries} entries, about \
         {tokens} tokens ({kinds}). No summary of it could be made; sessions_history has it all."
    );
    if let Some(before) = before {
        text += "\n\nWhat stood at its beginning:\n\n";
        text += before;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_keeps_its_ends() {
        let text = format!("begin{}end", "é".repeat(1_000));
        assert_eq!(clip(&text, text.len() as u64), None);
        let cut = clip(&text, 90).unwrap();
        assert!(cut.starts_with("begin") && cut.ends_with("end"), "{cut}");
        assert!(cut.contains("88 of 2008 bytes") && cut.contains("sessions_history"), "{cut}");
        assert!(clip(&text, 0).unwrap().contains("0 of 2008 bytes"));
    }

    #[test]
    fn the_questions_name_what_they_are_about() {
        assert!(ask_for_notes("2026-11-21").contains("memory/2026-11-21.md"));
        assert!(ask_for_notes("2026-11-21").contains("NO_REPLY"));
        let ask = ask_for_summary(400, "  the budget ");
        assert!(ask.contains("300 words") && ask.ends_with("above all: the budget"), "{ask}");
        assert!(!ask_for_summary(400, " ").contains("person asks"));
    }

    #[test]
    fn a_digest_keeps_what_an_earlier_summary_has_said() {
        let text = digest(3, 900, "1 user, 2 assistant", Some("blue is chosen"));
        assert!(text.contains("3 entries") && text.ends_with("blue is chosen"), "{text}");
    }
}
