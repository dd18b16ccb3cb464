//! The engine's end of the ring ([`friscy_formats::ring`] is the layout).
//!
//! Whoever wants something from outside submits a request with its buffer; the
//! ring owns the buffer until the host completes the request, and hands both
//! back through [`Ring::next_completion`], which the machine routes. Requests
//! beyond the queue's size wait in a backlog. The console's requests in flight
//! when the machine is frozen are asked again by [`Ring::thaw`], after the output from before.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use friscy_formats::ring::{
    Completion, ENTRIES, Header, LogLevel, MAGIC, Op, REPLAY_BYTES, Submission, VERSION,
};

/// What host and engine both touch.
#[repr(C)]
struct Shared {
    header: Header,
    sq: [Submission; ENTRIES as usize],
    cq: [Completion; ENTRIES as usize],
}

/// A request on its way.
struct Request {
    op: Op,
    arg: u32,
    buffer: Vec<u8>,
    /// In the chunk store.
    offset: u64,
}

/// What came back from the host.
#[derive(Debug)]
pub enum Completed {
    /// A request was answered.
    Request {
        /// What [`Ring::submit`] returned.
        token: u64,
        /// What was asked.
        op: Op,
        /// Its argument.
        arg: u32,
        /// Zero or more on success, a negative error number on failure.
        result: i64,
        /// The request's buffer.
        buffer: Vec<u8>,
    },
    /// Something happened outside: an `EVENT_*` of [`friscy_formats::ring`].
    Event {
        /// Which.
        event: u64,
        /// Its argument.
        result: i64,
    },
}

/// The ring. Clones are the same one: the chunk store and the console hold theirs.
#[derive(Clone)]
pub struct Ring(Rc<Inner>);

struct Inner {
    shared: UnsafeCell<Shared>,
    next_token: Cell<u64>,
    in_flight: RefCell<BTreeMap<u64, Request>>,
    backlog: RefCell<VecDeque<u64>>,
    /// What the host has written so far, while a freeze is to come.
    replay: RefCell<Option<Vec<(u32, Vec<u8>)>>>,
    /// What is still to be repeated after a freeze: stream and bytes.
    repeats: RefCell<VecDeque<(u32, Vec<u8>)>>,
    /// The console write that repeats the first of them; 0 none.
    repeating: Cell<u64>,
    /// Console writes that wait until everything is repeated.
    held: RefCell<Vec<u64>>,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("in_flight", &self.0.in_flight.borrow().len()).finish_non_exhaustive()
    }
}

impl Default for Ring {
    fn default() -> Ring {
        Ring::new()
    }
}

impl Ring {
    /// An empty ring.
    pub fn new() -> Ring {
        let header = Header {
            magic: MAGIC,
            version: VERSION,
            sq_head: 0,
            sq_tail: 0,
            cq_head: 0,
            cq_tail: 0,
            sq: 0,
            cq: 0,
            status: 0,
            exit_code: 0,
            deadline_ns: u64::MAX,
            retired: 0,
            rows: 0,
            cols: 0,
        };
        let submission = Submission { op: 0, arg: 0, token: 0, addr: 0, len: 0, offset: 0 };
        let sq = [submission; ENTRIES as usize];
        let cq = [Completion { token: 0, result: 0 }; ENTRIES as usize];
        let ring = Ring(Rc::new(Inner {
            shared: UnsafeCell::new(Shared { header, sq, cq }),
            next_token: Cell::new(1),
            in_flight: RefCell::default(),
            backlog: RefCell::default(),
            replay: RefCell::new(None),
            repeats: RefCell::default(),
            repeating: Cell::new(0),
            held: RefCell::default(),
        }));
        let shared = ring.0.shared.get();
        // SAFETY: `shared` is the cell's own memory; only field addresses are taken.
        let (sq, cq) = unsafe { (&raw mut (*shared).sq, &raw mut (*shared).cq) };
        // On a 64-bit host (tests) these are cut: such hosts use `host_take` and `host_complete`.
        ring.with(|shared| {
            shared.header.sq = sq.expose_provenance() as u32;
            shared.header.cq = cq.expose_provenance() as u32;
        });
        ring
    }

