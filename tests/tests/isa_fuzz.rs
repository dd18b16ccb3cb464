//! Differential fuzzing of the hart against `qemu-riscv64`.
//!
//! `FRISCY_SEED=n cargo test -p friscy-tests --test isa_fuzz` replays a run; `FRISCY_FUZZ_BATCHES=n` makes it longer.

use anyhow::{Context, Result, bail, ensure};
use friscy_tests::isa_fuzz::generate::{self, Body};
use friscy_tests::isa_fuzz::machine::{Mixed, Mode, mixed, ours, qemu, translated};
use friscy_tests::isa_fuzz::{Rng, program, triples};

/// Cases in one ELF.
const CASES: usize = 256;
/// Cases in one ELF that is translated: some 10 KB of Wasm code each, which an engine has to compile.
const TRANSLATED_CASES: usize = 48;
/// How often a case runs its body.
const ROUNDS: u32 = 24;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

fn fresh_seed() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |time| time.as_nanos() as u64)
}

/// The first case whose state differs, or the number of cases when only memory does.
fn differs(a: &[u8], b: &[u8]) -> Option<usize> {
    (a.len() != b.len())
        .then_some(0)
        .or_else(|| a.iter().zip(b).position(|(a, b)| a != b).map(|at| at / program::STATE))
}

/// Remove items while the two still disagree.
fn minimise(seed: u64, mut body: Body, rounds: u32, mode: Mode, directory: &std::path::Path) -> Result<Body> {
    let disagree = |body: &Body| -> Result<bool> {
        let elf = program::elf(seed, std::slice::from_ref(body), rounds);
        let Ok(theirs) = qemu(&elf, directory) else { return Ok(false) };
        Ok(ours(&elf, mode).map_or(true, |(bytes, _)| bytes != theirs))
    };
    if !disagree(&body)? {
        return Ok(body);
    }
    let mut step = body.len().next_power_of_two() / 2;
    while step > 0 {
        for start in (0..body.len()).step_by(step) {
            let smaller = body.without(start..(start + step).min(body.len()));
            if disagree(&smaller)? {
                body = smaller;
            }
        }
        step /= 2;
    }
    Ok(body)
}

fn state_difference(a: &[u8], b: &[u8]) -> String {
    let mut text = String::new();
    for (index, (a, b)) in a.chunks(8).zip(b.chunks(8)).enumerate() {
        if a != b {
            let word =
                |bytes: &[u8]| bytes.iter().rev().map(|byte| format!("{byte:02x}")).collect::<String>();
            let name = match index {
                0..32 => format!("x{index}"),
                32..64 => format!("f{}", index - 32),
                64 => "fcsr".to_owned(),
                _ => format!("memory+{:#x}", (index - 65) * 8),
            };
            text += &format!("  {name}: qemu {} ours {}\n", word(a), word(b));
        }
    }
    text
}

fn report(seed: u64, body: Body, mode: Mode, directory: &std::path::Path) -> Result<()> {
    for rounds in [1, ROUNDS] {
        let small = minimise(seed, body.clone(), rounds, mode, directory)?;
        let elf = program::elf(seed, std::slice::from_ref(&small), rounds);
        let theirs = qemu(&elf, directory)?;
        let mine = ours(&elf, mode);
        if let Ok((mine, _)) = &mine
            && *mine == theirs
        {
            continue;
        }
        let difference =
            mine.map_or_else(|error| error.to_string(), |(mine, _)| state_difference(&theirs, &mine));
        bail!("seed {seed}, {mode:?}, {rounds} rounds:\n{}{difference}", small.listing());
    }
    bail!("seed {seed}, {mode:?}: differs only together with other cases")
}

fn batch(seed: u64, directory: &std::path::Path) -> Result<u64> {
    let mut rng = Rng(seed);
    let bodies: Vec<Body> = (0..CASES).map(|_| generate::body(&mut rng, 160)).collect();
    let elf = program::elf(seed, &bodies, ROUNDS);
    let theirs = qemu(&elf, directory)?;
    let mut retired = 0;
    for mode in [Mode::Decoded(u64::MAX), Mode::Decoded(9973), Mode::Reference] {
        let mine = ours(&elf, mode);
        let case = match &mine {
            Ok((bytes, _)) => differs(&theirs, bytes),
            Err(error) => bail!("seed {seed}, {mode:?}: {error:#}"),
        };
        if let Some(case) = case {
            // The cases before it left traces in memory: look at it alone first, then at all.
            return report(seed, bodies[case.min(CASES - 1)].clone(), mode, directory).map(|()| 0);
        }
        let (_, count) = mine?;
        ensure!(retired == 0 || retired == count, "seed {seed}: {retired} and {count} instructions retired");
        retired = count;
    }
    Ok(retired)
}

