//! /proc/sys: settings of the kernel. Most are what they are.

use crate::abi::Errno;
use crate::fs::pipe;
use crate::fs::pseudo::Kind::{Dir, Edit, File, Text};
use crate::fs::pseudo::{Row, Subject, row};
use crate::kernel::Ctx;

use crate::syscall::sys_system::{RELEASE, VERSION};

type Contents = Result<Vec<u8>, Errno>;

pub(super) static SYS: &[Row] = &[
    row("debug", Dir(&[])),
    row("fs", Dir(FS)),
    row("kernel", Dir(KERNEL)),
    row("net", Dir(NET)),
    row("user", Dir(&[row("max_user_namespaces", Text("0\n"))])),
    row("vm", Dir(VM)),
];

static KERNEL: &[Row] = &[
    row("cap_last_cap", Text("40\n")),
    row("core_pattern", Text("core\n")),
    row("core_uses_pid", Text("0\n")),
    row("dmesg_restrict", Text("1\n")),
    row("domainname", Edit(domainname, set_domainname)),
    row("hostname", Edit(hostname, set_hostname)),
    row("kptr_restrict", Text("1\n")),
    row("msgmax", Text("8192\n")),
    row("msgmnb", Text("16384\n")),
    row("msgmni", Text("32000\n")),
    row("ngroups_max", Text("65536\n")),
    row("osrelease", File(osrelease)),
    row("ostype", Text("Linux\n")),
    row("overflowgid", Text("65534\n")),
    row("overflowuid", Text("65534\n")),
    row("perf_event_paranoid", Text("3\n")),
    row("pid_max", Text("32768\n")),
    row("printk", Text("4\t4\t1\t7\n")),
    row("pty", Dir(&[row("max", Text("4096\n")), row("nr", File(pty_count))])),
    row(
        "random",
        Dir(&[
            row("boot_id", File(boot_id)),
            row("entropy_avail", Text("256\n")),
            row("poolsize", Text("256\n")),
            row("urandom_min_reseed_secs", Text("60\n")),
            row("uuid", File(uuid)),
            row("write_wakeup_threshold", Text("256\n")),
        ]),
    ),
    row("randomize_va_space", Text("2\n")),
    row("sched_rr_timeslice_ms", Text("100\n")),
    row("seccomp", Dir(&[row("actions_avail", Text("\n"))])),
    row("sem", Text("32000\t1024000000\t500\t32000\n")),
    row("shmall", Text("18446744073692774399\n")),
    row("shmmax", Text("18446744073692774399\n")),
    row("shmmni", Text("4096\n")),
    row("sysrq", Text("0\n")),
    row("tainted", Text("0\n")),
    row("threads-max", Text("4096\n")),
    row("version", File(version)),
];

static VM: &[Row] = &[
    row("max_map_count", Text("65530\n")),
    row("min_free_kbytes", Text("0\n")),
    row("mmap_min_addr", Text("65536\n")),
    row("nr_hugepages", Text("0\n")),
    row("overcommit_kbytes", Text("0\n")),
    row("overcommit_memory", Text("1\n")),
    row("overcommit_ratio", Text("50\n")),
    row("page-cluster", Text("3\n")),
    row("swappiness", Text("0\n")),
    row("vfs_cache_pressure", Text("100\n")),
];

static FS: &[Row] = &[
    row("aio-max-nr", Text("0\n")),
    row("epoll", Dir(&[row("max_user_watches", Text("1048576\n"))])),
    row("file-max", Text("1048576\n")),
    row("file-nr", File(file_nr)),
    row("inode-nr", Text("0\t0\n")),
    row(
        "inotify",
        Dir(&[
            row("max_queued_events", Text("16384\n")),
            row("max_user_instances", Text("128\n")),
            row("max_user_watches", Text("1048576\n")),
        ]),
    ),
    row("lease-break-time", Text("45\n")),
    row(
        "mqueue",
        Dir(&[
            row("msg_default", Text("10\n")),
            row("msg_max", Text("10\n")),
            row("msgsize_default", Text("8192\n")),
            row("msgsize_max", Text("8192\n")),
            row("queues_max", Text("256\n")),
        ]),
    ),
    row("mount-max", Text("1000\n")),
    row("nr_open", Text("1048576\n")),
    row("overflowgid", Text("65534\n")),
    row("overflowuid", Text("65534\n")),
    row("pipe-max-size", File(pipe_max_size)),
    row("pipe-user-pages-hard", Text("0\n")),
    row("pipe-user-pages-soft", Text("16384\n")),
    row("protected_hardlinks", Text("1\n")),
    row("protected_symlinks", Text("1\n")),
    row("suid_dumpable", Text("0\n")),
];

