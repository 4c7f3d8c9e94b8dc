//! What a shell command would start, read without a shell. Pure.
//!
//! It decides what may run without a person being asked, so it errs on one side only: whatever it
//! does not know for certain it does not read at all. It knows plain words, quotes that hold
//! nothing for the shell to expand, and the signs between commands: `&&`, `||`, `;`, `|`, and new
//! lines. Of redirections it knows those that write no file: `2>&1`, `>/dev/null`.
//!
//! # Source
//!
//! POSIX.1-2024, Shell Command Language, sections 2.2 to 2.4 and 2.10.

use types::CommandLine;

/// Words that begin something else than a program, where a program's name stands. Some shells have
/// more of them; those are here, too.
const KEYWORDS: &[&str] = &[
    "if", "then", "else", "elif", "fi", "do", "done", "case", "esac", "while", "until", "for",
    "in", "select", "function", "time", "coproc", "{", "}", "!", "[[", "]]",
];

/// Programs of the shell that run what their arguments or a file say, or change what later words
/// mean.
const BUILTINS: &[&str] =
    &[".", "source", "eval", "exec", "command", "builtin", "alias", "trap", "export", "set", "env"];

/// Reads a command. `alone` says that nothing else decides what it does, such as variables that the
/// call sets.
pub(crate) fn read(text: &str, alone: bool) -> CommandLine {
    let programs = if alone { programs(text) } else { None };
    CommandLine { text: text.to_owned(), programs }
}

fn programs(text: &str) -> Option<Vec<Vec<String>>> {
    let mut found = Vec::new();
    let mut words: Vec<String> = Vec::new();
    // The last sign was one that another command has to follow.
    let mut open = false;
    let mut rest = text;
    while let Some(token) = next(&mut rest)? {
        match token {
            Token::Word(word) => {
                if words.is_empty() && !is_program(&word) {
                    return None;
                }
                words.push(word.text);
            }
            Token::Between { needs_next } => {
                if words.is_empty() && (needs_next || open) {
                    return None;
                }
                found.extend((!words.is_empty()).then(|| std::mem::take(&mut words)));
                open = needs_next;
            }
            Token::Harmless => {}
        }
    }
    if words.is_empty() && open {
        return None;
    }
    found.extend((!words.is_empty()).then_some(words));
    (!found.is_empty()).then_some(found)
}

/// Can the word name a program, and nothing else? `A=1` sets a variable of what comes behind it.
fn is_program(word: &Word) -> bool {
    let text = word.text.as_str();
    let depends = text.is_empty() || text.contains(['=', '*', '?', '[', '~']);
    let of_the_shell = BUILTINS.contains(&text) || word.plain && KEYWORDS.contains(&text);
    !(depends || of_the_shell)
}

/// A piece of a command.
#[derive(Debug, PartialEq)]
enum Token {
    Word(Word),
    /// Another command may begin.
    Between {
        needs_next: bool,
    },
    /// A redirection that writes no file.
    Harmless,
}

#[derive(Debug, PartialEq)]
struct Word {
    text: String,
    /// Nothing of it is quoted.
    plain: bool,
}

/// Signs between commands, the longer ones first, and whether another has to follow.
const BETWEEN: &[(&str, bool)] =
    &[("&&", true), ("||", true), ("|", true), (";", false), ("\n", false)];

/// Redirections that write no file.
const HARMLESS: &[&str] = &[
    "2>&1",
    "1>&2",
    ">&2",
    "2>/dev/null",
    "1>/dev/null",
    ">/dev/null",
    "2> /dev/null",
    "> /dev/null",
    "</dev/null",
    "< /dev/null",
];

/// What ends a word.
const ENDS: [char; 6] = [' ', '\t', '\n', ';', '|', '&'];

