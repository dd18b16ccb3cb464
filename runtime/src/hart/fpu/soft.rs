//! Binary floating point in integer arithmetic: the reference, exact in value and flags.
//!
//! Source: IEEE 754-2019, and the unprivileged manual, chapters "F" and "D"
//! (canonical NaNs, tininess after rounding). Values are bit patterns; [`Kind`]
//! says of which format.

/// A binary interchange format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    /// Fraction bits.
    frac: u32,
    /// Exponent bits.
    exp: u32,
}

/// binary32.
pub(crate) const S: Kind = Kind { frac: 23, exp: 8 };
/// binary64.
pub(crate) const D: Kind = Kind { frac: 52, exp: 11 };

/// Accrued exception flags, as in fcsr.
pub(crate) mod flag {
    /// Inexact.
    pub(crate) const NX: u32 = 1;
    /// Underflow.
    pub(crate) const UF: u32 = 2;
    /// Overflow.
    pub(crate) const OF: u32 = 4;
    /// Division by zero.
    pub(crate) const DZ: u32 = 8;
    /// Invalid operation.
    pub(crate) const NV: u32 = 16;
}

/// Rounding modes, numbered as in frm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Round {
    /// To nearest, ties to even.
    Nearest,
    /// Towards zero.
    Zero,
    /// Down.
    Down,
    /// Up.
    Up,
    /// To nearest, ties away from zero.
    Away,
}

impl Round {
    /// Whether to go up in magnitude, given the last kept bit and what was cut off relative to one half.
    fn up(self, sign: bool, odd: bool, rest: Rest) -> bool {
        match self {
            Self::Nearest => rest == Rest::More || rest == Rest::Half && odd,
            Self::Zero => false,
            Self::Down => sign && rest != Rest::Nothing,
            Self::Up => !sign && rest != Rest::Nothing,
            Self::Away => matches!(rest, Rest::Half | Rest::More),
        }
    }
}

/// What rounding cuts off, relative to one half of the last kept bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Nothing,
    Less,
    Half,
    More,
}

/// Cut the low `drop` bits off.
fn cut(sig: u64, drop: u32) -> (u64, Rest) {
    let (kept, half, low) = match drop {
        0 => return (sig, Rest::Nothing),
        1..64 => (sig >> drop, sig >> (drop - 1) & 1 != 0, sig & ((1 << (drop - 1)) - 1) != 0),
        64 => (0, sig >> 63 != 0, sig << 1 != 0),
        _ => (0, false, sig != 0),
    };
    let rest = match (half, low) {
        (false, false) => Rest::Nothing,
        (false, true) => Rest::Less,
        (true, false) => Rest::Half,
        (true, true) => Rest::More,
    };
    (kept, rest)
}

/// A value taken apart.
#[derive(Debug, Clone, Copy)]
enum Value {
    Zero(bool),
    Finite(Number),
    Inf(bool),
    /// Whether it signals.
    Nan(bool),
}

/// A finite value other than zero: ±`sig` · 2^`exp`, with bit 63 of `sig` set.
#[derive(Debug, Clone, Copy)]
struct Number {
    sign: bool,
    exp: i32,
    sig: u64,
}

impl Kind {
    const fn width(self) -> u32 {
        1 + self.exp + self.frac
    }
    const fn bias(self) -> i32 {
        (1 << (self.exp - 1)) - 1
    }
    const fn exp_max(self) -> u64 {
        (1 << self.exp) - 1
    }
    const fn sign_bit(self) -> u64 {
        1 << (self.width() - 1)
    }
    fn signed(self, sign: bool, magnitude: u64) -> u64 {
        if sign { self.sign_bit() | magnitude } else { magnitude }
    }
    const fn inf(self) -> u64 {
        self.exp_max() << self.frac
    }
    /// The canonical NaN.
    pub(crate) const fn nan(self) -> u64 {
        self.inf() | 1 << (self.frac - 1)
    }
    fn is_nan(self, a: u64) -> bool {
        a & !self.sign_bit() > self.inf()
    }
    fn is_signaling(self, a: u64) -> bool {
        self.is_nan(a) && a >> (self.frac - 1) & 1 == 0
    }

