//! Secrets in histories: what looks like a key is not shown to another agent.
//!
//! The shapes are those of keys that say what they are. A password that looks like a word passes.

/// What stands in the place of a secret.
const REDACTED: &str = "[redacted]";

/// How keys begin, and how many characters the shortest of each kind has.
const PREFIXES: &[(&str, usize)] = &[
    ("sk-", 20),
    ("sk_live_", 20),
    ("rk_live_", 20),
    ("ghp_", 36),
    ("gho_", 36),
    ("ghs_", 36),
    ("github_pat_", 40),
    ("glpat-", 20),
    ("xoxb-", 20),
    ("xoxp-", 20),
    ("AKIA", 20),
    ("ASIA", 20),
    ("AIza", 35),
    ("npm_", 36),
    ("hf_", 30),
    // A token of three parts, as JSON web tokens are.
    ("eyJ", 60),
];

const PEM_BEGINS: &str = "-----BEGIN ";
const PEM_ENDS: &str = "-----END ";
const PEM_KEY: &str = "PRIVATE KEY-----";

/// Returns the text with its secrets covered, or `None` if there are none.
pub fn redact(text: &str) -> Option<String> {
    let without_pem = private_keys(text);
    let text = without_pem.as_deref().unwrap_or(text);
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    let mut found = without_pem.is_some();
    while !rest.is_empty() {
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let secret = is_secret(word);
        found |= secret;
        done.push_str(if secret { REDACTED } else { word });
        let gap = after.find(is_part).unwrap_or(after.len());
        done.push_str(&after[..gap]);
        rest = &after[gap..];
    }
    found.then_some(done)
}

fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

fn is_secret(word: &str) -> bool {
    PREFIXES.iter().any(|(prefix, least)| word.len() >= *least && word.starts_with(prefix))
}

/// Covers private keys from their first line to their last.
fn private_keys(text: &str) -> Option<String> {
    let mut done = String::new();
    let mut rest = text;
    let mut found = false;
    while let Some(at) = rest.find(PEM_BEGINS) {
        let (before, block) = rest.split_at(at);
        done.push_str(before);
        let head = block.lines().next().unwrap_or(block);
        if !head.trim_end().ends_with(PEM_KEY) {
            done.push_str(PEM_BEGINS);
            rest = &block[PEM_BEGINS.len()..];
            continue;
        }
        found = true;
        done.push_str(REDACTED);
        // A key that is cut has no end: all that is left may be part of it.
        let end = block.find(PEM_ENDS).map_or(block.len(), |end| {
            let line = block[end..].find('\n');
            line.map_or(block.len(), |line| end + line)
        });
        rest = &block[end..];
    }
    done.push_str(rest);
    found.then_some(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_covered_and_words_are_not() {
        let long = "a1".repeat(30);
        let token = |prefix: &str| format!("{prefix}{long}");
        for prefix in ["sk-", "sk-ant-api03-", "ghp_", "github_pat_", "xoxb-", "AIza", "eyJ"] {
            let text = format!("key=\"{}\", and more", token(prefix));
            let covered = redact(&text).unwrap_or_else(|| panic!("{prefix} is shown"));
            assert_eq!(covered, "key=\"[redacted]\", and more", "{prefix}");
        }
        assert_eq!(redact("AKIAIOSFODNN7EXAMPLE").as_deref(), Some("[redacted]"));
        for text in ["", "sk-", "risk-free", "sk-1234", "é ghp_x", "task-12345678901234567890"] {
            assert_eq!(redact(text), None, "{text}");
        }
    }

    #[test]
    fn a_private_key_is_covered_from_end_to_end() {
        let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----";
        let text = format!("before\n{key}\nafter {key}");
        assert_eq!(redact(&text).as_deref(), Some("before\n[redacted]\nafter [redacted]"));
        let cut = "x -----BEGIN PRIVATE KEY-----\nMIIE";
        assert_eq!(redact(cut).as_deref(), Some("x [redacted]"));
        let public = "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----";
        assert_eq!(redact(public), None);
    }
}
