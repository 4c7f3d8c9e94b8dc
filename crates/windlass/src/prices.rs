//! Prices of models that the configuration names no `cost` for: a catalogue that comes with this
//! version, made by `cargo xtask prices`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use types::{MicroUsd, Price};

/// What the catalogue knows of one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    pub price: Price,
    /// Tokens that a prompt and its answer may have together.
    pub context_window: Option<u64>,
    /// Tokens that one answer may have.
    pub max_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct File {
    version: String,
    models: BTreeMap<String, Row>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Row {
    input: MicroUsd,
    output: MicroUsd,
    cache_read: Option<MicroUsd>,
    cache_write: Option<MicroUsd>,
    context_window: Option<u64>,
    max_tokens: Option<u64>,
}

static FILE: LazyLock<File> = LazyLock::new(|| {
    serde_json::from_str(include_str!("prices.json")).expect("the catalogue is right, by its test")
});

/// Finds a model by `provider/model`. One that ends with a day (`-20251001`) is the model without
/// it, if it is not there itself.
pub fn find(reference: &str) -> Option<Known> {
    let row = FILE.models.get(reference).or_else(|| FILE.models.get(undated(reference)?))?;
    let Row { input, output, cache_read, cache_write, context_window, max_tokens } = *row;
    let (cache_read, cache_write) = (cache_read.unwrap_or(input), cache_write.unwrap_or(input));
    let price = Price { input, output, cache_read, cache_write };
    Some(Known { price, context_window, max_tokens })
}

/// Names a price where it is used: where it is from, of which model, and what it is.
pub fn id(reference: &str, price: &Price, configured: bool) -> String {
    let from = if configured { "config" } else { FILE.version.as_str() };
    let sorts = [price.input, price.output, price.cache_read, price.cache_write];
    let sorts = sorts.map(|price| price.usd().to_string());
    format!("{from}:{reference}:{}", sorts.join("/"))
}

fn undated(reference: &str) -> Option<&str> {
    let (name, day) = reference.rsplit_once('-')?;
    (day.len() == 8 && day.bytes().all(|b| b.is_ascii_digit())).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_prices_what_people_use() {
        assert!(FILE.models.len() > 100, "{} models", FILE.models.len());
        let usd = |usd| MicroUsd::from_usd(usd).unwrap();
        let sonnet = find("anthropic/claude-sonnet-4-5").expect("a price");
        assert_eq!((sonnet.price.input, sonnet.price.output), (usd(3.0), usd(15.0)));
        assert_eq!((sonnet.price.cache_read, sonnet.price.cache_write), (usd(0.3), usd(3.75)));
        assert!(sonnet.context_window.is_some_and(|tokens| tokens >= 200_000));
        for (reference, there) in [
            ("anthropic/claude-sonnet-4-5-20250929", true),
            ("openai/gpt-5-mini", true),
            ("stub/stub-1", false),
            ("anthropic/claude-sonnet-4-5-preview", false),
        ] {
            assert_eq!(find(reference).is_some(), there, "{reference}");
        }
    }

    #[test]
    fn a_price_is_named_by_what_it_is() {
        let price = find("anthropic/claude-sonnet-4-5").unwrap().price;
        let version = &FILE.version;
        let told = id("anthropic/claude-sonnet-4-5", &price, false);
        assert_eq!(told, format!("{version}:anthropic/claude-sonnet-4-5:3/15/0.3/3.75"));
        assert!(id("a/b", &price, true).starts_with("config:a/b:3/"));
    }
}
