//! What is known of code by its contents, for all address spaces of a machine:
//! which pages have translated code, and, while the machine is being packed,
//! which code ran.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use friscy_formats::aot::{Place, Profile, ProfilePage, TranslatedPage, Translations, mark};

use crate::mm::PAGE;

/// Instructions between two samples, while what runs is recorded.
const SAMPLE: u64 = 10_000;
/// The same, while the host translates what is hot.
const LIVE_SAMPLE: u64 = 1 << 14;
/// How much longer than at first a request waits, at most, when those before it brought nothing.
const PATIENCE_MAX: u32 = 64;

/// Translated code and the profile. Cheap when there is neither.
#[derive(Default)]
pub struct Library {
    translated: RefCell<BTreeMap<[u8; 32], Found>>,
    /// The table does not hold the functions yet.
    absent: Cell<bool>,
    /// Raised when [`Library::find`] answers differently from then on.
    edition: Cell<u32>,
    recorder: RefCell<Option<Recorder>>,
    /// Identities of the pages that the host was or will be asked to translate; `None` while it does not.
    asked: RefCell<Option<BTreeMap<[u8; 32], u32>>>,
    request: RefCell<Request>,
    /// See [`Library::patience`]; 0 as long as it is 1.
    patience: Cell<u32>,
}

/// The one request for a translation.
#[derive(Default)]
enum Request {
    #[default]
    None,
    /// To be sent.
    Ready(Profile),
    /// The host works on it.
    Sent,
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
        let found =
            |page: TranslatedPage| (page.digest, Found { identity: page.identity, page: Rc::new(page) });
        *self.translated.borrow_mut() = translations.pages.into_iter().map(found).collect();
        self.change();
    }

    /// Use this translated code as well, from the next run on; where both can be entered, this one. The caller
    /// promises what that of [`Library::load`] does.
    pub fn add(&self, translations: Translations) {
        let mut translated = self.translated.borrow_mut();
        for new in translations.pages {
            let found = translated
                .entry(new.digest)
                .or_insert_with(|| Found { identity: new.identity, page: Rc::default() });
            let mut page = TranslatedPage::clone(&found.page);
            (page.digest, page.identity) = (new.digest, found.identity);
            (page.below, page.above) = (page.below.max(new.below), page.above.max(new.above));
            page.entries.retain(|old| new.entries.binary_search_by_key(&old.at, |entry| entry.at).is_err());
            page.entries.extend(new.entries);
            page.entries.sort_unstable_by_key(|entry| entry.at);
            found.page = Rc::new(page);
        }
        drop(translated);
        self.change();
    }

    /// Forget the functions in these slots of the table, from the next run on.
    pub fn remove(&self, slots: &Range<u32>) {
        for found in self.translated.borrow_mut().values_mut() {
            if found.page.entries.iter().any(|entry| slots.contains(&entry.slot)) {
                let mut page = TranslatedPage::clone(&found.page);
                page.entries.retain(|entry| !slots.contains(&entry.slot));
                found.page = Rc::new(page);
            }
        }
        self.change();
    }

    /// Whether the host translates code while it runs. It does not unless told otherwise.
    pub fn set_translator(&self, present: bool) {
        self.asked.replace(present.then(BTreeMap::new));
        self.request.replace(Request::None);
    }

    /// Whether the next hot code could be sent to the host.
    pub(super) fn wants_hot_code(&self) -> bool {
        self.asked.borrow().is_some() && matches!(*self.request.borrow(), Request::None)
    }

    /// What is sampled in a run: instructions from one sample to the next.
    pub(super) fn sampling(&self) -> Option<u64> {
        match self.recording() {
            true => Some(SAMPLE),
            false => self.asked.borrow().is_some().then_some(LIVE_SAMPLE),
        }
    }

    /// The identity of a page with these contents, for the host.
    pub(super) fn identity(&self, digest: [u8; 32]) -> u32 {
        if let Some(found) = self.translated.borrow().get(&digest) {
            return found.identity;
        }
        let mut asked = self.asked.borrow_mut();
        let asked = asked.get_or_insert_default();
        let packed = self.translated.borrow().values().map(|found| found.identity).max().unwrap_or(0);
        let next = asked.values().copied().max().unwrap_or(0).max(packed) + 1;
        *asked.entry(digest).or_insert(next)
    }

    /// Have this code translated.
    pub(super) fn request(&self, profile: Profile) {
        self.request.replace(Request::Ready(profile));
    }

    /// The code that the host is to translate, once.
    pub fn take_request(&self) -> Option<Profile> {
        let mut request = self.request.borrow_mut();
        match std::mem::replace(&mut *request, Request::Sent) {
            Request::Ready(profile) => Some(profile),
            other => {
                *request = other;
                None
            }
        }
    }

    /// The host has answered; whether there was something in it.
    pub fn answered(&self, translated: bool) {
        self.request.replace(Request::None);
        self.patience.set(if translated { 0 } else { (2 * self.patience()).min(PATIENCE_MAX) });
    }

    /// How much longer than at first to wait for the next request.
    pub(super) fn patience(&self) -> u32 {
        self.patience.get().max(1)
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
                identity: page + 1,
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
