//! What a suite's run says: cases and the checks inside them on both sides, kept between runs, and the page
//! `docs/CONFORMANCE.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use crate::oracle::{Outcome, repository};

/// Known differences: suite, case or check, cause. A name that ends in `*` is all that begin so.
#[derive(Debug, Default)]
pub struct Causes(BTreeMap<(String, String), String>);

impl Causes {
    /// From `tests/suites/causes`: three columns between tabs; `#` begins a comment.
    pub fn load() -> Causes {
        let file = repository().join("tests/suites/causes");
        let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        Causes::parse(&text)
    }

    fn parse(text: &str) -> Causes {
        let rows = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        let split = |line: &str| {
            let mut columns = line.splitn(3, '\t').map(str::to_owned);
            let mut next = || columns.next().unwrap_or_else(|| panic!("causes: three columns: {line}"));
            ((next(), next()), next())
        };
        Causes(rows.map(split).collect())
    }

    fn of(&self, suite: &str, name: &str) -> Option<&str> {
        let begins = |row: &str| row.strip_suffix('*').is_some_and(|start| name.starts_with(start));
        let mut rows = self.0.iter().filter(|((of, row), _)| of == suite && (row == name || begins(row)));
        rows.next().map(|(_, cause)| cause.as_str())
    }
}

/// What one side made of a case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Side {
    /// Exit code, 128+N when signal N ended it; none when it did not end within its limit.
    pub code: Option<i32>,
    /// Checks inside that it reports as passed.
    pub checks: BTreeSet<String>,
}

impl From<Outcome> for Side {
    fn from(outcome: Outcome) -> Side {
        Side { code: outcome.code, checks: checks(&outcome) }
    }
}

/// One side's results by case, kept in a file from run to run.
#[derive(Debug)]
pub struct Results {
    file: PathBuf,
    sides: BTreeMap<String, Side>,
}

impl Results {
    /// What `file` has; nothing when it is older than `built`.
    pub fn load(file: PathBuf, built: Option<std::time::SystemTime>) -> Results {
        let fresh = file.metadata().and_then(|m| m.modified()).is_ok_and(|at| Some(at) >= built);
        let text = if fresh { std::fs::read_to_string(&file).unwrap_or_default() } else { String::new() };
        if !fresh {
            let _ = std::fs::remove_file(&file);
        }
        Results { file, sides: text.lines().filter_map(Results::parse).collect() }
    }

    fn parse(line: &str) -> Option<(String, Side)> {
        let mut columns = line.split('\t').map(str::to_owned);
        let (name, code) = (columns.next()?, columns.next()?);
        Some((name, Side { code: code.parse().ok(), checks: columns.collect() }))
    }

    /// The case's result.
    pub fn get(&self, case: &str) -> Option<&Side> {
        self.sides.get(case)
    }

    /// Keep the case's result; the last one counts.
    pub fn add(&mut self, case: &str, side: Side) {
        let code = side.code.map_or("hung".to_owned(), |code| code.to_string());
        let columns: Vec<&str> =
            [case, &code].into_iter().chain(side.checks.iter().map(String::as_str)).collect();
        let line = columns.join("\t") + "\n";
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&self.file);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .unwrap_or_else(|e| panic!("{}: {e}", self.file.display()));
        self.sides.insert(case.to_owned(), side);
    }
}

/// One case on both sides.
#[derive(Debug)]
pub struct Verdict {
    /// Its name in the suite's list.
    pub name: String,
    /// Under qemu-riscv64.
    pub reference: Side,
    /// Here.
    pub ours: Side,
}

impl Verdict {
    /// What passes there and not here: checks where the case names them, else the case.
    pub fn lost(&self) -> Vec<String> {
        if !self.reference.checks.is_empty() {
            return self.reference.checks.difference(&self.ours.checks).cloned().collect();
        }
        let lost = self.reference.code == Some(0) && self.ours.code != Some(0);
        if lost { vec![self.name.clone()] } else { Vec::new() }
    }

    /// Nothing is lost, or the causes are known.
    pub fn explained(&self, suite: &str, causes: &Causes) -> bool {
        self.lost().iter().all(|name| causes.of(suite, name).is_some())
    }

    /// For people who wait.
    pub fn line(&self, suite: &str, causes: &Causes) -> String {
        let code = |side: &Side| side.code.map_or("hung".to_owned(), |code| code.to_string());
        let mut line = format!("{}: qemu {}, here {}", self.name, code(&self.reference), code(&self.ours));
        for name in self.lost().iter().filter(|name| causes.of(suite, name).is_none()) {
            let _ = write!(line, "\n    lost: {name}");
        }
        line
    }
}

/// Checks that a case reports as passed: unittest's `name (path) ... ok`, busybox's `PASS: name`.
fn checks(outcome: &Outcome) -> BTreeSet<String> {
    let mut passed = BTreeSet::new();
    let mut current = None;
    let text = [outcome.stdout.as_slice(), b"\n", &outcome.stderr].concat();
    for line in String::from_utf8_lossy(&text).lines() {
        if let Some(name) = line.strip_prefix("PASS: ") {
            passed.insert(name.replace('\t', " "));
            continue;
        }
        // The name comes on a line of its own when the test has a docstring.
        if let Some((name, rest)) = line.split_once(" (")
            && let Some((path, _)) = rest.split_once(')')
            && path.ends_with(&format!(".{name}"))
        {
            current = Some(path.to_owned());
        }
        if line.ends_with("... ok")
            && let Some(path) = current.take()
        {
            passed.insert(path);
        }
    }
    passed
}

