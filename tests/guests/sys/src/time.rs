//! Clocks and waiting.

use crate::Result;
use crate::call::call;

/// Which clock.
#[derive(Debug, Clone, Copy)]
#[repr(usize)]
pub enum Clock {
    /// Since 1970, UTC.
    Realtime = 0,
    /// Since some point in the past; never goes back.
    Monotonic = 1,
}

/// Nanoseconds on a clock.
pub fn now_ns(clock: Clock) -> u64 {
    let mut time = [0i64; 2];
    let _ = call!(CLOCK_GETTIME, clock as usize, time.as_mut_ptr());
    time[0] as u64 * 1_000_000_000 + time[1] as u64
}

/// nanosleep(2); an interrupted sleep is over.
pub fn sleep_ns(ns: u64) -> Result<()> {
    let time = [(ns / 1_000_000_000) as i64, (ns % 1_000_000_000) as i64];
    call!(NANOSLEEP, time.as_ptr(), 0).map(drop)
}

/// A moment as the calendar has it, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    /// Gregorian year.
    pub year: i64,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 59.
    pub second: u32,
    /// 0 is Sunday.
    pub weekday: usize,
}

impl Date {
    /// From seconds since 1970. Years are counted from March, so that the leap day comes last.
    pub fn from_unix(seconds: i64) -> Date {
        let days = seconds.div_euclid(86_400);
        let rest = seconds.rem_euclid(86_400) as u32;
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * of_year + 2) / 153;
        let month = (if march_month < 10 { march_month + 3 } else { march_month - 9 }) as u32;
        Date {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            month,
            day: (of_year - (153 * march_month + 2) / 5 + 1) as u32,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
            weekday: (days + 4).rem_euclid(7) as usize,
        }
    }
}