    fn with<R>(&self, f: impl FnOnce(&mut Shared) -> R) -> R {
        // SAFETY: engine and host never run at the same time, and no reference
        // outlives this call: `f` is always one of this file's closures, none of which calls back.
        f(unsafe { &mut *self.0.shared.get() })
    }

    /// Where the header is, for the host. Stays valid as long as any clone of the ring.
    pub fn header(&self) -> *mut Header {
        self.0.shared.get().cast()
    }

    /// A copy of the header.
    pub fn read_header(&self) -> Header {
        self.with(|shared| shared.header)
    }

    /// Change the header's fields for the host.
    pub fn set_header(&self, f: impl FnOnce(&mut Header)) {
        let mut header = self.read_header();
        f(&mut header);
        self.with(|shared| shared.header = header);
    }

    /// Ask the host for `op`. The buffer (to be read or filled by the host)
    /// comes back with the completion. Returns the request's token.
    pub fn submit(&self, op: Op, arg: u32, buffer: Vec<u8>) -> u64 {
        self.submit_at(op, arg, 0, buffer)
    }

    /// [`Ring::submit`] of an operation that reads the chunk store, from `offset` on.
    pub fn submit_at(&self, op: Op, arg: u32, offset: u64, buffer: Vec<u8>) -> u64 {
        let token = self.0.next_token.get();
        self.0.next_token.set(token + 1);
        self.0.in_flight.borrow_mut().insert(token, Request { op, arg, buffer, offset });
        if op == Op::ConsoleWrite && self.0.repeating.get() != 0 {
            self.0.held.borrow_mut().push(token);
        } else {
            self.0.backlog.borrow_mut().push_back(token);
            self.pump();
        }
        token
    }

    /// A line for the user.
    pub fn log(&self, level: LogLevel, line: &str) {
        self.submit(Op::Log, level as u32, line.as_bytes().to_vec());
    }

    /// Move the backlog into the queue as far as there is room.
    fn pump(&self) {
        let mut backlog = self.0.backlog.borrow_mut();
        let in_flight = self.0.in_flight.borrow();
        while let Some(&token) = backlog.front() {
            if self.with(|shared| shared.header.sq_tail.wrapping_sub(shared.header.sq_head) >= ENTRIES) {
                return;
            }
            backlog.pop_front();
            let Some(request) = in_flight.get(&token) else { continue };
            let entry = Submission {
                op: request.op as u32,
                arg: request.arg,
                token,
                addr: request.buffer.as_ptr().expose_provenance() as u64,
                len: request.buffer.len() as u64,
                offset: request.offset,
            };
            self.with(|shared| {
                let tail = shared.header.sq_tail;
                shared.sq[(tail % ENTRIES) as usize] = entry;
                shared.header.sq_tail = tail.wrapping_add(1);
            });
        }
    }

    /// More requests than the queue holds: the host should run.
    pub fn congested(&self) -> bool {
        !self.0.backlog.borrow().is_empty()
    }

    /// The next answer or event from the host.
    pub fn next_completion(&self) -> Option<Completed> {
        // The host has taken what was queued: without this a backlog would wait for the next request, and the last
        // output of a program that has ended for ever.
        self.pump();
        loop {
            let Completion { token, result } = self.with(|shared| {
                let head = shared.header.cq_head;
                if head == shared.header.cq_tail {
                    return None;
                }
                shared.header.cq_head = head.wrapping_add(1);
                Some(shared.cq[(head % ENTRIES) as usize])
            })?;
            if token >> 63 != 0 {
                return Some(Completed::Event { event: token, result });
            }
            // An answer to nothing is the host's mistake; it must not become ours.
            let Some(request) = self.0.in_flight.borrow_mut().remove(&token) else { continue };
            let Request { op, arg, buffer, .. } = request;
            let result = result.min(buffer.len() as i64);
            if op == Op::Log {
                continue;
            }
            let taken = usize::try_from(result).unwrap_or(buffer.len());
            if self.0.repeating.get() == token {
                self.0.repeating.set(0);
                if taken < buffer.len() {
                    self.0.repeats.borrow_mut().push_front((arg, buffer[taken..].to_vec()));
                }
                self.repeat();
                continue;
            }
            if op == Op::ConsoleWrite {
                self.keep(arg, &buffer[..taken]);
            }
            return Some(Completed::Request { token, op, arg, result, buffer });
        }
    }

