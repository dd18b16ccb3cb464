//! The exports: what a host (packer, `run`, page) calls.
//!
//! Order at pack time: `friscy_alloc`, `friscy_mount`, `friscy_chunk_slot`,
//! `friscy_set_warm_slot`, `friscy_record`, `friscy_boot`, `friscy_resume` until [`Status::Frozen`],
//! `friscy_profile`, `friscy_translations`, and then Wizer calls
//! `wizer-initialize` and takes the snapshot. On opening: `friscy_thaw`, then
//! `friscy_resume` for ever; or `_start`, which does both by itself.
//!
//! An error is 0, or the address of `{ len: u32, utf8: [u8; len] }`, which is never freed.
//!
//! [`Status::Frozen`]: friscy_formats::ring::Status::Frozen

use friscy_formats::aot::Translations;
use friscy_formats::boot::Boot;
use friscy_formats::ring::Header;

use crate::{alloc, command, state};

/// Guest instructions per call of the interpreter: V8 replaces code only when it is entered anew.
pub(crate) const BUDGET: u64 = 2_000_000;

fn error(result: Result<(), String>) -> *const u8 {
    let Err(message) = result else {
        return std::ptr::null();
    };
    let mut answer = Vec::with_capacity(4 + message.len());
    answer.extend_from_slice(&u32::try_from(message.len()).unwrap_or(0).to_le_bytes());
    answer.extend_from_slice(message.as_bytes());
    answer.leak().as_ptr()
}

/// Memory for the host to write into, 16-byte aligned; 0 when there is none.
#[unsafe(no_mangle)]
extern "C" fn friscy_alloc(len: usize) -> *mut u8 {
    alloc::raw(len)
}

/// Give back what `friscy_alloc(len)` gave.
#[unsafe(no_mangle)]
extern "C" fn friscy_free(ptr: *mut u8, len: usize) {
    // SAFETY: the host's promise; it can write all of this memory anyway.
    unsafe { alloc::free(ptr, len) }
}

/// Take the VFS archive at `ptr` for the root file system. It must stay where it is.
#[unsafe(no_mangle)]
extern "C" fn friscy_mount(ptr: *const u8, len: usize) -> *const u8 {
    // SAFETY: the host allocated these bytes here, filled them in and leaves them alone from now on.
    let archive = unsafe { std::slice::from_raw_parts(ptr, len) };
    error(state::with(|engine| engine.mount(archive)))
}

/// Start the program that the [`Boot`] archive at `ptr` describes.
#[unsafe(no_mangle)]
extern "C" fn friscy_boot(ptr: *const u8, len: usize) -> *const u8 {
    // SAFETY: the host allocated these bytes here and filled them in; they are only read during this call.
    let bytes = unsafe { std::slice::from_raw_parts(ptr, len) };
    let boot = Boot::from_bytes(bytes).ok_or_else(|| "the boot description is damaged".to_string());
    error(boot.and_then(|boot| state::with(|engine| engine.boot(boot))))
}

/// The ring's [`Header`].
#[unsafe(no_mangle)]
extern "C" fn friscy_ring() -> *mut Header {
    state::with(|engine| engine.ring())
}

/// Run for about `budget` guest instructions (0 or less: the engine's own idea of a slice). A [`Status`].
///
/// [`Status`]: friscy_formats::ring::Status
#[unsafe(no_mangle)]
extern "C" fn friscy_resume(budget: i64) -> u32 {
    let budget = u64::try_from(budget).ok().filter(|&budget| budget > 0).unwrap_or(BUDGET);
    state::with(|engine| engine.resume(budget)) as u32
}

/// What every thread does or waits for, one line each, in the form of an error: for a freeze point that is not reached.
#[unsafe(no_mangle)]
extern "C" fn friscy_tasks() -> *const u8 {
    error(Err(state::with(|engine| engine.tasks()).join("\n")))
}

/// What a freeze now will not carry over, one line each, in the form of an error.
#[unsafe(no_mangle)]
extern "C" fn friscy_caveats() -> *const u8 {
    error(Err(state::with(|engine| engine.caveats()).join("\n")))
}

/// Chunks come from this table slot after the freeze; `u32::MAX`: through the ring.
#[unsafe(no_mangle)]
extern "C" fn friscy_chunk_slot(slot: u32) {
    state::with(|engine| engine.chunk_slot(slot));
}

/// The warm blocks that the packer will put into the file come from this table slot.
#[unsafe(no_mangle)]
extern "C" fn friscy_set_warm_slot(slot: u32) {
    state::with(|engine| engine.set_warm_slot(slot));
}

/// That slot, for a host that fills it itself.
#[unsafe(no_mangle)]
extern "C" fn friscy_warm_slot() -> u32 {
    state::with(|engine| engine.warm_slot())
}

/// Record from now on what guest code runs.
#[unsafe(no_mangle)]
extern "C" fn friscy_record() {
    state::with(|engine| engine.record());
}

