//! /proc files about the machine.

use crate::abi::Errno;
use crate::fs::pseudo::Subject;
use crate::kernel::task::TaskState;
use crate::kernel::{Ctx, load};
use crate::syscall::sys_system::{RELEASE, VERSION};

type Contents = Result<Vec<u8>, Errno>;

pub(super) const DEVICES: &str =
    "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n136 pts\n\nBlock devices:\n";
pub(super) const FILESYSTEMS: &str = "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevtmpfs\nnodev\tpipefs\nnodev\tsockfs\nnodev\tdevpts\nnodev\tmqueue\nnodev\toverlay\n";
pub(super) const SYSV_MSG: &str = "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n";
pub(super) const SYSV_SEM: &str =
    "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n";
pub(super) const SYSV_SHM: &str = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n";
pub(super) const NET_DEV: &str = "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0\n";
pub(super) const NET_ROUTE: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT                                                       \n";
pub(super) const NET_TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode                                                     \n";
pub(super) const NET_TCP6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
pub(super) const NET_UDP: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops             \n";
pub(super) const NET_UDP6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n";

/// One hart, as the RISC-V kernel describes it.
pub(super) fn cpuinfo(_: &mut Ctx<'_>, _: &Subject) -> Contents {
    Ok(b"processor\t: 0\nhart\t\t: 0\nisa\t\t: rv64imafdc_zicntr_zicsr_zifencei\nmmu\t\t: sv39\nuarch\t\t: friscy,friscy\nmvendorid\t: 0x0\nmarchid\t\t: 0x0\nmimpid\t\t: 0x0\nhart isa\t: rv64imafdc_zicntr_zicsr_zifencei\n\n".to_vec())
}

pub(super) fn meminfo(cx: &mut Ctx<'_>, _: &Subject) -> Contents {
    let total = cx.kernel.linear.limit_bytes() / 1024;
    let used = (cx.kernel.linear.resident_bytes() / 1024).min(total);
    let free = total - used;
    let rows = [
        ("MemTotal", total),
        ("MemFree", free),
        ("MemAvailable", free),
        ("Buffers", 0),
        ("Cached", 0),
        ("SwapCached", 0),
        ("Active", used),
        ("Inactive", 0),
        ("Active(anon)", used),
        ("Inactive(anon)", 0),
        ("Active(file)", 0),
        ("Inactive(file)", 0),
        ("Unevictable", 0),
        ("Mlocked", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", used),
        ("Mapped", 0),
        ("Shmem", 0),
        ("KReclaimable", 0),
        ("Slab", 0),
        ("SReclaimable", 0),
        ("SUnreclaim", 0),
        ("KernelStack", 0),
        ("PageTables", 0),
        ("NFS_Unstable", 0),
        ("Bounce", 0),
        ("WritebackTmp", 0),
        ("CommitLimit", total),
        ("Committed_AS", used),
        ("VmallocTotal", 0),
        ("VmallocUsed", 0),
        ("VmallocChunk", 0),
    ];
    let mut text: String =
        rows.iter().map(|(name, kib)| format!("{:15} {kib:8} kB\n", format!("{name}:"))).collect();
    text.push_str("HugePages_Total:       0\nHugePages_Free:        0\nHugePages_Rsvd:        0\nHugePages_Surp:        0\nHugepagesize:       2048 kB\nHugetlb:               0 kB\n");
    Ok(text.into_bytes())
}

/// Time the hart was busy, and the rest since boot, in clock ticks.
fn cpu_ticks(cx: &mut Ctx<'_>) -> (u64, u64, u64) {
    const TICK_NS: u64 = 10_000_000;
    let caller = std::rc::Rc::clone(&cx.task);
    cx.kernel.charge_time(&caller);
    let (mut user, mut system) = (0u64, 0u64);
    for process in cx.kernel.processes(|_| true) {
        let usage = cx.kernel.process_usage(&process);
        let children = process.child_usage.get();
        user = user.saturating_add(usage.cpu.user_ns).saturating_add(children.cpu.user_ns);
        system = system.saturating_add(usage.cpu.system_ns).saturating_add(children.cpu.system_ns);
    }
    let idle = cx.kernel.monotonic_ns().saturating_sub(user).saturating_sub(system);
    (user / TICK_NS, system / TICK_NS, idle / TICK_NS)
}

pub(super) fn stat(cx: &mut Ctx<'_>, _: &Subject) -> Contents {
    let (user, system, idle) = cpu_ticks(cx);
    let kernel = &*cx.kernel;
    let boot = kernel.realtime_ns().saturating_sub(kernel.monotonic_ns()) / 1_000_000_000;
    let runnable = kernel.tasks.values().filter(|t| t.state.get() == TaskState::Runnable).count();
    let (forks, switches) = (kernel.forks, kernel.switches);
    let cpu = format!("{user} 0 {system} {idle} 0 0 0 0 0 0");
    Ok(format!(
        "cpu  {cpu}\ncpu0 {cpu}\nintr 0\nctxt {switches}\nbtime {boot}\nprocesses {forks}\nprocs_running {}\nprocs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n",
        runnable.max(1)
    )
    .into_bytes())
}

pub(super) fn uptime(cx: &mut Ctx<'_>, _: &Subject) -> Contents {
    let (_, _, idle) = cpu_ticks(cx);
    let up = cx.kernel.monotonic_ns() / 10_000_000;
    Ok(format!("{}.{:02} {}.{:02}\n", up / 100, up % 100, idle / 100, idle % 100).into_bytes())
}

pub(super) fn loadavg(cx: &mut Ctx<'_>, _: &Subject) -> Contents {
    let tasks = &cx.kernel.tasks;
    let runnable = tasks.values().filter(|t| t.state.get() == TaskState::Runnable).count().max(1);
    let newest = tasks.keys().next_back().copied().unwrap_or(0);
    let [one, five, fifteen] = cx.kernel.load.averages().map(|load| {
        // Hundredths, rounded as Linux does.
        let hundredths = (load * 100 + load::ONE / 2) / load::ONE;
        format!("{}.{:02}", hundredths / 100, hundredths % 100)
    });
    Ok(format!("{one} {five} {fifteen} {runnable}/{} {newest}\n", tasks.len()).into_bytes())
}

pub(super) fn version(_: &mut Ctx<'_>, _: &Subject) -> Contents {
    Ok(format!("Linux version {RELEASE} (friscy@friscy) (rustc) {VERSION}\n").into_bytes())
}

pub(super) fn vmstat(cx: &mut Ctx<'_>, _: &Subject) -> Contents {
    let pages = |bytes: u64| bytes / 4096;
    let total = cx.kernel.linear.limit_bytes();
    let used = cx.kernel.linear.resident_bytes().min(total);
    let faults: u64 = cx.kernel.tasks.values().map(|t| t.sched.minor_faults.get()).sum();
    Ok(format!(
        "nr_free_pages {}\nnr_anon_pages {}\npgpgin 0\npgpgout 0\npswpin 0\npswpout 0\npgfault {faults}\npgmajfault 0\noom_kill 0\n",
        pages(total - used),
        pages(used)
    )
    .into_bytes())
}
