//! The host's end of the ring when the machine is linked into this process.

use friscy_formats::ring::{Completion, ENTRIES, Header, Submission};

/// View of a machine's ring; valid while the machine lives, used only between two calls of `resume`.
pub(super) struct Door(*mut Header);

impl Door {
    pub(super) fn new(header: *mut Header) -> Door {
        Door(header)
    }

    /// A copy of the header.
    pub(super) fn header(&self) -> Header {
        // SAFETY: the machine that owns the ring is alive and not running.
        unsafe { *self.0 }
    }

    /// The next request.
    pub(super) fn take(&mut self) -> Option<Submission> {
        // SAFETY: as in `header`; the queue of ENTRIES submissions lies behind the header (`runtime::ring`).
        unsafe {
            let header = &mut *self.0;
            if header.sq_head == header.sq_tail {
                return None;
            }
            let queue = self.0.add(1).cast::<Submission>();
            let entry = *queue.add((header.sq_head % ENTRIES) as usize);
            header.sq_head = header.sq_head.wrapping_add(1);
            Some(entry)
        }
    }

    /// Answer a request.
    pub(super) fn complete(&mut self, token: u64, result: i64) {
        // SAFETY: as in `take`; completions lie behind the submissions.
        unsafe {
            let header = &mut *self.0;
            assert!(header.cq_tail.wrapping_sub(header.cq_head) < ENTRIES, "more answers than questions");
            let queue = self.0.add(1).cast::<Submission>().add(ENTRIES as usize).cast::<Completion>();
            *queue.add((header.cq_tail % ENTRIES) as usize) = Completion { token, result };
            header.cq_tail = header.cq_tail.wrapping_add(1);
        }
    }

    /// The buffer of a request that has not been answered yet.
    pub(super) fn buffer(&mut self, entry: &Submission) -> &mut [u8] {
        if entry.len == 0 {
            return &mut [];
        }
        // SAFETY: the engine put the buffer aside for this request until it is answered.
        unsafe {
            std::slice::from_raw_parts_mut(
                std::ptr::with_exposed_provenance_mut(entry.addr as usize),
                entry.len as usize,
            )
        }
    }
}