    // ---- Freezing ----

    /// Keep what the host writes from now on, because a freeze is to come.
    pub fn keep_output(&self) {
        *self.0.replay.borrow_mut() = Some(Vec::new());
    }

    fn keep(&self, stream: u32, bytes: &[u8]) {
        if let Some(replay) = self.0.replay.borrow_mut().as_mut() {
            let kept: usize = replay.iter().map(|(_, bytes)| bytes.len()).sum();
            let bytes = &bytes[..bytes.len().min(REPLAY_BYTES.saturating_sub(kept))];
            if bytes.is_empty() {
                return;
            }
            match replay.last_mut() {
                Some((last, buffer)) if *last == stream => buffer.extend_from_slice(bytes),
                _ => replay.push((stream, bytes.to_vec())),
            }
        }
    }

    /// The other world is gone: nothing it took or answered counts any more.
    pub fn freeze(&self) {
        self.with(|shared| {
            let header = &mut shared.header;
            (header.sq_head, header.sq_tail, header.cq_head, header.cq_tail) = (0, 0, 0, 0);
            shared.sq.fill(Submission { op: 0, arg: 0, token: 0, addr: 0, len: 0, offset: 0 });
            shared.cq.fill(Completion { token: 0, result: 0 });
        });
        let mut in_flight = self.0.in_flight.borrow_mut();
        if let Some(repeated) = in_flight.remove(&self.0.repeating.take()) {
            self.0.repeats.borrow_mut().push_front((repeated.arg, repeated.buffer));
        }
        in_flight.retain(|_, request| matches!(request.op, Op::ConsoleRead | Op::ConsoleWrite));
        self.0.backlog.borrow_mut().clear();
    }

    /// Ask everything again that was on its way at the freeze; what is written waits until what was written
    /// before is repeated.
    pub fn thaw(&self) {
        self.0.repeats.borrow_mut().extend(self.0.replay.take().unwrap_or_default());
        let in_flight = self.0.in_flight.borrow();
        let (writes, others): (Vec<u64>, Vec<u64>) =
            in_flight.keys().partition(|token| in_flight[token].op == Op::ConsoleWrite);
        drop(in_flight);
        self.0.held.replace(writes);
        self.repeat();
        self.0.backlog.borrow_mut().extend(others);
        self.pump();
    }

    /// Write the next piece that is to be repeated: one at a time, so that order holds when a host takes one in
    /// part. After the last, what was held is on its way.
    fn repeat(&self) {
        let next = self.0.repeats.borrow_mut().pop_front();
        match next {
            Some((stream, bytes)) => {
                let token = self.submit(Op::ConsoleWrite, stream, bytes);
                self.0.repeating.set(token);
            }
            None => {
                self.0.backlog.borrow_mut().extend(self.0.held.take());
                self.pump();
            }
        }
    }

    /// Forget all requests: another program is booted in the place of one that never ran.
    pub fn reset(&self) {
        self.0.in_flight.borrow_mut().clear();
        self.0.backlog.borrow_mut().clear();
        self.0.repeats.borrow_mut().clear();
        self.0.held.borrow_mut().clear();
        self.0.repeating.set(0);
        self.with(|shared| shared.header.sq_head = shared.header.sq_tail);
    }

    /// Chunks are on their way.
    pub fn fetching(&self) -> bool {
        self.0
            .in_flight
            .borrow()
            .values()
            .any(|request| matches!(request.op, Op::ChunkFetch | Op::ChunkRefetch))
    }

    /// Nothing is on its way to the console.
    pub fn console_drained(&self) -> bool {
        !self.0.in_flight.borrow().values().any(|request| request.op == Op::ConsoleWrite)
    }

    // ---- For hosts in the same address space (tests) ----

