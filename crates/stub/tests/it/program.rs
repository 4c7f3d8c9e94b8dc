use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::json;
use stub::wire::Wire;

use crate::client::{Talk, http};

/// The program, killed at the end of its test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_windlass-stub"));
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[tokio::test]
async fn the_program_prints_its_address_follows_a_script_and_writes_its_journal() {
    let folder = tempfile::tempdir().unwrap();
    let (script, journal) = (folder.path().join("script.json"), folder.path().join("journal"));
    let rules = json!({"rules": [{"when": {"newest": "weather"}, "steps": [{"say": "sunny"}]}]});
    std::fs::write(&script, rules.to_string()).unwrap();
    let fault = r#"{"kind":"error","status":503,"times":1}"#;
    let (script, file) = (script.to_str().unwrap(), journal.to_str().unwrap());
    let args = ["--port", "0", "--print-port", "--script", script, "--journal", file];
    let mut program = Program(command(&args).args(["--fault", fault]).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(program.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim_end().strip_prefix("listening on ").unwrap();

    let health = http().get(format!("{url}/healthz")).send().await.unwrap();
    assert_eq!(health.text().await.unwrap(), "ok\n");
    let models = http().get(format!("{url}/v1/models")).send().await.unwrap();
    assert!(models.text().await.unwrap().contains("\"stub-2\""));
    let mut talk = Talk { stream: false, ..Talk::new(url, Wire::Openai) };
    talk.user("what weather is it?");
    assert_eq!(talk.send().await.unwrap().status(), 503);
    assert_eq!(talk.ask().await.text, "sunny");
    talk.user("really?");
    assert_eq!(talk.ask().await.text, "stub heard: really?");
    let nowhere = http().get(format!("{url}/v2")).send().await.unwrap();
    assert_eq!(nowhere.status(), 404);

    let lines = std::fs::read_to_string(journal).unwrap();
    let outcomes: Vec<_> = lines
        .lines()
        .map(|line| serde_json::from_str::<stub::Entry>(line).unwrap().outcome)
        .collect();
    use stub::Outcome::*;
    assert_eq!(outcomes[..2], [Failed, Completed]);
}

#[test]
fn wrong_arguments_are_explained() {
    for (args, error) in [
        (&["--fault", "{\"kind\":\"boom\"}"][..], "unknown fault kind `boom`"),
        (&["--script", "/nowhere/at/all"], "failed to read the script /nowhere/at/all"),
        (&["--script", "Cargo.toml"], "failed to understand the script Cargo.toml"),
        (&["--any-model", "--model", "m"], "cannot be used with"),
    ] {
        let output = command(args).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && text.contains(error), "{args:?}: {text}");
    }
}
