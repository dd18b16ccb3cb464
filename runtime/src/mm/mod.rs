//! Guest memory: address spaces as flat arenas with permission bytes (docs/ARCHITECTURE, "memory").
//!
//! An [`Mm`] is one address space (Linux's `mm_struct`): a contiguous arena of
//! host memory, a byte of permissions per page, and the list of areas (VMAs)
//! that says what a page would hold. Pages begin absent (permission byte 0) and
//! are filled by [`Mm::fault`]: zero, from a file, from another process.
//!
//! From below: `runs.rs` (sets of pages), `linear.rs` (pages of the machine), `arena.rs` (one space's pages
//! and bytes), `vma.rs` (what would be where), `fault.rs` (filling pages),
//! `mmap.rs` (changing what is where), `advise.rs`, `fork.rs`, `shared.rs` (MAP_SHARED),
//! `user.rs` (the kernel's own accesses).

/// Bytes per page.
pub const PAGE: u64 = 4096;

/// Permission bits of a page, as the fast paths test them.
pub mod perm {
    /// Loads may go straight to the arena.
    pub const R: u8 = 1;
    /// Stores may go straight to the arena (implies [`R`]). Clear on clean pages and on pages with decoded code.
    pub const W: u8 = 2;
    /// This page and the next have [`R`].
    pub const R2: u8 = 4;
    /// This page and the next have [`W`].
    pub const W2: u8 = 8;
    /// Instructions may be fetched.
    pub const X: u8 = 16;
    /// The hart's own: it took [`W`] away because the page has decoded code, and may give it back.
    pub const CODE: u8 = 128;
}

/// How memory is touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store, an AMO, an SC.
    Write,
    /// An instruction fetch.
    Exec,
}

mod advise;
mod arena;
mod fault;
mod fork;
mod futex_key;
pub mod linear;
mod mmap;
mod runs;
pub mod shared;
mod user;
mod vma;

#[cfg(test)]
mod tests;

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::ops::Range;
use std::rc::Rc;

pub use advise::Advice;
pub use futex_key::FutexKey;
pub use linear::Linear;
pub use mmap::{Mapping, Place, Remap};
pub use vma::{Area, AreaFlags, Areas, Backing, Mapped};

use crate::abi::Errno;
use crate::hart::CodeCache;
use arena::Arena;

/// One past the highest guest address. Below 4 GiB by so much that the arena and the engine fit beside each other in wasm32.
pub const GUEST_END: u64 = 0xf000_0000;

/// Lowest address that may be mapped (vm.mmap_min_addr).
pub const GUEST_START: u64 = 0x1_0000;

/// Most areas in one space (vm.max_map_count).
pub const AREAS_MAX: usize = 65530;

/// What the hart needs to touch memory: valid until the next call into [`Mm`].
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// What added to the guest address of a present page gives its host address. Where the arena does not begin at
    /// guest address 0, no memory of its own: the sum may wrap.
    pub base: *mut u8,
    /// Permission byte of guest page 0; one byte a page, 2^20 of them: index
    /// `(addr as u32) >> 12` is always in bounds, and finds 0 beyond the arena.
    /// The upper half of a guest address is for the caller to check. The hart
    /// clears [`perm::W`] (and `W2` of the page and of the one before) when it
    /// decodes code of a page; whoever sets `W` again (here: the arena) calls
    /// `hart::CodeCache::invalidate` for that page first.
    pub perms: *mut u8,
    /// One past the highest page that the arena has a place for: an address at or beyond `pages * PAGE` faults.
    pub pages: u64,
}

/// Why [`Mm::fault`] could not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing mapped there: SIGSEGV, SEGV_MAPERR.
    NotMapped,
    /// Mapped, but not for this: SIGSEGV, SEGV_ACCERR.
    Forbidden,
    /// Beyond the end of a mapped file: SIGBUS, BUS_ADRERR.
    Bus,
    /// No memory left for the page: the process is killed.
    OutOfMemory,
    /// Contents are on their way: park on the store's queue and run again.
    Pending,
}

impl From<Fault> for Errno {
    /// What a system call returns that was given such an address.
    fn from(fault: Fault) -> Errno {
        match fault {
            Fault::NotMapped | Fault::Forbidden | Fault::Bus => Errno::EFAULT,
            Fault::OutOfMemory => Errno::ENOMEM,
            Fault::Pending => Errno::PENDING,
        }
    }
}

/// Where exec(2) put things, as /proc/PID/{stat,cmdline,environ} and brk(2) need it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Layout {
    /// Start of the heap: brk(2) never goes below.
    pub brk_start: u64,
    /// The program break.
    pub brk: u64,
    /// Where the break must end.
    pub brk_max: u64,
    /// Lowest address that mmap(2) chooses; it leaves out those kept for the heap.
    pub mmap_base: u64,
    /// The main stack as exec built it: its lowest used address (sp at entry).
    pub stack_start: u64,
    /// One past the main stack.
    pub stack_end: u64,
    /// Argument strings.
    pub args: (u64, u64),
    /// Environment strings.
    pub env: (u64, u64),
    /// Lowest to highest executable byte of the program.
    pub code: (u64, u64),
    /// Lowest to highest writable byte of the program.
    pub data: (u64, u64),
    /// Where the vDSO is; 0 for none.
    pub vdso: u64,
    /// `__vdso_rt_sigreturn`.
    pub sigreturn: u64,
}

