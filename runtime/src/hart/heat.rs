//! What is hot: samples of where the interpreter is, page by page.
//!
//! While the machine is packed they go to the [`Library`]'s profile. While it
//! runs and its host translates, they stay with the decoded pages, and when
//! there are enough of them the hottest pages become a profile for the host.
//! What was sent and found no translation is sent again when a page is half as hot again,
//! and an answer without any makes the next request wait twice as long.
//!
//! What the interpreter executes between two stretches of translated code begins where
//! translated code left and ends where it goes on: such a sample counts for its begin.

use std::collections::BTreeSet;

use friscy_formats::aot::{Halfwords, Place, Profile, ProfilePage, mark};

use super::code::CodeCache;
use super::library::Library;
use super::memory::Ram;
use crate::mm::PAGE;

/// Samples from one request to the next: of 16,384 instructions each, a twentieth of a second in the interpreter.
const ENOUGH: u32 = 512;
/// Pages in one request.
const PAGES_MAX: usize = 64;
/// Samples that make a page worth a request.
const WARM: u32 = 4;

/// Of one address space.
#[derive(Default)]
pub(super) struct Heat {
    /// Instructions since the last sample.
    since: u64,
    /// Samples since the last request.
    samples: u32,
}

/// Of one page.
#[derive(Default)]
pub(super) struct PageHeat {
    /// Where control came in.
    entered: Halfwords,
    /// Page offset, samples.
    samples: Vec<(u16, u32)>,
    /// All samples when it was sent last.
    sent: u32,
}

impl PageHeat {
    /// Control came in at this page offset.
    pub(super) fn enter(&mut self, at: u16) {
        mark(&mut self.entered, at);
    }

    fn add(&mut self, at: u16) {
        match self.samples.iter_mut().find(|(other, _)| *other == at) {
            Some((_, count)) => *count += 1,
            None => self.samples.push((at, 1)),
        }
    }

    fn total(&self) -> u32 {
        self.samples.iter().map(|(_, count)| count).sum()
    }
}

impl CodeCache {
    /// The interpreter has retired so many instructions more, last at `pc`; each `interval` of them is a sample.
    /// `entered`: control came there from translated code.
    #[inline(never)]
    pub(super) fn sample(
        &mut self,
        (pc, entered): (u64, bool),
        retired: u64,
        interval: u64,
        ram: Ram,
        library: &Library,
    ) {
        let (pages, heat) = self.parts();
        heat.since += retired;
        let Some(Some(page)) = pages.get_mut((pc / PAGE) as usize) else { return };
        if heat.since < interval {
            return;
        }
        let at = (pc % PAGE) as u16;
        if library.recording() {
            heat.since = 0;
            page.profiled().into_iter().for_each(|profiled| library.sample(profiled, at));
            return;
        }
        // Where translated code is entered, the next call will be its.
        if page.enters(pc) {
            return;
        }
        heat.since = 0;
        heat.samples += 1;
        page.heat().add(at);
        if entered {
            page.heat().enter(at);
        }
        if heat.samples >= ENOUGH * library.patience() && library.wants_hot_code() {
            heat.samples = 0;
            if let Some(profile) = self.hottest(ram, library) {
                library.request(profile);
            }
        }
    }

    /// The hottest pages and those beside them, if some were not sent or have become hotter since.
    fn hottest(&mut self, ram: Ram, library: &Library) -> Option<Profile> {
        let (pages, _) = self.parts();
        let mut hot: Vec<(u32, usize)> = Vec::new();
        let mut news = false;
        for (number, page) in pages.iter_mut().enumerate() {
            let Some(page) = page else { continue };
            let (total, sent) = (page.heat().total(), page.heat().sent);
            if total >= WARM {
                hot.push((total, number));
                news |= total >= sent + sent / 2;
            }
        }
        if !news {
            return None;
        }
        hot.sort_unstable_by_key(|&(total, number)| (std::cmp::Reverse(total), number));
        hot.truncate(PAGES_MAX);
        // Functions go on in the next page, and come from the one before.
        let mut numbers: Vec<usize> = hot.iter().map(|&(_, number)| number).collect();
        numbers.extend(hot.iter().flat_map(|&(_, number)| [number + 1, number.wrapping_sub(1)]));
        let mut seen = BTreeSet::new();
        numbers.retain(|&number| matches!(pages.get(number), Some(Some(_))) && seen.insert(number));
        numbers.truncate(PAGES_MAX);
        numbers.sort_unstable();
        let mut profile = Profile::default();
        for number in numbers {
            let Some(page) = &mut pages[number] else { continue };
            page.heat().sent = page.heat().total();
            let mut starts = Halfwords::default();
            page.starts().for_each(|at| mark(&mut starts, at));
            let place = Place { space: 1, number: number as u32, page: profile.pages.len() as u32 };
            profile.places.push(place);
            profile.pages.push(ProfilePage {
                identity: library.identity(page.digest(number as u64, ram)),
                bytes: *ram.contents(number as u64),
                starts,
                entered: page.heat().entered,
                samples: page.heat().samples.clone(),
            });
        }
        Some(profile)
    }
}
