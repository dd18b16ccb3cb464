//! procfs, proc(5): the machine and its processes as files.
//!
//! `process.rs`, `memory.rs` and `descriptors.rs` generate what is below
//! /proc/PID, `system.rs` and `sysctl.rs` the rest. A new file is a row in one
//! of the tables here or there.

mod descriptors;
mod friscy;
mod memory;
mod net;
mod process;
mod sysctl;
mod system;
mod sysvipc;

use std::rc::Rc;

use super::pseudo::Kind::{Dir, Edit, File, Found, Link, Magic, Symlink, Text};
use super::pseudo::{Filesystem, Member, Node, Row, Subject, World, root, row, row_mode};
use super::{Dentry, Inode, InodeRef, Timespec};
use crate::abi::Errno;
use crate::kernel::Process;

/// statfs(2) magic number.
const MAGIC: u64 = 0x9fa0;

/// The root of a proc file system with device number `dev`.
pub fn mount(world: &Rc<World>, dev: u64, now: Timespec) -> InodeRef {
    world.booted.set(now);
    root(Subject::machine(world), &ROOT, Filesystem { dev, magic: MAGIC })
}

static ROOT: Row = row("", Found(MACHINE, processes, process_named));

/// Files about the machine.
static MACHINE: &[Row] = &[
    row("cgroups", Text("#subsys_name\thierarchy\tnum_cgroups\tenabled\n")),
    row("cmdline", Text("console=ttyS0\n")),
    row("cpuinfo", File(system::cpuinfo)),
    row("devices", Text(system::DEVICES)),
    row("diskstats", Text("")),
    row("filesystems", Text(system::FILESYSTEMS)),
    row("friscy", Dir(friscy::FRISCY)),
    row("interrupts", Text("           CPU0       \n")),
    row("loadavg", File(system::loadavg)),
    row("locks", Text("")),
    row("meminfo", File(system::meminfo)),
    row("misc", Text("")),
    row("modules", Text("")),
    row("mounts", Symlink("self/mounts")),
    row("net", Symlink("self/net")),
    row("partitions", Text("major minor  #blocks  name\n\n")),
    row("self", Link(own_process)),
    row("stat", File(system::stat)),
    row("swaps", Text("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n")),
    row("sys", Dir(sysctl::SYS)),
    row(
        "sysvipc",
        Dir(&[
            row("msg", File(sysvipc::msg)),
            row("sem", File(sysvipc::sem)),
            row("shm", File(sysvipc::shm)),
        ]),
    ),
    row("thread-self", Link(own_thread)),
    row("uptime", File(system::uptime)),
    row("version", File(system::version)),
    row("vmstat", File(system::vmstat)),
];

static PROCESS: Row = row("", Dir(PROCESS_ROWS));
static THREAD: Row = row("", Dir(THREAD_ROWS));

/// Files that a thread has as well as a process.
macro_rules! rows_of_a_thread {
    ($($extra:expr,)*) => {
        &[
            row_mode("auxv", 0o400, File(memory::auxv)),
            row("cgroup", Text("0::/\n")),
            row("cmdline", File(memory::cmdline)),
            row("comm", Edit(process::comm, process::set_comm)),
            row("cpuset", Text("/\n")),
            row("cwd", Magic(cwd)),
            row_mode("environ", 0o400, File(memory::environ)),
            row("exe", Magic(exe)),
            row_mode("fd", 0o500, Found(&[], descriptors::list_fd, descriptors::find_fd)),
            row_mode("fdinfo", 0o500, Found(&[], descriptors::list_fdinfo, descriptors::find_fdinfo)),
            row_mode("gid_map", 0o644, Text(ID_MAP)),
            row_mode("io", 0o400, File(process::io)),
            row("limits", File(process::limits)),
            row("loginuid", Edit(process::loginuid, process::set_loginuid)),
            row("maps", File(memory::maps)),
            row("mountinfo", File(process::mountinfo)),
            row("mounts", File(process::mounts)),
            row_mode("mountstats", 0o400, File(process::mountstats)),
            row("net", Dir(NET)),
            row_mode("ns", 0o511, Dir(NAMESPACES)),
            row("oom_adj", Text("0\n")),
            row("oom_score", Text("0\n")),
            row("oom_score_adj", Edit(process::oom_score_adj, process::set_oom_score_adj)),
            row_mode("pagemap", 0o400, Text("")),
            row_mode("personality", 0o400, File(process::personality)),
            row("root", Magic(root_dir)),
            row("sched", File(process::sched)),
            row("schedstat", File(process::schedstat)),
            row("sessionid", File(process::sessionid)),
            row("setgroups", Text("allow\n")),
            row("smaps", File(memory::smaps)),
            row("smaps_rollup", File(memory::smaps_rollup)),
            row_mode("stack", 0o400, Text("")),
            row("stat", File(process::stat)),
            row("statm", File(memory::statm)),
            row("status", File(process::status)),
            row_mode("syscall", 0o400, Text("running\n")),
            row("timerslack_ns", File(process::timerslack)),
            row_mode("uid_map", 0o644, Text(ID_MAP)),
            row("wchan", Text("0")),
            $($extra,)*
        ]
    };
}

