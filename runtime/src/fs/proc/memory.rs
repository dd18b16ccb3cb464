//! /proc/PID files about memory: maps, smaps, statm, and what exec(2) left on the stack.

use std::fmt::Write as _;
use std::rc::Rc;

use crate::abi::Errno;
use crate::fs::Dentry;
use crate::fs::pseudo::{Subject, path_of};
use crate::kernel::Ctx;
use crate::mm::{Area, AreaFlags, Backing, Mm, PAGE};

type Contents = Result<Vec<u8>, Errno>;

/// The most of a string area that is shown.
const STRINGS_MAX: u64 = 1 << 20;

/// The address space; ESRCH for a zombie.
fn space(subject: &Subject) -> Result<Rc<Mm>, Errno> {
    let task = subject.task()?;
    let mm = Rc::clone(&task.mm.borrow());
    Ok(mm)
}

/// Bytes of `range`; what cannot be read (the program unmapped its own stack) is left out.
fn strings(subject: &Subject, range: impl Fn(&Mm) -> (u64, u64)) -> Contents {
    let Ok(mm) = space(subject) else { return Ok(Vec::new()) };
    let (start, end) = range(&mm);
    let mut bytes = vec![0; end.saturating_sub(start).min(STRINGS_MAX) as usize];
    match mm.peek(start, &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(Errno::PENDING) => Err(Errno::PENDING),
        Err(_) => Ok(Vec::new()),
    }
}

pub(super) fn cmdline(_: &mut Ctx<'_>, subject: &Subject) -> Contents {
    strings(subject, |mm| mm.layout().args)
}

pub(super) fn environ(_: &mut Ctx<'_>, subject: &Subject) -> Contents {
    strings(subject, |mm| mm.layout().env)
}

pub(super) fn auxv(_: &mut Ctx<'_>, subject: &Subject) -> Contents {
    Ok(space(subject).map(|mm| mm.auxv()).unwrap_or_default())
}

/// size resident shared text lib data dt, in pages.
pub(super) fn statm(_: &mut Ctx<'_>, subject: &Subject) -> Contents {
    let Ok(mm) = space(subject) else { return Ok(b"0 0 0 0 0 0 0\n".to_vec()) };
    let counts = Counts::of(&mm);
    let (size, resident) = (mm.size_bytes().0 / PAGE, mm.resident_bytes().0 / PAGE);
    let (shared, text, data) = (counts.file / PAGE, counts.exec / PAGE, counts.data / PAGE);
    Ok(format!("{size} {resident} {shared} {text} 0 {data} 0\n").into_bytes())
}

/// Bytes of an address space by kind, for status and statm.
#[derive(Default)]
pub(super) struct Counts {
    /// Present pages of files.
    pub(super) file: u64,
    /// Present pages of nothing.
    pub(super) anonymous: u64,
    /// Executable mappings of files.
    pub(super) exec: u64,
    /// Private writable mappings.
    pub(super) data: u64,
    /// The main stack.
    pub(super) stack: u64,
    /// mlock(2)ed.
    pub(super) locked: u64,
}

impl Counts {
    pub(super) fn of(mm: &Mm) -> Counts {
        let mut counts = Counts::default();
        for area in mm.areas().iter() {
            let (present, dirty) = mm.area_usage(area);
            let file = matches!(area.backing, Backing::File(_));
            let own = if file && !area.shared() { dirty } else { present };
            if file {
                counts.file += present - own.min(present);
            }
            counts.anonymous += if file && area.shared() { 0 } else { own };
            if file && area.shared() {
                counts.file += present;
            }
            if area.flags.contains(AreaFlags::GROWSDOWN) {
                counts.stack += area.len();
            } else if area.writable() && !area.shared() {
                counts.data += area.len();
            }
            if area.executable() && !area.writable() && file {
                counts.exec += area.len();
            }
            if area.flags.contains(AreaFlags::LOCKED) {
                counts.locked += area.len();
            }
        }
        counts
    }
}

/// One line of maps.
fn header(mm: &Mm, area: &Area, viewer: &Ctx<'_>, out: &mut Vec<u8>) {
    let flag = |on: bool, letter: char| if on { letter } else { '-' };
    let (dentry, name) = name_of(mm, area, viewer);
    let stat = dentry.map(|d| d.inode.stat()).unwrap_or_default();
    let line = format!(
        "{:08x}-{:08x} {}{}{}{} {:08x} {:02x}:{:02x} {} ",
        area.start,
        area.end,
        flag(area.readable(), 'r'),
        flag(area.writable(), 'w'),
        flag(area.executable(), 'x'),
        if area.shared() { 's' } else { 'p' },
        area.offset,
        stat.dev >> 8 & 0xfff,
        stat.dev & 0xff,
        stat.ino,
    );
    let column = out.len() + 73;
    out.extend_from_slice(line.as_bytes());
    if !name.is_empty() {
        out.resize(out.len().max(column), b' ');
        out.extend(name.iter().flat_map(|&b| if b == b'\n' { b"\\012".to_vec() } else { vec![b] }));
    }
    out.push(b'\n');
}

