//! Which models an agent asks for, and what is said of single ones.

use std::collections::BTreeMap;

use serde::Serialize;
use types::Thinking;

use super::document::Value;
use super::inventory;
use super::model_ref::{ModelChoice, ModelRef};
use super::section::{Section, Spot};

/// `models.<provider/model>` of an agent: what is said of one model.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ModelWish {
    /// Another name for it, in commands and wherever this file names a model.
    pub alias: Option<String>,
    pub params: ModelParams,
}

/// `params` of a model: what all wires have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelParams {
    /// How long it thinks, unless its agent or a conversation says it.
    pub thinking: Option<Thinking>,
    /// How far its answers stray; the provider's own if none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Of which part of all words they are drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Tokens of one answer; those of the model's entry if none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
}

/// The other words of OpenClaw's files, and of the wires themselves, for what is read here.
const OTHER_WORDS: &[(&str, &str)] =
    &[("top_p", "topP"), ("max_tokens", "maxTokens"), ("maxOutputTokens", "maxTokens")];

/// Most that any wire takes.
const TEMPERATURE_MAX: f64 = 2.0;

impl ModelParams {
    fn read(s: &mut Section<'_>) -> ModelParams {
        let within = |min: f64, max: f64| move |n: f64| (min..=max).contains(&n).then_some(n);
        let temperature =
            s.number("temperature", "a number from 0 to 2", within(0.0, TEMPERATURE_MAX));
        let params = ModelParams {
            thinking: thinking(s, "thinking"),
            temperature,
            top_p: s.number("topP", "a number from 0 to 1", within(0.0, 1.0)),
            max_tokens: s.integer("maxTokens", 1..=u64::from(u32::MAX)),
        };
        // What a provider alone understands is nobody's slip of the pen, and it is not sent.
        let known = ["thinking", "temperature", "topP", "maxTokens"];
        for key in s.keys().into_iter().filter(|key| !known.contains(&key.as_str())) {
            s.ignore(&key);
            let other = OTHER_WORDS.iter().find(|(word, _)| *word == key);
            let hint = other.map(|(_, right)| format!("; did you mean `{right}`?"));
            let words = known.map(|word| format!("`{word}`")).join(", ");
            let hint = hint.unwrap_or_default();
            let message = format!("has no effect: what reaches a model is {words}{hint}");
            s.cx.warn(&s.spot_of(&key), message);
        }
        params
    }
}

/// Reads what is said of single models. Their aliases hold from here on.
pub fn wishes(s: &mut Section<'_>) -> BTreeMap<ModelRef, ModelWish> {
    let mut wishes = BTreeMap::new();
    s.section("models", |s| {
        s.each(|key, s| {
            let spot = s.spot();
            let alias = alias(s);
            let wish = ModelWish { alias, params: s.section("params", ModelParams::read) };
            let model = match key.parse::<ModelRef>() {
                Ok(model) => model,
                Err(error) => return s.cx.error(&spot, error.to_string()),
            };
            s.cx.refer_to_model(spot, model.clone(), false);
            if let Some(alias) = &wish.alias
                && let Some(other) = s.cx.add_alias(alias, &model)
            {
                let message = format!("`{alias}` is the alias of `{other}` already");
                s.cx.error(&s.spot_of("alias"), message);
            }
            wishes.insert(model, wish);
        });
    });
    wishes
}

/// Reads a level of thinking.
pub fn thinking(s: &mut Section<'_>, key: &str) -> Option<Thinking> {
    s.word(key, Thinking::ALL, &["adaptive", "ultra"])
}

fn alias(s: &mut Section<'_>) -> Option<String> {
    let alias = s.text("alias")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
    if alias.chars().all(plain) && !alias.eq_ignore_ascii_case("default") {
        return Some(alias);
    }
    let form = "letters, digits and `._:-`, and not `default`";
    s.cx.error(&s.spot_of("alias"), format!("expected an alias of {form}; got `{alias}`"));
    None
}

/// Reads a model: `"provider/model"` or an alias, or `{primary, fallbacks}` of such.
pub fn model(s: &mut Section<'_>, key: &str) -> Option<ModelChoice> {
    let node = s.node(key)?;
    match &node.value {
        Value::Text(_) => {
            let text = s.text(key)?;
            let primary = model_ref(s, s.spot_of(key), &text)?;
            Some(ModelChoice { primary, fallbacks: Vec::new() })
        }
        Value::Object(_) => s.section(key, |s| {
            let primary = s.text("primary");
            if s.node("primary").is_none() {
                s.cx.error(&s.spot(), "`primary` is missing: expected `provider/model`");
            }
            let fallbacks = s.texts("fallbacks").unwrap_or_default();
            let spot = s.spot_of("fallbacks");
            let fallbacks =
                fallbacks.iter().filter_map(|text| model_ref(s, spot.clone(), text)).collect();
            let primary = model_ref(s, s.spot_of("primary"), &primary?)?;
            Some(ModelChoice { primary, fallbacks })
        }),
        _ => {
            s.wrong(key, "`provider/model`, or an object with `primary` and `fallbacks`", node);
            None
        }
    }
}

fn model_ref(s: &Section<'_>, spot: Spot, text: &str) -> Option<ModelRef> {
    let aliases = s.cx.aliases();
    let model = match (text.parse::<ModelRef>(), aliases.get(&text.to_lowercase())) {
        (Ok(model), _) => model,
        (Err(_), Some(model)) => model.clone(),
        (Err(error), None) => {
            let near = inventory::nearest_word(text, aliases.keys().map(String::as_str));
            let hint = near.map(|near| format!("; did you mean the alias `{near}`?"));
            s.cx.error(&spot, format!("{error}{}", hint.unwrap_or_default()));
            return None;
        }
    };
    s.cx.refer_to_model(spot, model.clone(), true);
    Some(model)
}
