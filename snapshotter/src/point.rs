//! The freeze point as it is typed: `--until POINT`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Result;
use friscy_formats::boot::Until;
use regex::bytes::{Regex, RegexBuilder};
use wasmtime::AsContextMut;

use crate::vm::Vm;

/// What `--until` can be, for its error.
const POINTS: &str = "say entry, main, idle, listen:PORT, output:REGEX, guest or instructions:N";

/// How far a program runs before it is frozen.
#[derive(Debug, Clone)]
pub struct Point {
    /// As the engine takes it.
    pub until: Until,
    /// What its output has to contain, with [`Until::Output`].
    pub output: Option<Regex>,
}

/// The freeze point and what may be spent on the way to it.
#[derive(Debug, Clone)]
pub struct Goal {
    /// How far.
    pub point: Point,
    /// The longest that it may take, by the guest's clock and by ours.
    pub timeout: Duration,
    /// What a service answers before it is frozen.
    pub warm: Vec<Request>,
}

/// A request as it is typed: `GET /PATH` for one of HTTP, anything else as it is, with `\r`, `\n`, `\t`, `\\` and
/// `\xNN` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request(pub Vec<u8>);

impl FromStr for Request {
    type Err = String;

    fn from_str(text: &str) -> Result<Request, String> {
        if let Some(path) = text.strip_prefix("GET /").filter(|path| !path.contains(['\\', ' '])) {
            let head = format!("GET /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            return Ok(Request(head.into_bytes()));
        }
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes().iter().copied();
        while let Some(byte) = rest.next() {
            if byte != b'\\' {
                bytes.push(byte);
                continue;
            }
            bytes.push(match rest.next() {
                Some(b'r') => b'\r',
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(b'\\') => b'\\',
                Some(b'x') => {
                    let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                    let value =
                        digit().zip(digit()).and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
                    value.ok_or("\\x takes two hexadecimal digits, such as \\x0a")?
                }
                _ => return Err("after a backslash comes r, n, t, x or another backslash".to_string()),
            });
        }
        if bytes.is_empty() {
            return Err("say what to send, such as 'GET /'".to_string());
        }
        Ok(Request(bytes))
    }
}

impl Goal {
    /// Have the engine ask the service.
    pub fn warm_up(&self, vm: &Vm, mut store: impl AsContextMut) -> Result<()> {
        let Until::Listen(port) = self.point.until else { return Ok(()) };
        self.warm.iter().try_for_each(|request| vm.warm_up(&mut store, port, &request.0))
    }
}

impl From<Until> for Goal {
    /// A point without output to look for. Without a limit of time.
    fn from(until: Until) -> Goal {
        Goal { point: Point { until, output: None }, timeout: Duration::MAX, warm: Vec::new() }
    }
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Point, String> {
        let (name, value) = text.split_once(':').map_or((text, None), |(name, value)| (name, Some(value)));
        let until = match (name, value) {
            ("entry", None) => Until::Entry,
            ("main", None) => Until::Main,
            ("idle", None) => Until::Idle,
            ("guest", None) => Until::Guest,
            ("listen", Some(port)) => match port.parse() {
                Ok(port @ 1..) => Until::Listen(port),
                _ => return Err("listen: takes a TCP port, such as listen:8000".to_string()),
            },
            ("instructions", Some(count)) => match count.parse() {
                Ok(count) => Until::Instructions(count),
                Err(_) => {
                    return Err("instructions: takes a number, such as instructions:1000000".to_string());
                }
            },
            ("output", Some(pattern)) => {
                // Lines are what people have in mind; a terminal ends them with CR LF.
                let regex = RegexBuilder::new(pattern).multi_line(true).crlf(true).build();
                let regex = regex.map_err(|error| {
                    let text = error.to_string();
                    let reason = text.lines().last().unwrap_or_default();
                    format!("output: takes a regular expression: {}", reason.trim_start_matches("error: "))
                })?;
                return Ok(Point { until: Until::Output, output: Some(regex) });
            }
            _ => return Err(POINTS.to_string()),
        };
        Ok(Point { until, output: None })
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.until {
            Until::Never => f.write_str("never"),
            Until::Entry => f.write_str("entry"),
            Until::Main => f.write_str("main"),
            Until::Idle => f.write_str("idle"),
            Until::Guest => f.write_str("guest"),
            Until::Listen(port) => write!(f, "listen:{port}"),
            Until::Instructions(count) => write!(f, "instructions:{count}"),
            Until::Output => write!(f, "output:{}", self.output.as_ref().map_or("", Regex::as_str)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_have_names() {
        let names =
            ["entry", "main", "idle", "guest", "listen:8000", "instructions:5", "output:^ready: [0-9]+$"];
        for name in names {
            assert_eq!(name.parse::<Point>().expect(name).to_string(), name);
        }
        for name in ["", "later", "main:1", "listen", "listen:0", "listen:70000", "instructions:", "output:("]
        {
            let error = name.parse::<Point>().expect_err(name);
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn requests_are_short_or_exact() {
        let request = |text: &str| text.parse::<Request>().map(|request| request.0);
        assert_eq!(
            request("GET /a?b").unwrap(),
            b"GET /a?b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(request(r"GET / HTTP/1.0\r\n\r\n").unwrap(), b"GET / HTTP/1.0\r\n\r\n");
        assert_eq!(request(r"PING\r\n").unwrap(), b"PING\r\n");
        assert_eq!(request(r"\x00\xfF\\\t").unwrap(), b"\x00\xff\\\t");
        for bad in ["", "\\", r"\q", r"\x", r"\x1", r"\xg0"] {
            let error = request(bad).expect_err(bad);
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn output_is_looked_for_by_lines() {
        let point: Point = "output:^ready$".parse().expect("a point");
        let regex = point.output.expect("a pattern");
        assert!(regex.is_match(b"starting\r\nready\r\n") && regex.is_match(b"ready"));
        assert!(!regex.is_match(b"not ready\n"));
    }
}
