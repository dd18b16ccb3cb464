//! The fuzz targets on stable Rust: corpus, then mutations of it. The same
//! seed gives the same inputs; `FRISCY_FUZZ_ROUNDS` makes more of them.

use std::path::{Path, PathBuf};

use super::*;

/// Mutations of each target by default: some seconds on a slow machine.
const ROUNDS: u64 = 3000;
const SEED: u64 = 0x5eed_f00d;

fn corpus(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target.name)
}

/// The kept inputs, in the order of their names.
fn kept(target: &Target) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(corpus(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", corpus(target).display());
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Keeps an input that breaks a contract.
struct Witness<'a> {
    target: &'a str,
    input: &'a [u8],
}

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let path = std::env::temp_dir().join(format!("friscy-fuzz-{}", self.target));
            let _ = std::fs::write(&path, self.input);
            eprintln!("the input is in {}; keep it in fuzz/corpus/{}", path.display(), self.target);
        }
    }
}

fn check(target: &Target, input: &[u8]) {
    let _witness = Witness { target: target.name, input };
    (target.body)(input);
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Values at which arithmetic goes wrong.
const EDGES: [u64; 12] =
    [0, 1, 2, 0x7f, 0xff, 0xfff, 0x1000, 0x7fff_ffff, 0xffff_ffff, 1 << 47, u64::MAX >> 1, u64::MAX];

fn mutate(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    if input.is_empty() {
        input.push(0);
    }
    let at = random.below(input.len());
    match random.below(8) {
        0 | 1 => input[at] ^= 1 << random.below(8),
        2 => input[at] = random.next() as u8,
        3 | 4 => {
            let edge = EDGES[random.below(EDGES.len())].to_le_bytes();
            let len = 1 << random.below(4);
            let end = (at + len).min(input.len());
            input[at..end].copy_from_slice(&edge[..end - at]);
        }
        5 => drop(input.drain(at..at + random.below((input.len() - at).min(600)))),
        6 => {
            let end = at + random.below((input.len() - at).min(600));
            let copy = input[at..end].to_vec();
            let to = random.below(input.len());
            input.splice(to..to, copy);
        }
        _ => {
            let from = random.below(other.len());
            let end = (from + random.below(1024)).min(other.len());
            input.splice(at..at, other[from..end].iter().copied());
        }
    }
}

/// Rights the checksums of tar headers, or hardly a mutation would get past them.
fn mend_tar(input: &mut [u8]) {
    for block in input.as_chunks_mut::<512>().0 {
        if &block[257..262] == b"ustar" {
            crate::image::draft_tar::sum(block);
        }
    }
}

#[test]
fn the_corpus_has_every_seed() {
    for target in &TARGETS {
        for (name, bytes) in (target.seeds)() {
            let path = corpus(target).join(name);
            if std::env::var_os("FRISCY_WRITE_CORPUS").is_some() {
                std::fs::create_dir_all(corpus(target)).unwrap();
                std::fs::write(&path, &bytes).unwrap();
            }
            assert!(
                std::fs::read(&path).is_ok(),
                "{} is missing: FRISCY_WRITE_CORPUS=1 writes it",
                path.display()
            );
        }
    }
}

#[test]
fn seeds_are_valid() {
    for (name, bytes) in image_seeds() {
        assert!(
            image::open(&bytes, image::Options::default()).and_then(|i| i.flatten(&mut |_, _| {})).is_ok(),
            "{name}"
        );
    }
    let (_, elf) = &elf_seeds()[0];
    assert_eq!(Elf::parse(elf, elf.len() as u64).map(|elf| elf.loads.len()), Ok(2));
    assert!(app::open(&app_seeds()[1].1).is_ok_and(|app| app.verify().is_ok()));
    assert!(vfs_seeds()[0].1.len() > 500);
}

#[test]
fn the_corpus_and_its_mutations_break_no_contract() {
    let rounds = std::env::var("FRISCY_FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    for target in &TARGETS {
        let inputs = kept(target);
        for input in &inputs {
            check(target, input);
        }
        let mut random = Random(SEED);
        for _ in 0..rounds {
            let mut input = inputs[random.below(inputs.len())].clone();
            for _ in 0..=random.below(4) {
                let other = &inputs[random.below(inputs.len())];
                mutate(&mut input, other, &mut random);
            }
            if target.name == "image" && random.below(4) > 0 {
                mend_tar(&mut input);
            }
            check(target, &input);
        }
    }
}
