//! A tool's arguments: JSON text becomes checked values once, or an error a model can act on.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde_json::{Map, Value};
use types::{ToolSpec, UnknownWord};

/// An argument that others have and we do not, and what to use instead.
pub(crate) type Refused = (&'static str, &'static str);

/// Longest excerpt of a wrong value in an error.
const EXCERPT_CHARS_MAX: usize = 40;

/// The arguments of one call: a JSON object with no names but those of the tool, and no nulls.
#[derive(Debug)]
pub(crate) struct Arguments(Map<String, Value>);

impl Arguments {
    /// Reads `text`. Names that are neither in the schema of `spec` nor `hidden` are refused:
    /// what a model believes to have asked for must not be dropped in silence.
    pub(crate) fn parse(
        spec: &ToolSpec,
        hidden: &[&str],
        refused: &[Refused],
        text: &str,
    ) -> Result<Arguments, String> {
        let tool = &spec.name;
        let mut fields = object(tool, text)?;
        // Models write null for what they leave out.
        fields.retain(|_, value| !value.is_null());
        let properties = spec.input_schema["properties"].as_object();
        let takes: Vec<&str> = properties.into_iter().flatten().map(|(n, _)| n.as_str()).collect();
        for name in fields.keys() {
            if !takes.contains(&name.as_str()) && !hidden.contains(&name.as_str()) {
                return Err(unknown(tool, name, &takes, refused));
            }
        }
        Ok(Arguments(fields))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Present, and not a blank text: many models fill in every argument.
    pub(crate) fn says(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| value.as_str().is_none_or(|t| !t.trim().is_empty()))
    }

    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Text as it came, byte for byte.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, String> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| wrong(name, "a string", value))
    }

    pub(crate) fn required(&self, name: &str) -> Result<&str, String> {
        self.text(name)?.ok_or_else(|| format!("`{name}` is missing"))
    }

    /// Text that says something, of at most `bytes_max` bytes.
    pub(crate) fn message(&self, name: &str, bytes_max: usize) -> Result<&str, String> {
        let text = self.required(name)?;
        if text.trim().is_empty() {
            return Err(format!("`{name}` is empty"));
        }
        within(name, text, bytes_max)
    }

    /// A short text, trimmed. Blank counts as absent, as for [`Arguments::says`].
    pub(crate) fn word(&self, name: &str, bytes_max: usize) -> Result<Option<&str>, String> {
        let text = self.text(name)?.map(str::trim).filter(|text| !text.is_empty());
        text.map(|text| within(name, text, bytes_max)).transpose()
    }

    /// One word of a closed list.
    pub(crate) fn choice<T>(&self, name: &str) -> Result<Option<T>, String>
    where
        T: FromStr<Err = UnknownWord>,
    {
        let text = self.word(name, usize::MAX)?;
        text.map(|text| chosen(name, text)).transpose()
    }

    /// A list of words of a closed list, with at least one.
    pub(crate) fn choices<T>(&self, name: &str) -> Result<Option<Vec<T>>, String>
    where
        T: FromStr<Err = UnknownWord>,
    {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let items = value.as_array().filter(|items| !items.is_empty());
        let items = items.ok_or_else(|| wrong(name, "a list of words, not empty", value))?;
        let word = |(i, item): (usize, &Value)| {
            let name = format!("{name}[{i}]");
            let text = item.as_str().ok_or_else(|| wrong(&name, "a string", item))?;
            chosen(&name, text)
        };
        items.iter().enumerate().map(word).collect::<Result<Vec<T>, String>>().map(Some)
    }

    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, String> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| wrong(name, "true or false", value))
    }

    pub(crate) fn integer(
        &self,
        name: &str,
        range: RangeInclusive<u32>,
    ) -> Result<Option<u32>, String> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        // Some models write 30.0 for 30.
        let whole = value.as_f64().filter(|number| number.fract() == 0.0);
        let valid = whole.map(|number| number as i64).and_then(|n| u32::try_from(n).ok());
        let expected = || format!("an integer from {} to {}", range.start(), range.end());
        valid
            .filter(|number| range.contains(number))
            .map(Some)
            .ok_or_else(|| wrong(name, &expected(), value))
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<f64>, String> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| wrong(name, "a number", value))
    }
}

