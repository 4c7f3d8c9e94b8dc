//! How long a model is to think before it answers.

use crate::word_enum;

word_enum! {
    /// A level of thinking. Which of them a model has differs; it gets the nearest.
    pub enum Thinking {
        Off = "off",
        Minimal = "minimal",
        Low = "low",
        Medium = "medium",
        High = "high",
        Xhigh = "xhigh",
        Max = "max",
    }
}
