//! Chromium: a new profile, visits to pages, and what each cost.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::devtools::Devtools;
use super::hosts::Guard;
use super::plan::program;
use super::process::{self, Cpu, Patience, Stop};
use super::relay::Relay;
use super::report::{Sample, milliseconds};

/// What an installed Chromium may be called.
const NAMES: [&str; 5] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

/// Without window, questions, and errands of its own.
const FLAGS: [&str; 15] = [
    "--headless",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-gpu",
    "--disable-quic",
    "--disable-extensions",
    "--disable-default-apps",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-sync",
    "--mute-audio",
    "--password-store=basic",
    "--use-mock-keychain",
];

/// Gives its descriptors 3 and 4 to Chromium, which are the pipe by definition.
const PIPE: &str = r#"exec "$@" 3<&0 4>&1 0</dev/null 1>/dev/null"#;

/// Tells all marks when the first output has been drawn: its frame is over when the next one begins. Runs before the
/// page's own code.
const WATCH: &str = r#"if (globalThis === globalThis.top) {
  const mark = performance.mark;
  performance.mark = function (name, ...rest) {
    const entry = mark.call(performance, name, ...rest);
    if (name === "friscy:drawn") {
      const marks = performance.getEntriesByType("mark").filter((mark) => mark.name.startsWith("friscy:"));
      const told = JSON.stringify(marks.map((mark) => [mark.name, mark.startTime]));
      requestAnimationFrame(() => globalThis.friscyBench(told));
    }
    return entry;
  };
}"#;
const BINDING: &str = "friscyBench";

