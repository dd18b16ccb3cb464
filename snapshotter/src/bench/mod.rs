//! `friscy-snap bench`: start-up of several images side by side.
//!
//! Files, in the order of work: [`plan`] (what is asked for), this file (packing,
//! rounds, files of the report), [`hosts`] and [`process`] (commands and their
//! cost), [`browser`], [`devtools`] and [`relay`] (pages over a line), [`floor`]
//! (opening nothing), [`report`] (what was measured), [`stats`], and its views:
//! [`table`], [`chart`], [`html`].

mod browser;
mod chart;
mod devtools;
mod floor;
mod hosts;
mod html;
mod plan;
mod process;
mod relay;
mod report;
mod stats;
mod table;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use friscy_formats::manifest::ChunkLayout;

pub use self::floor::command as open_empty_module;
pub use self::plan::{Host, Network, Versus};

use self::browser::Browser;
use self::hosts::{Guard, Opener};
use self::process::Stop;
use self::relay::Relay;
use self::report::{Kind, Machine, Pack, Place, Report, Sample, Sizes, Subject, milliseconds};
use crate::app::App;
use crate::cli::Bench;
use crate::embedded;
use crate::progress::Progress;
use crate::run::is_app;
use crate::serve;

/// The subject that is opened beside all others.
const FLOOR: &str = "floor";

/// `friscy-snap bench`: 0, or 1 when something that was asked for did not work.
pub fn command(args: &Bench) -> Result<u8> {
    if let Some(directory) = &args.output
        && directory.exists()
        && !directory.is_dir()
    {
        bail!("cannot write to {}: it is a file; give a directory", directory.display());
    }
    let stop = Stop::listen()?;
    let work = tempfile::Builder::new().prefix("friscy-snap-bench-").tempdir()?;
    let mut bench = Lab::new(args, stop, work.path())?;
    bench.pack(args)?;
    bench.measure(args)?;
    bench.progress.finish();
    let Lab { mut report, .. } = bench;
    report.summarise();
    print!("{}", table::text(&report));
    if let Some(directory) = &args.output {
        save(&report, directory)?;
        if !args.talk.quiet {
            eprintln!("wrote {0}/report.html, {0}/report.json and {0}/samples.csv", directory.display());
        }
    }
    Ok(u8::from(report.failed()))
}

/// A page's server: a thread of ours, so that it ends with us, however we end.
#[derive(Debug)]
struct Site {
    subject: String,
    address: SocketAddr,
}

/// Everything that a run of the bench holds.
struct Lab {
    report: Report,
    progress: Progress,
    stop: Stop,
    work: PathBuf,
    /// Commands that open apps.
    openers: Vec<(Host, Opener)>,
    /// The browser's program, if pages are measured.
    chromium: Option<PathBuf>,
    wasi_asked_for: bool,
}

impl Lab {
    /// Finds the hosts. One that is missing is an error only if it was asked for by name.
    fn new(args: &Bench, stop: Stop, work: &Path) -> Result<Lab> {
        let report = Report {
            schema: report::SCHEMA,
            friscy_snap: env!("CARGO_PKG_VERSION").to_string(),
            command: typed(),
            date: report::now(),
            machine: Machine::this(),
            runs: args.runs,
            hosts: Vec::new(),
            missing: Vec::new(),
            subjects: Vec::new(),
            series: Vec::new(),
        };
        let progress = Progress::new(args.talk);
        let mut lab = Lab {
            report,
            progress,
            stop,
            work: work.to_path_buf(),
            openers: Vec::new(),
            chromium: None,
            wasi_asked_for: args.hosts.contains(&Host::Wasi),
        };
        let wanted = if args.hosts.is_empty() { Host::ALL.as_slice() } else { &args.hosts };
        for host in Host::ALL.into_iter().filter(|host| wanted.contains(host)) {
            match lab.find(host) {
                Ok(what) => lab.report.hosts.push((host.name().to_string(), what)),
                Err(error) if args.hosts.is_empty() => {
                    lab.report.missing.push((host.name().to_string(), format!("{error:#}")));
                }
                Err(error) => return Err(error.context(format!("host {}", host.name()))),
            }
        }
        Ok(lab)
    }

