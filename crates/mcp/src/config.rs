//! What is configured of a server, checked already.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use types::Hash;

/// One server of `mcp.servers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Begins the names of its tools.
    pub name: String,
    pub reach: Reach,
    /// How long it may take to start, to greet and to tell its tools.
    pub connect_timeout: Duration,
    /// How long one call may take.
    pub call_timeout: Duration,
    /// Patterns of its own names; all tools if there is none.
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    /// Is its word taken for what changes nothing?
    pub trusted: bool,
    /// May calls be out at the same time?
    pub parallel: bool,
}

/// Where a server is.
#[derive(Clone, PartialEq, Eq)]
pub enum Reach {
    /// A process of ours, spoken to by its standard input and output.
    Stdio {
        command: String,
        args: Vec<String>,
        /// Beside the few variables that every process needs. Values may be secrets.
        env: BTreeMap<String, String>,
        cwd: Option<PathBuf>,
    },
    /// Streamable HTTP.
    Http {
        url: String,
        /// Values may be secrets.
        headers: BTreeMap<String, String>,
    },
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reach::Stdio { command, args, env, cwd } => f
                .debug_struct("Stdio")
                .field("command", command)
                .field("args", args)
                .field("env", &env.keys())
                .field("cwd", cwd)
                .finish(),
            Reach::Http { url, headers } => {
                f.debug_struct("Http").field("url", url).field("headers", &headers.keys()).finish()
            }
        }
    }
}

impl ServerConfig {
    /// Tells one configuration of a server from another, as far as its tools go. Values of
    /// variables and headers are not in it: a new key is no other server.
    pub fn hash(&self) -> Hash {
        let reach = match &self.reach {
            Reach::Stdio { command, args, env, cwd } => {
                json!([command, args, env.keys().collect::<Vec<_>>(), cwd])
            }
            Reach::Http { url, headers } => json!([url, headers.keys().collect::<Vec<_>>()]),
        };
        Hash::of(json!([self.name, reach]).to_string())
    }

    /// Is a tool of this name wanted?
    pub fn wants(&self, tool: &str) -> bool {
        let named = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, tool));
        (self.include.is_empty() || named(&self.include)) && !named(&self.exclude)
    }

    /// Where it is, for people: no secrets.
    pub fn place(&self) -> String {
        match &self.reach {
            Reach::Stdio { command, args, .. } => {
                let words = std::iter::once(command).chain(args).map(String::as_str);
                words.collect::<Vec<_>>().join(" ")
            }
            Reach::Http { url, .. } => url.clone(),
        }
    }
}

/// Does `pattern` cover the whole of `name`? A `*` stands for any text, or none.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(left) = name.strip_prefix(head) else { return false };
    // What the star takes is tried from the shortest on; names are short.
    (0..=left.len()).filter(|at| left.is_char_boundary(*at)).any(|at| matches(rest, &left[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn config() -> ServerConfig {
        ServerConfig {
            name: "s".to_owned(),
            reach: Reach::Stdio {
                command: "cat".to_owned(),
                args: Vec::new(),
                env: BTreeMap::from([("KEY".to_owned(), "sk-secret".to_owned())]),
                cwd: None,
            },
            connect_timeout: Duration::from_secs(1),
            call_timeout: Duration::from_secs(1),
            include: Vec::new(),
            exclude: Vec::new(),
            trusted: false,
            parallel: true,
        }
    }

    #[test]
    fn what_is_excluded_is_not_wanted_whatever_is_included() {
        let lists = |include: &[&str], exclude: &[&str]| {
            let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
            ServerConfig { include: texts(include), exclude: texts(exclude), ..config() }
        };
        for (include, exclude, tool, wanted) in [
            (&[][..], &[][..], "echo", true),
            (&["echo"], &[], "echo", true),
            (&["echo"], &[], "echo2", false),
            (&["get_*", "e*o"], &[], "echo", true),
            (&["*"], &["get_*"], "get_sum", false),
            (&[], &["*sum*"], "get_sum", false),
            (&["Echo"], &[], "echo", false),
        ] {
            assert_eq!(lists(include, exclude).wants(tool), wanted, "{include:?} {exclude:?}");
        }
    }

    #[test]
    fn a_secret_is_neither_shown_nor_part_of_the_hash() {
        let one = config();
        assert!(!format!("{one:?}").contains("sk-secret"));
        let mut other = config();
        let Reach::Stdio { env, .. } = &mut other.reach else { unreachable!() };
        env.insert("KEY".to_owned(), "sk-other".to_owned());
        assert_eq!(one.hash(), other.hash());
        let mut other = config();
        let Reach::Stdio { args, .. } = &mut other.reach else { unreachable!() };
        args.push("-u".to_owned());
        assert_ne!(one.hash(), other.hash());
    }
}