    fn unpack(self, a: u64) -> Value {
        let sign = a & self.sign_bit() != 0;
        let exp = a >> self.frac & self.exp_max();
        let frac = a & ((1 << self.frac) - 1);
        if exp == self.exp_max() {
            return if frac == 0 { Value::Inf(sign) } else { Value::Nan(self.is_signaling(a)) };
        }
        if exp == 0 && frac == 0 {
            return Value::Zero(sign);
        }
        // Subnormals have the exponent of the smallest normals, without the hidden bit.
        let (hidden, exp) = if exp == 0 { (0, 1) } else { (1 << self.frac, exp) };
        let sig = frac | hidden;
        let shift = sig.leading_zeros();
        let exp = exp as i32 - self.bias() - self.frac as i32 - shift as i32;
        Value::Finite(Number { sign, exp, sig: sig << shift })
    }

    /// Round to this format. Bit 0 of `sig` may stand for any smaller bits.
    fn pack(self, n: Number, round: Round, flags: &mut u32) -> u64 {
        let Number { sign, exp, sig } = n;
        let lowest = 1 - self.bias();
        let normal_drop = 63 - self.frac;
        // Exponent of the leading bit.
        let lead = exp + 63;
        let below = (lowest - lead).max(0) as u32;
        let (kept, rest) = cut(sig, normal_drop + below.min(64));
        let kept = kept + u64::from(round.up(sign, kept & 1 != 0, rest));
        if rest != Rest::Nothing {
            *flags |= flag::NX;
        }
        if below > 0 {
            // Tiny unless rounding with unbounded exponent would have reached the smallest normal.
            let (unbounded, part) = cut(sig, normal_drop);
            let reaches = below == 1
                && unbounded + u64::from(round.up(sign, unbounded & 1 != 0, part)) == 2 << self.frac;
            if rest != Rest::Nothing && !reaches {
                *flags |= flag::UF;
            }
            // A carry into the hidden bit's place makes the exponent field 1, as it should.
            return self.signed(sign, kept);
        }
        let carry = kept >> (self.frac + 1) != 0;
        let lead = lead + i32::from(carry);
        if lead > self.bias() {
            *flags |= flag::OF | flag::NX;
            let to_inf = match round {
                Round::Nearest | Round::Away => true,
                Round::Zero => false,
                Round::Down => sign,
                Round::Up => !sign,
            };
            return self.signed(sign, if to_inf { self.inf() } else { self.inf() - 1 });
        }
        let frac = if carry { 0 } else { kept & ((1 << self.frac) - 1) };
        self.signed(sign, ((lead + self.bias()) as u64) << self.frac | frac)
    }

    fn invalid(self, flags: &mut u32) -> u64 {
        *flags |= flag::NV;
        self.nan()
    }

    /// The NaN that an operation on these operands gives, if one of them is a NaN.
    fn propagate(self, operands: &[u64], flags: &mut u32) -> Option<u64> {
        if !operands.iter().any(|&a| self.is_nan(a)) {
            return None;
        }
        if operands.iter().any(|&a| self.is_signaling(a)) {
            *flags |= flag::NV;
        }
        Some(self.nan())
    }

    pub(crate) fn negate(self, a: u64) -> u64 {
        a ^ self.sign_bit()
    }

    pub(crate) fn add(self, a: u64, b: u64, round: Round, flags: &mut u32) -> u64 {
        if let Some(nan) = self.propagate(&[a, b], flags) {
            return nan;
        }
        match (self.unpack(a), self.unpack(b)) {
            (Value::Inf(x), Value::Inf(y)) if x != y => self.invalid(flags),
            (Value::Inf(_), _) => a,
            (_, Value::Inf(_)) => b,
            (Value::Zero(x), Value::Zero(y)) => self.zero_sum(x, y, round),
            (Value::Zero(_), _) => b,
            (Value::Finite(x), Value::Finite(y)) => self.sum(Wide::from(x), Wide::from(y), round, flags),
            _ => a,
        }
    }

