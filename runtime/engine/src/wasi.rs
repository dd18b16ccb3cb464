//! The imports: `wasi_snapshot_preview1` and nothing else.
//!
//! Declared by hand, so that the import section of app.wasm is exactly what is
//! used. Signatures are those of the preview 1 witx; the rest of the crate sees
//! the safe functions. An error is a WASI errno.

use std::cell::Cell;

use friscy_runtime::platform::Platform;

type Errno = u32;
const SUCCESS: Errno = 0;
/// EINTR.
pub(crate) const INTR: Errno = 27;
/// EPIPE.
pub(crate) const PIPE: Errno = 64;
/// EAGAIN.
pub(crate) const AGAIN: Errno = 6;

/// Kind of descriptor, of `fdstat.fs_filetype`: a regular file is always ready, and not every poll_oneoff knows it.
pub(crate) const REGULAR_FILE: u8 = 4;

const CLOCK_REALTIME: u32 = 0;
const CLOCK_MONOTONIC: u32 = 1;

mod raw {
    use super::{Errno, Event, Fdstat, Iovec, Subscription};

    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        pub(super) fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> Errno;
        pub(super) fn random_get(buffer: *mut u8, len: usize) -> Errno;
        pub(super) fn fd_read(fd: u32, vectors: *const Iovec, count: usize, read: *mut usize) -> Errno;
        pub(super) fn fd_write(fd: u32, vectors: *const Iovec, count: usize, written: *mut usize) -> Errno;
        pub(super) fn fd_fdstat_get(fd: u32, stat: *mut Fdstat) -> Errno;
        pub(super) fn poll_oneoff(
            input: *const Subscription,
            output: *mut Event,
            count: usize,
            events: *mut usize,
        ) -> Errno;
        pub(super) fn args_sizes_get(count: *mut usize, bytes: *mut usize) -> Errno;
        pub(super) fn args_get(vector: *mut *mut u8, buffer: *mut u8) -> Errno;
        pub(super) fn environ_sizes_get(count: *mut usize, bytes: *mut usize) -> Errno;
        pub(super) fn environ_get(vector: *mut *mut u8, buffer: *mut u8) -> Errno;
        pub(super) fn proc_exit(code: u32) -> !;
        pub(super) fn fd_prestat_get(fd: u32, prestat: *mut [u32; 2]) -> Errno;
        pub(super) fn path_open(
            directory: u32,
            lookup: u32,
            path: *const u8,
            path_len: usize,
            how: u32,
            rights: u64,
            rights_inheriting: u64,
            flags: u32,
            opened: *mut u32,
        ) -> Errno;
        pub(super) fn fd_pread(
            fd: u32,
            vectors: *const Iovec,
            count: usize,
            offset: u64,
            read: *mut usize,
        ) -> Errno;
    }
}

#[repr(C)]
struct Iovec {
    base: *const u8,
    len: usize,
}

#[repr(C)]
#[derive(Default)]
struct Fdstat {
    filetype: u8,
    flags: u16,
    rights_base: u64,
    rights_inheriting: u64,
}
const _: () = assert!(size_of::<Fdstat>() == 24);

/// `subscription`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Subscription {
    userdata: u64,
    tag: u8,
    union: SubscriptionUnion,
}
const _: () = assert!(size_of::<Subscription>() == 48);

/// Laid out for its largest member, the clock; for `fd_read` the descriptor stands where the clock's id does.
#[repr(C, align(8))]
#[derive(Clone, Copy, Default)]
struct SubscriptionUnion {
    id_or_fd: u32,
    timeout_ns: u64,
    precision_ns: u64,
    flags: u16,
}
const TAG_CLOCK: u8 = 0;
const TAG_FD_READ: u8 = 1;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Event {
    userdata: u64,
    error: u16,
    kind: u8,
    bytes: u64,
    flags: u16,
}
const _: () = assert!(size_of::<Event>() == 32);

fn clock(id: u32) -> u64 {
    let mut time = 0;
    // SAFETY: `time` outlives the call. A refusal leaves 0, which is as good as any answer there is.
    unsafe { raw::clock_time_get(id, 1, &mut time) };
    time
}

/// CLOCK_MONOTONIC in ns.
pub(crate) fn monotonic_ns() -> u64 {
    clock(CLOCK_MONOTONIC)
}

