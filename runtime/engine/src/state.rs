//! The one machine of this instance and what the host told about it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use friscy_formats::aot::{Profile, Translations};
use friscy_formats::boot::{Boot, Until};
use friscy_formats::ring::{Header, Status};
use friscy_formats::warm::BlockId;
use friscy_runtime::machine::Machine;

use crate::wasi::{NO_SLOT, Wasi};

/// Everything that a snapshot of this instance keeps alive.
pub(crate) struct Engine {
    machine: Machine,
    platform: Rc<Wasi>,
    /// What was booted; overrides start from it.
    boot: Option<Boot>,
    /// Slot to use from the freeze on: before it, the accessor is not in the module yet.
    later_slot: u32,
    thawed: bool,
}

thread_local! {
    static ENGINE: RefCell<Option<Engine>> = const { RefCell::new(None) };
}

/// Run `f` with the engine, which comes into being on first use.
pub(crate) fn with<R>(f: impl FnOnce(&mut Engine) -> R) -> R {
    ENGINE.with_borrow_mut(|engine| f(engine.get_or_insert_with(Engine::new)))
}

impl Engine {
    fn new() -> Engine {
        std::panic::set_hook(Box::new(|panic| {
            // The last words before the trap: a panic is always a fault of ours.
            let line = format!("friscy-snap: the engine failed: {panic}\nfriscy-snap: please report this.\n");
            let _ = crate::wasi::write(2, line.as_bytes());
        }));
        let platform = Rc::new(Wasi { chunk_slot: Cell::new(NO_SLOT), warm_slot: Cell::new(NO_SLOT) });
        let machine = Machine::new(platform.clone());
        Engine { machine, platform, boot: None, later_slot: NO_SLOT, thawed: false }
    }

    /// The VFS archive to start from.
    pub(crate) fn mount(&mut self, archive: &'static [u8]) -> Result<(), String> {
        self.machine.mount(archive)
    }

    /// Start (or, at freeze point `entry`, start again) the first process.
    pub(crate) fn boot(&mut self, boot: Boot) -> Result<(), String> {
        self.machine.boot(&boot)?;
        self.boot = Some(boot);
        Ok(())
    }

    /// Record what code runs.
    pub(crate) fn record(&mut self) {
        self.machine.record();
    }

    /// What was recorded.
    pub(crate) fn take_profile(&mut self) -> Option<Profile> {
        self.machine.take_profile()
    }

    /// What the packer translated.
    pub(crate) fn translations(&mut self, translations: Translations) {
        self.machine.translations(translations);
    }

    /// What the host translated while the guest ran.
    pub(crate) fn add_translations(&mut self, translations: Translations) {
        self.machine.add_translations(translations);
    }

    /// Slots that are used no more.
    pub(crate) fn remove_translations(&mut self, slots: &std::ops::Range<u32>) {
        self.machine.remove_translations(slots);
    }

    /// Whether the table holds what the packer translated.
    pub(crate) fn translated(&mut self, present: bool) {
        self.machine.translated(present);
    }

    /// What was booted last.
    pub(crate) fn booted(&self) -> Option<&Boot> {
        self.boot.as_ref()
    }

    /// Whether another program may still take the place of the frozen one.
    pub(crate) fn at_entry(&self) -> bool {
        self.boot.as_ref().is_some_and(|boot| boot.until == Until::Entry) && self.header().retired == 0
    }

    /// Where the ring is.
    pub(crate) fn ring(&self) -> *mut Header {
        self.machine.ring()
    }

    fn header(&self) -> Header {
        // SAFETY: the ring lives as long as the machine, and nobody else runs.
        unsafe { *self.machine.ring() }
    }

    /// Run the guest for about `budget` instructions.
    pub(crate) fn resume(&mut self, budget: u64) -> Status {
        self.machine.resume(budget)
    }

    /// Have the service on TCP `port` answer this before it is frozen.
    pub(crate) fn warm_up(&mut self, port: u16, request: &[u8]) {
        self.machine.warm_up(port, request.to_vec());
    }

    /// What every thread does or waits for.
    pub(crate) fn tasks(&self) -> Vec<String> {
        self.machine.tasks()
    }

    /// What a freeze now will not carry over.
    pub(crate) fn caveats(&mut self) -> Vec<String> {
        self.machine.caveats()
    }

    /// Record which contents of files are read.
    pub(crate) fn record_reads(&mut self) {
        self.machine.record_reads();
    }

    /// What was read.
    pub(crate) fn take_reads(&mut self) -> Vec<BlockId> {
        self.machine.take_reads()
    }

    /// Where the accessor of the warm segment is.
    pub(crate) fn warm_slot(&self) -> u32 {
        self.platform.warm_slot.get()
    }

    /// Where it will be, if there are warm blocks.
    pub(crate) fn set_warm_slot(&mut self, slot: u32) {
        self.platform.warm_slot.set(slot);
    }

    /// Where the chunk accessor will be after the freeze; `NO_SLOT` for chunks through the ring.
    pub(crate) fn chunk_slot(&mut self, slot: u32) {
        self.later_slot = slot;
        if self.thawed {
            self.platform.chunk_slot.set(slot);
        }
    }

    /// Make the machine fit to be frozen.
    pub(crate) fn freeze(&mut self) {
        self.machine.freeze();
        self.platform.chunk_slot.set(self.later_slot);
    }

    /// Wake up in another time and place. Only the first call does anything.
    pub(crate) fn thaw(&mut self) {
        if !std::mem::replace(&mut self.thawed, true) {
            self.machine.thaw();
        }
    }
}
