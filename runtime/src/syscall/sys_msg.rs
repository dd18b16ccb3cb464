//! System V message queues: msgget(2), msgsnd(2), msgrcv(2), msgctl(2).

use std::collections::VecDeque;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Args, Block, Interrupt, SysResult};
use crate::abi::Errno;
use crate::kernel::Ctx;
use crate::kernel::cred::CAP_SYS_RESOURCE;
use crate::kernel::ipc::{IPC_64, IPC_INFO, IPC_NOWAIT, IPC_RMID, IPC_SET, IPC_STAT, Object, Perm, Registry};
use crate::kernel::wait::WaitQueue;
use crate::mm::Access;

const MSG_NOERROR: u32 = 0o10000;
const MSG_EXCEPT: u32 = 0o20000;
const MSG_COPY: u32 = 0o40000;
const MSG_STAT: u32 = 11;
const MSG_INFO: u32 = 12;
const MSG_STAT_ANY: u32 = 13;
/// Most queues (MSGMNI), bytes of a message (MSGMAX), bytes of a queue (MSGMNB).
const QUEUES_MAX: usize = 32000;
const MESSAGE_MAX: u64 = 8192;
const QUEUE_BYTES: u64 = 16384;

/// All queues of a machine.
pub type Queues = Registry<Queue>;

/// One queue.
pub struct Queue {
    /// What IPC_STAT shows, but for what the messages say.
    status: MsqidDs,
    messages: VecDeque<(i64, Vec<u8>)>,
    queue: WaitQueue,
}

/// `struct msqid64_ds`, `asm-generic/msgbuf.h`.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are Linux's; msgctl(2) says what they mean")]
pub struct MsqidDs {
    pub perm: Perm,
    pub stime: i64,
    pub rtime: i64,
    pub ctime: i64,
    pub cbytes: u64,
    pub qnum: u64,
    pub qbytes: u64,
    pub lspid: u32,
    pub lrpid: u32,
    unused: [u64; 2],
}
const _: () = assert!(size_of::<MsqidDs>() == 120);

impl Object for Queue {
    fn perm(&self) -> &Perm {
        &self.status.perm
    }
}

impl Queue {
    /// What IPC_STAT and /proc/sysvipc/msg show.
    pub fn status(&self) -> MsqidDs {
        let cbytes = self.messages.iter().map(|(_, text)| text.len() as u64).sum();
        MsqidDs { cbytes, qnum: self.messages.len() as u64, ..self.status }
    }

    /// The message that msgrcv(2) takes for `kind`, see there.
    fn choose(&self, kind: i64, flags: u32) -> Option<usize> {
        let mut of_kind = self.messages.iter().map(|message| message.0);
        match kind {
            _ if flags & MSG_COPY != 0 => usize::try_from(kind).ok().filter(|&at| at < self.messages.len()),
            0 => (!self.messages.is_empty()).then_some(0),
            1.. if flags & MSG_EXCEPT != 0 => of_kind.position(|other| other != kind),
            1.. => of_kind.position(|other| other == kind),
            _ => {
                let lowest = of_kind.filter(|&other| other <= kind.saturating_neg()).min()?;
                self.messages.iter().position(|message| message.0 == lowest)
            }
        }
    }
}

/// msgget(2).
pub(super) fn msgget(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (key, flags) = (args.i32(0), args.u32(1));
    let (cred, ctime) = (cx.cred(), cx.now().sec);
    let queues = &mut cx.kernel.messages;
    if let Some(id) = queues.find(key, flags, &cred, QUEUES_MAX)? {
        return Ok(id as u64);
    }
    let perm = Perm::new(key, flags, &cred);
    let status = MsqidDs { perm, ctime, qbytes: QUEUE_BYTES, ..MsqidDs::default() };
    Ok(queues.add(Queue { status, messages: VecDeque::new(), queue: WaitQueue::new() })? as u64)
}

/// The call was parked before: a queue that is gone now was removed meanwhile.
fn gone(cx: &Ctx<'_>) -> Errno {
    if cx.task.progress.borrow_mut().extra.take().is_some() { Errno::EIDRM } else { Errno::EINVAL }
}

fn wait_for(cx: &Ctx<'_>, queue: WaitQueue) -> SysResult {
    cx.task.progress.borrow_mut().extra = Some(Box::new(()));
    Err(Block::on(vec![queue], Interrupt::Fail))
}

