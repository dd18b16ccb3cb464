//! The host's arithmetic against the soft one, and both against known answers.

use super::fast;
use super::soft::{D, Round, S, flag};

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A binary64 whose kind varies: close to `near` in exponent, with few bits, special, or anything.
    fn double(&mut self, near: u64) -> u64 {
        let bits = self.next();
        let sign = bits & 1 << 63;
        let frac = self.next() >> 12;
        match bits % 8 {
            0 => sign | (near >> 52 & 0x7ff) << 52 | frac,
            1 => near ^ sign ^ (bits >> 8 & 3),
            2 => {
                sign | ((near >> 52 & 0x7ff).wrapping_add(bits >> 9 & 127).wrapping_sub(64) & 0x7ff) << 52
                    | frac
            }
            3 => sign | ((bits >> 20) % 64).wrapping_mul(1 << 46) | (1020 + (bits >> 8) % 8) << 52,
            4 => {
                sign | [0, 1, 1 << 52, 0x7ff << 52, 0x7fe << 52, (1 << 52) - 1][(bits >> 8) as usize % 6]
                    | frac & bits >> 60
            }
            5 => sign | (1000 + (bits >> 8) % 46) << 52 | frac >> ((bits >> 20) % 52) << ((bits >> 20) % 52),
            6 => sign | (1000 + (bits >> 8) % 46) << 52 | frac,
            _ => bits,
        }
    }

    fn single(&mut self, near: u64) -> u64 {
        let bits = self.next();
        let (sign, frac) = (bits as u32 & 1 << 31, self.next() as u32 >> 9);
        let value = match bits >> 32 & 7 {
            0 => near as u32 ^ sign ^ (bits as u32 & 3),
            1 | 2 => {
                sign | ((near as u32 >> 23 & 0xff).wrapping_add(bits as u32 % 64).wrapping_sub(32) & 0xff)
                    << 23
                    | frac
            }
            3 => sign | (120 + bits as u32 % 16) << 23 | frac & 0x7e_0000,
            4 => sign | [0, 1, 1 << 23, 0xff << 23, 0xfe << 23, (1 << 23) - 1][bits as usize % 6],
            5 => sign | (120 + bits as u32 % 16) << 23 | frac,
            _ => bits as u32,
        };
        super::nan_box(value)
    }
}

/// What `fast` answers is what `soft` says, value and flags, with inexact accrued before and not.
fn agree(
    name: &str,
    operands: [u64; 3],
    fast: impl Fn(&mut u32) -> Option<u64>,
    soft: impl Fn(&mut u32) -> u64,
) -> bool {
    let mut answered = false;
    for before in [0, flag::NX] {
        let mut fcsr = before;
        if let Some(value) = fast(&mut fcsr) {
            let mut flags = before;
            let right = soft(&mut flags);
            assert_eq!((value, fcsr), (right, flags), "{name} {operands:x?}, flags before {before}");
            answered = true;
        }
    }
    answered
}

