//! /proc/sysvipc: System V objects, as ipcs(1) reads them. See sysvipc(7).

use std::fmt::Write as _;

use super::system::{SYSV_MSG, SYSV_SEM, SYSV_SHM};
use crate::abi::Errno;
use crate::fs::pseudo::Subject;
use crate::kernel::Ctx;
use crate::kernel::ipc::Perm;

type Contents = Result<Vec<u8>, Errno>;

/// Key, identifier and mode: how every line begins.
fn begin(perm: &Perm, id: i32) -> String {
    format!("{:10} {id:10}  {:4o}", perm.key, perm.mode)
}

fn owners(perm: &Perm) -> String {
    format!("{:5} {:5} {:5} {:5}", perm.uid, perm.gid, perm.cuid, perm.cgid)
}

pub(super) fn msg(cx: &mut Ctx<'_>, _: &Subject) -> Contents {
    let mut text = SYSV_MSG.to_owned();
    for (id, queue) in cx.kernel.messages.iter() {
        let s = queue.status();
        let (begin, owners) = (begin(&s.perm, id), owners(&s.perm));
        let _ = writeln!(
            text,
            "{begin}  {:10} {:10} {:5} {:5} {owners} {:10} {:10} {:10}",
            s.cbytes, s.qnum, s.lspid, s.lrpid, s.stime, s.rtime, s.ctime
        );
    }
    Ok(text.into_bytes())
}

pub(super) fn sem(cx: &mut Ctx<'_>, _: &Subject) -> Contents {
    let mut text = SYSV_SEM.to_owned();
    for (id, set) in cx.kernel.semaphores.iter() {
        let (begin, owners) = (begin(&set.perm, id), owners(&set.perm));
        let _ = writeln!(text, "{begin} {:10} {owners} {:10} {:10}", set.len(), set.otime, set.ctime);
    }
    Ok(text.into_bytes())
}

pub(super) fn shm(cx: &mut Ctx<'_>, _: &Subject) -> Contents {
    let mut text = SYSV_SHM.to_owned();
    for (id, segment) in cx.kernel.shm.iter() {
        let s = segment.status();
        let (begin, owners) = (begin(&s.perm, id), owners(&s.perm));
        let _ = writeln!(
            text,
            "{begin} {:21} {:5} {:5}  {:5} {owners} {:10} {:10} {:10} {:21} {:21}",
            s.bytes,
            s.cpid,
            s.lpid,
            s.nattch,
            s.atime,
            s.dtime,
            s.ctime,
            s.bytes.next_multiple_of(4096),
            0
        );
    }
    Ok(text.into_bytes())
}
