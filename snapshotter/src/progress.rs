//! What is said while packing: a bar on a terminal, nothing elsewhere, and a
//! summary of sizes and times at the end. All of it on stderr.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::Talk;

/// Speaks for one run of the pipeline.
#[derive(Debug)]
pub struct Progress {
    talk: Talk,
    bar: ProgressBar,
    stages: Vec<(&'static str, Duration)>,
    current: Option<(&'static str, Instant)>,
}

impl Progress {
    /// Nothing has begun.
    pub fn new(talk: Talk) -> Progress {
        let bar = ProgressBar::new_spinner();
        // `stderr()` draws on terminals only.
        bar.set_draw_target(if talk.quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        });
        Progress { talk, bar, stages: Vec::new(), current: None }
    }

    /// The stage `name` begins, and the one before has ended.
    pub fn stage(&mut self, name: &'static str) {
        self.end_stage();
        self.current = Some((name, Instant::now()));
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            self.bar.set_style(style);
        }
        self.bar.set_message(name);
        self.bar.enable_steady_tick(Duration::from_millis(100));
    }

    /// `done` of `total` bytes.
    pub fn bytes(&self, done: u64, total: u64) {
        if self.bar.length() != Some(total) {
            self.bar.set_length(total);
            if let Ok(style) = ProgressStyle::with_template(
                "{spinner} {msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            ) {
                self.bar.set_style(style);
            }
        }
        self.bar.set_position(done);
    }

    /// `count` guest instructions so far.
    pub fn instructions(&self, count: u64) {
        if let Some((name, _)) = self.current {
            self.bar.set_message(format!("{name}: {} million guest instructions", count / 1_000_000));
        }
    }

    /// What the stage is at.
    pub fn doing(&self, what: String) {
        self.bar.set_message(what);
    }

    /// A line that is always shown, unless quiet.
    pub fn say(&self, line: &str) {
        if !self.talk.quiet {
            self.bar.suspend(|| eprintln!("{line}"));
        }
    }

    /// A line for `--verbose`.
    pub fn detail(&self, line: &str) {
        if self.talk.verbose {
            self.bar.suspend(|| eprintln!("{line}"));
        }
    }

    fn end_stage(&mut self) {
        if let Some((name, start)) = self.current.take() {
            let elapsed = start.elapsed();
            self.detail(&format!("{name}: {:.3} s", elapsed.as_secs_f64()));
            self.stages.push((name, elapsed));
        }
    }

    /// The last stage has ended: time of each.
    pub fn finish(&mut self) -> &[(&'static str, Duration)] {
        self.end_stage();
        self.bar.finish_and_clear();
        &self.stages
    }
}

/// Bytes for people: `12.3 MB`.
pub fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let bytes_f = bytes as f64;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes_f / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes_f / 1e6),
        _ => format!("{:.2} GB", bytes_f / 1e9),
    }
}