/// Takes the next piece off `rest`. `None` is something that we do not read, `Some(None)` the end.
fn next(rest: &mut &str) -> Option<Option<Token>> {
    *rest = rest.trim_start_matches([' ', '\t']);
    if rest.is_empty() {
        return Some(None);
    }
    let ends = |behind: &str| behind.is_empty() || behind.starts_with(ENDS);
    let harmless = HARMLESS.iter().find_map(|sign| rest.strip_prefix(sign).filter(|r| ends(r)));
    if let Some(behind) = harmless {
        *rest = behind;
        return Some(Some(Token::Harmless));
    }
    for &(sign, needs_next) in BETWEEN {
        if let Some(behind) = rest.strip_prefix(sign) {
            *rest = behind;
            return Some(Some(Token::Between { needs_next }));
        }
    }
    word(rest).map(|word| Some(Token::Word(word)))
}

fn word(rest: &mut &str) -> Option<Word> {
    let mut word = Word { text: String::new(), plain: true };
    while let Some(c) = rest.chars().next().filter(|c| !ENDS.contains(c)) {
        let behind = &rest[c.len_utf8()..];
        *rest = match c {
            '\'' | '"' => {
                let (inside, behind) = behind.split_once(c)?;
                if c == '"' && inside.contains(['$', '`', '\\']) {
                    return None;
                }
                word.text.push_str(inside);
                word.plain = false;
                behind
            }
            // Expansions, groups, redirections, comments, escapes.
            '$' | '`' | '(' | ')' | '{' | '}' | '<' | '>' | '#' | '\\' | '\r' | '\0' => {
                return None;
            }
            c => {
                word.text.push(c);
                behind
            }
        };
    }
    // A lone `&` puts what stands before it into the background.
    let background = rest.starts_with('&') && !rest.starts_with("&&");
    (!background).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match read(text, true).programs {
            Some(programs) => {
                programs.iter().map(|words| words.join("·")).collect::<Vec<_>>().join(" / ")
            }
            None => "?".to_owned(),
        }
    }

    #[test]
    fn what_a_command_starts() {
        for (text, programs) in [
            ("ls", "ls"),
            ("  git   status --short ", "git·status·--short"),
            ("cd src && cargo test 2>&1 | tail -n 5", "cd·src / cargo·test / tail·-n·5"),
            ("make; make install\n", "make / make·install"),
            ("grep 'a b' \"c d\" x'y'z", "grep·a b·c d·xyz"),
            ("echo '$(rm -rf /)' '`x`'", "echo·$(rm -rf /)·`x`"),
            ("grep -r '' . >/dev/null", "grep·-r··."),
            ("ls *.rs", "ls·*.rs"),
            ("'if' x", "if·x"),
            ("test a != b || true", "test·a·!=·b / true"),
        ] {
            assert_eq!(shown(text), programs, "{text}");
        }
    }

    #[test]
    fn what_is_not_known_for_certain_is_not_read() {
        for text in [
            "",
            " \n ",
            "&&",
            "ls &&",
            "ls | | wc",
            "ls & rm x",
            "ls &",
            "ls |& wc",
            "echo $HOME",
            "echo \"$HOME\"",
            "echo `date`",
            "echo $(date)",
            "cat <(date)",
            "ls > files",
            "ls >>files",
            "ls 2>errors",
            "ls 2>&1x",
            "cat < /etc/passwd",
            "cat <<E\nx\nE",
            "(cd x; ls)",
            "{ ls; }",
            "if true; then ls; fi",
            "while ls; do ls; done",
            "! ls",
            "A=1 ls",
            "LD_PRELOAD=x ls",
            "eval ls",
            "exec ls",
            "env ls",
            ". ./x",
            "ls # all",
            "l\\s",
            "echo \"a\\\"b\"",
            "*/x",
            "~/x",
            "{ls,-l}",
            "echo 'x",
            "echo \"x",
            "'' x",
            "f() { ls; }",
            "ls\r",
        ] {
            assert_eq!(shown(text), "?", "{text:?}");
        }
        assert_eq!(read("ls", false).programs, None);
    }
}
