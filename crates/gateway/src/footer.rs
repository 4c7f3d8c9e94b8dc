//! What is told under an answer about what it took: to people, and never to a model. It is no part
//! of the conversation.

use machine::rows::Outcome;
use store::StoreError;
use store::query::{Query, ask};
use store::view::{RunView, SpendFilter, SpendView};
use types::{Footer, RunId, SessionKey, SpendBy};

use crate::gateway::Gateway;

/// The line under the answer of a run, if its conversation wants one.
pub async fn of_run(gateway: &Gateway, session: &SessionKey, run: RunId) -> Option<String> {
    let session = session.clone();
    let read = ask(gateway.handle.store(), move |rows| find(rows, &session, run)).await;
    read.unwrap_or_else(|error| {
        // The answer itself is worth more than what it took.
        tracing::warn!(%run, %error, "what an answer took could not be read");
        None
    })
}

/// As [`of_run`], for one that has given an answer.
pub async fn under(gateway: &Gateway, run: &RunView, text: Option<String>) -> Option<String> {
    let completed = run.facts.outcome == Some(Outcome::Completed);
    match (completed, &text) {
        (true, Some(_)) => joined(text, of_run(gateway, &run.session_key, run.facts.id).await),
        _ => text,
    }
}

/// A text with the line under it.
pub fn joined(text: Option<String>, footer: Option<String>) -> Option<String> {
    match (text, footer) {
        (Some(text), Some(footer)) => Some(format!("{text}\n\n{footer}")),
        (text, _) => text,
    }
}

fn find(rows: &dyn Query, session: &SessionKey, run: RunId) -> Result<Option<String>, StoreError> {
    let level = rows.session(session)?.map_or(Footer::Off, |session| session.footer);
    if level == Footer::Off {
        return Ok(None);
    }
    let spent = rows.spending(&SpendFilter::of(SpendBy::Run, run))?.pop();
    Ok(spent.and_then(|spent| line(level, &spent)))
}

/// The line itself; none if nothing is to be told.
fn line(level: Footer, spent: &SpendView) -> Option<String> {
    let SpendView { usage, calls, unpriced, estimated, cost, .. } = spent;
    let cached = match usage.cache_read {
        0 => String::new(),
        tokens => format!(" ({tokens} from the cache)"),
    };
    let about = if *estimated > 0 { "about " } else { "" };
    let tokens = format!("Usage: {about}{} in{cached}, {} out", usage.prompt(), usage.output);
    match (level, calls) {
        (Footer::Off, _) | (_, 0) => None,
        (Footer::Tokens, _) => Some(tokens),
        (Footer::Full, calls) if unpriced == calls => Some(format!("{tokens}; price not known")),
        (Footer::Full, _) if *unpriced > 0 => Some(format!("{tokens}; more than {cost}")),
        (Footer::Full, _) => Some(format!("{tokens}; {cost}")),
    }
}

#[cfg(test)]
mod tests {
    use types::{MicroUsd, Usage};

    use super::*;

    #[test]
    fn the_line_says_what_is_known() {
        let spent = |calls, unpriced, estimated, cache_read| SpendView {
            usage: Usage { input: 100, output: 20, cache_read, cache_write: 0 },
            calls,
            unpriced,
            estimated,
            cost: MicroUsd(12_300),
            ..SpendView::default()
        };
        #[rustfmt::skip]
        let table = [
            // level          spent                 line
            (Footer::Off,     spent(1, 0, 0, 0),    None),
            (Footer::Full,    spent(0, 0, 0, 0),    None),
            (Footer::Tokens,  spent(1, 0, 0, 0),    Some("Usage: 100 in, 20 out")),
            (Footer::Tokens,  spent(1, 0, 1, 50),   Some("Usage: about 150 in (50 from the cache), 20 out")),
            (Footer::Full,    spent(2, 0, 0, 0),    Some("Usage: 100 in, 20 out; $0.0123")),
            (Footer::Full,    spent(2, 1, 0, 0),    Some("Usage: 100 in, 20 out; more than $0.0123")),
            (Footer::Full,    spent(2, 2, 0, 0),    Some("Usage: 100 in, 20 out; price not known")),
        ];
        for (level, spent, told) in table {
            assert_eq!(line(level, &spent).as_deref(), told, "{level} of {spent:?}");
        }
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(joined(text("a"), text("b")), text("a\n\nb"));
        assert_eq!(joined(None, text("b")), None);
    }
}
