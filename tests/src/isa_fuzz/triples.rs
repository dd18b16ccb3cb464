//! Programs of fused multiplication and addition: every form of it, for many triples of operands.

use super::Rng;
use super::program::{DATA, asm, interesting, link, split, write};

/// Triples of each precision.
const TRIPLES: usize = 3000;
/// fmadd, fmsub, fnmsub, fnmadd: opcodes (ISA manual, "F" extension).
const FORMS: [(&str, u32); 4] = [("fmadd", 0x43), ("fmsub", 0x47), ("fnmsub", 0x4b), ("fnmadd", 0x4f)];
/// Bytes that a program writes: for each form a result and fcsr.
pub const OUTPUT: usize = 2 * TRIPLES * FORMS.len() * 16;
const OUTPUT_AT: u64 = DATA + (2 * TRIPLES * 24) as u64;

/// An f64 from sign, biased exponent (cut to the range of finite numbers) and mantissa.
fn double(sign: u64, exponent: i64, mantissa: u64) -> f64 {
    f64::from_bits(sign << 63 | (exponent.clamp(0, 2046) as u64) << 52 | mantissa & ((1 << 52) - 1))
}

/// A mantissa: of all bits, of few at its beginning, of few at both ends.
fn mantissa(rng: &mut Rng) -> u64 {
    let few = rng.below(27);
    match rng.below(4) {
        0 => rng.next(),
        1 => rng.next() << (52 - few),
        2 => (rng.next() << 48) ^ (rng.below(8)).wrapping_sub(4),
        _ => 0,
    }
}

fn doubles(rng: &mut Rng) -> [u64; 3] {
    let exponent =
        |rng: &mut Rng, middle: i64, spread: u64| middle + rng.below(2 * spread + 1) as i64 - spread as i64;
    let sign = |rng: &mut Rng| rng.below(2);
    let kind = rng.below(8);
    if kind == 0 {
        return [interesting(rng), interesting(rng), interesting(rng)];
    }
    if kind == 1 {
        return [(); 3].map(|()| (rng.below(9) as f64 - 4.0).to_bits());
    }
    let (first, second) = match kind {
        // Products at the ends of the range, and where the error of one is no normal number.
        2 => (exponent(rng, 1023, 1023), exponent(rng, 1023, 1023)),
        3 => (exponent(rng, 1023 - 450, 30), exponent(rng, 1023 - 450, 30)),
        _ => (exponent(rng, 1023, 40), exponent(rng, 1023, 40)),
    };
    let (s, t) = (sign(rng), sign(rng));
    let (a, b) = (double(s, first, mantissa(rng)), double(t, second, mantissa(rng)));
    let product = first + second - 1023;
    let c = match rng.below(4) {
        // Cancellation.
        0 => f64::from_bits((-(a * b)).to_bits().wrapping_add(rng.below(5)).wrapping_sub(2)),
        // The product is about half a unit in the last place.
        1 => double(sign(rng), product + 50 + rng.below(6) as i64, mantissa(rng)),
        2 => double(sign(rng), exponent(rng, product, 120), mantissa(rng)),
        _ => double(sign(rng), exponent(rng, product, 2), mantissa(rng)),
    };
    [a, b, c].map(f64::to_bits)
}

/// As [`doubles`], of binary32.
fn singles(rng: &mut Rng) -> [u64; 3] {
    let boxed = |bits: u32| 0xffff_ffff_0000_0000 | u64::from(bits);
    if rng.one_in(6) {
        return [interesting(rng), interesting(rng), interesting(rng)];
    }
    let value = |rng: &mut Rng, exponent: i64| {
        let few = rng.below(24) as u32;
        let mantissa = (rng.next() as u32) << if rng.one_in(2) { 0 } else { 23 - few.min(23) };
        f32::from_bits(
            (rng.below(2) as u32) << 31 | (exponent.clamp(0, 254) as u32) << 23 | mantissa & 0x7f_ffff,
        )
    };
    let spread = rng.pick(&[10, 120]);
    let exponents = [(); 2].map(|()| 127 - spread + rng.below(2 * spread as u64 + 1) as i64);
    let [a, b] = exponents.map(|exponent| value(rng, exponent));
    let product = exponents[0] + exponents[1] - 127;
    let (close, far) = (rng.below(10) as i64, rng.below(121) as i64);
    let c = match rng.below(3) {
        0 => f32::from_bits((-(a * b)).to_bits().wrapping_add(rng.below(5) as u32).wrapping_sub(2)),
        1 => value(rng, product + 20 + close),
        _ => value(rng, product - 60 + far),
    };
    [a, b, c].map(|value| boxed(value.to_bits()))
}

fn triples(seed: u64) -> Vec<[u64; 3]> {
    let mut rng = Rng(seed);
    let doubles: Vec<_> = (0..TRIPLES).map(|_| doubles(&mut rng)).collect();
    doubles.into_iter().chain((0..TRIPLES).map(|_| singles(&mut rng))).collect()
}

/// The triple and the form whose result is number `at`.
pub fn describe(seed: u64, at: usize) -> String {
    let [a, b, c] = triples(seed)[at / FORMS.len()];
    let precision = if at / FORMS.len() < TRIPLES { 'd' } else { 's' };
    format!("{}.{precision} {a:016x} {b:016x} {c:016x}", FORMS[at % FORMS.len()].0)
}

/// The ELF. The inexact flag is set before each instruction.
pub fn elf(seed: u64) -> Vec<u8> {
    const FROM: u8 = 5;
    const TO: u8 = 6;
    const FLAGS: u8 = 7;
    const END: u8 = 8;
    let data: Vec<u8> = triples(seed).iter().flatten().flat_map(|word| word.to_le_bytes()).collect();
    let mut text = Vec::new();
    let mut code = Vec::new();
    let address = |register: u8, value: u64, code: &mut Vec<u32>| {
        let (upper, lower) = split(value);
        code.extend([asm::lui(register, upper), asm::addi(register, register, lower)]);
    };
    address(FROM, DATA, &mut code);
    address(TO, OUTPUT_AT, &mut code);
    for double in [1, 0] {
        address(END, DATA + ((2 - u64::from(double)) * TRIPLES as u64) * 24, &mut code);
        let start = code.len();
        code.extend((0..3).map(|n| asm::fld(n, FROM, i32::from(n) * 8)));
        for (at, (_, form)) in (0..).zip(FORMS) {
            // csrwi fflags, 1; f3 = ±f0 · f1 ± f2, rounding as fcsr says; csrr FLAGS, fcsr
            let fused = form | double << 25 | 2 << 27 | 1 << 20 | 7 << 12 | 3 << 7;
            code.extend([0x0010_d073, fused, asm::fsd(3, TO, at * 16)]);
            code.extend([0x0030_2073 | u32::from(FLAGS) << 7, asm::sd(FLAGS, TO, at * 16 + 8)]);
        }
        code.extend([asm::addi(FROM, FROM, 24), asm::addi(TO, TO, 16 * FORMS.len() as i32)]);
        let back = (start as i32 - code.len() as i32) * 4;
        // bne FROM, END, start
        code.push(0x1063 | u32::from(FROM) << 15 | u32::from(END) << 20 | asm::imm_b(back));
    }
    code.iter().for_each(|word| text.extend(word.to_le_bytes()));
    write(OUTPUT_AT, OUTPUT as u64, &mut text);
    let exit = [asm::addi(17, 0, 93), asm::addi(10, 0, 0), 0x73];
    exit.iter().for_each(|word| text.extend(word.to_le_bytes()));
    link(&text, &data, (data.len() + OUTPUT) as u64)
}
