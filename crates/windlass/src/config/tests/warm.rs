//! How sessions are kept and reused, as the file says it.

use super::*;

#[test]
fn how_sessions_are_kept_and_reused() {
    let (config, _) = loaded(
        r#"{ agents: {
  defaults: { model: "anthropic/claude",
    subagents: { reuse: "key", reuseKey: "Helper", archiveAfterMinutes: 0 } },
  entries: { main: {}, ops: { subagents: { reuse: "pool", allowReuseMain: true } } },
} }"#,
    );
    let of = |id: &str| config.get(&format!("agents.entries.{id}.subagents")).unwrap();
    for (id, expected) in
        [("main", json!(["key", "helper", false, 0])), ("ops", json!(["pool", "helper", true, 0]))]
    {
        let subagents = of(id);
        let keys = ["reuse", "reuseKey", "allowReuseMain", "archiveAfterMinutes"];
        let found: Vec<_> = keys.iter().map(|key| subagents[key].clone()).collect();
        assert_eq!(json!(found), expected, "{id}");
    }
    assert_snapshot!(refused(r#"{ agents: { defaults: { subagents: {
  reuse: "always", reuseKey: "a b", allowReuseMain: "yes", archiveAfterMinutes: -1,
} } } }"#), @r#"
    line 2, column 10: `agents.defaults.subagents.reuse`: expected one of `never`, `key`, `pool`, `main`, got `always`
    line 2, column 30: `agents.defaults.subagents.reuseKey`: expected a name: a letter or digit, then up to 63 of `a-z 0-9 . _ -`; got `a b`
    line 2, column 53: `agents.defaults.subagents.allowReuseMain`: expected true or false, got the string "yes"
    line 2, column 81: `agents.defaults.subagents.archiveAfterMinutes`: expected a whole number from 0 to 4294967295, got -1
    "#);
}