    pub(crate) fn sub(self, a: u64, b: u64, round: Round, flags: &mut u32) -> u64 {
        // Negating a NaN changes neither that it is one nor whether it signals.
        self.add(a, self.negate(b), round, flags)
    }

    fn zero_sum(self, x: bool, y: bool, round: Round) -> u64 {
        self.signed(if x == y { x } else { round == Round::Down }, 0)
    }

    fn sum(self, a: Wide, b: Wide, round: Round, flags: &mut u32) -> u64 {
        match a.plus(b) {
            Some(sum) => self.pack(sum.narrow(), round, flags),
            None => self.signed(round == Round::Down, 0),
        }
    }

    pub(crate) fn mul(self, a: u64, b: u64, round: Round, flags: &mut u32) -> u64 {
        if let Some(nan) = self.propagate(&[a, b], flags) {
            return nan;
        }
        let sign = (a ^ b) & self.sign_bit() != 0;
        match (self.unpack(a), self.unpack(b)) {
            (Value::Inf(_), Value::Zero(_)) | (Value::Zero(_), Value::Inf(_)) => self.invalid(flags),
            (Value::Inf(_), _) | (_, Value::Inf(_)) => self.signed(sign, self.inf()),
            (Value::Finite(x), Value::Finite(y)) => self.pack(Wide::product(x, y).narrow(), round, flags),
            _ => self.signed(sign, 0),
        }
    }

    /// a · b + c with one rounding.
    pub(crate) fn fma(self, a: u64, b: u64, c: u64, round: Round, flags: &mut u32) -> u64 {
        let sign = (a ^ b) & self.sign_bit() != 0;
        let product = match (self.unpack(a), self.unpack(b)) {
            // Invalid even when c is a quiet NaN.
            (Value::Inf(_), Value::Zero(_)) | (Value::Zero(_), Value::Inf(_)) => return self.invalid(flags),
            (Value::Nan(_), _) | (_, Value::Nan(_)) => Value::Nan(false),
            (Value::Inf(_), _) | (_, Value::Inf(_)) => Value::Inf(sign),
            (Value::Finite(x), Value::Finite(y)) => {
                return self.fma_finite(Wide::product(x, y), a, b, c, round, flags);
            }
            _ => Value::Zero(sign),
        };
        if let Some(nan) = self.propagate(&[a, b, c], flags) {
            return nan;
        }
        match (product, self.unpack(c)) {
            (Value::Inf(x), Value::Inf(y)) if x != y => self.invalid(flags),
            (Value::Inf(x), _) => self.signed(x, self.inf()),
            (Value::Zero(x), Value::Zero(y)) => self.zero_sum(x, y, round),
            _ => c,
        }
    }

    fn fma_finite(self, product: Wide, a: u64, b: u64, c: u64, round: Round, flags: &mut u32) -> u64 {
        if let Some(nan) = self.propagate(&[a, b, c], flags) {
            return nan;
        }
        match self.unpack(c) {
            Value::Finite(z) => self.sum(product, Wide::from(z), round, flags),
            Value::Zero(_) => self.pack(product.narrow(), round, flags),
            _ => c,
        }
    }

    pub(crate) fn div(self, a: u64, b: u64, round: Round, flags: &mut u32) -> u64 {
        if let Some(nan) = self.propagate(&[a, b], flags) {
            return nan;
        }
        let sign = (a ^ b) & self.sign_bit() != 0;
        match (self.unpack(a), self.unpack(b)) {
            (Value::Inf(_), Value::Inf(_)) | (Value::Zero(_), Value::Zero(_)) => self.invalid(flags),
            (Value::Inf(_), _) => self.signed(sign, self.inf()),
            (Value::Finite(_), Value::Zero(_)) => {
                *flags |= flag::DZ;
                self.signed(sign, self.inf())
            }
            (Value::Finite(x), Value::Finite(y)) => {
                // The quotient of the significands lies in (1/2, 2): 63 or 64 bits here.
                let dividend = u128::from(x.sig) << 63;
                let divisor = u128::from(y.sig);
                let quotient = (dividend / divisor) as u64;
                let sticky = u64::from(dividend % divisor != 0);
                let shift = quotient.leading_zeros();
                let sig = quotient << shift | sticky;
                self.pack(Number { sign, exp: x.exp - y.exp - 63 - shift as i32, sig }, round, flags)
            }
            _ => self.signed(sign, 0),
        }
    }

