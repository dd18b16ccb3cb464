//! What `--strace` shows of System V and POSIX message queues and semaphores.

use super::strace_args::{Printer, flags, pointer};
use crate::abi::Names;

/// struct mq_attr: flags, most messages, their size, messages now. See mq_getattr(3).
pub(super) fn mq_attr([flags, most, size, now, ..]: [i64; 8]) -> String {
    format!("{{mq_flags={flags:#x}, mq_maxmsg={most}, mq_msgsize={size}, mq_curmsgs={now}}}")
}

/// Bits of sem_flg and msgflg.
const IPC_FLAGS: Names = &[(0o4000, "IPC_NOWAIT"), (0o10000, "SEM_UNDO")];

impl Printer<'_> {
    /// `count` struct sembuf at `addr`. See semop(2).
    pub(super) fn sembufs(&self, addr: u64, count: u64) -> String {
        let one = |i: u64| {
            let [number, operation, bits] = self.read::<[i16; 3]>(addr.wrapping_add(i * 6))?;
            let bits = flags(u64::from(bits as u16), IPC_FLAGS);
            Some(format!("{{sem_num={}, sem_op={operation}, sem_flg={bits}}}", number as u16))
        };
        let shown = count.min(super::strace_args::ARRAY_MAX);
        let parts: Option<Vec<String>> = (0..shown).map(one).collect();
        let more = if count > shown { ", ..." } else { "" };
        parts.map_or_else(|| pointer(addr), |parts| format!("[{}{more}]", parts.join(", ")))
    }

    /// struct msgbuf at `addr` with `len` bytes of text. See msgop(2).
    pub(super) fn msgbuf(&self, addr: u64, len: u64) -> String {
        self.structure(addr, |kind: i64| {
            format!("{{mtype={kind}, mtext={}}}", self.bytes(addr.wrapping_add(8), len))
        })
    }
}
