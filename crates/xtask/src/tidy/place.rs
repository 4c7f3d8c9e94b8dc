//! What may stand only in one place: unfinished code, output, SQL, HTTP clients, processes,
//! and the time.

use std::path::Path;

use super::modules::Reach;
use super::token::{Kind, Token, is_ident};
use super::{Finding, Source};

/// One thing to look for, and where it may be.
struct Rule {
    pattern: Pattern,
    /// What the finding says.
    what: &'static str,
    /// Files and folders where it may be, each with its reason.
    allowed: &'static [(&'static str, &'static str)],
    tests: Tests,
}

enum Pattern {
    /// One of these macros.
    Macro(&'static [&'static str]),
    /// These words with `::` between them, anywhere in a path.
    Path(&'static [&'static str]),
    /// A path that starts with one of these crates.
    Crate(&'static [&'static str]),
    /// A literal that reads as a statement of SQL.
    Sql,
}

#[derive(PartialEq, Eq)]
enum Tests {
    May,
    MayNot,
}

/// The whole list. Most of xtask's own rules stand here as text, which no pattern sees.
const RULES: &[Rule] = &[
    Rule {
        pattern: Pattern::Macro(&["todo", "unimplemented", "dbg"]),
        what: "unfinished code; return an error that says what is missing",
        allowed: &[],
        tests: Tests::MayNot,
    },
    Rule {
        pattern: Pattern::Macro(&["print", "println", "eprint", "eprintln"]),
        what: "only binaries print; a library returns its words or traces them",
        allowed: &[
            ("crates/windlass/src", "the binary"),
            ("crates/stub/src/main.rs", "a binary"),
            ("crates/sim/src/main.rs", "a binary"),
            ("crates/xtask/src", "a binary"),
        ],
        tests: Tests::May,
    },
    Rule {
        pattern: Pattern::Sql,
        what: "SQL appears only in store, where a change of the schema finds all of it",
        allowed: &[
            ("crates/store", "owns the schema"),
            ("crates/tools/src/memory", "an index of its own, made anew from the notes"),
            ("crates/windlass/tests", "a test plays a person with the sqlite3 shell"),
            ("crates/xtask/src/bench", "counts the rows that it caused, with the sqlite3 shell"),
        ],
        tests: Tests::MayNot,
    },
    Rule {
        pattern: Pattern::Crate(&["reqwest", "hyper", "ureq", "tungstenite", "tokio_tungstenite"]),
        what: "network clients are only in providers, tools::web_fetch, mcp and windlass::client, \
               where time-outs and limits are set",
        allowed: &[
            ("crates/providers/src", "talks to models"),
            ("crates/tools/src/web_fetch", "gets pages of the public web"),
            ("crates/tools/src/web_fetch.rs", "see above"),
            ("crates/mcp/src", "talks to tool servers"),
            ("crates/windlass/src/client", "talks to the gateway"),
            ("crates/windlass/src/client.rs", "talks to the gateway"),
            ("crates/xtask/src/bench", "asks the binaries that it measures"),
        ],
        tests: Tests::May,
    },
    Rule {
        pattern: Pattern::Path(&["process", "Command"]),
        what: "processes are started only in tools and mcp, where groups and limits are set",
        allowed: &[
            ("crates/tools/src", "exec"),
            ("crates/mcp/src/process.rs", "servers, which live as long as the gateway"),
            ("crates/windlass/src/commands/demo", "kills its own gateway to show what happens"),
            ("crates/windlass/src/commands/demo.rs", "see above"),
            ("crates/xtask/src", "runs cargo"),
        ],
        tests: Tests::May,
    },
    NOW_OF_INSTANT,
    Rule { pattern: Pattern::Path(&["SystemTime", "now"]), ..NOW_OF_INSTANT },
];

const NOW_OF_INSTANT: Rule = Rule {
    pattern: Pattern::Path(&["Instant", "now"]),
    what: "only runtime::clock asks for the time, so that a test can set it",
    allowed: &[
        ("crates/runtime/src/clock.rs", "the clock itself"),
        ("crates/tools/src", "a child process lives in real time"),
        ("crates/mcp/src", "and so does a server"),
        ("crates/stub", "is a server of its own, and times faults"),
        ("crates/sim/src/main.rs", "says how long the seeds took; no world sees it"),
        ("crates/xtask/src", "measures"),
    ],
    tests: Tests::May,
};

/// Returns what `source` holds out of place. `reach` tells whether only tests compile it.
pub fn check(source: &Source, reach: Reach) -> Vec<Finding> {
    let mut found = Vec::new();
    for rule in RULES {
        if rule.allowed.iter().any(|(place, _)| source.path.starts_with(Path::new(place))) {
            continue;
        }
        for (at, token) in source.tokens.iter().enumerate() {
            let is_test = token.is_test || reach == Reach::Test;
            if is_test && rule.tests == Tests::May {
                continue;
            }
            if let Some(matched) = rule.pattern.find(&source.tokens[..=at], &source.tokens[at..]) {
                found.push(source.finding(token.line, format!("`{matched}`: {}", rule.what)));
            }
        }
    }
    found
}