    /// The host's side: take the next request. The bytes are a copy; what a read brings goes to [`Ring::host_complete`].
    pub fn host_take(&self) -> Option<(Submission, Vec<u8>)> {
        let entry = self.with(|shared| {
            let head = shared.header.sq_head;
            if head == shared.header.sq_tail {
                return None;
            }
            shared.header.sq_head = head.wrapping_add(1);
            Some(shared.sq[(head % ENTRIES) as usize])
        })?;
        let in_flight = self.0.in_flight.borrow();
        Some((entry, in_flight.get(&entry.token).map(|r| r.buffer.clone()).unwrap_or_default()))
    }

    /// The host's side: answer with `result`, after filling the request's buffer with `data`. False: queue full, resume first.
    pub fn host_complete(&self, token: u64, result: i64, data: &[u8]) -> bool {
        if let Some(request) = self.0.in_flight.borrow_mut().get_mut(&token) {
            let len = data.len().min(request.buffer.len());
            request.buffer[..len].copy_from_slice(&data[..len]);
        }
        self.with(|shared| {
            let header = &mut shared.header;
            if header.cq_tail.wrapping_sub(header.cq_head) >= ENTRIES {
                return false;
            }
            shared.cq[(header.cq_tail % ENTRIES) as usize] = Completion { token, result };
            header.cq_tail = header.cq_tail.wrapping_add(1);
            true
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_all(ring: &Ring) -> Vec<(Op, u64, Vec<u8>)> {
        std::iter::from_fn(|| ring.host_take())
            .map(|(s, bytes)| (Op::from_u32(s.op).expect("known"), s.token, bytes))
            .collect()
    }

    #[test]
    fn the_backlog_waits_for_room_and_strange_answers_are_ignored() {
        let ring = Ring::new();
        for i in 0..100 {
            ring.log(LogLevel::Warning, &i.to_string());
        }
        assert!(ring.congested());
        ring.host_complete(12345, 7, &[]);
        let first = take_all(&ring);
        assert_eq!(first.len(), 64);
        for (_, token, _) in &first[..10] {
            ring.host_complete(*token, i64::MAX, &[]);
        }
        assert!(ring.next_completion().is_none());
        assert_eq!(take_all(&ring).len(), 36);
        assert!(!ring.congested());
    }

    #[test]
    fn what_was_on_its_way_is_asked_again_after_a_freeze() {
        let ring = Ring::new();
        ring.keep_output();
        ring.submit(Op::ConsoleWrite, 1, b"$ ".to_vec());
        let taken = take_all(&ring);
        ring.host_complete(taken[0].1, 2, &[]);
        assert!(matches!(
            ring.next_completion(),
            Some(Completed::Request { op: Op::ConsoleWrite, result: 2, .. })
        ));
        ring.submit(Op::ConsoleRead, 0, vec![0; 16]);
        ring.submit(Op::ChunkFetch, 7, vec![0; 3]);
        take_all(&ring);
        ring.freeze();
        assert!(take_all(&ring).is_empty());
        ring.thaw();
        let again = take_all(&ring);
        assert_eq!(again.iter().map(|e| e.0).collect::<Vec<_>>(), [Op::ConsoleWrite, Op::ConsoleRead]);
        ring.submit(Op::ConsoleWrite, 1, b"later".to_vec());
        assert!(take_all(&ring).is_empty(), "it waits for what was written before");
        assert_eq!(again[0].2, b"$ ");
        ring.host_complete(again[0].1, 1, &[]);
        assert!(ring.next_completion().is_none(), "nobody waits for the answer to a replay");
        let rest = take_all(&ring);
        assert_eq!((rest.len(), &rest[0].2[..]), (1, &b" "[..]));
        ring.host_complete(rest[0].1, 1, &[]);
        assert!(ring.next_completion().is_none());
        assert_eq!(take_all(&ring)[0].2, b"later");
        ring.host_complete(again[1].1, 3, b"abc");
        match ring.next_completion() {
            Some(Completed::Request { op: Op::ConsoleRead, result: 3, buffer, .. }) => {
                assert_eq!(&buffer[..3], b"abc");
            }
            other => panic!("{other:?}"),
        }
    }
}