/// Read what there is, waiting for the first byte. 0 is the end.
pub(crate) fn read(fd: u32, buffer: &mut [u8]) -> Result<usize, Errno> {
    let vector = Iovec { base: buffer.as_mut_ptr(), len: buffer.len() };
    let mut count = 0;
    // SAFETY: one vector, describing `buffer`, which is exclusively borrowed for the call.
    match unsafe { raw::fd_read(fd, &vector, 1, &mut count) } {
        SUCCESS => Ok(count.min(buffer.len())),
        error => Err(error),
    }
}

/// Write all of `buffer`; the bytes taken before an error count.
pub(crate) fn write(fd: u32, buffer: &[u8]) -> Result<usize, Errno> {
    let mut done = 0;
    while done < buffer.len() {
        let rest = &buffer[done..];
        let vector = Iovec { base: rest.as_ptr(), len: rest.len() };
        let mut count = 0;
        // SAFETY: one vector, describing `rest`, which is borrowed for the call and only read.
        match unsafe { raw::fd_write(fd, &vector, 1, &mut count) } {
            SUCCESS if count > 0 => done += count.min(rest.len()),
            INTR | AGAIN => {}
            SUCCESS => break,
            error if done == 0 => return Err(error),
            _ => break,
        }
    }
    Ok(done)
}

/// Rights to read, to seek and to tell, which some hosts want named.
const RIGHTS_READ: u64 = 1 << 1 | 1 << 2 | 1 << 5 | 1 << 21;
/// Follow symbolic links.
const LOOKUP_FOLLOW: u32 = 1;
/// The first descriptor that can be a directory given by the host.
const FIRST_PREOPEN: u32 = 3;

/// Open `path` for reading in the first of the host's directories that has it.
pub(crate) fn open(path: &str) -> Option<u32> {
    for directory in FIRST_PREOPEN.. {
        let mut prestat = [0; 2];
        // SAFETY: `prestat` is a tag and a length, two words, and outlives the call.
        if unsafe { raw::fd_prestat_get(directory, &mut prestat) } != SUCCESS {
            break;
        }
        let mut fd = 0;
        // SAFETY: `path` is borrowed for the call, and `fd` outlives it.
        let error = unsafe {
            let (path, len) = (path.as_ptr(), path.len());
            raw::path_open(directory, LOOKUP_FOLLOW, path, len, 0, RIGHTS_READ, 0, 0, &mut fd)
        };
        if error == SUCCESS {
            return Some(fd);
        }
    }
    None
}

/// Fill `buffer` from `offset` of an open file. False when the file ends before.
pub(crate) fn read_at(fd: u32, mut offset: u64, buffer: &mut [u8]) -> bool {
    let mut rest = buffer;
    while !rest.is_empty() {
        let vector = Iovec { base: rest.as_mut_ptr(), len: rest.len() };
        let mut count = 0;
        // SAFETY: one vector, describing `rest`, which is exclusively borrowed for the call.
        match unsafe { raw::fd_pread(fd, &vector, 1, offset, &mut count) } {
            SUCCESS if count > 0 => {
                let count = count.min(rest.len());
                rest = &mut rest[count..];
                offset += count as u64;
            }
            INTR => {}
            _ => return false,
        }
    }
    true
}

/// The descriptor's filetype, 0 when the host does not say.
pub(crate) fn filetype(fd: u32) -> u8 {
    let mut stat = Fdstat::default();
    // SAFETY: `stat` has the layout of `fdstat` and outlives the call.
    unsafe { raw::fd_fdstat_get(fd, &mut stat) };
    stat.filetype
}

/// What [`wait`] saw.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// The descriptor has something to read, its end included.
    Readable,
    /// The time is over (or the wait was cut short).
    Timeout,
    /// This host cannot poll that descriptor.
    Unsupported,
}

/// Wait until `fd` is readable or `timeout_ns` are over.
pub(crate) fn wait(fd: Option<u32>, timeout_ns: Option<u64>) -> Woken {
    let mut input = [Subscription::default(); 2];
    let mut count = 0;
    if let Some(fd) = fd {
        let union = SubscriptionUnion { id_or_fd: fd, ..SubscriptionUnion::default() };
        input[count] = Subscription { userdata: 0, tag: TAG_FD_READ, union };
        count += 1;
    }
    if let Some(timeout_ns) = timeout_ns {
        let union =
            SubscriptionUnion { id_or_fd: CLOCK_MONOTONIC, timeout_ns, ..SubscriptionUnion::default() };
        input[count] = Subscription { userdata: 1, tag: TAG_CLOCK, union };
        count += 1;
    }
    let mut output = [Event::default(); 2];
    let mut events = 0;
    // SAFETY: `count` subscriptions are filled in, and there is room for as many events.
    let error = unsafe { raw::poll_oneoff(input.as_ptr(), output.as_mut_ptr(), count, &mut events) };
    if error != SUCCESS {
        return if error == INTR { Woken::Timeout } else { Woken::Unsupported };
    }
    match output[..events.min(count)].iter().find(|event| event.userdata == 0 && fd.is_some()) {
        Some(event) if event.error != 0 => Woken::Unsupported,
        Some(_) => Woken::Readable,
        None => Woken::Timeout,
    }
}

