//! Sets of pages, kept as runs: which pages of linear memory are free, which pages of an arena have a place there.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of page numbers as ranges that neither overlap nor touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Runs(BTreeMap<u64, u64>);

impl Runs {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lowest page; 0 of nothing.
    pub(super) fn start(&self) -> u64 {
        self.0.keys().next().copied().unwrap_or(0)
    }

    /// One past the highest page; 0 of nothing.
    pub(super) fn end(&self) -> u64 {
        self.0.values().next_back().copied().unwrap_or(0)
    }

    /// How many pages.
    pub(super) fn count(&self) -> u64 {
        self.iter().map(|run| run.end - run.start).sum()
    }

    /// All runs, the lowest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.0.iter().map(|(&start, &end)| start..end)
    }

    /// The runs that end above `page`, the lowest first: one that contains it, and those above.
    pub(super) fn from(&self, page: u64) -> impl Iterator<Item = Range<u64>> {
        let at = self.0.range(..=page).next_back().filter(|&(_, &end)| end > page);
        let above = self.0.range(page.saturating_add(1)..);
        at.into_iter().chain(above).map(|(&start, &end)| start..end)
    }

    /// All of `pages` are in the set.
    pub(super) fn contains(&self, pages: &Range<u64>) -> bool {
        let run = self.0.range(..=pages.start).next_back();
        pages.is_empty() || run.is_some_and(|(_, &end)| end >= pages.end)
    }

    /// What of `pages` is not in the set.
    pub(super) fn missing(&self, pages: &Range<u64>) -> Runs {
        let mut missing = Runs::default();
        missing.insert(pages.clone());
        for run in self.from(pages.start).take_while(|run| run.start < pages.end) {
            missing.remove(run);
        }
        missing
    }

    pub(super) fn insert(&mut self, pages: Range<u64>) {
        if pages.is_empty() {
            return;
        }
        let (mut start, mut end) = (pages.start, pages.end);
        while let Some((&at, &its_end)) = self.0.range(..=end).next_back().filter(|&(_, &e)| e >= start) {
            self.0.remove(&at);
            (start, end) = (start.min(at), end.max(its_end));
        }
        self.0.insert(start, end);
    }

    pub(super) fn remove(&mut self, pages: Range<u64>) {
        if pages.is_empty() {
            return;
        }
        while let Some((&at, &end)) = self.0.range(..pages.end).next_back().filter(|&(_, &e)| e > pages.start)
        {
            self.0.remove(&at);
            if at < pages.start {
                self.0.insert(at, pages.start);
            }
            if end > pages.end {
                self.0.insert(pages.end, end);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn runs_agree_with_sets() {
        let (mut runs, mut set) = (Runs::default(), BTreeSet::new());
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..3000 {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let start = (random >> 40) % 100;
            let pages = start..start + (random >> 50) % 20;
            if random >> 63 == 0 {
                runs.insert(pages.clone());
                set.extend(pages.clone());
            } else {
                runs.remove(pages.clone());
                set.retain(|page| !pages.contains(page));
            }
            assert!(runs.iter().flatten().eq(set.iter().copied()));
            assert!(runs.iter().zip(runs.iter().skip(1)).all(|(a, b)| a.end < b.start), "{runs:?}");
            assert_eq!(runs.count(), set.len() as u64);
            assert_eq!(runs.contains(&pages), pages.clone().all(|page| set.contains(&page)));
            assert!(runs.missing(&pages).iter().flatten().eq(pages.clone().filter(|p| !set.contains(p))));
            let from = runs.from(start).flatten().filter(|&page| page >= start);
            assert!(from.eq(set.range(start..).copied()));
        }
    }
}