#[test]
fn host_arithmetic_is_soft_arithmetic() {
    let mut rng = Rng(1);
    let near = Round::Nearest;
    let boxed = |value: u64| super::nan_box(value as u32);
    let mut answered = [0u32; 16];
    let rounds = 300_000;
    for _ in 0..rounds {
        let a = rng.double(0x3ff0_0000_0000_0000);
        let b = rng.double(a);
        let product = (f64::from_bits(a) * f64::from_bits(b)).to_bits();
        let c = rng.double(product);
        let o = [a, b, c];
        let results = [
            agree("add.d", o, |f| fast::add_d(a, b, f), |f| D.add(a, b, near, f)),
            agree("sub.d", o, |f| fast::sub_d(a, b, f), |f| D.sub(a, b, near, f)),
            agree("mul.d", o, |f| fast::mul_d(a, b, f), |f| D.mul(a, b, near, f)),
            agree("div.d", o, |f| fast::div_d(a, b, f), |f| D.div(a, b, near, f)),
            agree("sqrt.d", o, |f| fast::sqrt_d(a, f), |f| D.sqrt(a, near, f)),
            agree("fma.d", o, |f| fast::fma_d(a, b, c, f), |f| D.fma(a, b, c, near, f)),
            agree("cvt.s.d", o, |f| fast::d_to_s(a, f), |f| boxed(D.to(S, a, near, f))),
            agree(
                "cvt.l.d",
                o,
                |f| fast::d_to_int(a, 63, f),
                |f| D.to_int(a, i64::MIN.into(), i64::MAX.into(), Round::Zero, f) as u64,
            ),
            agree(
                "cvt.d.l",
                o,
                |f| fast::long_to_d(a, f),
                |f| D.of_int((a as i64) < 0, (a as i64).unsigned_abs(), near, f),
            ),
        ];
        results.iter().zip(&mut answered).for_each(|(&yes, count)| *count += u32::from(yes));
        let a = rng.single(0x3f80_0000);
        let b = rng.single(a);
        let c = rng.single(u64::from((f32::from_bits(a as u32) * f32::from_bits(b as u32)).to_bits()));
        let (o, m) = ([a, b, c], 0xffff_ffff);
        let results = [
            agree("add.s", o, |f| fast::add_s(a, b, f), |f| boxed(S.add(a & m, b & m, near, f))),
            agree("sub.s", o, |f| fast::sub_s(a, b, f), |f| boxed(S.sub(a & m, b & m, near, f))),
            agree("mul.s", o, |f| fast::mul_s(a, b, f), |f| boxed(S.mul(a & m, b & m, near, f))),
            agree("div.s", o, |f| fast::div_s(a, b, f), |f| boxed(S.div(a & m, b & m, near, f))),
            agree("sqrt.s", o, |f| fast::sqrt_s(a, f), |f| boxed(S.sqrt(a & m, near, f))),
            agree("fma.s", o, |f| fast::fma_s(a, b, c, f), |f| boxed(S.fma(a & m, b & m, c & m, near, f))),
            agree("cvt.d.s", o, |f| fast::s_to_d(a, f), |f| S.to(D, a & m, near, f)),
        ];
        results.iter().zip(&mut answered[9..]).for_each(|(&yes, count)| *count += u32::from(yes));
    }
    // Each must have had something to say.
    assert!(answered.iter().all(|&count| count > rounds / 20), "{answered:?}");
}

#[test]
fn soft_arithmetic_is_the_hosts_in_value() {
    let mut rng = Rng(2);
    for _ in 0..100_000 {
        let a = rng.double(1023 << 52);
        let b = rng.double(a);
        let (x, y) = (f64::from_bits(a), f64::from_bits(b));
        let flags = &mut 0;
        let near = Round::Nearest;
        for (soft, host) in [
            (D.add(a, b, near, flags), x + y),
            (D.mul(a, b, near, flags), x * y),
            (D.div(a, b, near, flags), x / y),
            (D.sqrt(a, near, flags), x.sqrt()),
            (D.fma(a, b, a, near, flags), x.mul_add(y, x)),
        ] {
            let host = if host.is_nan() { D.nan() } else { host.to_bits() };
            assert_eq!(soft, host, "{a:#x} {b:#x}");
        }
        let single = (x as f32).to_bits();
        assert!(x.is_nan() || D.to(S, a, near, flags) == u64::from(single));
    }
}

