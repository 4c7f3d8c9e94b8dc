//! `models`: the providers, those that are built in among them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use types::{Price, Wire, word_enum};

use super::inventory;
use super::model_ref::ModelRef;
use super::money;
use super::presets::{self, PRESETS, Preset};
use super::secret::Secret;
use super::section::{Missing, NamedModel, Section};

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Models {
    pub providers: BTreeMap<String, Provider>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Provider {
    pub base_url: String,
    /// None for a server that wants none, or if the secret is missing.
    pub api_key: Option<Secret>,
    pub api: Wire,
    /// The key goes out as `Authorization: Bearer`, whatever the wire is used to.
    pub auth_header: bool,
    pub models: Vec<ModelEntry>,
    /// Sent with every request.
    pub headers: BTreeMap<String, Secret>,
    /// Longest time of one model call; the adapter's own limit if none.
    pub timeout_seconds: Option<u64>,
    /// What all runs together may ask this account for.
    pub limits: ProviderLimits,
    /// Its accounts besides `apiKey`, by name, from `auth.profiles`.
    #[serde(skip)]
    pub accounts: BTreeMap<String, Secret>,
    /// In which order they are asked, `default` for that of `apiKey`. None if there is but that.
    #[serde(skip)]
    pub order: Vec<String>,
}

/// `limits` of a provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ProviderLimits {
    /// Calls in a minute.
    pub rpm: Option<u64>,
    /// Tokens in a minute.
    pub tpm: Option<u64>,
    /// Calls at a time.
    pub concurrent: Option<u64>,
}

impl ProviderLimits {
    fn read(s: &mut Section<'_>) -> ProviderLimits {
        ProviderLimits {
            rpm: s.integer("rpm", 1..=LIMIT_MAX),
            tpm: s.integer("tpm", 1..=LIMIT_MAX),
            concurrent: s.integer("concurrent", 1..=LIMIT_MAX),
        }
    }
}

/// One model of a provider.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelEntry {
    /// The provider's own name of it.
    pub id: String,
    pub name: Option<String>,
    /// Can it be told how long to think? Its name tells if nothing is said.
    pub reasoning: Option<bool>,
    /// Tokens that a prompt and its answer may have together.
    pub context_window: u64,
    /// Tokens that one answer may have.
    pub max_tokens: u64,
    /// What its tokens cost; that of the catalogue if none.
    pub cost: Option<Price>,
    /// Other names under which the provider may answer for it; `*` is any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub answers_as: Vec<String>,
}

/// What OpenClaw assumes of a model that says nothing.
const CONTEXT_WINDOW: u64 = 200_000;
const MAX_TOKENS: u64 = 8_192;

/// No account has a limit above this.
const LIMIT_MAX: u64 = 4_000_000_000;

/// Longest time of one model call: a day.
const CALL_SECONDS_MAX: u64 = 86_400;

word_enum! {
    /// The dialects that a file may name.
    enum Api {
        AnthropicMessages = "anthropic-messages",
        OpenaiCompletions = "openai-completions",
        OpenaiResponses = "openai-responses",
        GoogleGenerativeAi = "google-generative-ai",
        /// OpenClaw's old name for the same.
        Openai = "openai",
    }
}

/// The names to choose from.
const APIS: &[Api] = &[
    Api::AnthropicMessages,
    Api::OpenaiCompletions,
    Api::OpenaiResponses,
    Api::GoogleGenerativeAi,
];

/// OpenClaw's other dialects.
const API_LATER: &[&str] = &[
    "openai-chatgpt-responses",
    "google-vertex",
    "github-copilot",
    "bedrock-converse-stream",
    "ollama",
    "pi-messages",
    "azure-openai-responses",
];

word_enum! {
    enum Merge {
        Merge = "merge",
    }
}

impl Models {
    pub(super) fn read(s: &mut Section<'_>) -> Models {
        // The built-in providers are always there.
        s.word("mode", Merge::ALL, &["replace"]);
        let refs = s.cx.model_refs();
        let used = refs.iter().filter(|named| named.used);
        let used: BTreeSet<&str> = used.map(|named| named.model.provider.as_str()).collect();
        let (written, providers) = s.section("providers", |s| (s.keys(), read_providers(s, &used)));
        check_refs(s, &refs, &written, &providers);
        Models { providers }
    }
}

/// Reads every provider that is written, and the built-in ones that are not.
fn read_providers(s: &mut Section<'_>, used: &BTreeSet<&str>) -> BTreeMap<String, Provider> {
    let mut providers = BTreeMap::new();
    s.each(|id, s| {
        s.if_missing = missing(used.contains(id));
        providers.extend(Provider::read(id, s).map(|provider| (id.to_owned(), provider)));
    });
    let written = s.keys();
    for preset in PRESETS.iter().filter(|preset| !written.iter().any(|id| id == preset.id)) {
        // An empty section: all that the preset says stands.
        let provider = s.absent(preset.id, Provider::read);
        providers.extend(provider.map(|provider| (preset.id.to_owned(), provider)));
    }
    providers
}

/// Refuses a model of a provider that does not exist, and doubts one that is nearly one of those
/// which its provider lists. A provider that is written and wrong has an error of its own.
fn check_refs(
    s: &mut Section<'_>,
    refs: &[NamedModel],
    written: &[String],
    providers: &BTreeMap<String, Provider>,
) {
    for NamedModel { spot, model: ModelRef { provider: id, model }, .. } in refs {
        let Some(provider) = providers.get(id) else {
            if !written.contains(id) {
                let near = inventory::nearest_word(id, providers.keys().map(String::as_str));
                let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                s.cx.error(spot, format!("no provider `{id}` in `models.providers`{hint}"));
            }
            continue;
        };
        let listed = || provider.models.iter().map(|entry| entry.id.as_str());
        if listed().any(|entry| entry == model) {
            continue;
        }
        if let Some(near) = inventory::nearest_word(model, listed()) {
            let what = format!("no model `{model}` in `models.providers.{id}.models`");
            let hint = format!("did you mean `{near}`? It is asked for as it is written");
            s.cx.warn(spot, format!("{what}; {hint}"));
        }
    }
}

