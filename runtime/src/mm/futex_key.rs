//! What a futex word is the same as: see futex(2), "private" and shared.

use super::{Backing, Mm};

/// Identity of a futex word. Two words are one futex when their keys are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FutexKey {
    /// Private memory: address space and address.
    Private {
        /// Identity of the address space.
        mm: u64,
        /// Guest address.
        addr: u64,
    },
    /// A shared mapping: object and offset in it.
    Shared {
        /// Identity of the object.
        object: u64,
        /// Byte offset.
        offset: u64,
    },
}

impl Mm {
    /// The key of the word at `addr`. `private` (FUTEX_PRIVATE_FLAG) skips the look at the mapping.
    pub fn futex_key(&self, addr: u64, private: bool) -> FutexKey {
        if !private
            && let Some(area) = self.areas.borrow().find(addr)
            && area.shared()
            && let Backing::File(mapped) = &area.backing
        {
            let object = mapped.pages.sharers().id(self.linear());
            return FutexKey::Shared { object, offset: area.offset_of(addr) };
        }
        FutexKey::Private { mm: self.id, addr }
    }
}
