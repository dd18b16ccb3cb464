//! What was measured, as data: `report.json` is this, and table, CSV and page
//! are views of it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::stats::Spread;

/// Version of the shape of `report.json`.
pub(super) const SCHEMA: u32 = 1;

/// Everything of one run of `friscy-snap bench`.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Who measured.
    pub friscy_snap: String,
    /// What was typed.
    pub command: String,
    /// When it began, UTC: `2026-11-21T13:45:00Z`.
    pub date: String,
    /// Where.
    pub machine: Machine,
    /// Rounds: each measures everything once.
    pub runs: u32,
    /// Hosts that opened apps, and what they are.
    pub hosts: Vec<(String, String)>,
    /// Hosts that are not there, and why.
    pub missing: Vec<(String, String)>,
    /// The floor, images and apps, other commands.
    pub subjects: Vec<Subject>,
    /// All measurements.
    pub series: Vec<Series>,
}

/// The machine that measured.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory_bytes: Option<u64>,
    pub system: String,
}

/// What kind of thing was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// Nothing: an empty page, an empty module.
    Floor,
    /// An image that was packed, or an app that was given.
    App,
    /// `--vs`.
    Command,
}

/// Something that was opened.
#[derive(Debug, Serialize)]
pub(super) struct Subject {
    pub name: String,
    pub kind: Kind,
    /// File or command.
    pub from: String,
    /// The app's file.
    #[serde(skip)]
    pub app: Option<PathBuf>,
    /// What packing cost, if we did it.
    pub pack: Option<Pack>,
    pub sizes: Option<Sizes>,
    /// Why it could not be opened at all.
    pub error: Option<String>,
}

/// What packing cost.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Pack {
    pub wall_ms: f64,
    pub cpu_ms: Option<f64>,
    pub peak_memory_bytes: Option<u64>,
}

/// Sizes of an app, from its manifest; all in bytes but `files`.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Sizes {
    /// The image's tar, after decompression of the tar itself.
    pub image: u64,
    /// Inodes of the image.
    pub files: u64,
    /// app.wasm.
    pub app: u64,
    /// `single`: the chunk store is in app.wasm; `split`: beside it.
    pub layout: &'static str,
    /// Engine and translated code.
    pub code: u64,
    /// Frozen memory: what is copied at every opening.
    pub hot: u64,
    /// The chunk store: what is read on demand.
    pub cold: u64,
    /// As `--until` takes it.
    pub freeze: String,
}

/// Samples of one subject in one place.
#[derive(Debug, Serialize)]
pub(super) struct Series {
    pub subject: String,
    pub place: Place,
    /// In the order of the rounds.
    pub samples: Vec<Sample>,
    /// Why there are no (more) samples.
    pub error: Option<String>,
    /// Filled in by [`Report::summarise`].
    pub summary: Option<Summary>,
}

/// Where and how something was opened. The order is that of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Place {
    /// `native`, `wasi`, `node`, `browser`.
    pub host: String,
    /// Of a browser: `loopback`, `50mbit,40ms`.
    pub network: Option<String>,
    /// Of a browser: `cold`, `warm`.
    pub visit: Option<String>,
}

impl Place {
    /// On one line: `browser, cold, 50mbit,40ms`.
    pub(super) fn title(&self) -> String {
        let network = self.network.as_ref().map(|network| match network.as_str() {
            "loopback" => "over loopback".to_string(),
            emulated => format!("over {}", emulated.replace(',', " ")),
        });
        let visit = self.visit.as_ref().map(|visit| format!("{visit} visit"));
        let parts = [Some(self.host.clone()), visit, network];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// One opening.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Sample {
    /// From the start of the process, or from navigation, to the first output.
    pub wall_ms: f64,
    /// CPU time of the host's whole process tree in that time.
    pub cpu_ms: Option<f64>,
    /// Memory that the process tree alone has and has written to, at the first output; of a page, its renderer's a moment later.
    pub memory_bytes: Option<u64>,
    /// Bytes that came over the line until the first output.
    pub bytes_before_output: Option<u64>,
    /// Bytes that came over the line in the whole visit.
    pub bytes: Option<u64>,
    /// When each stage ended, in milliseconds as `wall_ms`.
    pub stages: Vec<(String, f64)>,
}

/// What the samples say.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Summary {
    pub wall_ms: Spread,
    pub cpu_ms: Option<Spread>,
    /// Medians over those of the floor in the same place.
    pub wall_over_floor: Option<f64>,
    pub cpu_over_floor: Option<f64>,
    /// Medians.
    pub memory_bytes: Option<f64>,
    pub bytes_before_output: Option<f64>,
    pub bytes: Option<f64>,
    /// Median duration of each stage in milliseconds, in order; the last ends at the first output.
    pub stages_ms: Vec<(String, f64)>,
}

impl Report {
    /// Places that were measured, in order.
    pub(super) fn places(&self) -> Vec<&Place> {
        let mut places: Vec<&Place> = Vec::new();
        for series in &self.series {
            if !places.contains(&&series.place) {
                places.push(&series.place);
            }
        }
        places
    }

