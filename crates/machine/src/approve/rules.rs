//! Which commands run, and which a person is asked about. Pure.
//!
//! | mode        | allowed, or allowed for good | safe | anything else |
//! |-------------|------------------------------|------|---------------|
//! | `deny`      | refused                      | refused | refused    |
//! | `allowlist` | runs                         | refused | refused    |
//! | `ask`       | runs                         | asked   | asked      |
//! | `auto`      | runs                         | runs    | asked      |
//! | `full`      | runs                         | runs    | runs       |
//!
//! Nobody is asked for a run that nobody looks after, such as that of a schedule: there
//! `askFallback` decides at once.

use std::time::Duration;

use types::{CommandLine, word_enum};

use crate::policy::covers;

word_enum! {
    /// `tools.exec.mode`. The words are OpenClaw's.
    pub enum ExecMode {
        Deny = "deny",
        Allowlist = "allowlist",
        Ask = "ask",
        Auto = "auto",
        Full = "full",
    }
}

word_enum! {
    /// `tools.exec.askFallback`: what becomes of a question that nobody can be asked.
    pub enum AskFallback {
        Deny = "deny",
        Full = "full",
    }
}

/// `tools.exec`, as far as it says what may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecRules {
    pub mode: ExecMode,
    /// `allowlist`: patterns of commands, see [`is_covered`].
    pub allow: Vec<String>,
    /// `safeBins`: programs that only look, see [`is_safe`].
    pub safe: Vec<String>,
    pub fallback: AskFallback,
    /// `approvalTimeoutSeconds`: how long a question waits for its answer.
    pub wait: Duration,
}

/// Programs that read what they are given and write to nothing but their output. None of them
/// has an option that writes a file, starts a program, or waits.
pub const SAFE: &[&str] = &[
    "basename",
    "cat",
    "cd",
    "cmp",
    "comm",
    "cut",
    "diff",
    "dirname",
    "du",
    "echo",
    "false",
    "grep",
    "head",
    "id",
    "ls",
    "md5sum",
    "nl",
    "printf",
    "pwd",
    "sha256sum",
    "stat",
    "test",
    "tr",
    "true",
    "uname",
    "wc",
    "which",
    "whoami",
];

/// How long a question waits by default.
pub const WAIT: Duration = Duration::from_secs(30 * 60);

impl Default for ExecRules {
    fn default() -> ExecRules {
        ExecRules {
            mode: ExecMode::Full,
            allow: Vec::new(),
            safe: SAFE.iter().map(|&name| name.to_owned()).collect(),
            fallback: AskFallback::Deny,
            wait: WAIT,
        }
    }
}

/// What is to be done with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Runs,
    /// A person is asked.
    Asks,
    /// The mode refuses it.
    Refused,
    /// It would have been asked about, and there is nobody to ask.
    Unattended,
}

impl ExecRules {
    /// Judges a command. `granted` is what was allowed for good, `attended` whether there is a
    /// person to be asked.
    pub fn judge(&self, command: &CommandLine, granted: &[String], attended: bool) -> Verdict {
        let covered = || is_covered(command, &[&self.allow, granted]);
        let runs = match self.mode {
            ExecMode::Full => true,
            ExecMode::Deny => return Verdict::Refused,
            ExecMode::Allowlist if !covered() => return Verdict::Refused,
            ExecMode::Allowlist => true,
            ExecMode::Ask => covered(),
            ExecMode::Auto => covered() || is_safe(command, &self.safe),
        };
        match (runs, attended, self.fallback) {
            (true, ..) => Verdict::Runs,
            (false, true, _) => Verdict::Asks,
            (false, false, AskFallback::Full) => Verdict::Runs,
            (false, false, AskFallback::Deny) => Verdict::Unattended,
        }
    }
}

/// Does each program that the command starts fit a pattern, or the whole command one of those
/// that begin with `=`?
///
/// A pattern is words. A `*` in a word stands for any text; a last word `*` for any words, or none:
/// `git status`, `cargo *`, `/usr/bin/*`.
pub fn is_covered(command: &CommandLine, patterns: &[&[String]]) -> bool {
    let patterns = || patterns.iter().flat_map(|list| list.iter());
    if patterns().any(|pattern| pattern.strip_prefix('=') == Some(command.text.as_str())) {
        return true;
    }
    let fits = |words: &Vec<String>| patterns().any(|pattern| fits(pattern, words));
    command.programs.as_ref().is_some_and(|programs| programs.iter().all(fits))
}

fn fits(pattern: &str, words: &[String]) -> bool {
    if pattern.starts_with('=') {
        return false;
    }
    let parts: Vec<&str> = pattern.split_whitespace().collect();
    let (parts, open) = match parts.as_slice() {
        // A lone `*` is any program with any words.
        [parts @ .., "*"] => (parts, true),
        parts => (parts, false),
    };
    let long_enough = if open { words.len() >= parts.len() } else { words.len() == parts.len() };
    long_enough && parts.iter().zip(words).all(|(part, word)| covers(part, word))
}

/// Does the command start nothing but programs of `safe`, on nothing outside the folder that it
/// runs in?
fn is_safe(command: &CommandLine, safe: &[String]) -> bool {
    let stays = |word: &String| {
        let outside = word.starts_with(['/', '~']) || word.contains("..");
        // `--file=/etc/x`, `-f/etc/x`
        let hidden = word.starts_with('-') && word.contains(['/', '~']);
        !outside && !hidden
    };
    let is_safe = |words: &Vec<String>| {
        words
            .split_first()
            .is_some_and(|(program, rest)| safe.contains(program) && rest.iter().all(stays))
    };
    command.programs.as_ref().is_some_and(|programs| programs.iter().all(is_safe))
}

