//! The host's end of the ring, for the one host that lives inside: [`crate::command`].

use friscy_formats::ring::{Completion, ENTRIES, Header, Submission};

/// Safe view of the ring. Valid between two calls of `resume`.
pub(crate) struct Door {
    header: *mut Header,
}

impl Door {
    /// Of this ring, which the machine owns and never frees.
    pub(crate) fn new(header: *mut Header) -> Door {
        Door { header }
    }

    /// A copy of the header.
    pub(crate) fn header(&self) -> Header {
        // SAFETY: the machine's ring lives as long as the instance; engine and host never run at the same time.
        unsafe { *self.header }
    }

    /// The next request.
    pub(crate) fn take(&mut self) -> Option<Submission> {
        // SAFETY: as in `header`; `sq` is an array of ENTRIES and the index is masked.
        unsafe {
            let header = &mut *self.header;
            if header.sq_head == header.sq_tail {
                return None;
            }
            let entries = std::ptr::with_exposed_provenance::<Submission>(header.sq as usize);
            let entry = *entries.add((header.sq_head & (ENTRIES - 1)) as usize);
            header.sq_head = header.sq_head.wrapping_add(1);
            Some(entry)
        }
    }

    /// Answer a request. False when the queue is full: resume first.
    pub(crate) fn complete(&mut self, token: u64, result: i64) -> bool {
        // SAFETY: as in `take`.
        unsafe {
            let header = &mut *self.header;
            if header.cq_tail.wrapping_sub(header.cq_head) >= ENTRIES {
                return false;
            }
            let entries = std::ptr::with_exposed_provenance_mut::<Completion>(header.cq as usize);
            *entries.add((header.cq_tail & (ENTRIES - 1)) as usize) = Completion { token, result };
            header.cq_tail = header.cq_tail.wrapping_add(1);
            true
        }
    }

    /// The buffer of a request that has not been completed yet.
    pub(crate) fn buffer(&mut self, entry: &Submission) -> &mut [u8] {
        let (addr, len) = (entry.addr as usize, entry.len as usize);
        if len == 0 {
            return &mut [];
        }
        // SAFETY: the engine put the buffer aside for this request until its completion.
        unsafe { std::slice::from_raw_parts_mut(std::ptr::with_exposed_provenance_mut(addr), len) }
    }
}