/// `bytes` as `{ len: u32, bytes: [u8; len] }`, which the host frees; 0 when there is no memory for it.
fn answer(bytes: &[u8]) -> *mut u8 {
    let answer = alloc::raw(4 + bytes.len());
    if !answer.is_null() {
        let len = u32::try_from(bytes.len()).unwrap_or(0).to_le_bytes();
        // SAFETY: `answer` is a new block of 4 + len bytes.
        unsafe {
            answer.copy_from_nonoverlapping(len.as_ptr(), 4);
            answer.add(4).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
    }
    answer
}

/// What was recorded, see [`answer`]; 0 when nothing is recorded. Recording ends. A
/// [`Profile`](friscy_formats::aot::Profile).
#[unsafe(no_mangle)]
extern "C" fn friscy_profile() -> *mut u8 {
    match state::with(|engine| engine.take_profile()) {
        Some(profile) => answer(&profile.to_bytes()),
        None => std::ptr::null_mut(),
    }
}

/// Record from now on which contents of files are read.
#[unsafe(no_mangle)]
extern "C" fn friscy_record_reads() {
    state::with(|engine| engine.record_reads());
}

/// Have the service on TCP `port` (of 16 bits) answer the request at `ptr` before [`Status::Frozen`] is told: after
/// `friscy_boot`, and once more after the snapshot, for a look at what an answer reads. Several calls, several requests.
///
/// [`Status::Frozen`]: friscy_formats::ring::Status::Frozen
#[unsafe(no_mangle)]
extern "C" fn friscy_warm_up(port: u32, ptr: *const u8, len: usize) {
    // SAFETY: the host allocated these bytes here and filled them in; they are only read during this call.
    let request = unsafe { std::slice::from_raw_parts(ptr, len) };
    if let Ok(port) = u16::try_from(port) {
        state::with(|engine| engine.warm_up(port, request));
    }
}

/// Blocks that were read, in order, see [`answer`]: a [`BlockId`](friscy_formats::warm::BlockId) each. Recording ends.
#[unsafe(no_mangle)]
extern "C" fn friscy_reads() -> *mut u8 {
    let reads = state::with(|engine| engine.take_reads());
    answer(&reads.iter().flat_map(|id| id.0.to_le_bytes()).collect::<Vec<u8>>())
}

/// The [`Translations`] at `ptr`: where the functions that the packer will append can be entered. The host promises
/// that their slots will hold what `friscy_runtime::hart::translated` describes before any guest code runs again.
#[unsafe(no_mangle)]
extern "C" fn friscy_translations(ptr: *const u8, len: usize) -> *const u8 {
    // SAFETY: the host allocated these bytes here and filled them in; they are only read during this call.
    let bytes = unsafe { std::slice::from_raw_parts(ptr, len) };
    let translations =
        Translations::from_bytes(bytes).ok_or_else(|| "the map of translations is damaged".to_string());
    error(translations.map(|translations| state::with(|engine| engine.translations(translations))))
}

/// The [`Translations`] at `ptr`, which came of an [`Op::Translate`](friscy_formats::ring::Op::Translate), hold as
/// well. The host promises for their slots what it does for those of [`friscy_translations`].
#[unsafe(no_mangle)]
extern "C" fn friscy_add_translations(ptr: *const u8, len: usize) -> *const u8 {
    // SAFETY: the host allocated these bytes here and filled them in; they are only read during this call.
    let bytes = unsafe { std::slice::from_raw_parts(ptr, len) };
    let translations =
        Translations::from_bytes(bytes).ok_or_else(|| "the map of translations is damaged".to_string());
    error(translations.map(|translations| state::with(|engine| engine.add_translations(translations))))
}

/// The functions in `count` slots of the table from `first` on are called no more.
#[unsafe(no_mangle)]
extern "C" fn friscy_remove_translations(first: u32, count: u32) {
    state::with(|engine| engine.remove_translations(&(first..first.saturating_add(count))));
}

/// Whether the table holds the functions that the packer appended (1) or not yet (0). It does in app.wasm as it is;
/// a host that takes them out says 0 first, and 1 once it has put them into their slots of the table.
#[unsafe(no_mangle)]
extern "C" fn friscy_translated(present: u32) {
    state::with(|engine| engine.translated(present != 0));
}

/// First call after opening: clocks, entropy and terminal size are those of this moment.
#[unsafe(no_mangle)]
extern "C" fn friscy_thaw() {
    state::with(|engine| engine.thaw());
}

/// Last call before the snapshot.
#[unsafe(export_name = "wizer-initialize")]
extern "C" fn wizer_initialize() {
    state::with(|engine| engine.freeze());
    alloc::freeze();
    wipe_stack();
}

/// Zero the shadow stack below this frame: what is there is dead, and would be in the snapshot.
#[inline(never)]
fn wipe_stack() {
    /// LLVM's red zone on wasm is 128 bytes; leave more than that.
    const MARGIN: usize = 256;
    let here = 0u8;
    let end = (std::hint::black_box(&raw const here) as usize).saturating_sub(MARGIN);
    for address in (16..end & !7).step_by(8) {
        // SAFETY: with --stack-first the stack is `0..initial stack pointer` and grows down; nothing below the
        // current frame and its red zone is in use. Address 0 is left out because Rust has no objects there.
        unsafe { std::ptr::with_exposed_provenance_mut::<u64>(address).write_volatile(0) };
    }
}

/// The WASI command.
#[unsafe(no_mangle)]
extern "C" fn _start() {
    command::main()
}