static THREAD_ROWS: &[Row] = rows_of_a_thread![row("children", File(process::children)),];
static PROCESS_ROWS: &[Row] = rows_of_a_thread![row("task", Found(&[], threads, thread_named)),];

/// One user namespace that maps every id to itself.
const ID_MAP: &str = "         0          0 4294967295\n";

/// Namespaces: of most kinds there is one, so a link says all there is.
static NAMESPACES: &[Row] = &[
    row("cgroup", Symlink("cgroup:[4026531835]")),
    row("ipc", Symlink("ipc:[4026531839]")),
    row("mnt", Symlink("mnt:[4026531841]")),
    row("net", Symlink("net:[4026531840]")),
    row("pid", Symlink("pid:[4026531836]")),
    row("pid_for_children", Symlink("pid:[4026531836]")),
    row("time", Symlink("time:[4026531834]")),
    row("user", Symlink("user:[4026531837]")),
    row("uts", Magic(uts)),
];

/// The network: the loopback interface, and sockets.
static NET: &[Row] = &[
    row("arp", Text("IP address       HW type     Flags       HW address            Mask     Device\n")),
    row("dev", Text(system::NET_DEV)),
    row("if_inet6", Text("00000000000000000000000000000001 01 80 10 80       lo\n")),
    row("ipv6_route", Text("")),
    row("protocols", Text("protocol  size sockets  memory press maxhdr  slab module\n")),
    row("route", Text(system::NET_ROUTE)),
    row("sockstat", File(net::sockstat)),
    row("tcp", File(net::tcp)),
    row("tcp6", File(net::tcp6)),
    row("udp", File(net::udp)),
    row("udp6", File(net::udp6)),
    row("unix", File(net::unix)),
];

/// The process of an open /proc/PID, which pidfd_send_signal(2) takes for a pidfd.
pub fn process_of(inode: &dyn Inode) -> Option<Rc<Process>> {
    inode.as_any().downcast_ref::<Node>()?.about(&PROCESS)?.process.clone()
}

fn processes(subject: &Subject) -> Vec<Member> {
    let all = subject.world.processes();
    all.into_iter().map(|p| process_member(subject, p)).collect()
}

fn process_member(subject: &Subject, process: Rc<Process>) -> Member {
    let tid = process.tgid;
    (tid, Subject { process: Some(process), tid, ..subject.clone() }, &PROCESS)
}

/// A process by pid; threads can be looked up as well, though they are not listed.
fn process_named(subject: &Subject, number: u32) -> Option<Member> {
    let all = subject.world.processes();
    if let Some(process) = all.iter().find(|p| p.tgid == number) {
        return Some(process_member(subject, Rc::clone(process)));
    }
    let owner = all.into_iter().find(|p| p.live_threads().iter().any(|task| task.tid == number))?;
    Some((number, Subject { process: Some(owner), tid: number, ..subject.clone() }, &PROCESS))
}

fn threads(subject: &Subject) -> Vec<Member> {
    let Some(process) = &subject.process else { return Vec::new() };
    let mut tids: Vec<u32> = process.live_threads().iter().map(|task| task.tid).collect();
    if tids.is_empty() {
        tids.push(process.tgid);
    }
    tids.sort_unstable();
    let member = |tid: u32| (tid, Subject { tid, ..subject.clone() }, &THREAD);
    tids.into_iter().map(member).collect()
}

fn thread_named(subject: &Subject, number: u32) -> Option<Member> {
    threads(subject).into_iter().find(|(known, ..)| *known == number)
}

fn own_process(subject: &Subject) -> Result<Vec<u8>, Errno> {
    let task = subject.world.current().ok_or(Errno::ENOENT)?;
    Ok(task.process.tgid.to_string().into_bytes())
}

fn own_thread(subject: &Subject) -> Result<Vec<u8>, Errno> {
    let task = subject.world.current().ok_or(Errno::ENOENT)?;
    Ok(format!("{}/task/{}", task.process.tgid, task.tid).into_bytes())
}

fn cwd(subject: &Subject) -> Option<Rc<Dentry>> {
    let task = subject.task().ok()?;
    let fs = Rc::clone(&task.fs.borrow());
    let cwd = Rc::clone(&fs.cwd.borrow());
    Some(cwd)
}

fn root_dir(subject: &Subject) -> Option<Rc<Dentry>> {
    let task = subject.task().ok()?;
    let fs = Rc::clone(&task.fs.borrow());
    let root = Rc::clone(&fs.root.borrow());
    Some(root)
}

fn uts(subject: &Subject) -> Option<Rc<Dentry>> {
    let own = subject.task().ok()?.uts.borrow().clone();
    Some(own.unwrap_or_else(|| Rc::clone(&subject.world.uts)).dentry())
}

fn exe(subject: &Subject) -> Option<Rc<Dentry>> {
    subject.process.as_ref()?.exe.borrow().clone()
}
