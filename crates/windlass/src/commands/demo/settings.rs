//! The demo's configuration: a folder of its own, a free port, and a model.

use std::path::Path;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use uuid::Uuid;

use super::DemoArgs;
use windlass::config::presets::PRESETS;

#[derive(Debug)]
pub struct Settings {
    /// As `provider/model`.
    pub model: String,
    pub token: String,
    providers: Value,
}

/// Chooses the model, and says what is missing for it.
pub fn choose(args: &DemoArgs) -> anyhow::Result<Settings> {
    let named = args.model.as_deref();
    let (model, providers) = match args.provider.as_deref() {
        None => ("scripted/demo".to_owned(), json!({})),
        Some(url) if url.starts_with("http://") || url.starts_with("https://") => {
            let id = named.context("--provider URL needs --model too")?;
            let mut provider = json!({
                "baseUrl": url,
                "api": "openai-completions",
                "models": [{ "id": id }],
            });
            provider["apiKey"] = key(&["OPENAI_API_KEY"]).unwrap_or_default();
            let provider = without_null(provider);
            (format!("custom/{id}"), json!({ "custom": provider }))
        }
        Some(id) => of_preset(id, named)?,
    };
    Ok(Settings { model, token: Uuid::new_v4().to_string(), providers })
}

fn of_preset(id: &str, named: Option<&str>) -> anyhow::Result<(String, Value)> {
    let Some(preset) = PRESETS.iter().find(|preset| preset.id == id && !preset.keys.is_empty())
    else {
        let known = PRESETS.iter().filter(|preset| !preset.keys.is_empty());
        let known: Vec<&str> = known.map(|preset| preset.id).collect();
        bail!("--provider is a URL or one of {}; got `{id}`", known.join(", "));
    };
    let Some(model) = named.or(preset.model) else {
        bail!("--provider {id} needs --model too: the name of one that is loaded there");
    };
    let key = key(preset.keys);
    if key.is_none() && !preset.local {
        bail!("no key: set {}", preset.key_words());
    }
    let provider = json!({ "apiKey": key, "models": [{ "id": model }] });
    Ok((format!("{id}/{model}"), json!({ id: without_null(provider) })))
}

/// Names the variable; the key itself goes into no file.
fn key(variables: &[&str]) -> Option<Value> {
    let is_set = |name: &&&str| std::env::var(name).is_ok_and(|key| !key.is_empty());
    variables.iter().find(is_set).map(|name| json!(format!("${{{name}}}")))
}

fn without_null(mut value: Value) -> Value {
    if let Value::Object(fields) = &mut value {
        fields.retain(|_, value| !value.is_null());
    }
    value
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
