//! The report in a terminal, and as CSV.

use std::fmt::Write as _;

use super::report::{Kind, Report, Series, Subject};
use crate::progress::size;

/// All tables, for a terminal.
pub(super) fn text(report: &Report) -> String {
    let mut out = String::new();
    let apps: Vec<&Subject> = report.subjects.iter().filter(|s| s.kind == Kind::App).collect();
    let mut rows = vec![heads(&[
        "image", "size", "files", "layout", "app.wasm", "hot", "cold", "pack s", "CPU s", "memory",
    ])];
    rows.extend(apps.iter().map(|subject| image_row(subject)));
    out.push_str(&aligned(&rows));
    for place in report.places() {
        let stages = stage_names(report, place);
        let mut head = vec![place.title()];
        head.extend(heads(&["CPU ms", "×floor", "wall ms", "×floor", "quartiles", "memory"]));
        if place.host == "browser" {
            head.extend(heads(&["before", "bytes"]));
        }
        head.extend(stages.iter().map(|name| short(name)));
        let mut rows = vec![head];
        rows.extend(report.at(place).map(|(_, series)| series_row(series, &stages)));
        let _ = write!(out, "\n{}", aligned(&rows));
    }
    for (name, error) in failures(report) {
        let _ = write!(out, "\n{name}: {error}");
    }
    for (host, reason) in report.missing_by_reason() {
        let _ = write!(out, "\n{host}: not measured: {reason}");
    }
    out.trim_end().to_string() + "\n"
}

/// What did not work: which, why.
pub(super) fn failures(report: &Report) -> Vec<(String, String)> {
    let subjects = report.subjects.iter().filter_map(|s| Some((s.name.clone(), s.error.clone()?)));
    let series = report
        .series
        .iter()
        .filter_map(|s| Some((format!("{}, {}", s.subject, s.place.title()), s.error.clone()?)));
    subjects.chain(series).collect()
}

/// Names of the stages that a place's apps tell.
fn stage_names(report: &Report, place: &super::report::Place) -> Vec<String> {
    let longest = report.at(place).filter_map(|(_, series)| series.summary.as_ref()).map(|s| &s.stages_ms);
    let longest = longest.max_by_key(|stages| stages.len()).filter(|stages| stages.len() > 1);
    longest.into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

/// A stage in few letters.
fn short(stage: &str) -> String {
    match stage {
        "first-instruction" => "begin",
        "first-output" => "run",
        "drawn" => "draw",
        other => other,
    }
    .to_string()
}

fn heads(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn image_row(subject: &Subject) -> Vec<String> {
    let mut row = vec![subject.name.clone()];
    match &subject.sizes {
        Some(sizes) => row.extend([
            size(sizes.image),
            sizes.files.to_string(),
            sizes.layout.to_string(),
            size(sizes.app),
            size(sizes.code + sizes.hot),
            size(sizes.cold),
        ]),
        None => row.extend(heads(&["–"; 6])),
    }
    let pack = subject.pack;
    row.push(number(pack.map(|pack| pack.wall_ms / 1e3), 1));
    row.push(number(pack.and_then(|pack| pack.cpu_ms).map(|cpu| cpu / 1e3), 1));
    row.push(pack.and_then(|pack| pack.peak_memory_bytes).map_or_else(dash, size));
    row
}

fn series_row(series: &Series, stages: &[String]) -> Vec<String> {
    let mut row = vec![series.subject.clone()];
    let Some(summary) = &series.summary else {
        row.push("failed".to_string());
        return row;
    };
    let wall = summary.wall_ms;
    row.extend([
        number(summary.cpu_ms.map(|cpu| cpu.median), 0),
        number(summary.cpu_over_floor, 2),
        number(Some(wall.median), 0),
        number(summary.wall_over_floor, 2),
        format!("{:.0}–{:.0}", wall.q1, wall.q3),
        bytes(summary.memory_bytes),
    ]);
    if series.place.host == "browser" {
        row.extend([bytes(summary.bytes_before_output), bytes(summary.bytes)]);
    }
    row.extend(stages.iter().map(|name| {
        let found = summary.stages_ms.iter().find(|(other, _)| other == name);
        // A floor has no stages but its end.
        number(found.filter(|_| summary.stages_ms.len() > 1).map(|(_, ms)| *ms), 0)
    }));
    row
}

fn dash() -> String {
    "–".to_string()
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(dash, |value| format!("{value:.digits$}"))
}

/// Rounded bytes for people.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a median of byte counts")]
pub(super) fn bytes(value: Option<f64>) -> String {
    value.map_or_else(dash, |value| size(value as u64))
}

/// Rows with columns aligned, the first to the left.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(at, cell)| {
            let width = widths[at];
            if at == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// Columns of the CSV before those of the stages.
const COLUMNS: [&str; 15] = [
    "subject",
    "kind",
    "image_bytes",
    "files",
    "hot_bytes",
    "cold_bytes",
    "host",
    "network",
    "visit",
    "run",
    "wall_ms",
    "cpu_ms",
    "memory_bytes",
    "bytes_before_output",
    "bytes",
];

/// One line for each sample (RFC 4180, line feeds only); unknown is empty.
pub(super) fn csv(report: &Report) -> String {
    let mut stages: Vec<&str> = Vec::new();
    for (name, _) in report.series.iter().flat_map(|s| &s.samples).flat_map(|s| &s.stages) {
        if !stages.contains(&name.as_str()) {
            stages.push(name);
        }
    }
    let ends =
        stages.iter().map(|name| format!("{}_ms", name.trim_start_matches("friscy:").replace('-', "_")));
    let mut out = COLUMNS.map(str::to_string).into_iter().chain(ends).collect::<Vec<_>>().join(",") + "\n";
    for place in report.places() {
        for (subject, series) in report.at(place) {
            for (run, sample) in series.samples.iter().enumerate() {
                let sizes = subject.sizes.as_ref();
                let count = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
                let time = |value: Option<f64>| value.map(|value| format!("{value:.3}")).unwrap_or_default();
                let mut cells = vec![
                    quoted(&subject.name),
                    format!("{:?}", subject.kind).to_lowercase(),
                    count(sizes.map(|sizes| sizes.image)),
                    count(sizes.map(|sizes| sizes.files)),
                    count(sizes.map(|sizes| sizes.code + sizes.hot)),
                    count(sizes.map(|sizes| sizes.cold)),
                    place.host.clone(),
                    quoted(place.network.as_deref().unwrap_or_default()),
                    place.visit.clone().unwrap_or_default(),
                    (run + 1).to_string(),
                    time(Some(sample.wall_ms)),
                    time(sample.cpu_ms),
                    count(sample.memory_bytes),
                    count(sample.bytes_before_output),
                    count(sample.bytes),
                ];
                let end =
                    |name: &&str| sample.stages.iter().find(|(other, _)| other == name).map(|(_, at)| *at);
                cells.extend(stages.iter().map(|name| time(end(name))));
                out.push_str(&cells.join(","));
                out.push('\n');
            }
        }
    }
    out
}

/// A cell that may hold anything.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_string()
    }
}

#[cfg(test)]
#[path = "table_test.rs"]
mod table_test;
