//! What the engine and the packer tell each other about translated code.
//!
//! A [`Profile`] goes out: which guest code ran before the freeze point. The
//! packer's translator makes Wasm functions of it, and [`Translations`] comes
//! back: which instruction of which page has one. Pages are known by their
//! contents, so a translation serves wherever the same bytes are mapped and
//! never where other bytes are.

use std::collections::BTreeMap;

use rkyv::{Archive, Deserialize, Serialize};

/// Bytes per page of guest code.
pub const PAGE: usize = 4096;

/// A bit for each halfword of a page, lowest first: addresses at which instructions may start.
pub type Halfwords = [u64; PAGE / 128];

/// What ran.
#[derive(Debug, Clone, Default, Archive, Serialize, Deserialize)]
pub struct Profile {
    /// Pages with code that was decoded, each content once.
    pub pages: Vec<ProfilePage>,
    /// Where they were seen.
    pub places: Vec<Place>,
}

/// One page of code.
#[derive(Debug, Clone, Archive, Serialize, Deserialize)]
pub struct ProfilePage {
    /// What translated code calls these contents. Never 0.
    pub identity: u32,
    /// Its contents.
    pub bytes: [u8; PAGE],
    /// Instructions that were decoded: executed, or behind an executed branch.
    pub starts: Halfwords,
    /// Where control came in by an indirect jump, from another page or from the kernel.
    pub entered: Halfwords,
    /// Offset in the page and how often a sample found execution there.
    pub samples: Vec<(u16, u32)>,
}

/// That a page was mapped somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize)]
pub struct Place {
    /// Which address space: a number of no other meaning.
    pub space: u32,
    /// Page number there.
    pub number: u32,
    /// Index in [`Profile::pages`].
    pub page: u32,
}

/// Where translated code can be entered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Translations {
    /// Pages with entries or with code that entries reach.
    pub pages: Vec<TranslatedPage>,
}

/// The entries of one page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct TranslatedPage {
    /// What translated code calls these contents. Never 0.
    pub identity: u32,
    /// blake3 of its contents.
    pub digest: [u8; 32],
    /// Pages below this one whose identity its code may look at.
    pub below: u32,
    /// Pages above this one whose identity its code may look at.
    pub above: u32,
    /// Ascending by offset.
    pub entries: Vec<Entry>,
}

/// One instruction at which a translated function can be entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Entry {
    /// Offset in the page.
    pub at: u16,
    /// How many pages above the function's first page this page lies.
    pub rise: u16,
    /// Table slot of the function.
    pub slot: u32,
    /// Which of the function's entries.
    pub index: u32,
    /// The most instructions that it executes between two looks at its budget.
    pub longest: u32,
}

impl Profile {
    /// Add what another run showed. Identities are anew the indexes, plus one.
    pub fn merge(&mut self, other: Profile) {
        let known: BTreeMap<[u8; PAGE], u32> =
            self.pages.iter().zip(0..).map(|(page, number)| (page.bytes, number)).collect();
        let spaces = self.places.iter().map(|place| place.space + 1).max().unwrap_or(0);
        let mut numbers = Vec::new();
        for page in other.pages {
            let Some(&number) = known.get(&page.bytes) else {
                numbers.push(self.pages.len() as u32);
                self.pages.push(ProfilePage { identity: self.pages.len() as u32 + 1, ..page });
                continue;
            };
            numbers.push(number);
            let mine = &mut self.pages[number as usize];
            for (mine, other) in [(&mut mine.starts, page.starts), (&mut mine.entered, page.entered)] {
                mine.iter_mut().zip(other).for_each(|(mine, other)| *mine |= other);
            }
            mine.samples.extend(page.samples);
        }
        self.places.extend(other.places.iter().map(|place| Place {
            space: spaces + place.space,
            page: numbers[place.page as usize],
            ..*place
        }));
    }
}

macro_rules! bytes {
    ($($type:ident)*) => {$(
        impl $type {
            /// As an rkyv archive.
            pub fn to_bytes(&self) -> Vec<u8> {
                // Serialising into memory only fails when memory does.
                rkyv::to_bytes::<rkyv::rancor::Panic>(self).unwrap_or_else(|never| match never {}).into_vec()
            }

            /// Read it back from bytes that stand anywhere; `None` for anything else.
            pub fn from_bytes(bytes: &[u8]) -> Option<$type> {
                let mut aligned = rkyv::util::AlignedVec::<16>::with_capacity(bytes.len());
                aligned.extend_from_slice(bytes);
                rkyv::from_bytes::<$type, rkyv::rancor::Failure>(&aligned).ok()
            }
        }
    )*};
}
bytes! { Profile Translations }

/// Whether the halfword at this page offset is marked.
pub fn marked(set: &Halfwords, at: u16) -> bool {
    set[usize::from(at / 128)] >> (at / 2 % 64) & 1 != 0
}

/// Mark the halfword at this page offset.
pub fn mark(set: &mut Halfwords, at: u16) {
    set[usize::from(at / 128)] |= 1 << (at / 2 % 64);
}