static NET: &[Row] = &[
    row(
        "core",
        Dir(&[
            row("netdev_max_backlog", Text("1000\n")),
            row("rmem_default", Text("212992\n")),
            row("rmem_max", Text("212992\n")),
            row("somaxconn", Text("4096\n")),
            row("wmem_default", Text("212992\n")),
            row("wmem_max", Text("212992\n")),
        ]),
    ),
    row(
        "ipv4",
        Dir(&[
            row("ip_forward", Text("0\n")),
            row("ip_local_port_range", Text("32768\t60999\n")),
            row("ip_unprivileged_port_start", Text("0\n")),
            row("tcp_fin_timeout", Text("60\n")),
            row("tcp_keepalive_intvl", Text("75\n")),
            row("tcp_keepalive_probes", Text("9\n")),
            row("tcp_keepalive_time", Text("7200\n")),
            row("tcp_max_syn_backlog", Text("512\n")),
            row("tcp_rmem", Text("4096\t131072\t6291456\n")),
            row("tcp_wmem", Text("4096\t16384\t4194304\n")),
        ]),
    ),
    row(
        "ipv6",
        Dir(&[row(
            "conf",
            Dir(&[
                row("all", Dir(&[row("disable_ipv6", Text("0\n"))])),
                row("default", Dir(&[row("disable_ipv6", Text("0\n"))])),
                row("lo", Dir(&[row("disable_ipv6", Text("0\n"))])),
            ]),
        )]),
    ),
    row("unix", Dir(&[row("max_dgram_qlen", Text("512\n"))])),
];

fn line(bytes: &[u8]) -> Contents {
    Ok([bytes, b"\n"].concat())
}

fn hostname(cx: &mut Ctx<'_>, _: &Subject) -> Contents {
    line(&cx.uts().hostname.borrow())
}

fn domainname(cx: &mut Ctx<'_>, _: &Subject) -> Contents {
    line(&cx.uts().domainname.borrow())
}

/// A name as the utsname settings take it: up to the newline, 64 bytes at most.
fn name(cx: &Ctx<'_>, text: &[u8]) -> Result<Vec<u8>, Errno> {
    if cx.task.cred.borrow().euid != 0 {
        return Err(Errno::EPERM);
    }
    let end = text.iter().position(|b| matches!(b, 0 | b'\n')).unwrap_or(text.len());
    Ok(text[..end.min(64)].to_vec())
}

fn set_hostname(cx: &mut Ctx<'_>, _: &Subject, text: &[u8]) -> Result<(), Errno> {
    let name = name(cx, text)?;
    cx.uts().hostname.replace(name);
    Ok(())
}

fn set_domainname(cx: &mut Ctx<'_>, _: &Subject, text: &[u8]) -> Result<(), Errno> {
    let name = name(cx, text)?;
    cx.uts().domainname.replace(name);
    Ok(())
}

fn osrelease(_: &mut Ctx<'_>, _: &Subject) -> Contents {
    line(RELEASE.as_bytes())
}

fn version(_: &mut Ctx<'_>, _: &Subject) -> Contents {
    line(VERSION.as_bytes())
}

fn pty_count(cx: &mut Ctx<'_>, _: &Subject) -> Contents {
    line(cx.kernel.terminals.count().to_string().as_bytes())
}

fn pipe_max_size(_: &mut Ctx<'_>, _: &Subject) -> Contents {
    line(pipe::MAX_CAPACITY.to_string().as_bytes())
}

/// Open descriptions, free ones (always 0), and their limit.
fn file_nr(cx: &mut Ctx<'_>, _: &Subject) -> Contents {
    let open: usize = cx
        .kernel
        .processes(|p| p.zombie.get().is_none())
        .iter()
        .filter_map(|p| {
            let threads = p.live_threads();
            threads.first().map(|task| task.files.borrow().list().len())
        })
        .sum();
    line(format!("{open}\t0\t1048576").as_bytes())
}

/// A version 4 UUID of these random bytes.
fn format_uuid(mut bytes: [u8; 16]) -> Contents {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let part = |range: std::ops::Range<usize>| hex[range].concat();
    line([part(0..4), part(4..6), part(6..8), part(8..10), part(10..16)].join("-").as_bytes())
}

fn uuid(cx: &mut Ctx<'_>, _: &Subject) -> Contents {
    let mut bytes = [0; 16];
    let kernel = &mut *cx.kernel;
    kernel.random.fill(&*kernel.platform, &mut bytes);
    format_uuid(bytes)
}

/// The same until the machine is started anew.
fn boot_id(cx: &mut Ctx<'_>, _: &Subject) -> Contents {
    let kernel = &mut *cx.kernel;
    let bytes = kernel.boot_id.unwrap_or_else(|| {
        let mut bytes = [0; 16];
        kernel.random.fill(&*kernel.platform, &mut bytes);
        bytes
    });
    kernel.boot_id = Some(bytes);
    format_uuid(bytes)
}