/// What the page shows when it failed, else nothing.
const FAILURE: &str = r#"({ failed: document.getElementById("failure-text")?.textContent,
  exited: document.getElementById("status")?.textContent })[document.body?.dataset.state] ?? """#;

/// How long a first visit lasts after its output: V8 keeps compiled code once it was quiet for two seconds.
pub(super) const DWELL_COLD: Duration = Duration::from_millis(2500);
/// How long a second visit lasts after its output, before memory is looked at.
pub(super) const DWELL_WARM: Duration = Duration::from_millis(500);

/// The installed Chromium, or why there is none.
pub(super) fn find() -> Result<PathBuf> {
    match std::env::var_os("CHROME").filter(|name| !name.is_empty()) {
        Some(name) => program(&name).with_context(|| {
            format!("the variable CHROME says {}, which is no program", Path::new(&name).display())
        }),
        None => NAMES.iter().find_map(|name| program(name.as_ref())).with_context(|| {
            format!("no Chromium is installed (looked for {}); set CHROME to its path", NAMES.join(", "))
        }),
    }
}

/// A running Chromium with a new profile; both are gone when this is dropped.
#[derive(Debug)]
pub(super) struct Browser {
    devtools: Devtools,
    // Ended before its profile is removed: fields go in this order.
    process: Guard,
    _profile: Profile,
    stop: Stop,
}

/// Where a browser keeps everything, its temporary files too.
#[derive(Debug)]
struct Profile(PathBuf);

impl Drop for Profile {
    fn drop(&mut self) {
        // Chromium's crash handler is no child of it and may write for a moment longer.
        for _ in 0..50 {
            match std::fs::remove_dir_all(&self.0) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                _ => break,
            }
        }
    }
}

impl Browser {
    /// Starts `program`.
    pub(super) fn launch(program: &Path, stop: &Stop) -> Result<Browser> {
        let profile = Profile(tempfile::Builder::new().prefix("friscy-snap-chromium-").tempdir()?.keep());
        let mut command = Command::new("sh");
        command.args(["-c", PIPE, "sh"]).arg(program).args(FLAGS);
        command.arg(format!("--user-data-dir={}", profile.0.display())).env("TMPDIR", &profile.0);
        // Chromium refuses its sandbox to root.
        if rustix::process::geteuid().is_root() {
            command.arg("--no-sandbox");
        }
        command.arg("about:blank").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = command.process_group(0).spawn().context("cannot start sh")?;
        let mut process = Guard(child);
        let to = process.0.stdin.take().context("no pipe")?;
        let from = process.0.stdout.take().context("no pipe")?;
        let mut devtools = Devtools::new(to, from, stop)?;
        // The first answer says that it is up.
        devtools
            .call(None, "Browser.getVersion", json!({}))
            .with_context(|| format!("{} does not start", program.display()))?;
        Ok(Browser { devtools, process, _profile: profile, stop: stop.clone() })
    }

    /// Name and version.
    pub(super) fn version(&mut self) -> Result<String> {
        let version = self.devtools.call(None, "Browser.getVersion", json!({}))?;
        Ok(version["product"].as_str().unwrap_or("Chromium").replace('/', " "))
    }

    /// Opens the page behind `relay` in a tab of its own, until `dwell` after its first output.
    pub(super) fn visit(&mut self, relay: &Relay, dwell: Duration) -> Result<Sample> {
        let target = self.devtools.call(None, "Target.createTarget", json!({ "url": "about:blank" }))?;
        let target = json!({ "targetId": target["targetId"] });
        let result = self.visit_in(&target, relay, dwell);
        self.devtools.call(None, "Target.closeTarget", target)?;
        self.devtools.forget_events();
        result
    }

    fn visit_in(&mut self, target: &Value, relay: &Relay, dwell: Duration) -> Result<Sample> {
        let mut attach = target.clone();
        attach["flatten"] = true.into();
        let attached = self.devtools.call(None, "Target.attachToTarget", attach)?;
        let session = attached["sessionId"].as_str().context("Chromium gives no session")?.to_string();
        let tab = Some(session.as_str());
        self.devtools.call(tab, "Page.enable", json!({}))?;
        self.devtools.call(tab, "Runtime.enable", json!({}))?;
        self.devtools.call(tab, "Runtime.addBinding", json!({ "name": BINDING }))?;
        self.devtools.call(tab, "Page.addScriptToEvaluateOnNewDocument", json!({ "source": WATCH }))?;
        self.rest()?;
        let (root, bytes) = (self.process.0.id(), relay.down_bytes());
        let before = Cpu::of(root);
        self.devtools.send(tab, "Page.navigate", json!({ "url": relay.url() }))?;
        let told = self.first_output(&session, relay)?;
        let after = Cpu::of(root);
        let bytes_before_output = relay.down_bytes() - bytes;
        let marks: Vec<(String, f64)> =
            serde_json::from_str(told["payload"].as_str().unwrap_or_default()).context("unreadable marks")?;
        let wall_ms = marks.iter().map(|(_, at)| *at).fold(0.0, f64::max);
        self.sleep(dwell)?;
        let renderer = after.busiest(&before, |pid| process::has_argument(pid, "--type=renderer"));
        Ok(Sample {
            wall_ms,
            cpu_ms: after.since(&before).map(milliseconds),
            memory_bytes: renderer.and_then(process::private_bytes),
            bytes_before_output: Some(bytes_before_output),
            bytes: Some(relay.down_bytes() - bytes),
            stages: marks,
        })
    }

    /// What the page tells at its first output.
    fn first_output(&mut self, session: &str, relay: &Relay) -> Result<Value> {
        let mut patience = Patience::with(self.process.0.id());
        loop {
            if let Some(told) =
                self.devtools.event(session, "Runtime.bindingCalled", Duration::from_secs(1))?
            {
                return Ok(told);
            }
            let asked = json!({ "expression": FAILURE, "returnByValue": true });
            let said = self.devtools.call(Some(session), "Runtime.evaluate", asked)?;
            match said["result"]["value"].as_str() {
                None | Some("") => {}
                Some(reason) => bail!("the page shows no output: {reason}"),
            }
            patience.check(relay.down_bytes())?;
        }
    }

    /// Waits until the browser has nothing to do, so that a visit pays only for itself. A browser that never rests
    /// is taken as it is.
    fn rest(&self) -> Result<()> {
        const LOOK: Duration = Duration::from_millis(100);
        let mut before = Cpu::of(self.process.0.id());
        for _ in 0..50 {
            self.sleep(LOOK)?;
            let now = Cpu::of(self.process.0.id());
            if now.since(&before).is_none_or(|used| used < LOOK / 20) {
                break;
            }
            before = now;
        }
        Ok(())
    }

    fn sleep(&self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.stop.check()?;
            std::thread::sleep(end.saturating_duration_since(Instant::now()).min(Duration::from_millis(100)));
        }
        Ok(())
    }
}
