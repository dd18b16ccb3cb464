//! The translator itself: bytes out for bytes in, its speed here and as the page's Wasm, and what translated code adds
//! to opening an app.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use friscy_formats::aot::{Place, Profile};
use friscy_formats::boot::Boot;
use friscy_tests::native::{Disk, NativeHost};
use friscy_tests::oracle::{ENV, LIMIT, friscy_snap, repository};
use friscy_translator::module::batch;
use friscy_translator::{Fma, Options, translate};

use crate::{median, node_host, succeed};

/// Pages of a request: as many as the engine sends (`runtime/src/hart/heat.rs`).
const REQUEST_PAGES: usize = 64;

/// A program whose code is translated.
#[derive(Debug)]
pub struct Subject<'a> {
    /// Its image.
    pub image: &'a Path,
    /// What is run.
    pub argv: &'a [&'a str],
}

/// What was measured.
#[derive(Debug)]
pub struct Figures {
    /// KB of guest code that were translated.
    pub guest_kb: f64,
    /// Bytes of Wasm for one of guest code, as it is and packed by `zstd -19`.
    pub expansion: (f64, f64),
    /// MB of guest code per CPU second, natively.
    pub native: f64,
    /// The same of each Node, by the page's translator: of the first request, and when it is warm.
    pub page: Vec<(f64, f64)>,
    /// CPU ms for each MB of translated code that opening takes longer in each Node.
    pub open: Vec<f64>,
}

/// All of it, in `folder`, for the Nodes at these paths.
pub fn measure(subject: &Subject<'_>, nodes: &[&str], runs: usize, folder: &Path) -> Result<Figures> {
    std::fs::create_dir_all(folder)?;
    let profile = profile(subject)?;
    let options = Options {
        bytes_per_sample: None,
        budget_bytes: usize::MAX,
        functions_max: usize::MAX,
        first_slot: 0,
        step_type: 0,
        fma: Fma::Both,
    };
    let output = translate(&profile, options);
    let guest: u64 = output.functions.iter().map(|function| function.guest_bytes).sum();
    let guest = guest as f64;
    let bodies: Vec<u8> = output.functions.iter().flat_map(|function| &function.body).copied().collect();
    let packed = zstd::bulk::compress(&bodies, 19)?.len();
    // One thread that waits for nothing: on a busy machine the fastest run is the one that was left alone.
    let fastest = (0..runs.max(3)).map(|_| {
        let start = Instant::now();
        std::hint::black_box(translate(&profile, options));
        start.elapsed().as_secs_f64()
    });
    let native = guest / 1e6 / fastest.fold(f64::INFINITY, f64::min);
    let apps = ["off", "all"].map(|aot| folder.join(format!("{aot}.wasm")));
    for (app, aot) in apps.iter().zip(["off", "all"]) {
        let mut pack = Command::new(friscy_snap());
        pack.args(["-q", "--tty=false", "--aot-size", "64m", "--aot", aot, "-o"]).arg(app).arg(subject.image);
        succeed(pack.arg("--").args(subject.argv))?;
    }
    let host = node_host(&apps[0], &folder.join("site"))?;
    let mut sizes = Vec::new();
    for (number, request) in requests(profile).iter().enumerate() {
        let request = request.to_bytes();
        std::fs::write(folder.join(format!("request-{number}")), &request)?;
        sizes.push(batch(&request, 0, false).map_or(0.0, |batch| batch.guest_bytes as f64));
    }
    let translated = |node: &&str| {
        let mut command = script(node, "translate.mjs");
        command.arg(&host).arg(folder).arg(sizes.len().to_string());
        let said = numbers(&mut command)?;
        let [first_ms, all_ms] = said[..] else { bail!("translate.mjs says {said:?}") };
        Ok((sizes[0] / first_ms / 1e3, sizes.iter().sum::<f64>() / all_ms / 1e3))
    };
    let megabytes = |path: &Path| -> Result<f64> { Ok(std::fs::metadata(path)?.len() as f64 / 1e6) };
    let more = megabytes(&apps[1])? - megabytes(&apps[0])?;
    ensure!(more > 0.0, "nothing was translated");
    let opened = |node: &&str| {
        let [without, with] = [0, 1].map(|app| {
            median(runs.max(5), || {
                let said = numbers(script(node, "open.mjs").arg(&apps[app]))?;
                said.first().copied().context("open.mjs says nothing")
            })
        });
        Ok((with? - without?) / more)
    };
    Ok(Figures {
        guest_kb: guest / 1e3,
        expansion: (bodies.len() as f64 / guest, packed as f64 / guest),
        native,
        page: nodes.iter().map(translated).collect::<Result<_>>()?,
        open: nodes.iter().map(opened).collect::<Result<_>>()?,
    })
}

/// What ran of a program, from beginning to end.
fn profile(subject: &Subject<'_>) -> Result<Profile> {
    let boot = Boot {
        argv: subject.argv.iter().map(|word| word.as_bytes().to_vec()).collect(),
        env: ENV.map(|variable| variable.as_bytes().to_vec()).to_vec(),
        hostname: b"friscy".to_vec(),
        ..Boot::default()
    };
    let mut host = NativeHost::boot(&Disk::of_image(subject.image)?, &boot, Some(b""))?;
    host.machine().record();
    let code = host.run(LIMIT)?;
    ensure!(code == 0, "{:?} ends with {code}", subject.argv);
    host.machine().take_profile().context("nothing was recorded")
}

/// A profile in pieces as a running machine would send them: the hottest pages first, those with no samples never.
fn requests(profile: Profile) -> Vec<Profile> {
    let heat = |page: &usize| profile.pages[*page].samples.iter().map(|&(_, n)| u64::from(n)).sum::<u64>();
    let mut pages: Vec<usize> = (0..profile.pages.len()).filter(|page| heat(page) > 0).collect();
    pages.sort_by_key(|page| std::cmp::Reverse(heat(page)));
    let piece = |pages: &[usize]| {
        let mut piece = Profile::default();
        for (&page, number) in pages.iter().zip(0..) {
            piece.pages.push(profile.pages[page].clone());
            let places = profile.places.iter().filter(|place| place.page as usize == page);
            piece.places.extend(places.map(|place| Place { page: number, ..*place }));
        }
        piece
    };
    pages.chunks(REQUEST_PAGES).map(piece).collect()
}

fn script(node: &str, name: &str) -> Command {
    let mut command = Command::new(node);
    command.arg(repository().join("benches/node").join(name));
    command
}

/// What a script prints.
fn numbers(command: &mut Command) -> Result<Vec<f64>> {
    let output = command.output().with_context(|| format!("{command:?} does not start"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} fails: {}", said.trim());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace()
        .map(|word| word.parse().with_context(|| format!("{word:?} is no number")))
        .collect()
}