/// Resource limits that concern memory, in bytes; `u64::MAX` is no limit. See getrlimit(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// RLIMIT_AS.
    pub address_space: u64,
    /// RLIMIT_DATA, for the heap.
    pub data: u64,
    /// RLIMIT_STACK, for areas that grow down.
    pub stack: u64,
    /// RLIMIT_MEMLOCK.
    pub locked: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { address_space: u64::MAX, data: u64::MAX, stack: 8 << 20, locked: 8 << 20 }
    }
}

/// One address space (Linux `mm_struct`), shared by threads and vfork children.
#[derive(Debug)]
pub struct Mm {
    id: u64,
    arena: Rc<Arena>,
    areas: RefCell<Areas>,
    layout: Cell<Layout>,
    limits: Cell<Limits>,
    /// mlockall(MCL_FUTURE).
    lock_future: Cell<bool>,
    /// Most pages that were present at once (VmHWM).
    peak_pages: Cell<u64>,
    /// Most bytes that were mapped at once (VmPeak).
    peak_bytes: Cell<u64>,
    /// The auxiliary vector, for /proc/PID/auxv.
    auxv: RefCell<Vec<u8>>,
}

impl Mm {
    /// An empty address space. ENOMEM.
    pub fn new(linear: &Rc<Linear>) -> Result<Rc<Mm>, Errno> {
        let arena = Arena::new(linear).map_err(|_| Errno::ENOMEM)?;
        Ok(Rc::new(Mm {
            id: linear.unique(),
            arena,
            areas: RefCell::default(),
            layout: Cell::new(Layout { mmap_base: GUEST_START, ..Layout::default() }),
            limits: Cell::default(),
            lock_future: Cell::new(false),
            peak_pages: Cell::new(0),
            peak_bytes: Cell::new(0),
            auxv: RefCell::default(),
        }))
    }

    /// For the hart's fast paths.
    pub fn window(&self) -> Window {
        self.arena.window()
    }

    /// Pages of the program will lie in `range`, for all that exec(2) knows: room is taken for them with the first one.
    pub fn expect(&self, range: &Range<u64>) {
        self.arena.expect(range.start / PAGE..range.end.div_ceil(PAGE));
    }

    /// The machine's memory.
    pub fn linear(&self) -> &Rc<Linear> {
        self.arena.linear()
    }

    /// Where exec(2) put things.
    pub fn layout(&self) -> Layout {
        self.layout.get()
    }

    /// Set by exec(2), prctl(PR_SET_MM_*).
    pub fn set_layout(&self, layout: Layout) {
        self.layout.set(layout);
    }

    /// Address to return to from a signal handler: `__vdso_rt_sigreturn`.
    pub fn vdso_sigreturn(&self) -> u64 {
        self.layout.get().sigreturn
    }

    /// Resource limits in force.
    pub fn limits(&self) -> Limits {
        self.limits.get()
    }

    /// setrlimit(2), and at exec.
    pub fn set_limits(&self, limits: Limits) {
        self.limits.set(limits);
    }

    /// The auxiliary vector as bytes.
    pub fn auxv(&self) -> Vec<u8> {
        self.auxv.borrow().clone()
    }

    /// Remember the auxiliary vector.
    pub fn set_auxv(&self, bytes: Vec<u8>) {
        self.auxv.replace(bytes);
    }

    /// The areas, for reading (/proc/PID/maps). Nothing may fault or map while they are borrowed.
    pub fn areas(&self) -> Ref<'_, Areas> {
        self.areas.borrow()
    }

    /// Bytes mapped (VmSize) and the most that ever were (VmPeak).
    pub fn size_bytes(&self) -> (u64, u64) {
        (self.areas.borrow().bytes(), self.peak_bytes.get())
    }

    /// Bytes present (VmRSS) and the most that ever were (VmHWM).
    pub fn resident_bytes(&self) -> (u64, u64) {
        let now = self.arena.resident();
        (now * PAGE, self.peak_pages.get().max(now) * PAGE)
    }

    /// Of an area: bytes present, and how many of these were written.
    pub fn area_usage(&self, area: &Area) -> (u64, u64) {
        let (mut present, mut dirty) = (0, 0);
        self.arena.each_present(area.start / PAGE, area.end / PAGE, |_, flags| {
            present += PAGE;
            dirty += if flags & arena::DIRTY != 0 { PAGE } else { 0 };
        });
        (present, dirty)
    }

    /// Decoded instructions of this space. The hart holds it while it runs, when nothing here is called.
    pub fn code(&self) -> RefMut<'_, CodeCache> {
        self.arena.code()
    }
}