impl Pattern {
    /// Returns what was found at the first token of `after`, which is the last of `before`.
    fn find(&self, before: &[Token], after: &[Token]) -> Option<String> {
        match self {
            Pattern::Macro(names) => {
                let is_macro = after.get(1)?.kind == Kind::Punct('!');
                let name = names.iter().find(|name| is_ident(&after[0], name))?;
                // `x != y` is two tokens too.
                let is_call = matches!(after.get(2)?.kind, Kind::Open(..));
                (is_macro && is_call).then(|| format!("{name}!"))
            }
            Pattern::Path(words) => {
                let mut tokens = after;
                for (at, word) in words.iter().enumerate() {
                    if at > 0 {
                        tokens = behind_colons(tokens)?;
                    }
                    let (first, rest) = tokens.split_first()?;
                    if !is_ident(first, word) {
                        return None;
                    }
                    tokens = rest;
                }
                Some(words.join("::"))
            }
            Pattern::Crate(names) => {
                let name = names.iter().find(|name| is_ident(&after[0], name))?;
                behind_colons(&after[1..])?;
                let is_root = before.len() < 2 || before[before.len() - 2].kind != Kind::Punct(':');
                is_root.then(|| (*name).to_owned())
            }
            Pattern::Sql => match &after[0].kind {
                Kind::Literal(text) => statement(text),
                _ => None,
            },
        }
    }
}

fn behind_colons(tokens: &[Token]) -> Option<&[Token]> {
    let [first, second, rest @ ..] = tokens else { return None };
    let are_colons = [first, second].iter().all(|token| token.kind == Kind::Punct(':'));
    are_colons.then_some(rest)
}

/// Returns the first words of `literal` if they begin a statement.
fn statement(literal: &str) -> Option<String> {
    let text = literal.trim_start_matches(['b', 'c', 'r', '#', '"', '\\', 'n', ' ', '\n']);
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let has = |word| words.contains(&word);
    let is_sql = match words[..] {
        ["select", ..] => has("from"),
        ["update", ..] => has("set"),
        ["insert", "into" | "or", ..] | ["delete", "from", ..] | ["begin", "immediate", ..] => true,
        ["create" | "drop" | "alter", "table" | "index" | "view" | "trigger" | "temp", ..] => true,
        ["pragma", name, ..] => {
            name.chars().all(|c| c.is_ascii_lowercase() || "_=(;\"".contains(c))
        }
        _ => false,
    };
    is_sql.then(|| words[..2].join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str, reach: Reach) -> Vec<String> {
        let source = Source::new(path, text).unwrap();
        check(&source, reach).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn each_rule_finds_what_it_is_for() {
        for (text, expected) in [
            ("fn f() { todo!() }", "todo!"),
            ("#[test] fn f() { dbg!(1); }", "dbg!"),
            ("fn f() { select! { a => println!(\"x\") } }", "println!"),
            ("const A: &str = \"select id from runs\";", "select id"),
            ("const A: &str = r#\"\n    INSERT INTO runs values (1)\"#;", "insert into"),
            ("#[test] fn f() { run(\"delete from runs\") }", "delete from"),
            ("const A: &str = \"pragma journal_mode=wal\";", "pragma journal_mode=wal\""),
            ("use reqwest::Client;", "reqwest"),
            ("fn f() -> ureq::Agent { g() }", "ureq"),
            ("use std::process::Command;", "process::Command"),
            ("fn f() { tokio::process::Command::new(\"x\"); }", "process::Command"),
            ("fn f() { let t = std::time::Instant::now(); }", "Instant::now"),
            ("fn f() { select! { a => SystemTime::now() } }", "SystemTime::now"),
        ] {
            let found = found("crates/machine/src/run.rs", text, Reach::Code);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].starts_with(&format!("`{expected}`")), "{text}: {found:?}");
        }
    }

    #[test]
    fn what_only_looks_like_it_is_left_alone() {
        for text in [
            "//! `todo!` and println!(\"x\") in prose, and \"select id from runs\"",
            "fn f(todo: u8) -> bool { todo != (1) }",
            "const A: &str = \"select a model\"; const B: &str = \"update the config\";",
            "const C: &str = \"create an index card\"; const D: &str = \"from here\";",
            "fn f(clock: &dyn Clock) { clock.now(); Timestamp::now_of(clock); }",
            "fn f() { my::reqwest::go(); let reqwest = 1; }",
            "#[cfg(test)] mod t { fn f() { println!(\"x\"); Instant::now(); } }",
        ] {
            assert_eq!(found("crates/machine/src/run.rs", text, Reach::Code), [""; 0], "{text}");
        }
    }

    #[test]
    fn each_place_has_its_exceptions() {
        let now = "fn f() { Instant::now(); }";
        for (path, reach, count) in [
            ("crates/runtime/src/clock.rs", Reach::Code, 0),
            ("crates/runtime/src/driver.rs", Reach::Code, 1),
            ("crates/runtime/tests/it/main.rs", Reach::Test, 0),
            ("crates/sim/src/main.rs", Reach::Code, 0),
            ("crates/sim/src/world.rs", Reach::Code, 1),
        ] {
            assert_eq!(found(path, now, reach).len(), count, "{path}");
        }
        let sql = "const A: &str = \"select id from runs\";";
        assert_eq!(found("crates/store/src/sqlite.rs", sql, Reach::Code).len(), 0);
        assert_eq!(found("crates/gateway/tests/it/main.rs", sql, Reach::Test).len(), 1);
        assert_eq!(found("crates/windlass/tests/it/inspect.rs", sql, Reach::Test).len(), 0);
    }
}
