//! What a command writes for a terminal becomes text that a model can read.

/// Text without escapes and control characters. Colours and the like say nothing to a model, and
/// what it repeats of them would reach somebody's terminal.
pub(crate) fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let pieces = anstream::adapter::strip_str(&text);
    let kept = |c: &char| !c.is_control() || matches!(c, '\n' | '\t' | '\r');
    pieces.flat_map(str::chars).filter(kept).collect()
}

/// As [`plain`], of a terminal: a line that a program has written again and again, as it does to
/// show how far it is, is shown as it was last.
pub(crate) fn screen(bytes: &[u8]) -> String {
    let text = plain(bytes);
    let last = |line: &str| {
        let line = line.trim_end_matches('\r');
        line.rsplit('\r').next().unwrap_or(line).to_owned()
    };
    let lines: Vec<String> = text.split('\n').map(last).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_bells_are_left_out() {
        for (raw, text) in [
            (&b"\x1b[31mred\x1b[0m\n"[..], "red\n"),
            (b"\x1b]0;title\x07done", "done"),
            (b"a\x08b\x07c\x7f", "abc"),
            (b"tab\tend\r\n", "tab\tend\r\n"),
            (b"\xffx", "\u{fffd}x"),
            ("é€\u{9b}31m\n".as_bytes(), "é€31m\n"),
        ] {
            assert_eq!(plain(raw), text, "{raw:?}");
        }
    }

    #[test]
    fn a_line_is_shown_as_it_was_written_last() {
        for (raw, text) in [
            ("one\r\ntwo\r\n", "one\ntwo\n"),
            ("  5%\r 50%\r100%\r\nok\r\n", "100%\nok\n"),
            ("50%\r", "50%"),
            ("loading\r\x1b[Kdone\r\n", "done\n"),
            ("no returns\n", "no returns\n"),
        ] {
            assert_eq!(screen(raw.as_bytes()), text, "{raw:?}");
        }
    }
}
