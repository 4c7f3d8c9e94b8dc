//! A server that is a shell script, and says what it has seen.

use std::collections::BTreeMap;
use std::fs;

use tempfile::TempDir;

use super::*;
use crate::config::Reach;

/// Answers what a client asks. Of its tools `slow` takes a moment, `meet` waits until two calls of
/// it are out, and `grow` brings another tool. Without the file `good` it does not start.
const SCRIPT: &str = r#"
[ -e good ] || { echo "no good today" >&2; exit 3; }
echo started >> log
say() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$1" "$2"; }
tool() { printf '{"name":"%s","inputSchema":{"type":"object"}}' "$1"; }
done='{"content":[{"type":"text","text":"done"}]}'
while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
  case "$line" in
    *'"initialize"'*)
      can='"capabilities":{"tools":{"listChanged":true}}'
      say "$id" "{\"protocolVersion\":\"2025-03-26\",$can,\"serverInfo\":{\"name\":\"s\",\"version\":\"1\"}}";;
    *'"tools/list"'*)
      tools="$(tool slow),$(tool meet),$(tool grow)"
      [ -e grown ] && tools="$tools,$(tool new)"
      say "$id" "{\"tools\":[$tools]}";;
    *'"name":"slow"'*)
      { echo begin >> log; sleep 0.3; echo end >> log; say "$id" "$done"; } & ;;
    *'"name":"meet"'*)
      echo here >> met
      { until [ "$(wc -l < met)" -ge 2 ]; do sleep 0.05; done; say "$id" "$done"; } & ;;
    *'"name":"grow"'*)
      touch grown
      echo '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}'
      say "$id" "$done";;
  esac
done
"#;

struct House {
    folder: TempDir,
    board: Arc<Board>,
    server: Arc<Server>,
    stop: CancellationToken,
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn house(idle: Option<Duration>, parallel: bool) -> House {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("good"), "").unwrap();
    let config = ServerConfig {
        name: "s".to_owned(),
        reach: Reach::Stdio {
            command: "sh".to_owned(),
            args: vec!["-c".to_owned(), SCRIPT.to_owned()],
            env: BTreeMap::new(),
            cwd: Some(folder.path().to_owned()),
        },
        connect_timeout: Duration::from_secs(60),
        call_timeout: Duration::from_secs(60),
        include: Vec::new(),
        exclude: Vec::new(),
        trusted: false,
        parallel,
    };
    let board = Arc::new(Board::new(folder.path()));
    board.serve(std::slice::from_ref(&config));
    let stop = CancellationToken::new();
    let mark = format!("test-{}-{}", std::process::id(), folder.path().display());
    let habits = Arc::new(Mutex::new(Habits { idle, roots: Vec::new() }));
    let around = Around { mark, habits, board: Arc::clone(&board), stop: stop.clone() };
    House { folder, board, server: Arc::new(Server::new(config, &around)), stop }
}

impl House {
    async fn call(&self, tool: &str) -> Result<CallToolResult, String> {
        self.server.call(tool, JsonObject::new(), &CancellationToken::new()).await
    }

    fn log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    async fn is_up(&self) -> bool {
        matches!(&*self.server.state.lock().await, State::Up(_))
    }

    fn offered(&self) -> Vec<String> {
        let (_, mut offers) = self.board.offers();
        let offers = offers.remove("s").unwrap_or_default();
        offers.into_iter().map(|offer| offer.theirs).collect()
    }

    fn error(&self) -> Option<String> {
        crate::board::last_error(self.folder.path(), "s")
    }
}

/// Waits for what comes by itself, on a machine that may be busy.
async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if is().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what}: not within 30 s");
}

#[tokio::test]
async fn a_server_that_nobody_calls_is_stopped_and_started_again_on_need() {
    let house = house(Some(Duration::from_millis(300)), true);
    house.call("slow").await.unwrap();
    until("it is stopped", async || !house.is_up().await).await;
    assert_eq!(house.error(), None, "to be stopped is no error");
    house.call("slow").await.unwrap();
    let starts = house.log().iter().filter(|line| *line == "started").count();
    assert_eq!(starts, 2, "{:?}", house.log());
}

/// A call that takes longer than the time for that is use, too.
#[tokio::test]
async fn a_server_with_a_call_out_is_not_idle() {
    let house = house(Some(Duration::from_millis(1)), true);
    house.call("slow").await.unwrap();
    assert_eq!(house.log()[..3], ["started", "begin", "end"], "{:?}", house.log());
}

#[tokio::test]
async fn a_list_that_changes_is_asked_for_again() {
    let house = house(None, true);
    house.server.look().await.unwrap();
    assert_eq!(house.offered(), ["grow", "meet", "slow"]);
    house.call("grow").await.unwrap();
    until("the new tool is offered", async || house.offered().len() == 4).await;
    assert_eq!(house.offered(), ["grow", "meet", "new", "slow"]);
    assert_eq!(house.log(), ["started"], "it is the same process");
}

#[tokio::test]
async fn calls_are_out_together_only_at_a_server_that_can_do_that() {
    let both = house(None, true);
    let (one, other) = tokio::join!(both.call("meet"), both.call("meet"));
    assert!(one.is_ok() && other.is_ok(), "{one:?}, {other:?}");

    let single = house(None, false);
    let (one, other) = tokio::join!(single.call("slow"), single.call("slow"));
    assert!(one.is_ok() && other.is_ok(), "{one:?}, {other:?}");
    assert_eq!(single.log(), ["started", "begin", "end", "begin", "end"]);
}

#[tokio::test]
async fn the_last_error_is_kept_until_it_is_up_again() {
    let house = house(None, true);
    let good = house.folder.path().join("good");
    fs::remove_file(&good).unwrap();
    let why = house.call("slow").await.unwrap_err();
    assert!(why.contains("does not start") && why.contains("no good today"), "{why}");
    let kept = house.error().unwrap();
    assert!(kept.contains("no good today"), "{kept}");
    fs::write(&good, "").unwrap();
    house.call("slow").await.unwrap();
    assert_eq!(house.error(), None);
}
