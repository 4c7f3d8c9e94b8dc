//! What a session has spent and what plan it shows, as agents are told it.

use serde_json::{Value, json};
use store::query::ask;
use store::view::{SessionView, SpendFilter, SpendView};
use store::{Store, StoreError};
use types::{SessionKey, SpendBy};

/// The plan that a session shows; null if it shows none.
pub async fn card(store: &dyn Store, key: &SessionKey) -> Result<Value, StoreError> {
    let session = store.session(key).await?;
    let Some(hash) = session.and_then(|session| session.card) else { return Ok(Value::Null) };
    let card = store.blob(hash).await?;
    Ok(card.and_then(|body| serde_json::from_str(&body).ok()).unwrap_or_default())
}

/// What was spent on a session, and on the tree that it belongs to.
pub async fn spent(store: &dyn Store, session: &SessionView) -> Result<Value, StoreError> {
    let (key, root) = (session.key.to_string(), session.root_key.to_string());
    let (own, tree) = ask(store, move |rows| {
        let own = rows.spending(&SpendFilter::of(SpendBy::Session, key))?;
        Ok((own, rows.spending(&SpendFilter::of(SpendBy::Tree, root))?))
    })
    .await?;
    let told = |found: Vec<SpendView>| {
        let SpendView { cost, calls, unpriced, usage, .. } =
            found.into_iter().next().unwrap_or_default();
        json!({ "usd": cost, "calls": calls, "unpriced": unpriced, "tokens": usage.total() })
    };
    Ok(json!({ "session": told(own), "tree": told(tree) }))
}
