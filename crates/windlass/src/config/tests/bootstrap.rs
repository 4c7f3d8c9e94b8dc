//! What of a workspace is sent, as the file says it.

use super::*;

#[test]
fn an_agent_has_bounds_of_its_own() {
    let (config, warnings) = loaded(
        r#"{ agents: {
  defaults: { model: "anthropic/claude", skipBootstrap: true, bootstrapMaxChars: 1000 },
  entries: { main: {}, ops: { bootstrapMaxChars: 5000, bootstrapTotalMaxChars: 9000 } },
} }"#,
    );
    assert_eq!(warnings, "");
    assert!(config.agents.defaults.bootstrap.skip_bootstrap);
    for (id, expected) in [("main", [1_000, 60_000]), ("ops", [5_000, 9_000])] {
        let keys = ["bootstrapMaxChars", "bootstrapTotalMaxChars"];
        let path = |key: &str| config.get(&format!("agents.entries.{id}.{key}")).unwrap();
        assert_eq!(json!(keys.map(path)), json!(expected), "{id}");
    }
    assert_snapshot!(refused(r#"{ agents: {
  defaults: { skipBootstrap: "no", bootstrapMaxChars: 0 },
  entries: { ops: { skipBootstrap: true, bootstrapTotalMaxChars: "all" } },
} }"#), @r#"
    line 2, column 30: `agents.defaults.skipBootstrap`: expected true or false, got the string "no"
    line 2, column 55: `agents.defaults.bootstrapMaxChars`: expected a whole number from 1 to 10000000, got 0
    line 3, column 21: `agents.entries.ops.skipBootstrap`: unknown key; did you mean `agents.defaults.skipBootstrap`?
    line 3, column 66: `agents.entries.ops.bootstrapTotalMaxChars`: expected a whole number from 1 to 10000000, got the string "all"
    "#);
}