    /// Makes a host ready; what it is.
    fn find(&mut self, host: Host) -> Result<String> {
        let opener = match host {
            Host::Native => Opener::native(&self.work)?,
            Host::Wasi => Opener::wasi(&self.work)?,
            Host::Node => Opener::node(&self.work)?,
            Host::Browser => {
                if embedded::WEB.is_empty() {
                    bail!("this friscy-snap was built without the page; install Node.js and build it again");
                }
                let chromium = browser::find()?;
                let version = Browser::launch(&chromium, &self.stop)?.version()?;
                self.chromium = Some(chromium);
                return Ok(version);
            }
        };
        let what = opener.what.clone();
        self.openers.push((host, opener));
        Ok(what)
    }

    /// Makes the list of subjects; images are packed by this program in processes of their own.
    fn pack(&mut self, args: &Bench) -> Result<()> {
        self.progress.stage("pack");
        self.report.subjects.push(subject(
            FLOOR,
            Kind::Floor,
            "an empty page with a worker; an empty module",
        ));
        for (path, name) in args.images.iter().zip(plan::names(&args.images)) {
            self.progress.doing(format!("packing {name}"));
            let mut subject = subject(&name, Kind::App, &path.display().to_string());
            if let Err(error) = self.ready(&mut subject, path, args) {
                self.stop.check()?;
                let reason = format!("{error:#}");
                self.progress.say(&format!("{name}: {reason}"));
                subject.error = Some(reason);
            }
            self.report.subjects.push(subject);
        }
        for versus in &args.vs {
            if self.report.subjects.iter().any(|subject| subject.name == versus.label) {
                bail!("--vs {}: something else is called so; take another label", versus.label);
            }
            self.report.subjects.push(subject(&versus.label, Kind::Command, &versus.command));
        }
        Ok(())
    }

    /// Packs an image, or takes an app, and looks into it.
    fn ready(&self, subject: &mut Subject, path: &Path, args: &Bench) -> Result<()> {
        let app = if is_app(path) {
            std::path::absolute(path)?
        } else {
            let app = self.work.join("apps").join(format!("{}.wasm", subject.name.replace('/', "_")));
            std::fs::create_dir_all(self.work.join("apps"))?;
            let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
            command.arg(path).arg("-q").arg("--until").arg(&args.until).arg("-o").arg(&app);
            // What an earlier run compressed must not make this one's packing look fast.
            command.arg("--no-cache").arg("--layout").arg(plan::typed(args.layout));
            if !args.cmd.is_empty() {
                command.arg("--").args(&args.cmd);
            }
            subject.pack = Some(run_pack(command, &self.stop)?);
            app
        };
        let opened = App::open(&app)?;
        let manifest = &opened.manifest;
        subject.sizes = Some(Sizes {
            image: manifest.sizes.image,
            files: manifest.sizes.inodes,
            app: opened.bytes().len() as u64,
            layout: match manifest.chunks.layout {
                ChunkLayout::Single => "single",
                ChunkLayout::Split => "split",
            },
            code: manifest.sizes.code,
            hot: manifest.sizes.data,
            cold: manifest.chunks.stored_bytes,
            freeze: manifest.freeze.clone(),
        });
        subject.app = Some(app);
        Ok(())
    }

