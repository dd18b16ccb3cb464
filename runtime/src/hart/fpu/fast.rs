//! Host arithmetic where it provably gives the same value and flags as [`super::soft`].
//!
//! The host rounds to nearest, ties to even, and has no flags. So these answer
//! only in that mode and when the result's range excludes invalid, overflow,
//! underflow and division by zero; inexact is either accrued already, or decided
//! here by an error-free transform. `None` means: ask `soft`. All are inlined into
//! the hot function; registers come and go as bits.

use super::nan_box;
use super::soft::flag;

/// fcsr with rounding to nearest-even; the mask of frm.
const FRM: u32 = 0xe0;
const SIGN: u64 = 1 << 63;
const INF: u64 = 0x7ff << 52;
const MIN_NORMAL: u64 = 1 << 52;
const SIGN_S: u32 = 1 << 31;
const INF_S: u32 = 0xff << 23;
const MIN_NORMAL_S: u32 = 1 << 23;

#[inline(always)]
fn nearest(fcsr: u32) -> bool {
    fcsr & FRM == 0
}
#[inline(always)]
fn inexact_known(fcsr: u32) -> bool {
    fcsr & flag::NX != 0
}
#[inline(always)]
fn finite(bits: u64) -> bool {
    bits & !SIGN < INF
}
/// Normal and not the smallest: rounding cannot have hidden an underflow.
#[inline(always)]
fn normal(bits: u64) -> bool {
    (bits & !SIGN).wrapping_sub(MIN_NORMAL + 1) < INF - MIN_NORMAL - 1
}
#[inline(always)]
fn finite_s(bits: u32) -> bool {
    bits & !SIGN_S < INF_S
}
#[inline(always)]
fn normal_s(bits: u32) -> bool {
    (bits & !SIGN_S).wrapping_sub(MIN_NORMAL_S + 1) < INF_S - MIN_NORMAL_S - 1
}
#[inline(always)]
fn single(register: u64) -> Option<f32> {
    (register >> 32 == 0xffff_ffff).then(|| f32::from_bits(register as u32))
}
#[inline(always)]
fn boxed(value: f32) -> u64 {
    nan_box(value.to_bits())
}

/// a + b as the rounded sum and its exact error (Knuth).
#[inline(always)]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let s = a + b;
    let t = s - a;
    (s, (a - (s - t)) + (b - t))
}

/// `s + e` rounded to odd, given the rounded sum and its error: safe to round once more.
#[inline(always)]
fn to_odd((s, e): (f64, f64)) -> f64 {
    let bits = s.to_bits();
    if e == 0.0 || bits & 1 == 1 {
        return s;
    }
    f64::from_bits(if (e > 0.0) == (s > 0.0) { bits + 1 } else { bits - 1 })
}

/// fadd.d; fsub.d with the sign of `b` flipped.
#[inline(always)]
pub(in crate::hart) fn add_d(a: u64, b: u64, fcsr: &mut u32) -> Option<u64> {
    let (x, y) = (f64::from_bits(a), f64::from_bits(b));
    // A finite sum has finite operands, and a subnormal one is exact.
    let sum = (x + y).to_bits();
    if !nearest(*fcsr) || !finite(sum) {
        return None;
    }
    if !inexact_known(*fcsr) && two_sum(x, y).1 != 0.0 {
        *fcsr |= flag::NX;
    }
    Some(sum)
}

#[inline(always)]
pub(in crate::hart) fn sub_d(a: u64, b: u64, fcsr: &mut u32) -> Option<u64> {
    add_d(a, b ^ SIGN, fcsr)
}

#[inline(always)]
pub(in crate::hart) fn mul_d(a: u64, b: u64, fcsr: &mut u32) -> Option<u64> {
    let product = (f64::from_bits(a) * f64::from_bits(b)).to_bits();
    // Significands of at most 26 bits each have an exact product.
    const SHORT: u64 = (1 << 27) - 1;
    let exact = (a | b) & SHORT == 0;
    // A zero factor gives an exact zero, if the other one is finite (else the product is a NaN).
    let zero = product << 1 == 0 && (a << 1 == 0 || b << 1 == 0);
    let known = (exact || inexact_known(*fcsr)) && normal(product) || zero;
    (nearest(*fcsr) && known).then_some(product)
}