fn name_of(mm: &Mm, area: &Area, viewer: &Ctx<'_>) -> (Option<Rc<Dentry>>, Vec<u8>) {
    let layout = mm.layout();
    if let Backing::File(mapped) = &area.backing {
        return match &mapped.dentry {
            Some(dentry) => (Some(Rc::clone(dentry)), path_of(dentry, Some(&viewer.task))),
            None => (None, mapped.name.clone()),
        };
    }
    let holds = |addr: u64| area.start <= addr && addr < area.end;
    let name: &[u8] = if area.start < layout.brk && area.end > layout.brk_start {
        b"[heap]"
    } else if holds(layout.stack_start) {
        b"[stack]"
    } else if layout.vdso != 0 && holds(layout.vdso) {
        b"[vdso]"
    } else {
        b""
    };
    (None, name.to_vec())
}

pub(super) fn maps(cx: &mut Ctx<'_>, subject: &Subject) -> Contents {
    let Ok(mm) = space(subject) else { return Ok(Vec::new()) };
    let mut out = Vec::new();
    for area in mm.areas().iter() {
        header(&mm, area, cx, &mut out);
    }
    Ok(out)
}

/// What smaps says of areas, in bytes.
#[derive(Default, Clone, Copy)]
struct Usage {
    size: u64,
    rss: u64,
    shared_clean: u64,
    private_clean: u64,
    private_dirty: u64,
    anonymous: u64,
    locked: u64,
}

impl Usage {
    fn of(mm: &Mm, area: &Area) -> Usage {
        let (present, dirty) = mm.area_usage(area);
        let file = matches!(area.backing, Backing::File(_));
        Usage {
            size: area.len(),
            rss: present,
            shared_clean: if area.shared() { present - dirty.min(present) } else { 0 },
            private_clean: if area.shared() { 0 } else { present - dirty.min(present) },
            private_dirty: dirty,
            anonymous: if file { dirty } else { present },
            locked: if area.flags.contains(AreaFlags::LOCKED) { present } else { 0 },
        }
    }

    fn add(&mut self, other: &Usage) {
        self.size += other.size;
        self.rss += other.rss;
        self.shared_clean += other.shared_clean;
        self.private_clean += other.private_clean;
        self.private_dirty += other.private_dirty;
        self.anonymous += other.anonymous;
        self.locked += other.locked;
    }

    fn write(&self, out: &mut Vec<u8>) {
        let rows = [
            ("Rss", self.rss),
            ("Pss", self.rss),
            ("Pss_Dirty", self.private_dirty),
            ("Shared_Clean", self.shared_clean),
            ("Shared_Dirty", 0),
            ("Private_Clean", self.private_clean),
            ("Private_Dirty", self.private_dirty),
            ("Referenced", self.rss),
            ("Anonymous", self.anonymous),
            ("KSM", 0),
            ("LazyFree", 0),
            ("AnonHugePages", 0),
            ("ShmemPmdMapped", 0),
            ("FilePmdMapped", 0),
            ("Shared_Hugetlb", 0),
            ("Private_Hugetlb", 0),
            ("Swap", 0),
            ("SwapPss", 0),
            ("Locked", self.locked),
        ];
        let mut text = String::new();
        for (name, bytes) in rows {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{:16}{:8} kB", format!("{name}:"), bytes / 1024);
        }
        out.extend_from_slice(text.as_bytes());
    }
}

pub(super) fn smaps(cx: &mut Ctx<'_>, subject: &Subject) -> Contents {
    let Ok(mm) = space(subject) else { return Ok(Vec::new()) };
    let mut out = Vec::new();
    for area in mm.areas().iter() {
        header(&mm, area, cx, &mut out);
        let sizes = [("Size", area.len() / 1024), ("KernelPageSize", 4), ("MMUPageSize", 4)];
        for (name, kib) in sizes {
            out.extend_from_slice(format!("{:16}{kib:8} kB\n", format!("{name}:")).as_bytes());
        }
        Usage::of(&mm, area).write(&mut out);
        out.extend_from_slice(b"THPeligible:           0\n");
        let flags = [
            (area.readable(), "rd"),
            (area.writable(), "wr"),
            (area.executable(), "ex"),
            (area.shared(), "sh"),
            (true, "mr mw me"),
            (area.flags.contains(AreaFlags::GROWSDOWN), "gd"),
            (area.flags.contains(AreaFlags::LOCKED), "lo"),
            (area.flags.contains(AreaFlags::NORESERVE), "nr"),
            (area.flags.contains(AreaFlags::DONTDUMP), "dd"),
        ];
        let set: Vec<&str> = flags.iter().filter(|f| f.0).map(|f| f.1).collect();
        out.extend_from_slice(format!("VmFlags: {} \n", set.join(" ")).as_bytes());
    }
    Ok(out)
}

pub(super) fn smaps_rollup(_: &mut Ctx<'_>, subject: &Subject) -> Contents {
    let mm = space(subject)?;
    let areas = mm.areas();
    let mut sum = Usage::default();
    let (mut first, mut last) = (None, 0);
    for area in areas.iter() {
        sum.add(&Usage::of(&mm, area));
        first = first.or(Some(area.start));
        last = area.end;
    }
    let start = first.unwrap_or(0);
    let mut out = format!("{start:08x}-{last:08x} ---p 00000000 00:00 0 ").into_bytes();
    out.resize(73, b' ');
    out.extend_from_slice(b"[rollup]\n");
    sum.write(&mut out);
    Ok(out)
}
