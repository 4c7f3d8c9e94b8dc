//! Skills, as the file says it.

use super::*;

#[test]
fn which_skills_there_are() {
    let (config, warnings) = loaded(
        r#"{ agents: {
  defaults: { model: "anthropic/claude", skills: ["a", "b"] },
  entries: { main: {}, ops: { skills: [] } },
}, skills: {
  allowBundled: ["research"], load: { extraDirs: ["~/more", "/srv/skills"] },
  entries: { a: { enabled: false }, b: { enabled: true, env: { KEY: "x" } } },
  limits: { maxSkillsInPrompt: 3 },
} }"#,
    );
    assert_snapshot!(warnings, @"line 6, column 57: `skills.entries.b.env`: is a key of OpenClaw's that has no effect here yet");
    let of = |id: &str| config.get(&format!("agents.entries.{id}.skills")).unwrap();
    assert_eq!((of("main"), of("ops")), (json!(["a", "b"]), json!([])));
    assert_eq!(config.skills.disabled(), ["a".to_owned()].into());
    assert_eq!(
        config.get("skills.load.extraDirs").unwrap(),
        json!(["/home/anna/more", "/srv/skills"])
    );
    assert_snapshot!(refused(r#"{ skills: {
  allowBundled: "all", limits: { maxSkillsInPrompt: -1 }, entries: { a: { enabled: "no" }, b: 7 },
} }"#), @r#"
    line 2, column 17: `skills.allowBundled`: expected a list of strings, got the string "all"
    line 2, column 53: `skills.limits.maxSkillsInPrompt`: expected a whole number from 0 to 1000, got -1
    line 2, column 84: `skills.entries.a.enabled`: expected true or false, got the string "no"
    line 2, column 95: `skills.entries.b`: expected an object, got 7
    "#);
}

#[test]
fn every_default_of_skills() {
    assert_snapshot!(defaults(|line| line.starts_with("skills.")), @r#"
    skills.allowBundled null
    skills.load {"extraDirs":[]}
    skills.limits {"maxSkillsInPrompt":50,"maxSkillsPromptChars":4000,"maxSkillFileBytes":262144}
    skills.entries {}
    "#);
}
