//! eventfd(2): a counter that can be waited for.

use std::any::Any;
use std::cell::Cell;

use super::{FileOps, Io, OpenFile, poll};
use crate::abi::Errno;
use crate::kernel::Ctx;
use crate::kernel::wait::WaitQueue;

/// The largest count; the value above it is never reached.
const MAX: u64 = u64::MAX - 1;

/// The counter.
#[derive(Debug)]
pub struct EventFd {
    count: Cell<u64>,
    /// EFD_SEMAPHORE: a read takes one instead of all.
    semaphore: bool,
    queue: WaitQueue,
}

impl EventFd {
    /// A counter at `count`.
    pub fn new(count: u64, semaphore: bool) -> EventFd {
        EventFd { count: Cell::new(count), semaphore, queue: WaitQueue::new() }
    }

    /// The count (fdinfo).
    pub fn count(&self) -> u64 {
        self.count.get()
    }

    fn take(&self) -> Result<u64, Errno> {
        let count = self.count.get();
        if count == 0 {
            return Err(Errno::EAGAIN);
        }
        let taken = if self.semaphore { 1 } else { count };
        self.count.set(count - taken);
        self.queue.wake_all();
        Ok(taken)
    }

    fn add(&self, value: u64) -> Result<(), Errno> {
        if value == u64::MAX {
            return Err(Errno::EINVAL);
        }
        let sum = self.count.get().checked_add(value).filter(|&sum| sum <= MAX).ok_or(Errno::EAGAIN)?;
        self.count.set(sum);
        self.queue.wake_all();
        Ok(())
    }
}

impl FileOps for EventFd {
    fn read(&self, _: &mut Ctx<'_>, _: &OpenFile, dst: &mut Io<'_>, _: Option<u64>) -> Result<usize, Errno> {
        if dst.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        let value = self.take()?;
        Ok(dst.put(&value.to_le_bytes()))
    }

    fn write(&self, _: &mut Ctx<'_>, _: &OpenFile, src: &mut Io<'_>, _: Option<u64>) -> Result<usize, Errno> {
        let mut value = [0; 8];
        if src.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        src.take(&mut value);
        self.add(u64::from_le_bytes(value)).map(|()| 8)
    }

    fn poll(&self, _: &OpenFile) -> u32 {
        let mut bits = 0;
        if self.count.get() > 0 {
            bits |= poll::IN | poll::RDNORM;
        }
        if self.count.get() < MAX {
            bits |= poll::OUT | poll::WRNORM;
        }
        bits
    }

    fn queues(&self, visit: &mut dyn FnMut(&WaitQueue)) {
        visit(&self.queue);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_overflows() {
        let counter = EventFd::new(0, false);
        assert_eq!(counter.take(), Err(Errno::EAGAIN));
        counter.add(3).unwrap();
        counter.add(4).unwrap();
        assert_eq!(counter.take(), Ok(7));
        counter.add(MAX).unwrap();
        assert_eq!(counter.add(1), Err(Errno::EAGAIN));
        assert_eq!(counter.add(u64::MAX), Err(Errno::EINVAL));
        let semaphore = EventFd::new(2, true);
        assert_eq!(
            (semaphore.take(), semaphore.take(), semaphore.take()),
            (Ok(1), Ok(1), Err(Errno::EAGAIN))
        );
    }
}
