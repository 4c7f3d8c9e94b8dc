//! A gateway as another process of this binary, to be killed.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// How long a gateway may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a gateway may take to stop in good order.
const STOP_TIMEOUT: Duration = Duration::from_secs(40);

#[derive(Debug)]
pub struct GatewayProcess {
    child: Child,
    /// While it is open the gateway lives. The system closes it with this process, also at a kill.
    _leash: ChildStdin,
    pid: u32,
    url: String,
}

impl GatewayProcess {
    /// Starts a gateway on `folder` and waits until it listens.
    pub async fn start(folder: &Path) -> anyhow::Result<GatewayProcess> {
        let exe = std::env::current_exe().context("cannot find this program's own file")?;
        let mut child = Command::new(exe)
            .args(["gateway", "--port", "0", "--until-stdin-closes"])
            .env("WINDLASS_STATE_DIR", folder)
            .env("WINDLASS_CONFIG_PATH", folder.join("windlass.json"))
            .env("WINDLASS_LOG", "error")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start a gateway")?;
        let pid = child.id().context("the gateway has ended at once")?;
        let leash = child.stdin.take().context("the gateway has no stdin")?;
        let stdout = child.stdout.take().context("the gateway has no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(START_TIMEOUT, lines.next_line()).await;
        let line = line.with_context(|| format!("no gateway after {START_TIMEOUT:?}"))??;
        let Some(url) = line.as_deref().and_then(|line| line.strip_prefix("listening on ")) else {
            bail!("the gateway did not start: {}", line.unwrap_or_default());
        };
        Ok(GatewayProcess { child, _leash: leash, pid, url: url.to_owned() })
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends it with SIGKILL: it cannot do anything about it.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("cannot kill the gateway")
    }

    /// Ends it with SIGTERM, and waits.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        let pid = pid.context("the gateway has no process id")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await;
        let status = status.with_context(|| format!("not stopped after {STOP_TIMEOUT:?}"))??;
        if status.success() { Ok(()) } else { bail!("the gateway ended with {status}") }
    }
}