#[test]
fn random_programs_end_as_under_qemu() -> Result<()> {
    let directory = std::env::temp_dir().join(format!("friscy-isa-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let seed = number("FRISCY_SEED");
    let first = seed.unwrap_or_else(fresh_seed);
    // One seed is one batch, so that the seed of a failure replays it alone.
    let batches = number("FRISCY_FUZZ_BATCHES");
    let mut retired = 0;
    let mut done = 0;
    while batches.map_or(retired < 10_000_000 && seed.is_none() || done == 0, |batches| done < batches) {
        let seed = first.wrapping_add(done);
        println!("FRISCY_SEED={seed}");
        retired += batch(seed, &directory)?;
        done += 1;
    }
    println!("{retired} instructions agree");
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

/// Fails, and shows the first case that differs.
fn same(theirs: &[u8], mine: &[u8], bodies: &[Body]) -> Result<()> {
    let Some(case) = differs(theirs, mine) else { return Ok(()) };
    let states = case * program::STATE..(case + 1) * program::STATE;
    let difference = match (theirs.get(states.clone()), mine.get(states)) {
        (Some(theirs), Some(mine)) => state_difference(theirs, mine),
        _ => "only memory, or the length of the output".to_owned(),
    };
    let listing = bodies.get(case).map(Body::listing).unwrap_or_default();
    bail!("case {case}, {} and {} bytes:\n{listing}{difference}", theirs.len(), mine.len())
}

/// The same programs, translated: every register, flag and byte that they leave behind is the same.
#[test]
fn translated_programs_end_as_under_qemu() -> Result<()> {
    let directory = std::env::temp_dir().join(format!("friscy-aot-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let seed = number("FRISCY_SEED").unwrap_or_else(fresh_seed);
    println!("FRISCY_SEED={seed}");
    for seed in seed..seed + number("FRISCY_FUZZ_BATCHES").unwrap_or(1) {
        let mut rng = Rng(seed);
        let bodies: Vec<Body> = (0..TRANSLATED_CASES).map(|_| generate::body(&mut rng, 160)).collect();
        let elf = program::elf(seed, &bodies, ROUNDS);
        let theirs = qemu(&elf, &directory)?;
        for (host, mine) in translated(&elf, &directory)? {
            same(&theirs, &mine, &bodies).with_context(|| format!("seed {seed}, {host}"))?;
        }
    }
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

/// Cases in one ELF that runs long enough to be translated meanwhile.
const MIXED_CASES: usize = 8;
/// Instructions of all of them: the interpreter asks for a translation after 8 million.
const MIXED_INSTRUCTIONS: u64 = 120_000_000;

/// Long programs whose code is translated while they run, by the page's translator; goes again at random times; is
/// in part translated before, frozen in the middle and thawed: they end as under qemu-riscv64.
#[test]
fn programs_whose_code_comes_and_goes_end_as_under_qemu() -> Result<()> {
    let directory = std::env::temp_dir().join(format!("friscy-mixed-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let seed = number("FRISCY_SEED").unwrap_or_else(fresh_seed);
    println!("FRISCY_SEED={seed}");
    for seed in seed..seed + number("FRISCY_FUZZ_BATCHES").unwrap_or(1) {
        let mut rng = Rng(seed);
        // Some write to their own code: under qemu-riscv64 each time takes a signal, minutes in a long program. And SC
        // may fail wherever a slice ends, which it does not there.
        let bodies = std::iter::repeat_with(|| generate::body(&mut rng, 160));
        let constant = |body: &Body| ["fence.i", " sc."].iter().all(|word| !body.listing().contains(word));
        let bodies: Vec<Body> = bodies.filter(constant).take(MIXED_CASES).collect();
        let (_, retired) = ours(&program::elf(seed, &bodies, ROUNDS), Mode::Decoded(u64::MAX))?;
        // As many as its register can count.
        let rounds = (MIXED_INSTRUCTIONS * u64::from(ROUNDS) / retired).min(0x7_ffff) as u32;
        let elf = program::elf(seed, &bodies, rounds);
        let theirs = qemu(&elf, &directory)?;
        let after = rng.below(MIXED_INSTRUCTIONS / 2);
        for how in [Mixed::InPage, Mixed::Evicted, Mixed::Frozen(after)] {
            let named = || format!("seed {seed}, {how:?}");
            let (mine, functions) = mixed(&elf, &directory, how, seed).with_context(named)?;
            same(&theirs, &mine, &bodies).with_context(named)?;
            ensure!(functions > 0, "{}: nothing was translated", named());
            println!("{}: {functions} functions", named());
        }
    }
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

/// Fused multiplication and addition of operands that are hard to round, with all flags.
#[test]
fn fused_multiplication_and_addition_end_as_under_qemu() -> Result<()> {
    let directory = std::env::temp_dir().join(format!("friscy-fma-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let seed = number("FRISCY_SEED").unwrap_or_else(fresh_seed);
    println!("FRISCY_SEED={seed}");
    for seed in seed..seed + number("FRISCY_FUZZ_BATCHES").unwrap_or(1) {
        let elf = triples::elf(seed);
        let theirs = qemu(&elf, &directory)?;
        ensure!(theirs.len() == triples::OUTPUT, "seed {seed}: {} bytes", theirs.len());
        let (decoded, _) = ours(&elf, Mode::Decoded(u64::MAX))?;
        for (host, mine) in translated(&elf, &directory)?.into_iter().chain([("interpreted", decoded)]) {
            ensure!(mine.len() == theirs.len(), "seed {seed}, {host}: {} bytes", mine.len());
            if let Some(at) = theirs.chunks(16).zip(mine.chunks(16)).position(|(a, b)| a != b) {
                let result = |bytes: &[u8]| {
                    let word = |at: usize| {
                        bytes[at..at + 8].iter().rev().map(|b| format!("{b:02x}")).collect::<String>()
                    };
                    format!("{} fcsr {}", word(at * 16), word(at * 16 + 8))
                };
                let (case, qemu, ours) = (triples::describe(seed, at), result(&theirs), result(&mine));
                bail!("seed {seed}, {host}, {case}:\n  qemu {qemu}\n  ours {ours}");
            }
        }
    }
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}