fn object(tool: &str, text: &str) -> Result<Map<String, Value>, String> {
    // A model that has nothing to say writes nothing at all.
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    let value: Value = serde_json::from_str(text)
        .map_err(|error| format!("the arguments of `{tool}` are not valid JSON: {error}"))?;
    match value {
        Value::Object(fields) => Ok(fields),
        Value::Null => Ok(Map::new()),
        other => {
            Err(format!("the arguments of `{tool}` must be a JSON object; got {}", shown(&other)))
        }
    }
}

fn unknown(tool: &str, name: &str, takes: &[&str], refused: &[Refused]) -> String {
    let shown = excerpt(name);
    if let Some((_, instead)) = refused.iter().find(|(refused, _)| *refused == name) {
        return format!("`{tool}` does not take `{shown}`: {instead}");
    }
    match nearest(name, takes) {
        Some(near) => format!("`{tool}` has no argument `{shown}`; did you mean `{near}`?"),
        None => format!("`{tool}` has no argument `{shown}`; it takes {}", Quoted(takes)),
    }
}

/// Returns the name that was most likely meant, if one is near enough.
fn nearest<'a>(name: &str, takes: &[&'a str]) -> Option<&'a str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['_', '-'], "");
    let wanted = plain(&name.chars().take(64).collect::<String>());
    let distance = |candidate: &str| strsim::osa_distance(&wanted, &plain(candidate));
    let near = takes.iter().copied().min_by_key(|candidate| distance(candidate))?;
    (distance(near) <= (near.len() / 3).max(1)).then_some(near)
}

fn chosen<T: FromStr<Err = UnknownWord>>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error: UnknownWord| {
        let expected = Quoted(error.expected);
        format!("`{name}` must be one of {expected}; got `{}`", excerpt(text))
    })
}

fn within<'a>(name: &str, text: &'a str, bytes_max: usize) -> Result<&'a str, String> {
    if text.len() > bytes_max {
        let bytes = text.len();
        return Err(format!("`{name}` has {bytes} bytes; at most {bytes_max} are allowed"));
    }
    Ok(text)
}

/// The error for a value of the wrong type or range.
pub(crate) fn wrong(name: &str, expected: &str, value: &Value) -> String {
    format!("`{name}` must be {expected}; got {}", shown(value))
}

/// A value in words: its kind, and what fits of it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("the string \"{}\"", excerpt(text)),
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::Object(_) => "an object".to_owned(),
    }
}

pub(crate) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Names in backticks, with commas.
struct Quoted<'a>(&'a [&'a str]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, name) in self.0.iter().enumerate() {
            write!(f, "{}`{name}`", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(text: &str) -> Result<Arguments, String> {
        let spec = ToolSpec {
            name: "dig".to_owned(),
            description: String::new(),
            input_schema: json!({"properties": {"depthCount": {}, "label": {}}}),
        };
        Arguments::parse(&spec, &["old"], &[("shovel", "dig has its own")], text)
    }

    #[test]
    fn names_are_checked() {
        let table = [
            (
                r#"{"depth_count":1}"#,
                "`dig` has no argument `depth_count`; did you mean `depthCount`?",
            ),
            (r#"{"lable":1}"#, "`dig` has no argument `lable`; did you mean `label`?"),
            (r#"{"zebra":1}"#, "`dig` has no argument `zebra`; it takes `depthCount`, `label`"),
            (r#"{"shovel":1}"#, "`dig` does not take `shovel`: dig has its own"),
            ("[1,2]", "the arguments of `dig` must be a JSON object; got an array of 2"),
            (
                "{",
                "the arguments of `dig` are not valid JSON: EOF while parsing an object \
                 at line 1 column 1",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text).unwrap_err(), expected, "{text}");
        }
        for text in ["", " ", "null", "{}", r#"{"shovel":null,"old":1}"#] {
            assert!(parse(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn integers_may_be_written_as_floats_but_not_as_text() {
        let integer = |text| parse(text).unwrap().integer("depthCount", 1..=9);
        assert_eq!(integer(r#"{"depthCount":3.0}"#), Ok(Some(3)));
        assert_eq!(integer("{}"), Ok(None));
        for (text, got) in [
            (r#"{"depthCount":"3"}"#, "the string \"3\""),
            (r#"{"depthCount":3.5}"#, "3.5"),
            (r#"{"depthCount":-1}"#, "-1"),
            (r#"{"depthCount":10}"#, "10"),
            (r#"{"depthCount":1e300}"#, "1e+300"),
            (r#"{"depthCount":[]}"#, "an array of 0"),
        ] {
            let expected = format!("`depthCount` must be an integer from 1 to 9; got {got}");
            assert_eq!(integer(text), Err(expected));
        }
    }
}
