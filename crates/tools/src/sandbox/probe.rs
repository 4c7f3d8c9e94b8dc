//! Looks whether walls stand: a canary tries to get out before any command of a model is let in.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use super::{Backend, Fence, Mode, NO_FOLDER, Sandbox, Settings, bubblewrap, walls};
use crate::launch::{Launch, Wants};

/// How long a canary may take: on a busy machine its start takes seconds.
const WITHIN: Duration = Duration::from_secs(60);

/// Each line that goes wrong has a number of its own. It must be able to work inside, and unable to
/// write or read outside, to follow a link out, and, under `strict`, to reach a port.
const CANARY: &str = r#"
echo in > "$WS/in" || exit 11
[ "$(cat "$WS/in")" = in ] || exit 12
echo in > "$TMPDIR/in" || exit 13
ls / > /dev/null 2>&1
(echo out > "$OUT/out") 2>/dev/null && exit 21
(cat "$OUT/secret") 2>/dev/null && exit 22
(cat "$WS/link") 2>/dev/null && exit 23
(ln "$OUT/secret" "$WS/hard") 2>/dev/null && exit 24
(rm -f "$OUT/secret") 2>/dev/null && [ ! -e "$OUT/secret" ] && [ -e "$OUT" ] && exit 25
if [ -n "$PORT" ] && [ -x /bin/bash ]; then
  /bin/bash -c 'exec 3<>/dev/tcp/127.0.0.1/$PORT' 2>/dev/null && exit 31
fi
if [ -n "$PORT" ]; then
  kill -0 "$OTHER" 2>/dev/null && exit 32
  [ -e "/proc/$OTHER/cmdline" ] && [ "$OTHER" -gt 99 ] && cat "/proc/$OTHER/cmdline" > /dev/null 2>&1 && exit 33
fi
exit 0
"#;

/// Returns the first means that works, or why none does.
pub(super) async fn find(settings: &Settings, mode: Mode) -> Result<Backend, String> {
    let wanted = settings.backend.unwrap_or(Backend::Auto);
    let all = match wanted {
        Backend::Auto => vec![Backend::Bubblewrap, Backend::Landlock],
        one => vec![one],
    };
    let mut reasons = Vec::new();
    for backend in all {
        match canary(settings, mode, backend).await {
            Ok(()) => return Ok(backend),
            Err(why) => reasons.push(format!("{backend}: {why}")),
        }
    }
    Err(reasons.join("; "))
}

async fn canary(settings: &Settings, mode: Mode, backend: Backend) -> Result<(), String> {
    if backend == Backend::Bubblewrap && bubblewrap::find().is_none() {
        return Err("the program bwrap is not installed".to_owned());
    }
    if backend == Backend::Landlock && !walls::is_there() {
        return Err("this kernel has no Landlock of version 3 (Linux 6.2), or it is switched off"
            .to_owned());
    }
    let folder = settings.folder.as_deref().ok_or(NO_FOLDER)?;
    let shown = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(shown)?;
    let cage = tempfile::Builder::new().prefix("canary-").tempdir_in(folder).map_err(shown)?;
    let (inside, outside) = (cage.path().join("in"), cage.path().join("out"));
    for path in [&inside, &outside] {
        fs::create_dir(path).map_err(shown)?;
    }
    fs::write(outside.join("secret"), "secret").map_err(shown)?;
    std::os::unix::fs::symlink(outside.join("secret"), inside.join("link")).map_err(shown)?;
    let temporary = cage.path().join("tmp");
    let fence = Fence::new(settings, mode, backend, inside.clone(), temporary)?;
    // A port that answers, so that what cannot be reached is kept from it by the wall.
    let listener = TcpListener::bind("127.0.0.1:0").map_err(shown)?;
    let port = listener.local_addr().map_err(shown)?.port().to_string();
    let port = if mode == Mode::Strict { port } else { String::new() };
    let launch = launch(&inside, &outside, port);
    let launch = Sandbox::new(settings.clone()).launcher(&fence, launch)?;
    let said = run(launch).await?;
    if outside.join("out").exists() || !outside.join("secret").exists() {
        return Err("a command has written outside of it".to_owned());
    }
    said
}

fn launch(inside: &Path, outside: &Path, port: String) -> Launch {
    let path = std::env::var_os("PATH").unwrap_or_default();
    Launch {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), CANARY.into()],
        folder: inside.to_owned(),
        env: vec![
            ("PATH".into(), path),
            ("WS".into(), inside.into()),
            ("OUT".into(), outside.into()),
            ("PORT".into(), port.into()),
            ("OTHER".into(), std::process::id().to_string().into()),
        ],
        wants: Wants::Nothing,
        bounds: None,
    }
}

/// Runs the canary, and reads from its number what it could do or could not.
async fn run(launch: Launch) -> Result<Result<(), String>, String> {
    let mut started = launch.start().map_err(|error| error.to_string())?;
    let said = async {
        let (mut text, mut buffer) = (Vec::new(), [0; 1_024]);
        while let Ok(count @ 1..) = started.source.read(&mut buffer).await {
            text.extend_from_slice(&buffer[..count]);
        }
        (started.child.wait().await, text)
    };
    let said = tokio::time::timeout(WITHIN, said).await;
    let (status, text) = said.map_err(|_| "a command in it does not end".to_owned())?;
    let status = status.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&text);
    let text = text.trim();
    Ok(match status.code() {
        Some(0) => Ok(()),
        Some(code @ 11..=19) => Err(format!("a command cannot work in it ({code}): {text}")),
        Some(code @ 21..=29) => Err(format!("a command can get out of it ({code}): {text}")),
        Some(31) => Err("a command in it can reach the network".to_owned()),
        Some(32 | 33) => Err("a command in it can see other processes".to_owned()),
        _ => Err(format!("it cannot be put up ({status}): {text}")),
    })
}
