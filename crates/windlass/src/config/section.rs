//! One object of the file, asked for its keys. What nobody asked for is judged at the end.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use types::AgentId;

use super::document::{Document, Entry, Node, Value};
use super::inventory;
use super::key_path::KeyPath;
use super::model_ref::ModelRef;
use super::outside::Outside;
use super::paths::Paths;
use super::problem::{Place, Problem};

/// What all sections of one file share.
pub struct Context<'a> {
    document: &'a Document,
    pub paths: &'a Paths,
    pub outside: &'a dyn Outside,
    found: RefCell<Found>,
}

/// What came up while reading.
#[derive(Default)]
struct Found {
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
    model_refs: Vec<NamedModel>,
    /// Other names of models, in small letters.
    aliases: BTreeMap<String, ModelRef>,
    /// Every agent that something refers to.
    agent_refs: Vec<(Spot, AgentId)>,
}

/// A value's name and place, kept for a check that must wait until all is read.
#[derive(Clone, Debug)]
pub struct Spot {
    pub path: KeyPath,
    pub place: Option<Place>,
}

/// A model that something refers to, and the place that does.
#[derive(Clone, Debug)]
pub struct NamedModel {
    pub spot: Spot,
    pub model: ModelRef,
    /// An agent will ask for it. Others may be chosen later.
    pub used: bool,
}

/// What an unset variable or an unreadable secret is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    Error,
    /// Nothing uses it: worth a word and no more.
    Warning,
}

impl<'a> Context<'a> {
    pub fn new(document: &'a Document, paths: &'a Paths, outside: &'a dyn Outside) -> Context<'a> {
        let found = Found { errors: document.problems.clone(), ..Found::default() };
        Context { document, paths, outside, found: RefCell::new(found) }
    }

    /// Reads the whole file.
    pub fn root<T>(&'a self, read: impl FnOnce(&mut Section<'a>) -> T) -> T {
        let place = self.document.exists.then_some(Place { line: 1, column: 1 });
        let spot = Spot { path: KeyPath::default(), place };
        let mut root = Section::new(self, spot, &self.document.entries, Missing::Error);
        let value = read(&mut root);
        root.judge_the_rest();
        value
    }

    /// Returns the warnings, or the errors, in the order of the file.
    pub fn finish(self) -> Result<Vec<Problem>, Vec<Problem>> {
        let Found { mut errors, mut warnings, .. } = self.found.into_inner();
        errors.sort_by_key(|problem| problem.place);
        warnings.sort_by_key(|problem| problem.place);
        if errors.is_empty() { Ok(warnings) } else { Err(errors) }
    }

    pub fn error(&self, spot: &Spot, message: impl Into<String>) {
        let problem =
            Problem { place: spot.place, key: spot.path.to_string(), message: message.into() };
        self.found.borrow_mut().errors.push(problem);
    }

    pub fn warn(&self, spot: &Spot, message: impl Into<String>) {
        let problem =
            Problem { place: spot.place, key: spot.path.to_string(), message: message.into() };
        self.found.borrow_mut().warnings.push(problem);
    }

    pub fn missing(&self, severity: Missing, spot: &Spot, message: impl Into<String>) {
        match severity {
            Missing::Error => self.error(spot, message),
            Missing::Warning => self.warn(spot, message),
        }
    }

    pub fn refer_to_model(&self, spot: Spot, model: ModelRef, used: bool) {
        self.found.borrow_mut().model_refs.push(NamedModel { spot, model, used });
    }

    pub fn model_refs(&self) -> Vec<NamedModel> {
        self.found.borrow().model_refs.clone()
    }

    /// Gives a model another name. Returns the model that has it already, if that is another one.
    pub fn add_alias(&self, alias: &str, model: &ModelRef) -> Option<ModelRef> {
        let mut found = self.found.borrow_mut();
        let kept = found.aliases.entry(alias.to_lowercase()).or_insert_with(|| model.clone());
        Some(kept.clone()).filter(|kept| kept != model)
    }

    pub fn aliases(&self) -> BTreeMap<String, ModelRef> {
        self.found.borrow().aliases.clone()
    }

    pub fn refer_to_agent(&self, spot: Spot, agent: AgentId) {
        self.found.borrow_mut().agent_refs.push((spot, agent));
    }

    pub fn agent_refs(&self) -> Vec<(Spot, AgentId)> {
        self.found.borrow().agent_refs.clone()
    }

