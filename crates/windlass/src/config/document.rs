//! JSON5 text as a tree in which every value and key knows its place.

use jsonc_parser::ast;
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::key_path::KeyPath;
use super::problem::{Place, Problem};

/// A value. Numbers stay text until someone says which kind is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub place: Place,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Node>),
    Object(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    pub node: Node,
}

/// A whole file, or the absence of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub entries: Vec<Entry>,
    pub exists: bool,
    /// Keys that are written twice.
    pub problems: Vec<Problem>,
}

/// JSON5, and not the missing commas that the parser would also let pass.
pub const JSON5: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_loose_object_property_names: true,
    allow_trailing_commas: true,
    allow_missing_commas: false,
    allow_single_quoted_strings: true,
    allow_hexadecimal_numbers: true,
    allow_unary_plus_numbers: true,
    allow_bare_decimal_point_numbers: true,
    allow_non_finite_numbers: true,
    allow_extended_string_escapes: true,
};

impl Document {
    pub fn parse(text: Option<&str>) -> Result<Document, Problem> {
        let Some(text) = text else {
            return Ok(Document { entries: Vec::new(), exists: false, problems: Vec::new() });
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let at =
            |place, message: String| Problem { place: Some(place), key: String::new(), message };
        let parsed = parse_to_ast(text, &CollectOptions::default(), &JSON5).map_err(|error| {
            // Its own line and column take a lone CR for the end of a line, as editors do not.
            let place = Lines::of(text).place(error.range().start);
            at(place, format!("not JSON5: {}", lower_first(&error.kind().to_string())))
        })?;
        let first = Place { line: 1, column: 1 };
        let root = parsed
            .value
            .ok_or_else(|| at(first, "expected an object `{ … }`, got nothing".to_owned()))?;
        let mut reader = TreeReader { lines: Lines::of(text), problems: Vec::new() };
        let root = reader.node(&root, &KeyPath::default());
        let problems = reader.problems;
        match root.value {
            Value::Object(entries) => Ok(Document { entries, exists: true, problems }),
            other => {
                let got = Node { place: root.place, value: other }.describe();
                Err(at(root.place, format!("expected an object `{{ … }}`, got {got}")))
            }
        }
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_lowercase().chain(chars).collect())
}

struct TreeReader<'a> {
    lines: Lines<'a>,
    problems: Vec<Problem>,
}

impl TreeReader<'_> {
    fn node(&mut self, value: &ast::Value<'_>, path: &KeyPath) -> Node {
        let place = self.lines.place(value.start());
        let value = match value {
            ast::Value::NullKeyword(_) => Value::Null,
            ast::Value::BooleanLit(lit) => Value::Bool(lit.value),
            ast::Value::NumberLit(lit) => Value::Number(lit.value.to_owned()),
            ast::Value::StringLit(lit) => Value::Text(lit.value.to_string()),
            ast::Value::Array(array) => {
                let items = array.elements.iter().enumerate();
                Value::List(items.map(|(i, item)| self.node(item, &path.index(i))).collect())
            }
            ast::Value::Object(object) => Value::Object(self.entries(object, path)),
        };
        Node { place, value }
    }

    fn entries(&mut self, object: &ast::Object<'_>, path: &KeyPath) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::with_capacity(object.properties.len());
        for property in &object.properties {
            let key = property.name.as_str().to_owned();
            let path = path.key(&key);
            let place = self.lines.place(property.name.start());
            let node = self.node(&property.value, &path);
            // The other tools that read JSON5 take the last one. Nobody means to write two.
            if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                let message = format!("is written twice, first on line {}", first.place.line);
                self.problems.push(Problem { place: Some(place), key: path.to_string(), message });
                continue;
            }
            entries.push(Entry { key, place, node });
        }
        entries
    }
}

/// Turns offsets into lines and columns.
struct Lines<'a> {
    text: &'a str,
    /// Offset of the first byte of each line.
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Lines<'a> {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Lines { text, starts }
    }

    fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|&start| start <= offset);
        let start = self.starts[line - 1];
        let column = self.text.get(start..offset).map_or(0, |head| head.chars().count()) + 1;
        Place { line, column }
    }
}

/// Longest piece of the file that an error repeats, in characters.
const QUOTE_CHARS_MAX: usize = 40;

impl Node {
    /// Says what this is, for an error. The text of a secret field never comes here.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Number(text) => text.clone(),
            Value::Text(text) if text.chars().count() > QUOTE_CHARS_MAX => {
                let head: String = text.chars().take(QUOTE_CHARS_MAX).collect();
                format!("the string {head:?} and more")
            }
            Value::Text(text) => format!("the string {text:?}"),
            Value::List(items) => format!("a list of {}", items.len()),
            Value::Object(_) => "an object".to_owned(),
        }
    }

    /// Says only the kind: for fields that hold secrets.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "a string",
            Value::List(_) => "a list",
            Value::Object(_) => "an object",
        }
    }

    /// Reads a whole number that is not negative, in any of JSON5's ways to write it.
    pub fn whole_number(&self) -> Option<u64> {
        let Value::Number(text) = &self.value else { return None };
        let text = text.strip_prefix('+').unwrap_or(text);
        if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            return u64::from_str_radix(hex, 16).ok();
        }
        if let Ok(number) = text.parse() {
            return Some(number);
        }
        // `5.0` and `1e3`, as far as a float is exact.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let number: f64 = text.parse().ok()?;
        let whole = number.fract() == 0.0 && (0.0..=EXACT).contains(&number);
        whole.then_some(number as u64)
    }
}
