//! Chromium's DevTools protocol over a pair of pipes (`--remote-debugging-pipe`):
//! JSON messages that end with a zero byte. No port is open to others, no
//! WebSocket is needed, and Chromium ends when its pipe does, however we end.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::process::Stop;

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a wait looks whether it should end.
const LOOK: Duration = Duration::from_millis(100);

/// A connection.
#[derive(Debug)]
pub(super) struct Devtools {
    to: ChildStdin,
    from: Receiver<Value>,
    stop: Stop,
    next: u64,
    /// Events that came while an answer was waited for.
    events: VecDeque<Value>,
}

impl Devtools {
    /// Over the ends of a browser's pipes.
    pub(super) fn new(to: ChildStdin, from: ChildStdout, stop: &Stop) -> Result<Devtools> {
        let (sender, receiver) = channel();
        std::thread::Builder::new().spawn(move || {
            for message in BufReader::new(from).split(0).map_while(Result::ok) {
                let Ok(value) = serde_json::from_slice(&message) else { continue };
                if sender.send(value).is_err() {
                    break;
                }
            }
        })?;
        Ok(Devtools { to, from: receiver, stop: stop.clone(), next: 0, events: VecDeque::new() })
    }

    /// Send a command to the browser, or to the target of a session; its number.
    pub(super) fn send(&mut self, session: Option<&str>, method: &str, params: Value) -> Result<u64> {
        self.next += 1;
        let mut message = json!({ "id": self.next, "method": method, "params": params });
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let mut bytes = serde_json::to_vec(&message)?;
        bytes.push(0);
        self.to.write_all(&bytes).context("Chromium has gone")?;
        Ok(self.next)
    }

    /// Send a command and wait for its result.
    pub(super) fn call(&mut self, session: Option<&str>, method: &str, params: Value) -> Result<Value> {
        let id = self.send(session, method, params)?;
        let end = Instant::now() + PATIENCE;
        loop {
            let Some(mut message) = self.receive(end)? else {
                bail!("Chromium does not answer {method}");
            };
            if message["id"] == id {
                if let Some(error) = message["error"]["message"].as_str() {
                    bail!("Chromium refuses {method}: {error}");
                }
                return Ok(message["result"].take());
            }
            if message.get("method").is_some() {
                self.events.push_back(message);
            }
        }
    }

    /// The next event of a session by the name of `method`, and its parameters; `None` when none comes in `wait`.
    pub(super) fn event(&mut self, session: &str, method: &str, wait: Duration) -> Result<Option<Value>> {
        let wanted = |event: &Value| event["method"] == method && event["sessionId"] == session;
        if let Some(at) = self.events.iter().position(wanted) {
            return Ok(self.events.remove(at).map(|mut event| event["params"].take()));
        }
        let end = Instant::now() + wait;
        while let Some(mut message) = self.receive(end)? {
            if wanted(&message) {
                return Ok(Some(message["params"].take()));
            }
            if message.get("method").is_some() {
                self.events.push_back(message);
            }
        }
        Ok(None)
    }

    /// Nobody waits for the events so far any more.
    pub(super) fn forget_events(&mut self) {
        self.events.clear();
    }

    fn receive(&mut self, end: Instant) -> Result<Option<Value>> {
        loop {
            self.stop.check()?;
            let left = end.saturating_duration_since(Instant::now());
            match self.from.recv_timeout(left.min(LOOK)) {
                Ok(message) => return Ok(Some(message)),
                Err(RecvTimeoutError::Disconnected) => bail!("Chromium has gone"),
                Err(RecvTimeoutError::Timeout) if left <= LOOK => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}
