//! What a probe has found, for a person and for a program.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::case::{CALLS_MAX, Case, TIME_MAX};
use super::judge::{Finding, Level, Verdict};
use super::plan::Plan;
use super::play::Played;

#[derive(Debug)]
pub struct Report<'a> {
    pub plan: &'a Plan,
    pub played: &'a Played,
    pub findings: Vec<Finding>,
    pub verdict: Verdict,
}

/// What becomes of the folder in which the probe kept its ledger.
const NOT_KEPT: &str = "Not in the ledger of your own gateway: the probe had one of its own, which \
                        is gone.";

impl Report<'_> {
    pub fn json(&self) -> Value {
        let Played { calls, usage, cost, estimated, scenes } = self.played;
        let finding = |finding: &Finding| {
            let mut row = json!(finding);
            row["asked"] = json!(finding.case.message());
            row
        };
        json!({
            "model": self.plan.model,
            "thinking": self.plan.thinking,
            "fitness": self.verdict.fitness,
            "reasons": self.verdict.reasons,
            "change": self.verdict.change,
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
            "cases": scenes.len(),
            "bound": {
                "usd": self.plan.max,
                "callsPerCase": CALLS_MAX,
                "secondsPerCase": TIME_MAX.as_secs(),
            },
            "spent": {
                "usd": self.plan.max.map(|_| cost),
                "calls": calls,
                "estimatedCalls": estimated,
                "usage": usage,
                "inOwnLedger": false,
            },
        })
    }

    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}: {}", self.plan.model, self.verdict.fitness)?;
        for case in Case::ALL {
            self.print_case(*case, out)?;
        }
        for (title, lines) in [("why", &self.verdict.reasons), ("change", &self.verdict.change)] {
            if !lines.is_empty() {
                writeln!(out, "\n{title}")?;
            }
            for line in lines {
                writeln!(out, "  - {line}")?;
            }
        }
        let Played { calls, usage, cost, estimated, .. } = self.played;
        let cost = match self.plan.max {
            Some(max) => format!("{cost} of at most {max}"),
            None => "price not known".to_owned(),
        };
        write!(out, "\nspent {cost}: {calls} model calls, {} tokens in", usage.input)?;
        write!(out, ", {} cached, {} written", usage.cache_read, usage.cache_write)?;
        write!(out, ", {} out", usage.output)?;
        if *estimated > 0 {
            write!(out, " ({estimated} calls were cut and are estimated)")?;
        }
        writeln!(out, ". {NOT_KEPT}")
    }

    fn print_case(&self, case: Case, out: &mut impl Write) -> io::Result<()> {
        let findings: Vec<&Finding> =
            self.findings.iter().filter(|finding| finding.case == case).collect();
        writeln!(out, "\n{}", case.title())?;
        writeln!(out, "  asked: {}", case.message())?;
        if findings.is_empty() {
            return writeln!(out, "  was not played");
        }
        for finding in findings {
            let mark = match finding.level {
                Level::Good => "ok  ",
                Level::Weak => "care",
                Level::Bad => "BAD ",
            };
            writeln!(out, "  {mark} {:<24} {}", finding.check, finding.did)?;
            if !finding.excerpt.is_empty() {
                writeln!(out, "       {:<24} “{}”", "", finding.excerpt)?;
            }
        }
        Ok(())
    }
}
