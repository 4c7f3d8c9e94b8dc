//! `cargo xtask prices`: the price catalogue, from the data that rig-core ships.
//!
//! rig-core is no dependency: to build it for one file would cost everybody a hundred crates. Its
//! source is unpacked by cargo wherever something has fetched it; this reads the file from there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// Where the catalogue lies in this repository.
const TARGET: &str = "crates/windlass/src/prices.json";

/// Providers by rig-core's names and by ours. Resellers whose prices vary are left out.
const PROVIDERS: &[(&str, &str)] = &[
    ("anthropic", "anthropic"),
    ("deepseek", "deepseek"),
    ("gcp.gemini", "google"),
    ("groq", "groq"),
    ("mistral", "mistral"),
    ("moonshot", "moonshot"),
    ("openai", "openai"),
    ("openrouter", "openrouter"),
    ("xai", "xai"),
    ("zai", "zai"),
];

/// Generate the price catalogue from the model data of rig-core
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The `src/catalog/models.json` of a rig-core source, as cargo unpacks it
    source: PathBuf,

    /// Its version, which names the prices in the ledger
    #[arg(long)]
    version: String,

    /// The day of its release, as in 2026-11-21
    #[arg(long)]
    date: String,
}

#[derive(Deserialize)]
struct Source {
    models: BTreeMap<String, Model>,
}

#[derive(Deserialize)]
struct Model {
    #[serde(default)]
    limit: Limit,
    #[serde(default)]
    cost: Cost,
}

#[derive(Default, Deserialize)]
struct Limit {
    context: Option<u64>,
    output: Option<u64>,
}

#[derive(Default, Deserialize)]
struct Cost {
    input: Option<f64>,
    output: Option<f64>,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
}

/// One model. What the cache costs is left out where it is the price of input.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    input: f64,
    output: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_read: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_window: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(&args.source)
        .with_context(|| format!("cannot read {}", args.source.display()))?;
    let made = catalogue(&text, &args.version, &args.date)
        .with_context(|| format!("{} is not the catalogue of rig-core", args.source.display()))?;
    std::fs::write(TARGET, &made).with_context(|| format!("cannot write {TARGET}"))?;
    println!("{TARGET}: {} lines", made.lines().count());
    Ok(())
}

/// A line for each model that has a price, so that a change of one is one line of a diff.
fn catalogue(text: &str, version: &str, date: &str) -> anyhow::Result<String> {
    let source: BTreeMap<String, Source> = serde_json::from_str(text)?;
    let mut lines = Vec::new();
    for (theirs, ours) in PROVIDERS {
        let Some(provider) = source.get(*theirs) else { bail!("it has no provider `{theirs}`") };
        for (id, Model { limit, cost }) in &provider.models {
            // What costs nothing there is no free model, but one whose price is not known.
            let (Some(input), Some(output)) = (cost.input, cost.output) else { continue };
            if input + output == 0.0 {
                continue;
            }
            let row = Row {
                input,
                output,
                cache_read: cost.cache_read,
                cache_write: cost.cache_write,
                context_window: limit.context.filter(|tokens| *tokens > 0),
                max_tokens: limit.output.filter(|tokens| *tokens > 0),
            };
            let name = serde_json::to_string(&format!("{ours}/{id}"))?;
            lines.push(format!("    {name}: {}", serde_json::to_string(&row)?));
        }
    }
    lines.sort();
    Ok(format!(
        "{{\n  \"source\": \"models.dev, as in rig-core {version} (MIT)\",\n  \"version\": \
         \"rig-{version}\",\n  \"date\": \"{date}\",\n  \"models\": {{\n{}\n  }}\n}}\n",
        lines.join(",\n")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_a_line_and_one_without_a_price_is_none() {
        let model = r#"{"limit":{"context":200000,"output":64000},
            "cost":{"input":3,"output":15,"cache_read":0.3}}"#;
        let others: Vec<String> = PROVIDERS
            .iter()
            .filter(|(theirs, _)| *theirs != "gcp.gemini")
            .map(|(theirs, _)| format!(r#""{theirs}":{{"models":{{"free":{{}}}}}}"#))
            .collect();
        let text =
            format!(r#"{{{},"gcp.gemini":{{"models":{{"pro":{model}}}}}}}"#, others.join(","));
        let made = catalogue(&text, "0.44.0", "2026-11-01").unwrap();
        let line = r#""google/pro": {"input":3.0,"output":15.0,"cacheRead":0.3,"contextWindow":200000,"maxTokens":64000}"#;
        assert_eq!(made.lines().nth(5).unwrap().trim(), line, "{made}");
        assert!(!made.contains("free"));
        let read: serde_json::Value = serde_json::from_str(&made).unwrap();
        assert_eq!(read["version"], "rig-0.44.0");
        assert!(catalogue("{}", "0", "0").is_err());
    }
}
