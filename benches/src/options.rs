//! What all benches are asked in the same way: `[-r RUNS] [-b] [--node PATH] [--json FILE] [NAME...]`.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use friscy_tests::oracle::repository;

use crate::table::{Table, save};

/// What was asked for.
#[derive(Debug)]
pub struct Options {
    /// Runs of which the median counts.
    pub runs: usize,
    /// `-b`: Chromium, too.
    pub browser: bool,
    /// `--node`: another Node, too.
    node: Option<PathBuf>,
    /// `--json`: where the tables are also written.
    json: Option<PathBuf>,
    /// Which rows, all if empty.
    names: Vec<String>,
}

impl Options {
    fn parse(runs: usize, known: &[&str]) -> Result<Options> {
        let mut options = Options { runs, browser: false, node: None, json: None, names: Vec::new() };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} wants a value"));
            match word.as_str() {
                "-r" => options.runs = value()?.parse().ok().filter(|&runs| runs > 0).context("-r RUNS")?,
                "-b" => options.browser = true,
                "--node" => options.node = Some(value()?.into()),
                "--json" => options.json = Some(value()?.into()),
                _ if known.contains(&word.as_str()) => options.names.push(word),
                _ => bail!("nothing here is called {word}; there are: {}", known.join(" ")),
            }
        }
        Ok(options)
    }

    /// Whether this row is wanted.
    pub fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted == name)
    }

    /// The Nodes to measure, with their names in a table: the one in PATH, and another one, that of `--node`,
    /// `NEWER_NODE`, or which `bundle/test/run` installed.
    pub fn nodes(&self) -> Result<Vec<(String, String)>> {
        let newer = || std::env::var_os("NEWER_NODE").map(PathBuf::from);
        let other = self.node.clone().or_else(newer).or_else(installed_by_tests);
        let mut nodes = Vec::new();
        for path in [Some("node".into()), other].into_iter().flatten() {
            let path = path.to_string_lossy().into_owned();
            let version = Command::new(&path).arg("--version").output();
            let version = version.with_context(|| format!("{path} does not start"))?.stdout;
            let version = String::from_utf8_lossy(&version).trim().trim_start_matches('v').to_owned();
            let major = version.split('.').next().unwrap_or_default();
            ensure!(!major.is_empty(), "{path} is no Node");
            nodes.push((format!("Node {major}"), path));
        }
        nodes.dedup_by(|a, b| a.0 == b.0);
        Ok(nodes)
    }
}

fn installed_by_tests() -> Option<PathBuf> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from);
    let modules = std::fs::read_dir(target.join("test-runtimes/node_modules")).ok()?;
    let mut found = modules.flatten().map(|entry| entry.path().join("bin/node"));
    found.find(|path| path.exists())
}

/// A bench: parse, measure, print. What fails is one line, and exit code 1.
pub fn bench(runs: usize, names: &[&str], measure: impl FnOnce(&Options) -> Result<Vec<Table>>) -> ExitCode {
    let done = Options::parse(runs, names).and_then(|options| {
        let tables = measure(&options)?;
        tables.iter().for_each(Table::print);
        options.json.as_ref().map_or(Ok(()), |path| save(&tables, options.runs, path))
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
