//! Marks: when the stages of an opening ended, by the names that the page gives
//! to `performance.mark`. `run --marks FILE` writes them for `bench`.

use std::path::PathBuf;

/// The file is read and its seal has been checked.
pub const DOWNLOAD: &str = "friscy:download";
/// The code is compiled, or taken from the cache.
pub const COMPILE: &str = "friscy:compile";
/// The instance is there with its memory.
pub const INSTANTIATE: &str = "friscy:instantiate";
/// The machine has renewed what must be fresh.
pub const THAW: &str = "friscy:thaw";
/// The guest's first instruction here comes next.
pub const FIRST_INSTRUCTION: &str = "friscy:first-instruction";
/// The guest's first output is there.
pub const FIRST_OUTPUT: &str = "friscy:first-output";

/// Marks of one opening, and where they go.
#[derive(Debug, Default)]
pub struct Marks {
    file: Option<PathBuf>,
    lines: String,
}

impl Marks {
    /// To be written to `file`, if there is one.
    pub fn to(file: Option<PathBuf>) -> Marks {
        Marks { file, lines: String::new() }
    }

    /// The stage `name` has ended. After [`FIRST_OUTPUT`] the file is written, and nothing more is marked.
    pub fn mark(&mut self, name: &str) {
        if let Some(file) = &self.file {
            self.lines.push_str(&format!("{name} {}\n", now_ns()));
            if name == FIRST_OUTPUT {
                // Who measures notices that it is missing; the guest goes on.
                let _ = std::fs::write(file, &self.lines);
                self.file = None;
            }
        }
    }
}

/// CLOCK_MONOTONIC in nanoseconds: one clock for all processes of a machine.
pub fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// Lines of name and nanoseconds.
pub fn parse(text: &str) -> Vec<(String, u64)> {
    let line = |line: &str| {
        let (name, ns) = line.split_once(' ')?;
        Some((name.to_string(), ns.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_written_at_the_first_output_and_come_back() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("marks");
        let mut marks = Marks::to(Some(path.clone()));
        marks.mark(COMPILE);
        assert!(!path.exists());
        marks.mark(FIRST_OUTPUT);
        marks.mark(THAW);
        let read = parse(&std::fs::read_to_string(path).expect("written"));
        let names: Vec<&str> = read.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, [COMPILE, FIRST_OUTPUT]);
        assert!(read[0].1 <= read[1].1 && read[1].1 <= now_ns());
    }
}