type SizesGet = unsafe extern "C" fn(*mut usize, *mut usize) -> Errno;
type ListGet = unsafe extern "C" fn(*mut *mut u8, *mut u8) -> Errno;

/// The two halves of `args_*` and `environ_*`.
fn strings(sizes: SizesGet, list: ListGet) -> Vec<Vec<u8>> {
    let (mut count, mut bytes) = (0, 0);
    // SAFETY: two out-parameters that outlive the call.
    if unsafe { sizes(&mut count, &mut bytes) } != SUCCESS || count == 0 {
        return Vec::new();
    }
    let mut pointers = vec![std::ptr::null_mut(); count];
    let mut buffer = vec![0u8; bytes];
    // SAFETY: the vectors have the sizes that the host has just asked for.
    if unsafe { list(pointers.as_mut_ptr(), buffer.as_mut_ptr()) } != SUCCESS {
        return Vec::new();
    }
    // The strings follow each other, each with its NUL; the pointers say nothing more.
    buffer.split(|&byte| byte == 0).take(count).map(<[u8]>::to_vec).collect()
}

/// The command line, program name first.
pub(crate) fn args() -> Vec<Vec<u8>> {
    strings(raw::args_sizes_get, raw::args_get)
}

/// The environment, `NAME=value` each.
pub(crate) fn environ() -> Vec<Vec<u8>> {
    strings(raw::environ_sizes_get, raw::environ_get)
}

/// End the instance.
pub(crate) fn exit(code: u32) -> ! {
    // SAFETY: does not return, touches no memory.
    unsafe { raw::proc_exit(code) }
}

/// The machine's platform: WASI clocks and entropy, and the chunk segment of the file itself.
#[derive(Debug)]
pub(crate) struct Wasi {
    /// Table slot of the chunk accessor; see [`Wasi::chunk_segment`].
    pub(crate) chunk_slot: Cell<u32>,
    /// Table slot of the warm segment's accessor.
    pub(crate) warm_slot: Cell<u32>,
}

/// [`Wasi::chunk_slot`] while chunks come through the ring.
pub(crate) const NO_SLOT: u32 = u32::MAX;

impl Platform for Wasi {
    fn realtime_ns(&self) -> u64 {
        clock(CLOCK_REALTIME)
    }

    fn monotonic_ns(&self) -> u64 {
        monotonic_ns()
    }

    fn entropy(&self, bytes: &mut [u8]) {
        // SAFETY: the slice is exclusively borrowed for the call.
        let error = unsafe { raw::random_get(bytes.as_mut_ptr(), bytes.len()) };
        assert_eq!(error, SUCCESS, "the host has no entropy");
    }

    fn chunk_segment(&self, offset: u64, dst: &mut [u8]) -> bool {
        copy_segment(self.chunk_slot.get(), offset, dst)
    }

    fn warm_segment(&self, offset: u64, dst: &mut [u8]) -> bool {
        copy_segment(self.warm_slot.get(), offset, dst)
    }
}

/// The accessors are appended by the packer: `(dst, offset, len)`, a `memory.init` of a passive segment. Reading past the
/// segment's end traps, which only a damaged file can do.
fn copy_segment(slot: u32, offset: u64, dst: &mut [u8]) -> bool {
    let (Ok(offset), true) = (u32::try_from(offset), slot != NO_SLOT) else {
        return false;
    };
    // SAFETY: on wasm32 a function pointer is a table index, and the host promised (`friscy_chunk_slot`,
    // `friscy_set_warm_slot`) that this slot holds a function of this type; the table checks the type again. It writes
    // `dst` only.
    unsafe {
        let accessor: extern "C" fn(*mut u8, u32, usize) = std::mem::transmute(slot as usize);
        accessor(dst.as_mut_ptr(), offset, dst.len());
    }
    true
}
