//! The demo's configuration: a folder of its own, a free port, and a model.

use std::path::Path;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use uuid::Uuid;

use super::DemoArgs;
use crate::wire::models::BY_KEY;

#[derive(Debug)]
pub struct Settings {
    /// As `provider/model`.
    pub model: String,
    pub token: String,
    providers: Value,
}

/// Chooses the model, and says what is missing for it.
pub fn choose(args: &DemoArgs) -> anyhow::Result<Settings> {
    let (model, providers) = match args.provider.as_deref() {
        None => ("scripted/demo".to_owned(), json!({})),
        Some("anthropic") => {
            let id = args.model.as_deref().unwrap_or(usual("anthropic"));
            let key = key("ANTHROPIC_API_KEY")?;
            let provider = json!({
                "baseUrl": "https://api.anthropic.com",
                "api": "anthropic-messages",
                "apiKey": key,
                "models": [{ "id": id }],
            });
            (format!("anthropic/{id}"), json!({ "anthropic": provider }))
        }
        Some("openai") => {
            let id = args.model.as_deref().unwrap_or(usual("openai"));
            let key = key("OPENAI_API_KEY")?;
            let provider = json!({
                "baseUrl": "https://api.openai.com/v1",
                "api": "openai-completions",
                "apiKey": key,
                "models": [{ "id": id }],
            });
            (format!("openai/{id}"), json!({ "openai": provider }))
        }
        Some(url) if url.starts_with("http://") || url.starts_with("https://") => {
            let id = args.model.as_deref().context("--provider URL needs --model too")?;
            let mut provider = json!({
                "baseUrl": url,
                "api": "openai-completions",
                "models": [{ "id": id }],
            });
            if let Ok(key) = key("OPENAI_API_KEY") {
                provider["apiKey"] = key;
            }
            (format!("custom/{id}"), json!({ "custom": provider }))
        }
        Some(other) => bail!("--provider is `anthropic`, `openai` or a URL; got `{other}`"),
    };
    Ok(Settings { model, token: Uuid::new_v4().to_string(), providers })
}

/// The model that is asked if the person names none.
fn usual(provider: &str) -> &'static str {
    BY_KEY.iter().find(|(id, _)| *id == provider).map_or("", |(_, model)| model)
}

/// Names the variable; the key itself goes into no file.
fn key(variable: &str) -> anyhow::Result<Value> {
    match std::env::var(variable) {
        Ok(key) if !key.is_empty() => Ok(json!(format!("${{{variable}}}"))),
        _ => bail!("no key: set {variable}"),
    }
}

impl Settings {
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let config = json!({
            "gateway": { "auth": { "mode": "token", "token": self.token } },
            "agents": {
                "defaults": { "model": self.model, "workspace": folder.join("workspace") },
            },
            "models": { "providers": self.providers },
        });
        let text = serde_json::to_string_pretty(&config)?;
        std::fs::write(folder.join("windlass.json"), text).context("cannot write the configuration")
    }
}