    /// All rounds.
    fn measure(&mut self, args: &Bench) -> Result<()> {
        self.progress.stage("measure");
        let empty = self.work.join("empty.wasm");
        hosts::lay(&empty, &floor::module())?;
        let sites = if self.chromium.is_some() { self.sites()? } else { Vec::new() };
        let networks: Vec<Network> =
            std::iter::once(Network::loopback()).chain(args.network.iter().cloned()).collect();
        for round in 0..args.runs {
            let title = format!("round {} of {}", round + 1, args.runs);
            for (host, opener) in self.openers.clone() {
                self.commands(host, &opener, &empty, round, &title)?;
            }
            if let Some(chromium) = self.chromium.clone() {
                self.visits(&chromium, &sites, &networks, round, &title)?;
            }
        }
        Ok(())
    }

    /// Each subject once under a host that is a command.
    fn commands(&mut self, host: Host, opener: &Opener, empty: &Path, round: u32, title: &str) -> Result<()> {
        let place = Place { host: host.name().to_string(), network: None, visit: None };
        for at in rotated(self.report.subjects.len(), round) {
            let subject = &self.report.subjects[at];
            let (name, from, app) = (subject.name.clone(), subject.from.clone(), subject.app.clone());
            let what = match (subject.kind, app) {
                (Kind::Floor, _) => None,
                (Kind::App, Some(app)) => Some(app),
                // Other commands belong to no host of ours: they stand beside the native one.
                (Kind::Command, _) if host == Host::Native => None,
                _ => continue,
            };
            if self.report.given_up(&name, &place) {
                continue;
            }
            self.progress.doing(format!("{title}, {}: {name}", host.name()));
            let opened = match (self.report.subjects[at].kind, what) {
                (Kind::Command, _) => hosts::open_command(&from, &self.stop),
                (_, Some(app)) => opener.open(&app, &self.stop),
                (_, None) => opener.open_floor(empty, &self.stop),
            };
            // Under WASI programs have no terminal, and a shell without one shows no prompt: nobody's fault.
            match opened {
                Err(error) if host == Host::Wasi && !self.wasi_asked_for && error.is::<process::Silent>() => {
                    let reason =
                        format!("{error}; programs have no terminal there, so that shells show no prompt");
                    self.report.missing.push((format!("{name}, {}", place.title()), reason));
                }
                opened => self.record(&name, &place, opened)?,
            }
        }
        Ok(())
    }

