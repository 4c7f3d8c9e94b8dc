//! `provider/model`: the name of a model.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use types::serde_as_str;

/// A provider's id and its own name of a model, which may contain slashes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelRef {
    pub provider: String,
    pub model: String,
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.model)
    }
}

impl FromStr for ModelRef {
    type Err = ParseModelRefError;

    fn from_str(text: &str) -> Result<ModelRef, ParseModelRefError> {
        let clean = |part: &str| !part.is_empty() && !part.contains(char::is_whitespace);
        match text.split_once('/') {
            Some((provider, model)) if clean(provider) && clean(model) => {
                Ok(ModelRef { provider: provider.to_owned(), model: model.to_owned() })
            }
            _ => Err(ParseModelRefError(text.to_owned())),
        }
    }
}

serde_as_str!(ModelRef);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected `provider/model`, got `{0}`")]
pub struct ParseModelRefError(String);

/// A model, and those to try when it fails, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelChoice {
    pub primary: ModelRef,
    pub fallbacks: Vec<ModelRef>,
}

impl ModelChoice {
    /// The primary first.
    pub fn iter(&self) -> impl Iterator<Item = &ModelRef> {
        std::iter::once(&self.primary).chain(&self.fallbacks)
    }
}