    /// Puts variables in the place of `${NAME}`; `$${NAME}` is the text itself.
    pub fn substitute(&self, text: &str, severity: Missing, spot: &Spot) -> Option<String> {
        let mut done = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (head, tail) = rest.split_at(at);
            let name = tail[2..].split_once('}').map(|(name, _)| name).filter(|name| is_name(name));
            let Some(name) = name else {
                done.push_str(&rest[..at + 2]);
                rest = &tail[2..];
                continue;
            };
            rest = &tail[name.len() + 3..];
            if let Some(head) = head.strip_suffix('$') {
                done.push_str(&format!("{head}${{{name}}}"));
                continue;
            }
            let Some(value) = self.outside.var(name) else {
                self.missing(severity, spot, format!("the variable `{name}` is not set"));
                return None;
            };
            done.push_str(head);
            done.push_str(&value);
        }
        done.push_str(rest);
        Some(done)
    }
}

/// A variable's name: `[A-Z_][A-Z0-9_]*`.
fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_uppercase() || b == b'_')
        && bytes.all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

pub struct Section<'a> {
    pub cx: &'a Context<'a>,
    spot: Spot,
    entries: &'a [Entry],
    asked: BTreeSet<String>,
    pub if_missing: Missing,
}

impl<'a> Section<'a> {
    fn new(
        cx: &'a Context<'a>,
        spot: Spot,
        entries: &'a [Entry],
        if_missing: Missing,
    ) -> Section<'a> {
        Section { cx, spot, entries, asked: BTreeSet::new(), if_missing }
    }

    /// Where this section stands.
    pub fn spot(&self) -> Spot {
        self.spot.clone()
    }

    /// Names a key and its value, written or not.
    pub fn spot_of(&self, key: &str) -> Spot {
        let entry = self.entries.iter().find(|entry| entry.key == key);
        let place = entry.map(|entry| entry.node.place).or(self.spot.place);
        Spot { path: self.spot.path.key(key), place }
    }

    /// Asks for a key.
    pub fn node(&mut self, key: &str) -> Option<&'a Node> {
        self.asked.insert(key.to_owned());
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// Reports a value that is not what was expected.
    pub fn wrong(&self, key: &str, expected: &str, node: &Node) {
        let message = format!("expected {expected}, got {}", node.describe());
        self.cx.error(&self.spot_of(key), message);
    }

    fn read<T>(
        &mut self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&'a Node) -> Option<T>,
    ) -> Option<T> {
        let node = self.node(key)?;
        let value = read(node);
        if value.is_none() {
            self.wrong(key, expected, node);
        }
        value
    }

    /// Accepts a key that says nothing to us.
    pub fn ignore(&mut self, key: &str) {
        self.asked.insert(key.to_owned());
    }

    /// A string, variables put in.
    pub fn text(&mut self, key: &str) -> Option<String> {
        let text = self.read(key, "a string that is not empty", nonempty)?;
        self.cx.substitute(text, self.if_missing, &self.spot_of(key))
    }

    pub fn flag(&mut self, key: &str) -> Option<bool> {
        self.read(key, "true or false", |node| match node.value {
            Value::Bool(flag) => Some(flag),
            _ => None,
        })
    }

    pub fn integer(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let expected = match (*range.start(), *range.end()) {
            (min, u64::MAX) => format!("a whole number of at least {min}"),
            (min, max) => format!("a whole number from {min} to {max}"),
        };
        self.read(key, &expected, |node| node.whole_number().filter(|n| range.contains(n)))
    }

    /// A number that `read` takes.
    pub fn number<T>(
        &mut self,
        key: &str,
        expected: &str,
        read: impl FnOnce(f64) -> Option<T>,
    ) -> Option<T> {
        self.read(key, expected, |node| match &node.value {
            Value::Number(text) => text.parse().ok().and_then(read),
            _ => None,
        })
    }

    /// As [`integer`](Section::integer), for what fits 32 bits.
    pub fn count(&mut self, key: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let range = u64::from(*range.start())..=u64::from(*range.end());
        self.integer(key, range).and_then(|count| u32::try_from(count).ok())
    }

    /// One word of a closed list. `later` are OpenClaw's words that we do not serve yet.
    pub fn word<T: FromStr + fmt::Display>(
        &mut self,
        key: &str,
        all: &[T],
        later: &[&str],
    ) -> Option<T> {
        let words: Vec<String> = all.iter().map(|word| format!("`{word}`")).collect();
        let expected = match &words[..] {
            [only] => only.clone(),
            several => format!("one of {}", several.join(", ")),
        };
        let node = self.node(key)?;
        let Value::Text(written) = &node.value else {
            self.wrong(key, &expected, node);
            return None;
        };
        let spot = self.spot_of(key);
        let text = self.cx.substitute(written, self.if_missing, &spot)?;
        if let Ok(word) = text.parse() {
            return Some(word);
        }
        if later.contains(&text.as_str()) {
            let message = format!("`{text}` is not supported yet; expected {expected}");
            self.cx.error(&spot, message);
        } else {
            // As it is written: a variable that was put into the wrong place may be a secret.
            self.cx.error(&spot, format!("expected {expected}, got `{written}`"));
        }
        None
    }

    /// A list of strings, variables put in.
    pub fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let texts: Vec<&str> = self.read(key, "a list of strings", |node| match &node.value {
            Value::List(items) => items.iter().map(nonempty).collect(),
            _ => None,
        })?;
        let spot = self.spot_of(key);
        texts.iter().map(|text| self.cx.substitute(text, self.if_missing, &spot)).collect()
    }

    /// A path of this machine.
    pub fn path(&mut self, key: &str) -> Option<PathBuf> {
        self.text(key).map(|text| super::absolute(&text, self.cx.paths))
    }

    /// A list of paths of this machine.
    pub fn paths(&mut self, key: &str) -> Option<Vec<PathBuf>> {
        let texts = self.texts(key)?;
        Some(texts.iter().map(|text| super::absolute(text, self.cx.paths)).collect())
    }

    /// The section under `key`; it is empty if there is none, and then its defaults stand.
    pub fn section<T>(&mut self, key: &str, read: impl FnOnce(&mut Section<'a>) -> T) -> T {
        let entries: &'a [Entry] = self.read(key, "an object", object).unwrap_or(&[]);
        let mut section = Section::new(self.cx, self.spot_of(key), entries, self.if_missing);
        let value = read(&mut section);
        section.judge_the_rest();
        value
    }

    /// Every key of this section, each of which names a section of its own.
    pub fn each(&mut self, mut read: impl FnMut(&str, &mut Section<'a>)) {
        for entry in self.entries {
            if object(&entry.node).is_some() {
                self.section(&entry.key, |section| read(&entry.key, section));
            } else {
                self.ignore(&entry.key);
                self.wrong(&entry.key, "an object", &entry.node);
            }
        }
    }

    /// Reads an empty section under `key`, where nothing is written.
    pub fn absent<T>(&mut self, key: &str, read: impl FnOnce(&str, &mut Section<'a>) -> T) -> T {
        let mut section = Section::new(self.cx, self.spot_of(key), &[], self.if_missing);
        read(key, &mut section)
    }

    /// The keys of this section, as they are written.
    pub fn keys(&self) -> Vec<String> {
        self.entries.iter().map(|entry| entry.key.clone()).collect()
    }

    /// Every item of the list under `key`, each a section.
    pub fn items(&mut self, key: &str, mut read: impl FnMut(&mut Section<'a>)) {
        let list = self.read(key, "a list of objects", |node| match &node.value {
            Value::List(items) => Some(items),
            _ => None,
        });
        for (index, node) in list.into_iter().flatten().enumerate() {
            let path = self.spot.path.key(key).index(index);
            let spot = Spot { path, place: Some(node.place) };
            let Some(entries) = object(node) else {
                self.cx.error(&spot, format!("expected an object, got {}", node.describe()));
                continue;
            };
            let mut section = Section::new(self.cx, spot, entries, self.if_missing);
            read(&mut section);
            section.judge_the_rest();
        }
    }

    /// Refuses or names what is written here and was not asked for.
    fn judge_the_rest(&self) {
        for entry in self.entries.iter().filter(|entry| !self.asked.contains(&entry.key)) {
            let path = self.spot.path.key(&entry.key);
            let spot = Spot { path, place: Some(entry.place) };
            if entry.key == "$include" {
                self.cx.error(&spot, "is not supported yet; write what it holds into this file");
            } else if inventory::knows(&spot.path) {
                self.cx.warn(&spot, "is a key of OpenClaw's that has no effect here yet");
            } else if let Some(now) = inventory::renamed(&spot.path) {
                self.cx.error(&spot, format!("is an old name; it is now `{now}`"));
            } else if let Some(right) = inventory::nearest(&self.spot.path, &entry.key, &self.asked)
            {
                self.cx.error(&spot, format!("unknown key; did you mean `{right}`?"));
            } else {
                self.cx.error(&spot, "unknown key");
            }
        }
    }
}

fn nonempty(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Text(text) if !text.trim().is_empty() => Some(text),
        _ => None,
    }
}

fn object(node: &Node) -> Option<&[Entry]> {
    match &node.value {
        Value::Object(entries) => Some(entries),
        _ => None,
    }
}
