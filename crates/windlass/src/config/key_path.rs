//! The path of a key: `agents.entries.main`, `models.providers["my.host"].models[0]`.

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Key(String),
    Index(usize),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPath(Vec<Step>);

impl KeyPath {
    pub fn key(&self, key: &str) -> KeyPath {
        self.with(Step::Key(key.to_owned()))
    }

    pub fn index(&self, index: usize) -> KeyPath {
        self.with(Step::Index(index))
    }

    fn with(&self, step: Step) -> KeyPath {
        let mut steps = self.0.clone();
        steps.push(step);
        KeyPath(steps)
    }

    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Reads the text form. `None` if it is none.
    pub fn parse(text: &str) -> Option<KeyPath> {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(quoted) = rest.strip_prefix("[\"") {
                let (key, tail) = quoted.split_once("\"]")?;
                steps.push(Step::Key(key.to_owned()));
                rest = tail;
            } else if let Some(inner) = rest.strip_prefix('[') {
                let (index, tail) = inner.split_once(']')?;
                steps.push(Step::Index(index.parse().ok()?));
                rest = tail;
            } else {
                let bare = if steps.is_empty() { rest } else { rest.strip_prefix('.')? };
                let end = bare.find(['.', '[']).unwrap_or(bare.len());
                if end == 0 {
                    return None;
                }
                steps.push(Step::Key(bare[..end].to_owned()));
                rest = &bare[end..];
            }
        }
        Some(KeyPath(steps))
    }
}

impl FromIterator<Step> for KeyPath {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> KeyPath {
        KeyPath(steps.into_iter().collect())
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '$' | '/');
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if key.is_empty() || !key.chars().all(bare) => {
                    write!(f, "[\"{}\"]", key.escape_debug())?;
                }
                Step::Key(key) if i == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}
