//! What is known of code by its contents, for all address spaces of a machine:
//! which pages have translated code, and, while the machine is being packed,
//! which code ran.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use friscy_formats::aot::{Place, Profile, ProfilePage, TranslatedPage, Translations, mark};

use crate::mm::PAGE;

/// Translated code and the profile. Cheap when there is neither.
#[derive(Default)]
pub struct Library {
    translated: RefCell<BTreeMap<[u8; 32], Found>>,
    /// The table does not hold the functions yet.
    absent: Cell<bool>,
    /// Raised when [`Library::find`] answers differently from then on.
    edition: Cell<u32>,
    recorder: RefCell<Option<Recorder>>,
}

/// A page that has translated code.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Never 0.
    pub(super) identity: u32,
    pub(super) page: Rc<TranslatedPage>,
}

impl PartialEq for Found {
    fn eq(&self, other: &Found) -> bool {
        self.identity == other.identity && Rc::ptr_eq(&self.page, &other.page)
    }
}

/// The profile in the making.
#[derive(Default)]
struct Recorder {
    pages: BTreeMap<[u8; 32], u32>,
    samples: BTreeMap<(u32, u16), u32>,
    profile: Profile,
    spaces: u32,
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Library").field("pages", &self.translated.borrow().len()).finish_non_exhaustive()
    }
}

impl Library {
    /// Nothing known, nothing recorded.
    pub fn new() -> Self {
        Self::default()
    }

    /// Use this translated code, and no other, from the next run on. The caller promises that the slots hold what
    /// [`super::translated`] describes.
    pub fn load(&self, translations: Translations) {
        let found = |(index, page): (usize, TranslatedPage)| {
            (page.digest, Found { identity: index as u32 + 1, page: Rc::new(page) })
        };
        *self.translated.borrow_mut() = translations.pages.into_iter().enumerate().map(found).collect();
        self.change();
    }

    /// Whether the table holds the functions, from the next run on. It does unless told otherwise.
    pub fn set_present(&self, present: bool) {
        self.absent.set(!present);
        self.change();
    }

    fn change(&self) {
        self.edition.set(self.edition.get().wrapping_add(1));
    }

    /// Another number after each change of what [`Library::find`] answers.
    pub(super) fn edition(&self) -> u32 {
        self.edition.get()
    }

    /// Record from now on what runs.
    pub fn record(&self) {
        self.recorder.borrow_mut().get_or_insert_default();
    }

    /// What was recorded; recording ends.
    pub fn take_profile(&self) -> Option<Profile> {
        let Recorder { samples, mut profile, .. } = self.recorder.take()?;
        for ((page, at), count) in samples {
            profile.pages[page as usize].samples.push((at, count));
        }
        Some(profile)
    }

    pub(super) fn recording(&self) -> bool {
        self.recorder.borrow().is_some()
    }

    /// Translated code of a page whose contents have this hash, which is only asked for when it is needed.
    pub(super) fn find(&self, digest: impl FnOnce() -> [u8; 32]) -> Option<Found> {
        let translated = self.translated.borrow();
        if translated.is_empty() || self.absent.get() {
            return None;
        }
        translated.get(&digest()).cloned()
    }

    /// A page with these contents gets decoded at page `number` of `space` (0: not known yet, gets a number).
    /// Its index in the profile, when there is one.
    pub(super) fn meet(
        &self,
        space: &mut u32,
        number: u64,
        contents: &dyn Fn() -> Box<[u8; PAGE as usize]>,
    ) -> Option<u32> {
        let mut recorder = self.recorder.borrow_mut();
        let recorder = recorder.as_mut()?;
        if *space == 0 {
            recorder.spaces += 1;
            *space = recorder.spaces;
        }
        let bytes = contents();
        let next = recorder.profile.pages.len() as u32;
        let page = *recorder.pages.entry(*blake3::hash(&*bytes).as_bytes()).or_insert(next);
        if page == next {
            let empty = [0; PAGE as usize / 128];
            recorder.profile.pages.push(ProfilePage {
                bytes: *bytes,
                starts: empty,
                entered: empty,
                samples: Vec::new(),
            });
        }
        recorder.profile.places.push(Place { space: *space, number: number as u32, page });
        Some(page)
    }

    /// Instructions of a profile's page were decoded; the first is where control came in, if it did.
    pub(super) fn decoded(&self, page: u32, starts: &[u16], entered: Option<u16>) {
        if let Some(recorder) = self.recorder.borrow_mut().as_mut()
            && let Some(page) = recorder.profile.pages.get_mut(page as usize)
        {
            starts.iter().for_each(|&at| mark(&mut page.starts, at));
            entered.iter().for_each(|&at| mark(&mut page.entered, at));
        }
    }

    /// A sample found execution there.
    pub(super) fn sample(&self, page: u32, at: u16) {
        if let Some(recorder) = self.recorder.borrow_mut().as_mut() {
            *recorder.samples.entry((page, at)).or_default() += 1;
        }
    }
}