    pub(crate) fn sqrt(self, a: u64, round: Round, flags: &mut u32) -> u64 {
        match self.unpack(a) {
            Value::Nan(signals) => {
                if signals {
                    *flags |= flag::NV;
                }
                self.nan()
            }
            Value::Zero(_) | Value::Inf(false) => a,
            Value::Inf(true) | Value::Finite(Number { sign: true, .. }) => self.invalid(flags),
            Value::Finite(n) => {
                // An even exponent, and a radicand of 127 or 126 bits: the root has 64 or 63.
                let shift = if n.exp & 1 == 0 { 62 } else { 63 };
                let radicand = u128::from(n.sig) << shift;
                let root = radicand.isqrt();
                let sticky = u64::from(root * root != radicand);
                let root = root as u64;
                let up = root.leading_zeros();
                let sig = root << up | sticky;
                self.pack(Number { sign: false, exp: (n.exp - shift) / 2 - up as i32, sig }, round, flags)
            }
        }
    }

    /// To another format.
    pub(crate) fn to(self, other: Self, a: u64, round: Round, flags: &mut u32) -> u64 {
        match self.unpack(a) {
            Value::Nan(signals) => {
                if signals {
                    *flags |= flag::NV;
                }
                other.nan()
            }
            Value::Inf(sign) => other.signed(sign, other.inf()),
            Value::Zero(sign) => other.signed(sign, 0),
            Value::Finite(n) => other.pack(n, round, flags),
        }
    }

    /// From a signed integer of magnitude `magnitude`.
    pub(crate) fn of_int(self, sign: bool, magnitude: u64, round: Round, flags: &mut u32) -> u64 {
        if magnitude == 0 {
            return 0;
        }
        let shift = magnitude.leading_zeros();
        self.pack(Number { sign, exp: -(shift as i32), sig: magnitude << shift }, round, flags)
    }

    /// To an integer in `min..=max`; what does not fit saturates and is invalid, and a NaN gives `max`.
    pub(crate) fn to_int(self, a: u64, min: i128, max: i128, round: Round, flags: &mut u32) -> i128 {
        let (value, inexact) = match self.unpack(a) {
            Value::Nan(_) | Value::Inf(false) => (max + 1, false),
            Value::Inf(true) => (min - 1, false),
            Value::Zero(_) => (0, false),
            Value::Finite(n) if n.exp > 0 => (if n.sign { min - 1 } else { max + 1 }, false),
            Value::Finite(n) => {
                let (kept, rest) = cut(n.sig, n.exp.unsigned_abs().min(65));
                let kept = i128::from(kept) + i128::from(round.up(n.sign, kept & 1 != 0, rest));
                (if n.sign { -kept } else { kept }, rest != Rest::Nothing)
            }
        };
        if value < min || value > max {
            *flags |= flag::NV;
            return value.clamp(min, max);
        }
        if inexact {
            *flags |= flag::NX;
        }
        value
    }

    /// Total order of two values that are not NaN, as integers.
    fn key(self, a: u64) -> i64 {
        let magnitude = (a & !self.sign_bit()) as i64;
        if a & self.sign_bit() != 0 { -magnitude } else { magnitude }
    }

    pub(crate) fn eq(self, a: u64, b: u64, flags: &mut u32) -> bool {
        self.propagate(&[a, b], flags).is_none() && self.key(a) == self.key(b)
    }

    pub(crate) fn lt(self, a: u64, b: u64, flags: &mut u32) -> bool {
        if self.is_nan(a) || self.is_nan(b) {
            *flags |= flag::NV;
            return false;
        }
        self.key(a) < self.key(b)
    }

    pub(crate) fn le(self, a: u64, b: u64, flags: &mut u32) -> bool {
        if self.is_nan(a) || self.is_nan(b) {
            *flags |= flag::NV;
            return false;
        }
        self.key(a) <= self.key(b)
    }