    /// A new browser, and each page once cold and once warm over each line.
    fn visits(
        &mut self,
        chromium: &Path,
        sites: &[Site],
        networks: &[Network],
        round: u32,
        title: &str,
    ) -> Result<()> {
        let mut browser = Browser::launch(chromium, &self.stop)?;
        // What a new browser does at its first page only is not the page's, and what a server does at its first
        // visit, such as compressing, is not a later visitor's.
        let new = if round == 0 { sites } else { &sites[..1] };
        for Site { subject, address, .. } in new {
            self.progress.doing(format!("{title}, browser: warming up, {subject}"));
            let opened = browser.visit(&Relay::open(*address, &Network::loopback())?, Duration::ZERO);
            if subject == FLOOR {
                opened.context("Chromium does not show an empty page")?;
            }
            self.stop.check()?;
        }
        for network in networks {
            for at in rotated(sites.len(), round) {
                let Site { subject, address, .. } = &sites[at];
                self.progress.doing(format!("{title}, browser over {}: {subject}", network.name));
                // A port of its own is an address that this profile has never seen.
                let relay = Relay::open(*address, network)?;
                for (visit, dwell) in [("cold", browser::DWELL_COLD), ("warm", browser::DWELL_WARM)] {
                    let place = Place {
                        host: Host::Browser.name().to_string(),
                        network: Some(network.name.clone()),
                        visit: Some(visit.to_string()),
                    };
                    if !self.report.given_up(subject, &place) {
                        let opened = browser.visit(&relay, dwell);
                        self.record(subject, &place, opened)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn record(&mut self, subject: &str, place: &Place, opened: Result<Sample>) -> Result<()> {
        self.stop.check()?;
        let series = self.report.series_of(subject, place);
        match opened {
            Ok(sample) => series.samples.push(sample),
            Err(error) => {
                let reason = format!("{error:#}");
                series.error = Some(reason.clone());
                self.progress.say(&format!("{subject}, {}: {reason}", place.title()));
            }
        }
        Ok(())
    }

    /// A server for the floor's page and for each app's.
    fn sites(&self) -> Result<Vec<Site>> {
        let mut sites = vec![Site { subject: FLOOR.to_string(), address: floor::serve()? }];
        for subject in &self.report.subjects {
            if let Some(app) = &subject.app {
                let address =
                    serve::background(app).with_context(|| format!("cannot serve {}", subject.name))?;
                sites.push(Site { subject: subject.name.clone(), address });
            }
        }
        Ok(sites)
    }
}

fn subject(name: &str, kind: Kind, from: &str) -> Subject {
    let (name, from) = (name.to_string(), from.to_string());
    Subject { name, kind, from, app: None, pack: None, sizes: None, error: None }
}

/// `0..count`, beginning elsewhere in each round: none always runs after the same neighbour's noise.
fn rotated(count: usize, round: u32) -> impl Iterator<Item = usize> {
    (0..count).map(move |at| (at + round as usize) % count)
}

/// What was typed, as a shell takes it.
fn typed() -> String {
    let quoted = |word: std::ffi::OsString| {
        let word = word.to_string_lossy().into_owned();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+@%".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    std::iter::once("friscy-snap".to_string())
        .chain(std::env::args_os().skip(1).map(quoted))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs the packing `command` to its end. Its error is the line that it ended with.
fn run_pack(mut command: Command, stop: &Stop) -> Result<Pack> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    let (start, before) = (Instant::now(), process::cpu_of_ended_children());
    let mut child = Guard(command.spawn().context("cannot start this program again")?);
    let mut stderr = child.0.stderr.take().context("no pipe")?;
    // Read beside, so that the child never waits for us.
    let said = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        text
    });
    let mut peak_memory_bytes = None;
    let status = loop {
        peak_memory_bytes = process::peak_bytes(child.0.id()).or(peak_memory_bytes);
        if let Some(status) = child.0.try_wait()? {
            break status;
        }
        stop.check()?;
        std::thread::sleep(Duration::from_millis(20));
    };
    let wall_ms = milliseconds(start.elapsed());
    if !status.success() {
        let said = said.join().unwrap_or_default();
        // Details may follow the line that says what is wrong.
        let line = said.lines().find_map(|line| line.strip_prefix("friscy-snap: "));
        bail!("{}", line.unwrap_or("packing failed without a word"));
    }
    let cpu =
        process::cpu_of_ended_children().zip(before).map(|(after, before)| after.saturating_sub(before));
    Ok(Pack { wall_ms, cpu_ms: cpu.map(milliseconds), peak_memory_bytes })
}

/// All files of the report in `directory`, each complete; none when one cannot be written.
fn save(report: &Report, directory: &Path) -> Result<()> {
    let what = || format!("cannot write to {}", directory.display());
    std::fs::create_dir_all(directory).with_context(what)?;
    let json = serde_json::to_string_pretty(report)? + "\n";
    let files =
        [("report.json", json), ("samples.csv", table::csv(report)), ("report.html", html::page(report))];
    let mut written = Vec::new();
    for (name, text) in files {
        let mut file = tempfile::Builder::new()
            .prefix(".friscy-snap-")
            .permissions(std::fs::Permissions::from_mode(0o666))
            .tempfile_in(directory)
            .with_context(what)?;
        file.write_all(text.as_bytes()).with_context(what)?;
        written.push((file, directory.join(name)));
    }
    for (file, path) in written {
        file.persist(path).map_err(|error| error.error).with_context(what)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_begins_elsewhere_and_has_all() {
        assert_eq!(rotated(3, 0).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(rotated(3, 4).collect::<Vec<_>>(), [1, 2, 0]);
        assert_eq!(rotated(0, 4).count(), 0);
    }
}
