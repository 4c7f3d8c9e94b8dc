//! A measured number with what was promised, and how it is shown.

use std::fmt::Write as _;

use serde_json::{Value, json};

#[derive(Clone, Debug)]
pub struct Figure {
    name: String,
    value: f64,
    /// Empty for a plain number.
    unit: &'static str,
    limit: Option<Limit>,
}

/// What was promised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Limit {
    fn is_missed_by(self, value: f64) -> bool {
        match self {
            Limit::AtMost(limit) => value > limit,
            Limit::AtLeast(limit) => value < limit,
        }
    }

    fn to_json(self) -> Value {
        match self {
            Limit::AtMost(limit) => json!({ "atMost": limit }),
            Limit::AtLeast(limit) => json!({ "atLeast": limit }),
        }
    }

    /// What was promised, and how much of it was needed or reached.
    fn compared(self, value: f64) -> String {
        let (words, limit) = match self {
            Limit::AtMost(limit) => ("at most", limit),
            Limit::AtLeast(limit) => ("at least", limit),
        };
        let verdict = if self.is_missed_by(value) { "MISSED" } else { "ok" };
        // None at all has no shares.
        let share =
            if limit == 0.0 { String::new() } else { format!("{:.2} of it, ", value / limit) };
        format!("  {words} {limit}: {share}{verdict}")
    }
}

impl Figure {
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Figure {
        Figure { name: name.into(), value, unit, limit: None }
    }

    pub fn with(self, limit: Limit) -> Figure {
        Figure { limit: Some(limit), ..self }
    }

    pub fn is_missed(&self) -> bool {
        self.limit.is_some_and(|limit| limit.is_missed_by(self.value))
    }

    pub fn to_json(&self) -> Value {
        let limit = self.limit.map(Limit::to_json);
        json!({ "name": self.name, "value": self.value, "unit": self.unit, "limit": limit })
    }
}

/// One line for each figure, aligned.
pub fn table(figures: &[Figure]) -> String {
    let width = figures.iter().map(|figure| figure.name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for figure in figures {
        let value = format!("{:.1} {}", figure.value, figure.unit);
        let limit = figure.limit.map(|limit| limit.compared(figure.value));
        let line =
            format!("{:width$}  {:>12}{}", figure.name, value.trim(), limit.unwrap_or_default());
        writeln!(text, "{line}").expect("a string takes any text");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_with_and_without_limits() {
        let figures = [
            Figure::new("load", 0.4, ""),
            Figure::new("start", 80.0, "ms").with(Limit::AtMost(100.0)),
            Figure::new("memory", 26.0, "MB").with(Limit::AtMost(25.0)),
            Figure::new("runs", 400.0, "/s").with(Limit::AtLeast(500.0)),
            Figure::new("lost", 0.0, "").with(Limit::AtMost(0.0)),
        ];
        let expected = [
            "load             0.4",
            "start        80.0 ms  at most 100: 0.80 of it, ok",
            "memory       26.0 MB  at most 25: 1.04 of it, MISSED",
            "runs        400.0 /s  at least 500: 0.80 of it, MISSED",
            "lost             0.0  at most 0: ok",
        ];
        assert_eq!(table(&figures).lines().collect::<Vec<_>>(), expected);
        assert_eq!(figures.map(|figure| figure.is_missed()), [false, false, true, true, false]);
    }

    #[test]
    fn json_has_the_limit() {
        let figure = Figure::new("start", 80.0, "ms").with(Limit::AtMost(100.0));
        assert_eq!(
            figure.to_json().to_string(),
            r#"{"name":"start","value":80.0,"unit":"ms","limit":{"atMost":100.0}}"#
        );
    }
}