/// msgsnd(2).
pub(super) fn msgsnd(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (id, addr, len, flags) = (args.i32(0), args.u64(1), args.u64(2), args.u32(3));
    let kind: i64 = cx.read_user(addr)?;
    if id < 0 || kind < 1 || len > MESSAGE_MAX {
        return Err(Errno::EINVAL.into());
    }
    let mut text = vec![0; len as usize];
    cx.mm().copy_in(addr.wrapping_add(8), &mut text)?;
    let (cred, now, pid) = (cx.cred(), cx.now().sec, cx.task.process.tgid);
    let gone = gone(cx);
    let queue = cx.kernel.messages.get(id).map_err(|_| gone)?;
    queue.status.perm.check(&cred, 2)?;
    let MsqidDs { cbytes, qnum, qbytes, .. } = queue.status();
    if cbytes + len > qbytes || qnum + 1 > qbytes {
        if flags & IPC_NOWAIT != 0 {
            return Err(Errno::EAGAIN.into());
        }
        let queue = queue.queue.clone();
        return wait_for(cx, queue);
    }
    queue.messages.push_back((kind, text));
    (queue.status.stime, queue.status.lspid) = (now, pid);
    queue.queue.wake_all();
    Ok(0)
}

/// msgrcv(2).
pub(super) fn msgrcv(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (id, addr, room) = (args.i32(0), args.u64(1), args.u64(2));
    let (kind, flags) = (args.i64(3), args.u32(4));
    if id < 0 || room > i64::MAX as u64 {
        return Err(Errno::EINVAL.into());
    }
    if flags & MSG_COPY != 0 && (flags & MSG_EXCEPT != 0 || flags & IPC_NOWAIT == 0) {
        return Err(Errno::EINVAL.into());
    }
    let (cred, now, pid, mm) = (cx.cred(), cx.now().sec, cx.task.process.tgid, cx.mm());
    let gone = gone(cx);
    let queue = cx.kernel.messages.get(id).map_err(|_| gone)?;
    queue.status.perm.check(&cred, 4)?;
    let Some(at) = queue.choose(kind, flags) else {
        if flags & IPC_NOWAIT != 0 {
            return Err(Errno::ENOMSG.into());
        }
        let queue = queue.queue.clone();
        return wait_for(cx, queue);
    };
    let (kind, text) = &queue.messages[at];
    let len = (text.len() as u64).min(room);
    if text.len() as u64 > room && flags & MSG_NOERROR == 0 {
        return Err(Errno::E2BIG.into());
    }
    mm.fault_in(addr, 8 + len, Access::Write)?;
    mm.copy_out(addr, &kind.to_le_bytes())?;
    mm.copy_out(addr.wrapping_add(8), &text[..len as usize])?;
    if flags & MSG_COPY == 0 {
        queue.messages.remove(at);
        (queue.status.rtime, queue.status.lrpid) = (now, pid);
        queue.queue.wake_all();
    }
    Ok(len)
}

/// msgctl(2).
pub(super) fn msgctl(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (id, command, addr) = (args.i32(0), args.u32(1) & !IPC_64, args.u64(2));
    let cred = cx.cred();
    match command {
        IPC_INFO | MSG_INFO => info(cx, command, addr),
        IPC_STAT | MSG_STAT | MSG_STAT_ANY => {
            let id = if command == IPC_STAT { id } else { cx.kernel.messages.at(id)? };
            let queue = cx.kernel.messages.get(id)?;
            if command != MSG_STAT_ANY {
                queue.status.perm.check(&cred, 4)?;
            }
            let status = queue.status();
            cx.write_user(addr, &status)?;
            Ok(if command == IPC_STAT { 0 } else { id as u64 })
        }
        IPC_SET => {
            let given: MsqidDs = cx.read_user(addr)?;
            let now = cx.now().sec;
            let queue = cx.kernel.messages.get(id)?;
            queue.status.perm.check_owner(&cred)?;
            if given.qbytes > QUEUE_BYTES && !cred.capable(CAP_SYS_RESOURCE) {
                return Err(Errno::EPERM.into());
            }
            queue.status.perm.set(&given.perm);
            (queue.status.qbytes, queue.status.ctime) = (given.qbytes, now);
            queue.queue.wake_all();
            Ok(0)
        }
        IPC_RMID => {
            cx.kernel.messages.get(id)?.status.perm.check_owner(&cred)?;
            if let Some(queue) = cx.kernel.messages.remove(id) {
                queue.queue.wake_all();
            }
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}

/// IPC_INFO and MSG_INFO: `struct msginfo`.
fn info(cx: &mut Ctx<'_>, command: u32, addr: u64) -> SysResult {
    let queues = &cx.kernel.messages;
    let all = queues.iter().map(|(_, queue)| queue.status());
    let (messages, bytes) = all.fold((0, 0), |(n, b), status| (n + status.qnum, b + status.cbytes));
    let in_use = command == MSG_INFO;
    let info: [i32; 8] = [
        if in_use { queues.len() as i32 } else { 512_000 },
        if in_use { messages as i32 } else { QUEUE_BYTES as i32 },
        MESSAGE_MAX as i32,
        QUEUE_BYTES as i32,
        QUEUES_MAX as i32,
        16,
        if in_use { bytes as i32 } else { QUEUE_BYTES as i32 },
        0xffff,
    ];
    let highest = queues.highest();
    cx.write_user(addr, &info)?;
    Ok(highest)
}
