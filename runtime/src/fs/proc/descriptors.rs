//! /proc/PID/fd and fdinfo.

use std::rc::Rc;

use crate::abi::Errno;
use crate::abi::fcntl::O_CLOEXEC;
use crate::fs::epoll::Epoll;
use crate::fs::eventfd::EventFd;
use crate::fs::inotify::Inotify;
use crate::fs::pseudo::Kind::{File, Magic};
use crate::fs::pseudo::{Member, Row, Subject, row_mode};
use crate::fs::signalfd::SignalFd;
use crate::fs::{Dentry, FileRef};
use crate::kernel::{Ctx, FdTable};

static LINK: Row = row_mode("", 0o700, Magic(leads_to));
static INFO: Row = row_mode("", 0o400, File(info));

fn table(subject: &Subject) -> Option<Rc<FdTable>> {
    let task = subject.task().ok()?;
    let table = Rc::clone(&task.files.borrow());
    Some(table)
}

fn list(subject: &Subject, row: &'static Row) -> Vec<Member> {
    let fds = table(subject).map(|table| table.list()).unwrap_or_default();
    fds.into_iter().map(|fd| (fd.unsigned_abs(), Subject { fd, ..subject.clone() }, row)).collect()
}

fn find(subject: &Subject, number: u32, row: &'static Row) -> Option<Member> {
    let fd = i32::try_from(number).ok()?;
    table(subject)?.get(fd).ok()?;
    Some((number, Subject { fd, ..subject.clone() }, row))
}

pub(super) fn list_fd(subject: &Subject) -> Vec<Member> {
    list(subject, &LINK)
}

pub(super) fn find_fd(subject: &Subject, number: u32) -> Option<Member> {
    find(subject, number, &LINK)
}

pub(super) fn list_fdinfo(subject: &Subject) -> Vec<Member> {
    list(subject, &INFO)
}

pub(super) fn find_fdinfo(subject: &Subject, number: u32) -> Option<Member> {
    find(subject, number, &INFO)
}

fn file(subject: &Subject) -> Option<FileRef> {
    table(subject)?.get(subject.fd).ok()
}

fn leads_to(subject: &Subject) -> Option<Rc<Dentry>> {
    Some(Rc::clone(&file(subject)?.dentry))
}

fn info(_: &mut Ctx<'_>, subject: &Subject) -> Result<Vec<u8>, Errno> {
    let file = file(subject).ok_or(Errno::ENOENT)?;
    let cloexec = table(subject).and_then(|table| table.cloexec(subject.fd).ok()).unwrap_or(false);
    let flags = file.flags.get() | if cloexec { O_CLOEXEC } else { 0 };
    let (pos, mount, ino) = (file.pos.get(), file.dentry.mount.id, file.dentry.inode.stat().ino);
    let mut text = format!("pos:\t{pos}\nflags:\t0{flags:o}\nmnt_id:\t{mount}\nino:\t{ino}\n");
    let ops = file.ops.as_any();
    if let Some(counter) = ops.downcast_ref::<EventFd>() {
        text += &format!("eventfd-count: {:16x}\n", counter.count());
    } else if let Some(epoll) = ops.downcast_ref::<Epoll>() {
        text += &epoll.describe();
    } else if let Some(inotify) = ops.downcast_ref::<Inotify>() {
        text += &inotify.describe();
    } else if let Some(signals) = ops.downcast_ref::<SignalFd>() {
        text += &format!("sigmask:\t{:016x}\n", signals.mask());
    }
    Ok(text.into_bytes())
}
