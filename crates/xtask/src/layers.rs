//! `cargo xtask layers`: which crate may depend on which.
//!
//! ```text
//!  5  windlass
//!  4  gateway
//!  3  runtime
//!  2  store      mcp
//!  1  machine   protocol   providers   tools
//!  0  types
//! ```
//!
//! # Invariants
//!
//! - A dependency of the code itself is in [`CRATES`]. One that only tests have goes to a
//!   lower layer, or to `stub`, which stands in for the world outside.
//! - `types` and `machine` name nothing that could know the time, a file or a socket.
//! - A crate of [`RESERVED`] is named only by the crates that own its job.
//! - No crate of [`BANNED`] is in the tree, however deep.

use anyhow::bail;

use crate::metadata::{Dependency, Kind, Metadata, Package};

/// One of our crates: where it stands, and what it may depend on.
struct Crate {
    name: &'static str,
    layer: u8,
    may_use: &'static [&'static str],
}

/// Every crate of the workspace. One that is not here is refused, so that whoever adds it
/// decides where it stands.
#[rustfmt::skip]
const CRATES: &[Crate] = &[
    Crate { name: "types", layer: 0, may_use: &[] },
    Crate { name: "machine", layer: 1, may_use: &["types"] },
    Crate { name: "protocol", layer: 1, may_use: &["types"] },
    Crate { name: "providers", layer: 1, may_use: &["types"] },
    Crate { name: "tools", layer: 1, may_use: &["types"] },
    Crate { name: "store", layer: 2, may_use: &["types", "machine"] },
    Crate { name: "mcp", layer: 2, may_use: &["types", "tools"] },
    Crate {
        name: "runtime",
        layer: 3,
        may_use: &["types", "machine", "store", "providers", "tools"],
    },
    // The handle of the runtime speaks in events and views: see docs/decisions/0005.
    Crate {
        name: "gateway",
        layer: 4,
        may_use: &["types", "machine", "store", "runtime", "protocol"],
    },
    Crate {
        name: "windlass",
        layer: 5,
        may_use: &[
            "types", "machine", "store", "mcp", "providers", "tools", "runtime", "protocol",
            "gateway",
        ],
    },
    Crate { name: "sim", layer: 5, may_use: &["types", "machine", "store"] },
    Crate { name: "fuzz", layer: 6, may_use: &["types", "protocol", "providers", "windlass"] },
    // Both judge Windlass from outside. With our nouns they would share our mistakes.
    Crate { name: "stub", layer: 5, may_use: &[] },
    Crate { name: "xtask", layer: 5, may_use: &[] },
];

/// The crates that must stay pure, and all that they may name. `uuid` may hold ids but not
/// make them: see [`IMPURE_FEATURES`].
const PURE: &[&str] = &["types", "machine"];
const PURE_MAY_USE: &[&str] =
    &["serde", "serde_json", "serde_path_to_error", "sha2", "thiserror", "uuid"];
const IMPURE_FEATURES: &[&str] = &["v1", "v4", "v6", "v7", "rng-getrandom", "fast-rng"];

/// Who may name a crate, where a rule of the architecture hangs on it.
const RESERVED: &[(&str, &[&str], &str)] = &[
    ("rusqlite", &["store", "tools"], "SQL appears only in store, and over notes in tools"),
    ("refinery", &["store"], "SQL appears only in store"),
    ("reqwest", &["providers", "tools", "mcp"], "HTTP clients are in providers, tools and mcp"),
    ("rmcp", &["mcp"], "the protocol of tool servers is spoken only in mcp"),
    ("axum", &["gateway", "stub"], "HTTP is served only by gateway and stub"),
    ("tokio-tungstenite", &["windlass"], "the gateway's client is in windlass::client"),
];

/// What must not come in through anybody, and why.
const BANNED: &[(&str, &str)] = &[
    ("aws-lc-sys", "a second TLS back end that needs minutes and cmake; we use ring"),
    ("openssl-sys", "links a system library, so the binary would not run everywhere"),
    ("native-tls", "links a system library, so the binary would not run everywhere"),
];

/// Prints every violation, and fails if there is one.
pub fn run() -> anyhow::Result<()> {
    let found = violations(&Metadata::load()?);
    for violation in &found {
        println!("{violation}");
    }
    if !found.is_empty() {
        bail!("{} dependencies break the layers", found.len());
    }
    eprintln!("layers: every dependency of ours points down");
    Ok(())
}

/// Returns one line for each dependency that breaks a rule.
pub fn violations(metadata: &Metadata) -> Vec<String> {
    let mut found = Vec::new();
    for package in metadata.members() {
        let Some(from) = find(&package.name) else {
            found.push(format!(
                "{}: not in the layers; add it to CRATES in crates/xtask/src/layers.rs",
                package.name
            ));
            continue;
        };
        found.extend(package.dependencies.iter().flat_map(|dependency| check(from, dependency)));
    }
    found.extend(metadata.packages.iter().filter_map(banned));
    found
}

/// Finds one of our crates by its package's name: `windlass-<folder>`, but for two.
fn find(package: &str) -> Option<&'static Crate> {
    let name = match package {
        "windlass" | "xtask" => package,
        _ => package.strip_prefix("windlass-")?,
    };
    CRATES.iter().find(|known| known.name == name)
}

