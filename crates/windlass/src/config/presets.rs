//! Providers that need no more configuration than a key, or not even that: one table.
//!
//! `models.providers.<id>` changes any field of a preset, and adds providers that are not here:
//! every URL that speaks one of the wires will do.

use types::Wire;

use super::models::Provider;

/// What is known of a provider.
#[derive(Debug)]
pub struct Preset {
    pub id: &'static str,
    pub base_url: &'static str,
    pub api: Wire,
    /// Variables in which its key is looked for, in this order. None for what is in this process.
    pub keys: &'static [&'static str],
    /// It runs on this machine, and asks nobody for a key.
    pub local: bool,
    /// It serves whichever model it was started with, under the name of that.
    pub any_name: bool,
    /// What an agent uses that names no model, if this is the first provider with a key.
    pub model: Option<&'static str>,
}

const fn hosted(
    id: &'static str,
    base_url: &'static str,
    keys: &'static [&'static str],
    model: &'static str,
) -> Preset {
    let api = Wire::OpenaiCompletions;
    Preset { id, base_url, api, keys, local: false, any_name: false, model: Some(model) }
}

const fn local(id: &'static str, base_url: &'static str, keys: &'static [&'static str]) -> Preset {
    let api = Wire::OpenaiCompletions;
    Preset { id, base_url, api, keys, local: true, any_name: false, model: None }
}

/// In the order in which their keys are looked for.
#[rustfmt::skip]
pub const PRESETS: &[Preset] = &[
    Preset {
        api: Wire::AnthropicMessages,
        ..hosted("anthropic", "https://api.anthropic.com",
            &["ANTHROPIC_API_KEY"], "claude-sonnet-4-5")
    },
    hosted("openai", "https://api.openai.com/v1",
        &["OPENAI_API_KEY"], "gpt-5-mini"),
    Preset {
        api: Wire::GoogleGenerativeAi,
        ..hosted("google", "https://generativelanguage.googleapis.com",
            &["GEMINI_API_KEY", "GOOGLE_API_KEY"], "gemini-2.5-flash")
    },
    hosted("openrouter", "https://openrouter.ai/api/v1",
        &["OPENROUTER_API_KEY"], "openrouter/auto"),
    hosted("dashscope", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        &["DASHSCOPE_API_KEY", "QWEN_API_KEY"], "qwen-plus"),
    hosted("zai", "https://api.z.ai/api/paas/v4",
        &["ZAI_API_KEY", "Z_AI_API_KEY"], "glm-4.6"),
    hosted("groq", "https://api.groq.com/openai/v1",
        &["GROQ_API_KEY"], "openai/gpt-oss-120b"),
    local("ollama", "http://127.0.0.1:11434/v1", &["OLLAMA_API_KEY"]),
    Preset {
        any_name: true,
        ..local("llama-server", "http://127.0.0.1:8080/v1", &["LLAMA_API_KEY"])
    },
    // The model of the demo: a script in this process, without an address.
    Preset { api: Wire::Scripted, ..local("scripted", "", &[]) },
];

pub fn find(id: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.id == id)
}

impl Preset {
    /// Would its calls be refused for want of a key?
    pub fn lacks_key(&self, provider: &Provider) -> bool {
        !self.local && !provider.has_key() && provider.base_url == self.base_url
    }

    /// The variables of its key, as a person reads them.
    pub fn key_words(&self) -> String {
        self.keys.join(" or ")
    }
}
