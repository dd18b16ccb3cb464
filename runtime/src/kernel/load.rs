//! Load averages as Linux computes them (`kernel/sched/loadavg.c`): every five seconds the number of tasks that
//! want the hart goes into three averages that forget exponentially.

/// 1.0.
pub const ONE: u64 = 1 << 11;

const PERIOD_NS: u64 = 5_000_000_000;
/// What stays of the averages over one, five and fifteen minutes after one period.
const KEPT: [u64; 3] = [1884, 2014, 2037];
/// After so many periods in which nothing ran (a day and a half), nothing is left of any of them.
const PERIODS_MAX: u64 = 26_000;

/// The three averages.
#[derive(Debug, Default)]
pub struct Load {
    averages: [u64; 3],
    sampled_ns: u64,
}

impl Load {
    /// `active` tasks want the hart now. Nobody samples while the machine is idle: these periods had none.
    pub(super) fn sample(&mut self, now_ns: u64, active: usize) {
        let periods = now_ns.saturating_sub(self.sampled_ns) / PERIOD_NS;
        if periods == 0 {
            return;
        }
        self.sampled_ns += periods * PERIOD_NS;
        for _ in 1..periods.min(PERIODS_MAX) {
            self.step(0);
        }
        self.step(active as u64 * ONE);
    }

    fn step(&mut self, active: u64) {
        for (average, kept) in self.averages.iter_mut().zip(KEPT) {
            let rounded = if active >= *average { ONE - 1 } else { 0 };
            *average = (*average * kept + active * (ONE - kept) + rounded) / ONE;
        }
    }

    /// Over one, five and fifteen minutes, in units of [`ONE`].
    pub fn averages(&self) -> [u64; 3] {
        self.averages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_rise_and_are_forgotten() {
        let mut load = Load::default();
        for second in 0..=60 {
            load.sample(second * 1_000_000_000, 1);
        }
        let [one, five, fifteen] = load.averages();
        // 1 - 1/e after a minute of one busy task.
        assert!((one * 100 / ONE).abs_diff(63) <= 1, "{one}");
        assert!(one > five && five > fifteen && fifteen > 0);
        load.sample(3_600_000_000_000, 0);
        assert_eq!(load.averages()[0], 0);
        load.sample(u64::MAX / 2, 0);
        assert_eq!(load.averages(), [0; 3]);
    }
}