#[inline(always)]
pub(in crate::hart) fn div_d(a: u64, b: u64, fcsr: &mut u32) -> Option<u64> {
    let quotient = (f64::from_bits(a) / f64::from_bits(b)).to_bits();
    // Infinite b would give zero, zero b an infinity or NaN: neither is normal.
    (nearest(*fcsr) && inexact_known(*fcsr) && normal(quotient)).then_some(quotient)
}

#[inline(always)]
pub(in crate::hart) fn sqrt_d(a: u64, fcsr: &mut u32) -> Option<u64> {
    let root = f64::from_bits(a).sqrt().to_bits();
    (nearest(*fcsr) && inexact_known(*fcsr) && normal(root)).then_some(root)
}

/// a · b + c: Dekker's exact product, then the sum of three numbers with one rounding (Boldo and Melquiond).
#[inline(always)]
pub(in crate::hart) fn fma_d(a: u64, b: u64, c: u64, fcsr: &mut u32) -> Option<u64> {
    if !nearest(*fcsr) || !inexact_known(*fcsr) {
        return None;
    }
    // Exponents of the factors within ±400, of c at most 900: nothing on the way overflows or underflows.
    let middle = |bits: u64| (bits >> 52 & 0x7ff).wrapping_sub(1023 - 400) <= 800;
    if !(middle(a) && middle(b) && (c >> 52 & 0x7ff) < 1023 + 900) {
        return None;
    }
    let (x, y, z) = (f64::from_bits(a), f64::from_bits(b), f64::from_bits(c));
    let halves = |v: f64| {
        let t = v * 134_217_729.0;
        let high = t - (t - v);
        (high, v - high)
    };
    let ((xh, xl), (yh, yl)) = (halves(x), halves(y));
    let high = x * y;
    let low = ((xh * yh - high) + xh * yl + xl * yh) + xl * yl;
    let (th, tl) = two_sum(z, low);
    let (vh, vl) = two_sum(high, th);
    Some((vh + to_odd(two_sum(tl, vl))).to_bits())
}

#[inline(always)]
pub(in crate::hart) fn add_s(a: u64, b: u64, fcsr: &mut u32) -> Option<u64> {
    let (x, y) = (single(a)?, single(b)?);
    let sum = x + y;
    if !nearest(*fcsr) || !finite_s(sum.to_bits()) {
        return None;
    }
    if !inexact_known(*fcsr) {
        let t = sum - x;
        if (x - (sum - t)) + (y - t) != 0.0 {
            *fcsr |= flag::NX;
        }
    }
    Some(boxed(sum))
}

/// `b` with its sign flipped, for the subtractions.
#[inline(always)]
pub(in crate::hart) fn sub_s(a: u64, b: u64, fcsr: &mut u32) -> Option<u64> {
    add_s(a, b ^ u64::from(SIGN_S), fcsr)
}

/// Round to binary32 what is `wide` or, rounded to odd, stands for the exact result.
#[inline(always)]
fn narrow(wide: f64, fcsr: &mut u32) -> Option<u64> {
    let result = wide as f32;
    if !nearest(*fcsr) || !(normal_s(result.to_bits()) || wide == 0.0) {
        return None;
    }
    if f64::from(result) != wide {
        *fcsr |= flag::NX;
    }
    Some(boxed(result))
}

#[inline(always)]
pub(in crate::hart) fn mul_s(a: u64, b: u64, fcsr: &mut u32) -> Option<u64> {
    // Exact: 48 bits. Infinite or NaN factors do not give a normal result.
    narrow(f64::from(single(a)?) * f64::from(single(b)?), fcsr)
}