fn missing(used: bool) -> Missing {
    if used { Missing::Error } else { Missing::Warning }
}

/// Warns of a built-in provider that is used and has no key: its calls will be refused.
pub(super) fn warn_of_keys(s: &Section<'_>, providers: &BTreeMap<String, Provider>) {
    let refs = s.cx.model_refs();
    let used = refs.iter().filter(|named| named.used);
    let used: BTreeSet<&str> = used.map(|named| named.model.provider.as_str()).collect();
    for preset in PRESETS.iter().filter(|preset| used.contains(preset.id)) {
        if providers.get(preset.id).is_some_and(|provider| preset.lacks_key(provider)) {
            let mut spot = s.spot_of("models");
            spot.path = spot.path.key("providers").key(preset.id).key("apiKey");
            let variables = preset.key_words();
            s.cx.warn(&spot, format!("no key: set it, or the variable {variables}"));
        }
    }
}

impl Provider {
    /// Can it be asked with a key?
    pub fn has_key(&self) -> bool {
        self.api_key.is_some() || !self.accounts.is_empty()
    }

    /// Reads one provider. `None` if it has no address or no dialect.
    fn read(id: &str, s: &mut Section<'_>) -> Option<Provider> {
        let preset = presets::find(id);
        let written = s.node("baseUrl").is_some();
        let base_url = s.text("baseUrl").filter(|url| is_url(s, url));
        let base_url = base_url.or_else(|| {
            if let (None, false) = (preset, written) {
                s.cx.error(&s.spot(), "`baseUrl` is missing: expected a URL of the provider's API");
            }
            preset.filter(|_| !written).map(|preset| preset.base_url.to_owned())
        });
        let api = read_api(s, preset);
        let variables = preset.map(|preset| preset.keys).unwrap_or_default();
        let from_variable = || variables.iter().find_map(|name| s.cx.outside.var(name));
        let given = s.node("apiKey").is_some();
        let api_key = match given {
            true => s.secret("apiKey"),
            false => from_variable().map(Secret::new),
        };
        let auth_header = s.flag("authHeader").unwrap_or(false);
        let mut headers = BTreeMap::new();
        s.section("headers", |s| {
            for key in s.keys() {
                if !key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
                    s.ignore(&key);
                    s.cx.error(&s.spot_of(&key), "expected the name of an HTTP header");
                    continue;
                }
                headers.extend(s.secret(&key).map(|value| (key, value)));
            }
        });
        let mut models: Vec<ModelEntry> = Vec::new();
        s.items("models", |s| models.extend(ModelEntry::read(s)));
        let timeout_seconds = s.integer("timeoutSeconds", 1..=CALL_SECONDS_MAX);
        let limits = s.section("limits", ProviderLimits::read);
        Some(Provider {
            base_url: base_url?,
            api_key,
            api: api?,
            auth_header,
            models,
            headers,
            timeout_seconds,
            limits,
            accounts: BTreeMap::new(),
            order: Vec::new(),
        })
    }
}

fn is_url(s: &Section<'_>, url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host = rest.map(|rest| rest.split('/').next().unwrap_or(rest)).unwrap_or_default();
    let spot = s.spot_of("baseUrl");
    if host.is_empty() || url.contains(char::is_whitespace) {
        s.cx.error(&spot, "expected a URL that begins with `https://` or `http://`");
        return false;
    }
    if host.contains('@') {
        // A URL is shown in logs.
        s.cx.error(&spot, "holds a password; put it into `apiKey` or `headers`");
        return false;
    }
    true
}

fn read_api(s: &mut Section<'_>, preset: Option<&Preset>) -> Option<Wire> {
    if s.node("api").is_none() {
        if preset.is_none() {
            let names: Vec<String> = APIS.iter().map(|api| format!("`{api}`")).collect();
            s.cx.error(
                &s.spot(),
                format!("`api` is missing: expected one of {}", names.join(", ")),
            );
        }
        return preset.map(|preset| preset.api);
    }
    Some(match s.word("api", APIS, API_LATER)? {
        Api::AnthropicMessages => Wire::AnthropicMessages,
        Api::OpenaiCompletions | Api::Openai => Wire::OpenaiCompletions,
        Api::OpenaiResponses => Wire::OpenaiResponses,
        Api::GoogleGenerativeAi => Wire::GoogleGenerativeAi,
    })
}

impl ModelEntry {
    fn read(s: &mut Section<'_>) -> Option<ModelEntry> {
        let id = s.text("id");
        if id.is_none() && s.node("id").is_none() {
            s.cx.error(&s.spot(), "`id` is missing: expected the provider's name of the model");
        }
        let name = s.text("name");
        let reasoning = s.flag("reasoning");
        let context_window = s.integer("contextWindow", 1..=u64::MAX).unwrap_or(CONTEXT_WINDOW);
        let max_tokens = s.integer("maxTokens", 1..=u64::MAX).unwrap_or(MAX_TOKENS);
        let cost = money::cost(s);
        let answers_as = s.texts("answersAs").unwrap_or_default();
        Some(ModelEntry { id: id?, name, reasoning, context_window, max_tokens, cost, answers_as })
    }
}
