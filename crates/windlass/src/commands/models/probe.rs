//! `windlass models probe`: is a model fit to orchestrate? It is given work, and watched.
//!
//! ```text
//!  plan ──▶ play ─────────────────────────▶ scene ──▶ judge ──▶ report
//!  price    a gateway on a folder of its     what      pure
//!  and cap  own: the real model, and sub-    has
//!           agents that cost nothing         happened
//! ```
//!
//! The gateway is the one that serves people: the prompt, the tools, the ledger and the caps are
//! the real ones. The model has the tools of sessions and no others, so that nothing on this
//! machine is touched.

mod case;
mod judge;
mod plan;
mod play;
mod report;
mod scene;
mod stage;

use std::io::Write;

use anyhow::bail;
use clap::Args;
use types::Thinking;

use crate::Exit;
use crate::setup::Setup;
use judge::{Fitness, Verdict};
use plan::Plan;
use report::Report;
use scene::Scene;

/// The model is not fit: another word than that something went wrong.
const EXIT_NOT_FIT: u8 = 3;

#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// `provider/model`, or an alias
    model: String,

    /// Spend no more than so many US dollars
    #[arg(long, value_name = "USD", default_value_t = 0.5)]
    max_usd: f64,

    /// Let it think so long: off, minimal, low, medium, high, xhigh or max
    #[arg(long, value_name = "LEVEL")]
    thinking: Option<Thinking>,

    /// Probe a model whose price is not known; its calls and tokens are bounded, its cost is not
    #[arg(long)]
    unpriced: bool,
}

pub async fn run(args: ProbeArgs, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let plan = Plan::of(&args, setup)?;
    eprintln!("{}", plan.words());
    let played = play::play(&plan, setup).await?;
    if let Some(first) = played.scenes.first().filter(|_| played.scenes.iter().all(Scene::is_mute))
    {
        bail!("{} could not be asked: {}; spent {}", plan.model, first.end, played.cost);
    }
    let findings: Vec<_> = played.scenes.iter().flat_map(judge::judge).collect();
    let verdict = Verdict::of(&findings);
    let fitness = verdict.fitness;
    let report = Report { plan: &plan, played: &played, findings, verdict };
    if setup.json {
        writeln!(out, "{}", report.json())?;
    } else {
        report.print(out)?;
    }
    if fitness == Fitness::NotFit {
        let message = format!("{} is not fit to orchestrate", plan.model);
        return Err(Exit { code: EXIT_NOT_FIT, message }.into());
    }
    Ok(())
}
