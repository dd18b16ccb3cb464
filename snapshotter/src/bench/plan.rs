//! What is to be compared: images and apps, hosts, lines, and other commands.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;

/// Where an app is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Host {
    /// `friscy-snap run`
    Native,
    /// A WASI runtime: wasmtime if it is there, else node:wasi
    Wasi,
    /// Node.js
    Node,
    /// Chromium
    Browser,
}

impl Host {
    /// All, in the order of the report.
    pub const ALL: [Host; 4] = [Host::Native, Host::Wasi, Host::Node, Host::Browser];

    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Host::Native => "native",
            Host::Wasi => "wasi",
            Host::Node => "node",
            Host::Browser => "browser",
        }
    }
}

/// The line between server and browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// As it was typed; `loopback` for none.
    pub name: String,
    /// Each way; `None`: as fast as this machine.
    pub bits_per_second: Option<u64>,
    /// There and back.
    pub round_trip: Duration,
}

impl Network {
    /// No emulation.
    pub fn loopback() -> Network {
        Network { name: "loopback".to_string(), bits_per_second: None, round_trip: Duration::ZERO }
    }
}

impl FromStr for Network {
    type Err = String;

    /// `50mbit,40ms`: bandwidth each way, and round-trip time.
    fn from_str(text: &str) -> Result<Network, String> {
        let usage = || "say bandwidth and round-trip time, such as 50mbit,40ms or 400kbit,400ms".to_string();
        let (rate, delay) = text.split_once(',').ok_or_else(usage)?;
        let units = [("kbit", 1_000), ("mbit", 1_000_000), ("gbit", 1_000_000_000)];
        let number = |unit: &str, factor: u64| {
            rate.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(factor).filter(|&rate| rate > 0)
        };
        let bits_per_second =
            units.iter().find_map(|&(unit, factor)| number(unit, factor)).ok_or_else(usage)?;
        let milliseconds =
            delay.strip_suffix("ms").and_then(|count| count.parse::<u32>().ok()).ok_or_else(usage)?;
        Ok(Network {
            name: text.to_string(),
            bits_per_second: Some(bits_per_second),
            round_trip: Duration::from_millis(milliseconds.into()),
        })
    }
}

/// Another command to compare with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versus {
    /// Its name in the report.
    pub label: String,
    /// For `sh -c`.
    pub command: String,
}

impl FromStr for Versus {
    type Err = String;

    /// `LABEL=COMMAND`.
    fn from_str(text: &str) -> Result<Versus, String> {
        match text.split_once('=') {
            Some((label, command)) if !label.trim().is_empty() && !command.trim().is_empty() => {
                Ok(Versus { label: label.trim().to_string(), command: command.trim().to_string() })
            }
            _ => Err("say LABEL=COMMAND, such as 'qemu=qemu-riscv64 ./bash'".to_string()),
        }
    }
}

/// A value as it is typed.
pub(super) fn typed(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_string()).unwrap_or_default()
}

/// A name for each file: its stem, numbered where several have the same.
pub(super) fn names(paths: &[PathBuf]) -> Vec<String> {
    let stem = |path: &Path| path.file_stem().unwrap_or(OsStr::new("image")).to_string_lossy().into_owned();
    let mut names: Vec<String> = Vec::new();
    for path in paths {
        let stem = stem(path);
        let free = |name: &String| !names.contains(name);
        let numbered = (2..).map(|number| format!("{stem} ({number})"));
        let name = std::iter::once(stem.clone()).chain(numbered).find(free);
        names.extend(name);
    }
    names
}

/// The program that a shell would find as `name`, or the file that a path names.
pub(super) fn program(name: &OsStr) -> Option<PathBuf> {
    let executable = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    if Path::new(name).components().count() > 1 {
        return Some(PathBuf::from(name)).filter(|path| executable(path));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|path| executable(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_a_bandwidth_and_a_delay() {
        let network: Network = "50mbit,40ms".parse().expect("usual");
        assert_eq!(network.bits_per_second, Some(50_000_000));
        assert_eq!(network.round_trip, Duration::from_millis(40));
        for bad in ["", "50mbit", "50,40", "0mbit,40ms", "50mbit,40", "mbit,ms", "99999999999gbit,1ms"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_command_may_hold_equals_signs() {
        let versus: Versus = "qemu=A=1 qemu-riscv64 sh".parse().expect("a command");
        assert_eq!((versus.label.as_str(), versus.command.as_str()), ("qemu", "A=1 qemu-riscv64 sh"));
        assert!("=x".parse::<Versus>().is_err());
        assert!("label".parse::<Versus>().is_err());
    }

    #[test]
    fn files_of_one_name_are_told_apart() {
        let paths = ["a/x.tar", "b/x.tar", "y.wasm", "c/x.wasm"].map(PathBuf::from);
        assert_eq!(names(&paths), ["x", "x (2)", "y", "x (3)"]);
    }

    #[test]
    fn programs_are_found_as_a_shell_does() {
        assert!(program(OsStr::new("sh")).is_some());
        assert!(program(OsStr::new("/bin/sh")).is_some());
        assert_eq!(program(OsStr::new("friscy-no-such-program")), None);
        assert_eq!(program(OsStr::new("/etc/passwd")), None);
    }
}
