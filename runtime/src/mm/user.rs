//! The kernel's own accesses to guest memory: they pass the same permission bytes as the guest's.

use super::arena::PRESENT;
use super::fault::needed;
use super::{Access, Fault, GUEST_END, Mm, PAGE};
use crate::abi::Errno;

impl Mm {
    /// Fault in a whole range for the kernel. EFAULT, PENDING; ENOMEM when memory is used up.
    pub fn fault_in(&self, addr: u64, len: u64, access: Access) -> Result<(), Errno> {
        if len == 0 {
            return Ok(());
        }
        let end = addr.checked_add(len).filter(|&end| end <= GUEST_END).ok_or(Errno::EFAULT)?;
        for page in addr / PAGE..end.div_ceil(PAGE) {
            if self.arena.flags(page) & needed(access) == 0 {
                self.fault(page * PAGE, access)?;
            }
        }
        Ok(())
    }

    /// How many of `len` bytes at `addr` can be accessed, faulting them in:
    /// for calls that do part of their work before a bad address. PENDING, ENOMEM.
    pub fn fault_in_part(&self, addr: u64, len: u64, access: Access) -> Result<u64, Errno> {
        let end = addr.saturating_add(len).min(GUEST_END);
        let mut at = addr;
        while at < end {
            match self.fault(at, access) {
                Ok(()) => at = (at & !(PAGE - 1)) + PAGE,
                Err(fault @ (Fault::Pending | Fault::OutOfMemory)) => return Err(fault.into()),
                Err(_) => break,
            }
        }
        Ok(at.min(end).saturating_sub(addr))
    }

    /// Copy from guest memory, faulting as needed. EFAULT, PENDING.
    pub fn copy_in(&self, addr: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        self.fault_in(addr, bytes.len() as u64, Access::Read)?;
        self.copy_in_mapped(addr, bytes);
        Ok(())
    }

    /// Copy to guest memory, faulting as needed. EFAULT, PENDING.
    pub fn copy_out(&self, addr: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.fault_in(addr, bytes.len() as u64, Access::Write)?;
        self.copy_out_mapped(addr, bytes);
        Ok(())
    }

    /// Copy from memory that [`fault_in`](Self::fault_in) made readable. Pages
    /// that have gone since (two shared mappings of one page take it from each
    /// other) are faulted in again; what cannot be read is left as it is.
    pub fn copy_in_mapped(&self, addr: u64, bytes: &mut [u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let (at, offset, n) = piece(addr, done, bytes.len());
            if self.again(at, Access::Read) {
                self.arena.read(at / PAGE, offset, &mut bytes[done..done + n]);
            }
            done += n;
        }
    }

    /// Copy to memory that [`fault_in`](Self::fault_in) made writable; see [`copy_in_mapped`](Self::copy_in_mapped).
    pub fn copy_out_mapped(&self, addr: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let (at, offset, n) = piece(addr, done, bytes.len());
            if self.again(at, Access::Write) {
                self.arena.write(at / PAGE, offset, &bytes[done..done + n]);
            }
            done += n;
        }
    }

    /// Write whatever the protection says (exec's zeroed bss tail, ptrace-like writes): the page becomes the process's own.
    /// EFAULT, PENDING.
    pub(crate) fn poke(&self, addr: u64, bytes: &[u8]) -> Result<(), Errno> {
        let mut done = 0;
        while done < bytes.len() {
            let (at, offset, n) = piece(addr, done, bytes.len());
            self.bring_in(at)?;
            self.arena.forget_code(at / PAGE);
            self.arena.write(at / PAGE, offset, &bytes[done..done + n]);
            done += n;
        }
        Ok(())
    }

    /// Read whatever the protection says (/proc/PID/mem, coredumps). EFAULT, PENDING.
    pub fn peek(&self, addr: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        let mut done = 0;
        while done < bytes.len() {
            let (at, offset, n) = piece(addr, done, bytes.len());
            if self.arena.flags(at / PAGE) & PRESENT == 0 {
                self.fault(at, Access::Read).or_else(|_| self.fault(at, Access::Exec))?;
            }
            self.arena.read(at / PAGE, offset, &mut bytes[done..done + n]);
            done += n;
        }
        Ok(())
    }

    /// A NUL-terminated string, without the NUL. EFAULT; `too_long` when there is no NUL within `max` bytes.
    pub fn read_cstr(&self, addr: u64, max: usize, too_long: Errno) -> Result<Vec<u8>, Errno> {
        let mut string = Vec::new();
        loop {
            let at = addr.checked_add(string.len() as u64).ok_or(Errno::EFAULT)?;
            self.fault(at, Access::Read)?;
            let offset = (at % PAGE) as usize;
            let end = self.arena.find_zero(at / PAGE, offset);
            let n = end.unwrap_or(PAGE as usize) - offset;
            let start = string.len();
            if start + n >= max {
                return Err(too_long);
            }
            string.resize(start + n, 0);
            self.arena.read(at / PAGE, offset, &mut string[start..]);
            if end.is_some() {
                return Ok(string);
            }
        }
    }

    fn again(&self, at: u64, access: Access) -> bool {
        self.arena.flags(at / PAGE) & needed(access) != 0 || self.fault(at, access).is_ok()
    }
}

/// Address, offset in its page and length of the part of `addr + done..addr + len` that lies in one page.
fn piece(addr: u64, done: usize, len: usize) -> (u64, usize, usize) {
    let at = addr.wrapping_add(done as u64);
    let offset = (at % PAGE) as usize;
    (at, offset, (PAGE as usize - offset).min(len - done))
}
