//! The freeze point as it is typed: `--until POINT`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use friscy_formats::boot::Until;
use regex::bytes::{Regex, RegexBuilder};

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
}

impl From<Until> for Goal {
    /// A point without output to look for. Without a limit of time.
    fn from(until: Until) -> Goal {
        Goal { point: Point { until, output: None }, timeout: Duration::MAX }
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
    fn output_is_looked_for_by_lines() {
        let point: Point = "output:^ready$".parse().expect("a point");
        let regex = point.output.expect("a pattern");
        assert!(regex.is_match(b"starting\r\nready\r\n") && regex.is_match(b"ready"));
        assert!(!regex.is_match(b"not ready\n"));
    }
}
