//! sysfs(5), as far as programs ask it how many CPUs there are and what the
//! network looks like. A table for `pseudo.rs`; nothing here changes.

use std::rc::Rc;

use super::InodeRef;
use super::pseudo::Kind::{Dir, Symlink, Text};
use super::pseudo::{Filesystem, Row, Subject, World, root, row};

/// statfs(2) magic number.
const MAGIC: u64 = 0x6265_6572;

/// The root of a sysfs with device number `dev`.
pub fn mount(world: &Rc<World>, dev: u64) -> InodeRef {
    root(Subject::machine(world), &ROOT, Filesystem { dev, magic: MAGIC })
}

static ROOT: Row = row(
    "",
    Dir(&[
        row("block", Dir(&[])),
        row("bus", Dir(&[row("cpu", Dir(&[])), row("pci", Dir(&[])), row("usb", Dir(&[]))])),
        row("class", Dir(CLASS)),
        row("dev", Dir(&[row("block", Dir(&[])), row("char", Dir(&[]))])),
        row("devices", Dir(&[row("system", Dir(SYSTEM)), row("virtual", Dir(&[row("net", Dir(&[LO]))]))])),
        row("firmware", Dir(&[])),
        row("fs", Dir(&[row("cgroup", Dir(&[]))])),
        row("hypervisor", Dir(&[])),
        row("kernel", Dir(KERNEL)),
        row("module", Dir(&[])),
        row("power", Dir(&[])),
    ]),
);

static CLASS: &[Row] = &[
    row("block", Dir(&[])),
    row("net", Dir(&[row("lo", Symlink("../../devices/virtual/net/lo"))])),
    row("thermal", Dir(&[])),
    row("tty", Dir(&[])),
];

const LO: Row = row(
    "lo",
    Dir(&[
        row("address", Text("00:00:00:00:00:00\n")),
        row("addr_len", Text("6\n")),
        row("carrier", Text("1\n")),
        row("flags", Text("0x9\n")),
        row("ifindex", Text("1\n")),
        row("iflink", Text("1\n")),
        row("mtu", Text("65536\n")),
        row("operstate", Text("unknown\n")),
        row("type", Text("772\n")),
    ]),
);

static SYSTEM: &[Row] = &[
    row(
        "cpu",
        Dir(&[
            row(
                "cpu0",
                Dir(&[
                    row("online", Text("1\n")),
                    row(
                        "topology",
                        Dir(&[
                            row("core_cpus", Text("1\n")),
                            row("core_cpus_list", Text("0\n")),
                            row("core_id", Text("0\n")),
                            row("core_siblings", Text("1\n")),
                            row("core_siblings_list", Text("0\n")),
                            row("package_cpus_list", Text("0\n")),
                            row("physical_package_id", Text("0\n")),
                            row("thread_siblings", Text("1\n")),
                            row("thread_siblings_list", Text("0\n")),
                        ]),
                    ),
                ]),
            ),
            row("isolated", Text("\n")),
            row("kernel_max", Text("0\n")),
            row("offline", Text("\n")),
            row("online", Text("0\n")),
            row("possible", Text("0\n")),
            row("present", Text("0\n")),
        ]),
    ),
    row(
        "node",
        Dir(&[
            row("has_cpu", Text("0\n")),
            row("has_memory", Text("0\n")),
            row(
                "node0",
                Dir(&[
                    row("cpulist", Text("0\n")),
                    row("cpumap", Text("1\n")),
                    row("distance", Text("10\n")),
                ]),
            ),
            row("online", Text("0\n")),
            row("possible", Text("0\n")),
        ]),
    ),
];

static KERNEL: &[Row] = &[
    row(
        "mm",
        Dir(&[
            row("hugepages", Dir(&[])),
            row(
                "transparent_hugepage",
                Dir(&[
                    row("defrag", Text("always defer defer+madvise madvise [never]\n")),
                    row("enabled", Text("always madvise [never]\n")),
                    row("hpage_pmd_size", Text("2097152\n")),
                    row("shmem_enabled", Text("always within_size advise [never] deny force\n")),
                ]),
            ),
        ]),
    ),
    row("notes", Text("")),
    row("uevent_seqnum", Text("0\n")),
];