#[inline(always)]
pub(in crate::hart) fn div_s(a: u64, b: u64, fcsr: &mut u32) -> Option<u64> {
    let quotient = single(a)? / single(b)?;
    let known = inexact_known(*fcsr) && normal_s(quotient.to_bits());
    (nearest(*fcsr) && known).then(|| boxed(quotient))
}

#[inline(always)]
pub(in crate::hart) fn sqrt_s(a: u64, fcsr: &mut u32) -> Option<u64> {
    let root = single(a)?.sqrt();
    let known = inexact_known(*fcsr) && normal_s(root.to_bits());
    (nearest(*fcsr) && known).then(|| boxed(root))
}

#[inline(always)]
pub(in crate::hart) fn fma_s(a: u64, b: u64, c: u64, fcsr: &mut u32) -> Option<u64> {
    // The product is exact, the sum is rounded to odd: 53 bits are enough to round to 24 correctly.
    let product = f64::from(single(a)?) * f64::from(single(b)?);
    let sum = two_sum(product, f64::from(single(c)?));
    if !finite(sum.0.to_bits()) {
        return None;
    }
    narrow(to_odd(sum), fcsr)
}

/// feq, flt or fle when there is no NaN.
#[inline(always)]
pub(in crate::hart) fn compare_d(a: u64, b: u64, holds: impl Fn(f64, f64) -> bool) -> Option<u64> {
    let (x, y) = (f64::from_bits(a), f64::from_bits(b));
    (!x.is_nan() && !y.is_nan()).then(|| u64::from(holds(x, y)))
}

#[inline(always)]
pub(in crate::hart) fn compare_s(a: u64, b: u64, holds: impl Fn(f32, f32) -> bool) -> Option<u64> {
    let (x, y) = (single(a)?, single(b)?);
    (!x.is_nan() && !y.is_nan()).then(|| u64::from(holds(x, y)))
}

/// Sign injection: `a` with its sign replaced by that of `sign`.
#[inline(always)]
pub(in crate::hart) fn with_sign_d(a: u64, sign: u64) -> u64 {
    a & !SIGN | sign & SIGN
}

/// The same for properly boxed binary32; `sign` gives the new sign bit from those of both.
#[inline(always)]
pub(in crate::hart) fn with_sign_s(a: u64, b: u64, sign: impl Fn(u32, u32) -> u32) -> Option<u64> {
    let (x, y) = (single(a)?.to_bits(), single(b)?.to_bits());
    Some(nan_box(x & !SIGN_S | sign(x, y) & SIGN_S))
}

/// fcvt.d.l, when it is exact.
#[inline(always)]
pub(in crate::hart) fn long_to_d(value: u64, fcsr: &mut u32) -> Option<u64> {
    let exact = value.wrapping_add(1 << 53) <= 1 << 54;
    (nearest(*fcsr) && exact).then(|| (value as i64 as f64).to_bits())
}

/// fcvt.w.d or fcvt.l.d towards zero, below 2^`bits` in magnitude.
#[inline(always)]
pub(in crate::hart) fn d_to_int(a: u64, bits: u64, fcsr: &mut u32) -> Option<u64> {
    if a >> 52 & 0x7ff >= 1023 + bits {
        return None;
    }
    let value = f64::from_bits(a);
    let result = value as i64;
    if result as f64 != value {
        *fcsr |= flag::NX;
    }
    Some(result as u64)
}

#[inline(always)]
pub(in crate::hart) fn d_to_s(a: u64, fcsr: &mut u32) -> Option<u64> {
    narrow(f64::from_bits(a), fcsr)
}

#[inline(always)]
pub(in crate::hart) fn s_to_d(a: u64, fcsr: &mut u32) -> Option<u64> {
    let value = single(a)?;
    (nearest(*fcsr) && !value.is_nan()).then(|| f64::from(value).to_bits())
}

/// fcvt.s.w and fcvt.s.wu.
#[inline(always)]
pub(in crate::hart) fn word_to_s(value: i64, fcsr: &mut u32) -> Option<u64> {
    narrow(value as f64, fcsr)
}