fn check(from: &Crate, dependency: &Dependency) -> Vec<String> {
    let is_test = dependency.kind == Some(Kind::Dev);
    let broken = match find(&dependency.name) {
        Some(to) if is_test => arrow_of_a_test(from, to),
        Some(to) => arrow(from, to),
        None if is_test => None,
        None => external(from, dependency),
    };
    broken.into_iter().map(|rule| format!("{} -> {}: {rule}", from.name, dependency.name)).collect()
}

fn arrow(from: &Crate, to: &Crate) -> Option<String> {
    let allowed = from.may_use.contains(&to.name);
    (!allowed).then(|| format!("{} may use {}", from.name, list(from.may_use)))
}

fn arrow_of_a_test(from: &Crate, to: &Crate) -> Option<String> {
    let allowed = to.layer < from.layer || to.name == "stub";
    (!allowed).then(|| format!("tests of layer {} may use lower layers and stub", from.layer))
}

fn external(from: &Crate, dependency: &Dependency) -> Option<String> {
    let name = dependency.name.as_str();
    if PURE.contains(&from.name) {
        if !PURE_MAY_USE.contains(&name) {
            return Some(format!("{} is pure and may use {}", from.name, list(PURE_MAY_USE)));
        }
        let impure = dependency.features.iter().find(|f| IMPURE_FEATURES.contains(&f.as_str()));
        if let Some(feature) = impure {
            return Some(format!("{} is pure, and feature `{feature}` makes ids", from.name));
        }
    }
    let (_, owners, rule) = RESERVED.iter().find(|(reserved, ..)| *reserved == name)?;
    (!owners.contains(&from.name)).then(|| (*rule).to_owned())
}

fn banned(package: &Package) -> Option<String> {
    let (name, reason) = BANNED.iter().find(|(name, _)| *name == package.name)?;
    Some(format!("{name} {}: banned ({reason}); see `cargo tree -i {name}`", package.version))
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "nothing of ours".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The violations of a workspace where `from` depends on `to`, as a `kind` dependency.
    fn arrow(from: &str, to: &str, kind: Option<&str>, features: &[&str]) -> Vec<String> {
        let dependency = json!({ "name": to, "kind": kind, "features": features });
        let ours = json!({
            "id": "a", "name": from, "version": "0.1.0",
            "dependencies": [dependency], "targets": [],
        });
        let metadata = json!({
            "packages": [ours], "workspace_members": ["a"], "target_directory": "target",
        });
        violations(&serde_json::from_value(metadata).unwrap())
    }

    #[test]
    fn arrows_of_the_code_itself() {
        let none: [&str; 0] = [];
        for (from, to) in [
            ("windlass-store", "windlass-machine"),
            ("windlass-gateway", "windlass-protocol"),
            ("windlass", "windlass-gateway"),
            ("windlass-machine", "serde"),
            ("windlass-store", "rusqlite"),
        ] {
            assert_eq!(arrow(from, to, None, &[]), none, "{from} -> {to}");
        }
        for (from, to, expected) in [
            ("windlass-types", "windlass-machine", "types may use nothing of ours"),
            ("windlass-machine", "windlass-tools", "machine may use types"),
            ("windlass-store", "windlass-runtime", "store may use types, machine"),
            ("windlass-stub", "windlass-types", "stub may use nothing of ours"),
            (
                "windlass-machine",
                "tokio",
                "machine is pure and may use serde, serde_json, \
                serde_path_to_error, sha2, thiserror, uuid",
            ),
            ("windlass-gateway", "rusqlite", "SQL appears only in store, and over notes in tools"),
            ("windlass-store", "reqwest", "HTTP clients are in providers, tools and mcp"),
        ] {
            let found = arrow(from, to, None, &[]);
            let from = from.trim_start_matches("windlass-");
            assert_eq!(found, [format!("{from} -> {to}: {expected}")]);
        }
    }

    #[test]
    fn arrows_of_tests_go_down_or_to_the_stub() {
        assert!(arrow("windlass-gateway", "windlass-store", Some("dev"), &[]).is_empty());
        assert!(arrow("windlass-providers", "windlass-stub", Some("dev"), &[]).is_empty());
        assert!(arrow("windlass-machine", "proptest", Some("dev"), &[]).is_empty());
        assert_eq!(
            arrow("windlass-store", "windlass-runtime", Some("dev"), &[]),
            ["store -> windlass-runtime: tests of layer 2 may use lower layers and stub"]
        );
    }

    #[test]
    fn a_pure_crate_holds_ids_but_makes_none() {
        assert!(arrow("windlass-types", "uuid", None, &["std"]).is_empty());
        assert_eq!(
            arrow("windlass-types", "uuid", None, &["std", "v7"]),
            ["types -> uuid: types is pure, and feature `v7` makes ids"]
        );
    }

    #[test]
    fn an_unknown_crate_and_a_banned_one() {
        assert_eq!(
            arrow("windlass-extra", "serde", None, &[]),
            ["windlass-extra: not in the layers; add it to CRATES in crates/xtask/src/layers.rs"]
        );
        let metadata = json!({
            "packages": [{
                "id": "x", "name": "aws-lc-sys", "version": "0.30.0",
                "dependencies": [], "targets": [],
            }],
            "workspace_members": [], "target_directory": "target",
        });
        let found = violations(&serde_json::from_value(metadata).unwrap());
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("aws-lc-sys 0.30.0: banned"), "{found:?}");
    }
}