    /// minimumNumber or maximumNumber of IEEE 754-2019: a NaN loses, -0 is less than +0.
    pub(crate) fn min_max(self, a: u64, b: u64, max: bool, flags: &mut u32) -> u64 {
        if self.is_signaling(a) || self.is_signaling(b) {
            *flags |= flag::NV;
        }
        let less = |a: u64, b: u64| {
            self.key(a) < self.key(b)
                || self.key(a) == self.key(b) && a & self.sign_bit() > b & self.sign_bit()
        };
        match (self.is_nan(a), self.is_nan(b)) {
            (true, true) => self.nan(),
            (true, false) => b,
            (false, true) => a,
            _ if less(a, b) != max => a,
            _ => b,
        }
    }

    /// The FCLASS mask.
    pub(crate) fn class(self, a: u64) -> u64 {
        let negative = a & self.sign_bit() != 0;
        let subnormal = a >> self.frac & self.exp_max() == 0;
        let bit = match self.unpack(a) {
            Value::Nan(true) => 8,
            Value::Nan(false) => 9,
            Value::Inf(_) => {
                if negative {
                    0
                } else {
                    7
                }
            }
            Value::Zero(_) => {
                if negative {
                    3
                } else {
                    4
                }
            }
            Value::Finite(_) if subnormal => {
                if negative {
                    2
                } else {
                    5
                }
            }
            Value::Finite(_) => {
                if negative {
                    1
                } else {
                    6
                }
            }
        };
        1 << bit
    }

    /// Sign injection: `a` with the sign of `b`.
    pub(crate) fn with_sign(self, a: u64, b: u64) -> u64 {
        a & !self.sign_bit() | b & self.sign_bit()
    }
}

/// Bit of [`Wide::sig`] that leads: one below the top leaves room for a carry.
const LEAD: u32 = 126;

/// ±`sig` · 2^`exp` with bit [`LEAD`] leading; bit 0 may stand for any smaller bits.
#[derive(Debug, Clone, Copy)]
struct Wide {
    sign: bool,
    exp: i32,
    sig: u128,
}

impl From<Number> for Wide {
    fn from(n: Number) -> Self {
        Self { sign: n.sign, exp: n.exp - 63, sig: u128::from(n.sig) << 63 }
    }
}

impl Wide {
    /// Exact: significands have at most 53 bits that are not zero.
    fn product(a: Number, b: Number) -> Self {
        let sig = u128::from(a.sig) * u128::from(b.sig);
        let (sign, exp) = (a.sign != b.sign, a.exp + b.exp);
        // 127 or 128 bits; the low 22 are zero.
        if sig >> 127 == 0 { Self { sign, exp, sig } } else { Self { sign, exp: exp + 1, sig: sig >> 1 } }
    }

    /// The sum, or `None` for exactly zero.
    fn plus(self, other: Self) -> Option<Self> {
        let swap = (self.exp, self.sig) < (other.exp, other.sig);
        let (big, small) = if swap { (other, self) } else { (self, other) };
        let distance = (big.exp - small.exp) as u32;
        // What is shifted out is kept as one bit; there are enough bits between it and any rounding.
        let shifted = match distance {
            0 => small.sig,
            1..128 => small.sig >> distance | u128::from(small.sig << (128 - distance) != 0),
            _ => 1,
        };
        let sig = if big.sign == small.sign { big.sig + shifted } else { big.sig - shifted };
        if sig == 0 {
            return None;
        }
        let sum = Self { sign: big.sign, exp: big.exp, sig };
        Some(if sig >> 127 != 0 {
            Self { exp: sum.exp + 1, sig: sig >> 1 | sig & 1, ..sum }
        } else {
            let up = sig.leading_zeros() - (127 - LEAD);
            Self { exp: sum.exp - up as i32, sig: sig << up, ..sum }
        })
    }

    fn narrow(self) -> Number {
        let sticky = u64::from(self.sig << 65 != 0);
        Number { sign: self.sign, exp: self.exp + 63, sig: (self.sig >> 63) as u64 | sticky }
    }
}