#[test]
fn rounding_modes_and_flags() {
    use flag::{DZ, NV, NX, OF, UF};
    const ONE: u64 = 0x3ff0_0000_0000_0000;
    const MAX: u64 = 0x7fef_ffff_ffff_ffff;
    const INF: u64 = 0x7ff0_0000_0000_0000;
    const MIN: u64 = 0x0010_0000_0000_0000;
    const NEG: u64 = 1 << 63;
    let modes = [Round::Nearest, Round::Zero, Round::Down, Round::Up, Round::Away];
    // 1 + 2^-53: half of the last place.
    let half = (1023 - 53) << 52;
    // (operation, result and flags in each mode)
    type Case = (fn(u64, u64, Round, &mut u32) -> u64, u64, u64, [u64; 5], u32);
    let add: fn(u64, u64, Round, &mut u32) -> u64 = |a, b, r, f| D.add(a, b, r, f);
    let mul: fn(u64, u64, Round, &mut u32) -> u64 = |a, b, r, f| D.mul(a, b, r, f);
    let div: fn(u64, u64, Round, &mut u32) -> u64 = |a, b, r, f| D.div(a, b, r, f);
    let two_minus = 0x3fff_ffff_ffff_ffff;
    let cases: [Case; 9] = [
        (add, ONE, half, [ONE, ONE, ONE, ONE + 1, ONE + 1], NX),
        (add, ONE | NEG, half | NEG, [ONE | NEG, ONE | NEG, (ONE + 1) | NEG, ONE | NEG, (ONE + 1) | NEG], NX),
        (add, ONE, ONE | NEG, [0, 0, NEG, 0, 0], 0),
        (add, MAX, MAX, [INF, MAX, MAX, INF, INF], OF | NX),
        (add, INF, INF | NEG, [D.nan(); 5], NV),
        // The smallest subnormal halved: a tie.
        (mul, 1, ONE - MIN, [0, 0, 0, 1, 1], UF | NX),
        // Just below the smallest normal; rounded to 53 bits it would be the smallest normal only upwards.
        (mul, 0x0008_0000_0000_0000, two_minus, [MIN, MIN - 1, MIN - 1, MIN, MIN], UF | NX),
        (div, ONE, 0, [INF; 5], DZ),
        (div, 0, 0, [D.nan(); 5], NV),
    ];
    for (index, (operation, a, b, results, flags)) in cases.into_iter().enumerate() {
        for (mode, result) in modes.into_iter().zip(results) {
            let mut raised = 0;
            let value = operation(a, b, mode, &mut raised);
            assert_eq!((value, raised), (result, flags), "case {index}, {mode:?}");
        }
    }
}

#[test]
fn tininess_is_judged_after_rounding() {
    // 2^-1022 (1 - 2^-54) rounds up to the smallest normal with 53 bits and unbounded exponent: not tiny.
    let below_one = 0x3fef_ffff_ffff_ffff;
    let mut flags = 0;
    let value = D.fma(1 << 52, below_one, 1 | 1 << 63, Round::Nearest, &mut flags);
    assert_eq!((value, flags & flag::UF), (0x000f_ffff_ffff_fffe, flag::UF));
    flags = 0;
    // (1 - 2^-53) · 2^-1022 is a tie between 2^-1022 - 2^-1074 and 2^-1022: inexact there, exact with 53 bits, so tiny.
    let value = D.mul(1 << 52, below_one, Round::Nearest, &mut flags);
    assert_eq!((value, flags), (1 << 52, flag::UF | flag::NX));
}

#[test]
fn conversions_saturate() {
    let case = |a: f64, min: i128, max: i128, round| {
        let mut flags = 0;
        (D.to_int(a.to_bits(), min, max, round, &mut flags), flags)
    };
    let (min, max) = (i128::from(i32::MIN), i128::from(i32::MAX));
    assert_eq!(case(2147483647.5, min, max, Round::Zero), (max, flag::NX));
    assert_eq!(case(2147483647.5, min, max, Round::Nearest), (max, flag::NV));
    assert_eq!(case(-2147483648.5, min, max, Round::Nearest), (min, flag::NX));
    assert_eq!(case(-2147483649.0, min, max, Round::Nearest), (min, flag::NV));
    assert_eq!(case(f64::NAN, min, max, Round::Nearest), (max, flag::NV));
    assert_eq!(case(f64::NEG_INFINITY, min, max, Round::Nearest), (min, flag::NV));
    assert_eq!(case(-0.5, 0, max, Round::Zero), (0, flag::NX));
    assert_eq!(case(-0.5, 0, max, Round::Down), (0, flag::NV));
    assert_eq!(case(2.5, min, max, Round::Nearest), (2, flag::NX));
    assert_eq!(case(2.5, min, max, Round::Away), (3, flag::NX));
}