    /// Series of one place, in the order of the subjects.
    pub(super) fn at<'r>(&'r self, place: &'r Place) -> impl Iterator<Item = (&'r Subject, &'r Series)> {
        self.subjects.iter().filter_map(move |subject| {
            let of = |series: &&Series| series.place == *place && series.subject == subject.name;
            self.series.iter().find(of).map(|series| (subject, series))
        })
    }

    /// The series of `subject` at `place`, made when it is new.
    pub(super) fn series_of(&mut self, subject: &str, place: &Place) -> &mut Series {
        let found = self.series.iter().position(|series| series.subject == subject && series.place == *place);
        let at = found.unwrap_or_else(|| {
            let (subject, place) = (subject.to_string(), place.clone());
            self.series.push(Series { subject, place, samples: Vec::new(), error: None, summary: None });
            self.series.len() - 1
        });
        &mut self.series[at]
    }

    /// Whether `subject` did not open at `place` and is not tried again.
    pub(super) fn given_up(&self, subject: &str, place: &Place) -> bool {
        let silent = format!("{subject}, {}", place.title());
        let failed = |s: &Series| s.subject == subject && s.place == *place && s.error.is_some();
        self.series.iter().any(failed) || self.missing.iter().any(|(what, _)| *what == silent)
    }

    /// Medians and ratios, once all samples are there.
    pub(super) fn summarise(&mut self) {
        for series in &mut self.series {
            series.summary = summary(&series.samples);
        }
        let floors: BTreeSet<String> =
            self.subjects.iter().filter(|s| s.kind == Kind::Floor).map(|s| s.name.clone()).collect();
        let floors: Vec<(Place, Summary)> = self
            .series
            .iter()
            .filter(|series| floors.contains(&series.subject))
            .filter_map(|series| Some((series.place.clone(), series.summary.clone()?)))
            .collect();
        for series in &mut self.series {
            let Some(summary) = &mut series.summary else { continue };
            let Some((_, floor)) = floors.iter().find(|(place, _)| *place == series.place) else { continue };
            summary.wall_over_floor = ratio(summary.wall_ms, floor.wall_ms);
            summary.cpu_over_floor =
                summary.cpu_ms.zip(floor.cpu_ms).and_then(|(ours, floor)| ratio(ours, floor));
        }
    }

    /// What is not there, and why: things with the same reason together.
    pub(super) fn missing_by_reason(&self) -> Vec<(String, &str)> {
        let mut found: Vec<(String, &str)> = Vec::new();
        for (what, reason) in &self.missing {
            match found.iter_mut().find(|(_, other)| other == reason) {
                Some((all, _)) => *all = format!("{all}; {what}"),
                None => found.push((what.clone(), reason)),
            }
        }
        found
    }

    /// Whether anything that was asked for did not work.
    pub(super) fn failed(&self) -> bool {
        self.subjects.iter().any(|subject| subject.error.is_some())
            || self.series.iter().any(|series| series.error.is_some())
    }
}

fn ratio(ours: Spread, floor: Spread) -> Option<f64> {
    (floor.median > 0.0).then(|| ours.median / floor.median)
}

fn summary(samples: &[Sample]) -> Option<Summary> {
    #[expect(clippy::cast_precision_loss, reason = "bytes for people")]
    let median = |of: fn(&Sample) -> Option<u64>| {
        Spread::of(samples.iter().filter_map(of).map(|bytes| bytes as f64)).map(|spread| spread.median)
    };
    Some(Summary {
        wall_ms: Spread::of(samples.iter().map(|sample| sample.wall_ms))?,
        cpu_ms: Spread::of(samples.iter().filter_map(|sample| sample.cpu_ms)),
        wall_over_floor: None,
        cpu_over_floor: None,
        memory_bytes: median(|sample| sample.memory_bytes),
        bytes_before_output: median(|sample| sample.bytes_before_output),
        bytes: median(|sample| sample.bytes),
        stages_ms: stages(samples),
    })
}

/// Median duration of each stage that all samples tell. A stage begins where the one before ended.
fn stages(samples: &[Sample]) -> Vec<(String, f64)> {
    let Some(first) = samples.first() else { return Vec::new() };
    let told_by_all =
        |name: &String| samples.iter().all(|sample| sample.stages.iter().any(|(other, _)| other == name));
    let names: Vec<&String> =
        first.stages.iter().map(|(name, _)| name).filter(|name| told_by_all(name)).collect();
    let end = |sample: &Sample, name: &str| {
        sample.stages.iter().find(|(other, _)| other == name).map_or(0.0, |(_, end)| *end)
    };
    let duration = |at: usize| {
        let durations = samples.iter().map(|sample| {
            let start = if at == 0 { 0.0 } else { end(sample, names[at - 1]) };
            (end(sample, names[at]) - start).max(0.0)
        });
        Spread::of(durations).map_or(0.0, |spread| spread.median)
    };
    (0..names.len()).map(|at| (names[at].trim_start_matches("friscy:").to_string(), duration(at))).collect()
}

/// Milliseconds with their fraction.
pub(super) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl Machine {
    /// This one, as far as it says.
    pub(super) fn this() -> Machine {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_string())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal")
            .and_then(|value| value.split(' ').next()?.parse::<u64>().ok().map(|kilobytes| kilobytes << 10));
        Machine {
            cpu: field(&read("/proc/cpuinfo"), "model name")
                .unwrap_or_else(|| std::env::consts::ARCH.to_string()),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_bytes: memory,
            system: format!("{} {}", std::env::consts::OS, read("/proc/sys/kernel/osrelease").trim()),
        }
    }
}

/// Now, as `2026-11-21T13:45:00Z`.
pub(super) fn now() -> String {
    utc(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

/// Seconds since the epoch as a date (Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days).
fn utc(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
#[path = "report_test.rs"]
pub(super) mod report_test;