/// A suite's part of the page, under a title; `how` says when and by which command it was run.
pub fn section((suite, title): (&str, &str), how: &str, verdicts: &[Verdict], causes: &Causes) -> String {
    let passed = |of: fn(&Verdict) -> &Side| verdicts.iter().filter(|v| of(v).code == Some(0)).count();
    let inner = |of: fn(&Verdict) -> &Side| verdicts.iter().map(|v| of(v).checks.len()).sum::<usize>();
    let mut text = format!(
        "## {title}\n\n{how}\n\n| | run | qemu-riscv64 | here |\n|---|---|---|---|\n| cases that pass | {} | {} | {} |\n",
        verdicts.len(),
        passed(|v| &v.reference),
        passed(|v| &v.ours)
    );
    if inner(|v| &v.reference) > 0 {
        let _ = writeln!(
            text,
            "| checks inside them that pass | | {} | {} |",
            inner(|v| &v.reference),
            inner(|v| &v.ours)
        );
    }
    let lost: Vec<(String, &Verdict)> =
        verdicts.iter().flat_map(|v| v.lost().into_iter().map(move |name| (name, v))).collect();
    let _ = writeln!(text, "\nPasses under qemu-riscv64 and not here: {}.\n", lost.len());
    for (name, verdict) in lost {
        let cause = match causes.of(suite, &name) {
            Some(cause) => cause,
            None if verdict.ours.code.is_none() => "the case does not end in time",
            None => "cause not known",
        };
        let _ = writeln!(text, "- `{name}`: {cause}");
    }
    text
}

const PAGE: &str = "docs/CONFORMANCE.md";
const HEAD: &str = "# Conformance

Suites that others wrote, built by `tests/suites/*.sh` from Debian's sources, run under qemu-riscv64 and here, case by
case. Here is the interpreter and the kernel linked natively, unless the title says otherwise: then each case was packed
by itself, and run by `friscy-snap run` with all that it executed translated before (`--translated`), or by Node, which
translates meanwhile with the page's translator (`--in-page`), if the case runs long enough: most do not. What does not
end within the limit (seconds) does not pass. A suite that is not on this page has not been run to its end. Written by

    cargo run --release -p friscy-tests --bin suite -- all

and by the run of one suite, which writes its part.
";

/// Put `section` into the page in place of the suite's last one.
pub fn write(suite: &str, section: &str) {
    let file = repository().join(PAGE);
    let old = std::fs::read_to_string(&file).unwrap_or_default();
    std::fs::write(&file, replaced(&old, suite, section))
        .unwrap_or_else(|e| panic!("{}: {e}", file.display()));
}

fn replaced(page: &str, suite: &str, section: &str) -> String {
    let mut sections: BTreeMap<&str, &str> = BTreeMap::new();
    let starts: Vec<usize> = page.match_indices("\n## ").map(|(at, _)| at + 1).collect();
    for (index, &start) in starts.iter().enumerate() {
        let part = &page[start..starts.get(index + 1).copied().unwrap_or(page.len())];
        let name = part[3..].lines().next().unwrap_or_default();
        sections.insert(name, part.trim_end());
    }
    sections.insert(suite, section.trim_end());
    let mut text = HEAD.to_owned();
    for part in sections.values() {
        let _ = write!(text, "\n{part}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(code: i32, stdout: &str) -> Side {
        Outcome { stdout: stdout.into(), stderr: Vec::new(), code: Some(code) }.into()
    }

    #[test]
    fn checks_are_found_and_compared() {
        let there = "test_a (test.m.C.test_a) ... ok\ntest_b (test.m.C.test_b)\nSays b. ... ok\n\
                     test_c (test.m.C.test_c) ... FAIL\n";
        let here = "test_a (test.m.C.test_a) ... ok\ntest_b (test.m.C.test_b)\nSays b. ... ERROR\n";
        let verdict = Verdict { name: "m".into(), reference: side(1, there), ours: side(1, here) };
        assert_eq!(verdict.lost(), ["test.m.C.test_b"]);
        let causes = Causes::parse("# comment\npython\ttest.m.C.test_b\twhy\n");
        assert!(verdict.explained("python", &causes) && !verdict.explained("bash", &causes));
        assert!(verdict.explained("python", &Causes::parse("python\ttest.m.*\twhy\n")));
        assert!(!verdict.explained("python", &Causes::parse("python\ttest.n.*\twhy\n")));
        let plain = Verdict { name: "p".into(), reference: side(0, ""), ours: side(1, "") };
        assert_eq!(plain.lost(), ["p"]);
        assert!(
            section(("python", "python"), "Run.", &[verdict], &causes).contains("- `test.m.C.test_b`: why")
        );
    }

    #[test]
    fn a_section_takes_the_place_of_the_last_one() {
        let one = replaced("", "b", "## b\n\nold\n");
        let two = replaced(&replaced(&one, "a", "## a\n\nfirst"), "b", "## b\n\nnew\n");
        assert!(two.starts_with(HEAD) && !two.contains("old"));
        assert!(two.ends_with("## a\n\nfirst\n\n## b\n\nnew\n"));
    }

    #[test]
    fn results_are_kept_until_the_suite_is_built_anew() {
        let file = std::env::temp_dir().join(format!("friscy-results.{}", std::process::id()));
        let mut results = Results::load(file.clone(), None);
        results.add("a", side(1, "PASS: one\nPASS: two\n"));
        results.add("a", side(0, "PASS: one\n"));
        results.add("b", Side::default());
        let again = Results::load(file.clone(), None);
        assert_eq!(again.get("a"), Some(&side(0, "PASS: one\n")));
        assert_eq!(again.get("b"), Some(&Side::default()));
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
        assert_eq!(Results::load(file.clone(), Some(later)).get("a"), None);
        assert!(!file.exists());
    }
}