/// What "always" allows of a command: each program that is not allowed yet, with its first word.
/// A command that cannot be read is allowed as it is, to the letter.
pub fn patterns_for(command: &CommandLine, allowed: &[&[String]]) -> Vec<String> {
    let Some(programs) = &command.programs else { return vec![format!("={}", command.text)] };
    let mut patterns: Vec<String> = Vec::new();
    for words in programs {
        let known = |list: &&[String]| list.iter().any(|pattern| fits(pattern, words));
        // A pattern is split at blanks, and a star in it is no star: what has some is exact.
        let odd = |word: &&String| word.contains([' ', '\t', '\n', '*']) || word.is_empty();
        if allowed.iter().any(known) {
            continue;
        }
        let pattern = match words.as_slice() {
            [program, first, ..] if ![program, first].iter().any(odd) => {
                format!("{program} {first} *")
            }
            [program] if !odd(&program) => program.clone(),
            _ => return vec![format!("={}", command.text)],
        };
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
    }
    patterns
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `a b / c` as two programs, and `?…` as what cannot be read.
    fn command(text: &str) -> CommandLine {
        let words = |program: &str| program.split_whitespace().map(str::to_owned).collect();
        let programs = (!text.starts_with('?')).then(|| text.split(" / ").map(words).collect());
        CommandLine { text: text.to_owned(), programs }
    }

    fn list(patterns: &[&str]) -> Vec<String> {
        patterns.iter().map(|&pattern| pattern.to_owned()).collect()
    }

    #[test]
    fn what_a_pattern_covers() {
        for (patterns, text, covered) in [
            (&["ls"][..], "ls", true),
            (&["ls"], "ls -l", false),
            (&["ls *"], "ls", true),
            (&["ls *"], "ls -l src", true),
            (&["ls *"], "lsof", false),
            (&["git status"], "git status", true),
            (&["git status *"], "git push", false),
            (&["/usr/bin/* *"], "/usr/bin/jq .", true),
            (&["cargo *", "tail *"], "cargo test / tail -n 5", true),
            (&["cargo *"], "cargo test / rm -rf x", false),
            (&["*"], "rm -rf x", true),
            (&["*"], "?rm $X", false),
            (&["=?rm $X"], "?rm $X", true),
            (&["=?rm $X"], "?rm $XY", false),
            (&["=ls"], "ls -l", false),
            (&[], "ls", false),
        ] {
            assert_eq!(
                is_covered(&command(text), &[&list(patterns)]),
                covered,
                "{patterns:?} {text}"
            );
        }
    }

    #[test]
    fn what_each_mode_does_with_a_command() {
        use ExecMode::*;
        use Verdict::*;

        #[rustfmt::skip]
        let table = [
            // mode      allowed  safe     other
            (Deny,      [Refused, Refused, Refused]),
            (Allowlist, [Runs,    Refused, Refused]),
            (Ask,       [Runs,    Asks,    Asks]),
            (Auto,      [Runs,    Runs,    Asks]),
            (Full,      [Runs,    Runs,    Runs]),
        ];

        for (mode, verdicts) in table {
            let rules = ExecRules { mode, allow: list(&["cargo *"]), ..ExecRules::default() };
            let texts = ["cargo test", "ls -l / grep x src", "rm -rf x"];
            for (text, verdict) in texts.into_iter().zip(verdicts) {
                assert_eq!(rules.judge(&command(text), &[], true), verdict, "{mode} {text}");
                let alone = rules.judge(&command(text), &[], false);
                assert_eq!(alone, if verdict == Asks { Unattended } else { verdict });
                let lax = ExecRules { fallback: AskFallback::Full, ..rules.clone() };
                let alone = lax.judge(&command(text), &[], false);
                assert_eq!(alone, if verdict == Asks { Runs } else { verdict });
            }
            let granted = list(&["rm -rf *"]);
            let verdict = rules.judge(&command("rm -rf x"), &granted, true);
            assert_eq!(verdict, if mode == Deny { Refused } else { Runs }, "{mode}");
        }
    }

    #[test]
    fn what_only_looks_stays_in_its_folder() {
        let rules = ExecRules { mode: ExecMode::Auto, ..ExecRules::default() };
        for (text, runs) in [
            ("cat notes.md", true),
            ("cat src/a.rs / wc -l", true),
            ("cat /etc/passwd", false),
            ("cat ../x", false),
            ("cat ~/x", false),
            ("grep -f/etc/passwd x", false),
            ("grep --file=/etc/passwd x", false),
            ("grep -r --include=*.rs x src", true),
            ("./cat x", false),
            ("ls / sort x", false),
            ("?ls $X", false),
        ] {
            let expected = if runs { Verdict::Runs } else { Verdict::Asks };
            assert_eq!(rules.judge(&command(text), &[], true), expected, "{text}");
        }
    }

    #[test]
    fn what_always_allows() {
        let allowed = list(&["ls *"]);
        for (text, patterns) in [
            ("cargo test -p x", &["cargo test *"][..]),
            ("make", &["make"]),
            ("ls -l / git push", &["git push *"]),
            ("git push a / git push b", &["git push *"]),
            ("ls", &[]),
            ("rm *", &["=rm *"]),
            ("?x $Y", &["=?x $Y"]),
        ] {
            let found = patterns_for(&command(text), &[&allowed]);
            assert_eq!(found, list(patterns), "{text}");
            assert!(is_covered(&command(text), &[&allowed, &found]), "{text}");
        }
    }
}
