//! Servers that bring tools, as the file says it.

use super::*;

#[test]
fn a_server_is_a_program_or_a_place() {
    let (config, warnings) = loaded(
        r#"{ mcp: { sessionIdleTtlMs: 0, servers: {
  files: { command: "node", args: ["files.js"], cwd: "~/src",
    env: { KEY: "${STUB_KEY}", LEVEL: 3, LOUD: true, FILED: { source: "file", path: "~/key.txt" } },
    toolFilter: { include: ["read_*"], exclude: ["read_media"] }, trusted: true },
  far: { url: "https://tools.example/mcp", headers: { Authorization: "Bearer ${STUB_KEY}" },
    supportsParallelToolCalls: false, requestTimeoutMs: 500, enabled: false },
} } }"#,
    );
    assert_eq!(warnings, "");
    assert_eq!(config.mcp.session_idle_ttl_ms, 0);
    let files = &config.mcp.servers["files"];
    let env = |name: &str| files.env[name].expose().unwrap().to_owned();
    assert_eq!(
        [env("KEY"), env("LEVEL"), env("LOUD"), env("FILED")],
        ["s3cret", "3", "true", "filed"]
    );
    assert_eq!(files.cwd, Some(PathBuf::from("/home/anna/src")));
    assert!(files.enabled && files.trusted && files.supports_parallel_tool_calls);
    assert_eq!((files.connection_timeout_ms, files.request_timeout_ms), (30_000, 60_000));
    let far = &config.mcp.servers["far"];
    assert_eq!((far.transport.as_str(), far.enabled), ("streamable-http", false));
    assert_eq!(far.headers["Authorization"].expose(), Ok("Bearer s3cret"));
    let shown = config.get("mcp").unwrap().to_string();
    assert!(!shown.contains("s3cret") && shown.contains("[redacted]"), "{shown}");
}

#[test]
fn what_is_wrong_with_a_server_is_named() {
    assert_snapshot!(refused(r#"{ mcp: { servers: {
  "a b": { command: "x" },
  none: {},
  both: { command: "x", url: "http://x" },
  sse: { transport: "sse", url: "http://x" },
  odd: { command: "x", env: { "A B": "1" }, toolFilter: { inclde: [] } },
  old: { command: "x", disabled: true, timeout: 5 },
  login: { url: "http://me:pw@x" },
} } }"#), @r#"
    line 2, column 10: `mcp.servers["a b"]`: expected a name for its tools to begin with: a letter or digit, then up to 31 of `a-z A-Z 0-9 _ -`, without `__`; got `a b`
    line 3, column 9: `mcp.servers.none`: `command` or `url` is missing: a program to run, or where it is
    line 4, column 20: `mcp.servers.both.command`: does not go with `transport` `streamable-http`
    line 5, column 21: `mcp.servers.sse.transport`: `sse` is not supported yet; expected one of `stdio`, `streamable-http`
    line 6, column 38: `mcp.servers.odd.env["A B"]`: expected the name of a variable
    line 6, column 59: `mcp.servers.odd.toolFilter.inclde`: unknown key; did you mean `mcp.servers.odd.toolFilter.include`?
    line 7, column 24: `mcp.servers.old.disabled`: is an old name; it is now `mcp.servers.*.enabled`
    line 7, column 40: `mcp.servers.old.timeout`: is an old name; it is now `mcp.servers.*.requestTimeoutMs`
    line 8, column 17: `mcp.servers.login.url`: expected a URL that begins with `https://` or `http://`, with no password in it: that goes into `headers`
    "#);
}
