//! execve(2): from a path to a program about to run its first instruction.
//!
//! `find` follows shebangs to an ELF file, `load` maps it and its interpreter
//! into a new address space, `exec_stack` builds the stack, `commit` is the
//! point of no return. Until then nothing of the caller has changed, so that
//! every failure (and waiting for contents) simply returns.

use std::rc::Rc;

use friscy_formats::elf::{self, Elf, ElfError, Placement};

use super::cred::CAP_SYS_ADMIN;
use super::exec_layout::Plan;
use super::exec_stack::{self, Auxv};
use super::start::StartError;
use super::vdso::{self, SIGRETURN_OFFSET};
use super::{Ctx, FdTable, Kernel, Task};
use crate::abi::Errno;
use crate::abi::fcntl::AT_FDCWD;
use crate::abi::mman::{PROT_EXEC, PROT_READ, PROT_WRITE};
use crate::abi::mount::{MS_NOEXEC, MS_NOSUID};
use crate::abi::resource::{RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK, RLIMIT_STACK};
use crate::fs::permission::{self, MAY_EXEC};
use crate::fs::{Dentry, Pages, mode, namei};
use crate::hart::Registers;
use crate::mm::{AreaFlags, Backing, Layout, Limits, Mapped, Mapping, Mm, PAGE, Place};

/// How many interpreters of scripts may be scripts themselves, as in Linux.
const SCRIPTS_MAX: usize = 5;
/// Bytes of a file that decide what it is (BINPRM_BUF_SIZE).
const HEAD_BYTES: usize = 256;
/// Mapped from the beginning; faults below it make the stack grow.
const STACK_START_BYTES: u64 = 128 << 10;

/// What a program is started with.
#[derive(Debug, Clone, Default)]
pub struct Arguments {
    /// Argument vector.
    pub argv: Vec<Vec<u8>>,
    /// Environment.
    pub envp: Vec<Vec<u8>>,
}

/// A file that is to be executed.
struct Program {
    dentry: Rc<Dentry>,
    pages: Rc<dyn Pages>,
    head: Vec<u8>,
}

/// A program found and checked.
struct Found {
    program: Program,
    elf: Elf,
    interpreter: Option<(Program, Elf)>,
}

/// Why a program cannot run: the errno, and what the first process's host is told.
#[derive(Debug)]
pub struct ExecError {
    /// What execve(2) returns.
    pub errno: Errno,
    /// One line without the program's name.
    pub reason: String,
}

impl ExecError {
    fn new(errno: Errno, reason: impl Into<String>) -> ExecError {
        ExecError { errno, reason: reason.into() }
    }
}

impl From<Errno> for ExecError {
    fn from(errno: Errno) -> ExecError {
        ExecError::new(errno, errno.message())
    }
}

impl From<ElfError> for ExecError {
    fn from(error: ElfError) -> ExecError {
        ExecError::new(Errno::ENOEXEC, error.to_string())
    }
}

/// execve(2) of `dentry`, which was named `path`. On success the caller's registers, memory and the rest are the new
/// program's.
pub fn execve(cx: &mut Ctx<'_>, dentry: Rc<Dentry>, path: &[u8], args: Arguments) -> Result<(), ExecError> {
    let mut args = args;
    if args.argv.is_empty() {
        // As Linux does since 5.18: a program that expects argv[0] must not read the environment instead.
        args.argv.push(Vec::new());
    }
    let found = find(cx, dentry, path, &mut args)?;
    let cred = new_cred(cx, &found.program);
    let mm = Mm::new(&cx.kernel.linear)?;
    mm.set_limits(limits(&cx.task));
    let vdso = Rc::clone(cx.kernel.vdso.get_or_insert_with(vdso::mapped));
    let mut auxv = load(&mm, &found, &cred, &vdso)?;
    cx.kernel.random_bytes(&mut auxv.random);
    let sp = exec_stack::build(&mm, path, &args, &auxv)?;
    let entry = auxv.first_pc;
    commit(cx, mm, cred, &found, path);
    let mut regs = Registers { pc: entry, ..Registers::default() };
    regs.x[2] = sp;
    cx.task.regs.replace(regs);
    Ok(())
}

/// End of the line that tells of a first program that does not exist.
pub const NOT_FOUND: &str = "not found in the image";

/// The first program: `argv[0]` is looked up in the `PATH` of `env` when it has no slash.
pub fn boot(cx: &mut Ctx<'_>, argv: &[Vec<u8>], env: &[Vec<u8>]) -> Result<(), StartError> {
    let args = Arguments { argv: argv.to_vec(), envp: env.to_vec() };
    let none = || StartError::Failed("no command: the image names none; give one after --".into());
    let name = argv.first().filter(|name| !name.is_empty()).ok_or_else(none)?;
    let failed = |error: ExecError| match error.errno {
        Errno::PENDING => StartError::Pending,
        _ => StartError::Failed(format!("cannot start {}: {}", String::from_utf8_lossy(name), error.reason)),
    };
    let (dentry, path) = search(cx, name, env).map_err(|errno| match errno {
        Errno::ENOENT => failed(ExecError::new(errno, NOT_FOUND)),
        Errno::EACCES => failed(ExecError::new(errno, "not an executable file; chmod +x it in the image")),
        errno => failed(errno.into()),
    })?;
    execve(cx, dentry, &path, args).map_err(failed)
}

/// As execvp(3): the dentry and the path it was found at. ENOENT, EACCES.
fn search(cx: &Ctx<'_>, name: &[u8], envp: &[Vec<u8>]) -> Result<(Rc<Dentry>, Vec<u8>), Errno> {
    if name.contains(&b'/') {
        return Ok((namei::lookup(cx, AT_FDCWD, name, 0)?, name.to_vec()));
    }
    let path = envp.iter().find_map(|variable| variable.strip_prefix(b"PATH="));
    let mut failure = Errno::ENOENT;
    for folder in
        path.unwrap_or(b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").split(|&b| b == b':')
    {
        let mut full = if folder.is_empty() { b".".to_vec() } else { folder.to_vec() };
        full.push(b'/');
        full.extend_from_slice(name);
        match namei::lookup(cx, AT_FDCWD, &full, 0) {
            Ok(dentry) if executable(cx, &dentry).is_ok() => return Ok((dentry, full)),
            Ok(_) => failure = Errno::EACCES,
            Err(Errno::PENDING) => return Err(Errno::PENDING),
            Err(_) => {}
        }
    }
    Err(failure)
}

/// A regular file that the caller may execute. EACCES.
fn executable(cx: &Ctx<'_>, dentry: &Dentry) -> Result<(), Errno> {
    let regular = dentry.inode.stat().mode & mode::S_IFMT == mode::S_IFREG;
    if !regular || dentry.mount.flags.get() & MS_NOEXEC as u32 != 0 {
        return Err(Errno::EACCES);
    }
    permission::may(cx, &*dentry.inode, MAY_EXEC)
}

impl Program {
    fn open(cx: &Ctx<'_>, dentry: Rc<Dentry>) -> Result<Program, Errno> {
        executable(cx, &dentry)?;
        permission::not_written(cx, &dentry)?;
        let pages = dentry.inode.pages().ok_or(Errno::EACCES)?;
        let head = read(&*pages, 0, elf::HEAD_BYTES)?;
        Ok(Program { dentry, pages, head })
    }

    fn elf(&self) -> Result<Elf, ExecError> {
        let size = self.pages.size();
        match Elf::parse(&self.head, size) {
            Err(ElfError::Table { offset, len }) => {
                let table = read(&*self.pages, offset, len as usize)?;
                Ok(Elf::parse_with_table(&self.head, &table, size)?)
            }
            parsed => Ok(parsed?),
        }
    }
}

/// Up to `len` bytes of a file at `offset`; fewer at its end.
fn read(pages: &dyn Pages, offset: u64, len: usize) -> Result<Vec<u8>, Errno> {
    pages.sharers().before_read(pages, offset, len as u64)?;
    let end = offset.saturating_add(len as u64).min(pages.size());
    let mut bytes = Vec::new();
    let mut page = [0; PAGE as usize];
    let mut at = offset;
    while at < end {
        let start = at & !(PAGE - 1);
        pages.read_page(start, &mut page)?;
        let stop = (end - start).min(PAGE) as usize;
        bytes.extend_from_slice(&page[(at - start) as usize..stop]);
        at = start + PAGE;
    }
    Ok(bytes)
}

/// Follow shebangs to an ELF program and its interpreter, rewriting the arguments on the way.
fn find(cx: &Ctx<'_>, dentry: Rc<Dentry>, path: &[u8], args: &mut Arguments) -> Result<Found, ExecError> {
    let mut program = Program::open(cx, dentry)?;
    let mut script = path.to_vec();
    for _ in 0..=SCRIPTS_MAX {
        if !program.head.starts_with(b"#!") {
            let elf = program.elf()?;
            let interpreter = interpreter(cx, &program, &elf)?;
            return Ok(Found { program, elf, interpreter });
        }
        let (name, argument) =
            shebang(&program.head).ok_or(ExecError::new(Errno::ENOEXEC, "the #! line names no program"))?;
        // argv[0] makes room for the interpreter, its argument and the script's path.
        args.argv.splice(..1, [Some(name.clone()), argument, Some(script)].into_iter().flatten());
        let missing = |errno: Errno| {
            ExecError::new(
                errno,
                format!("its #! program {}: {}", String::from_utf8_lossy(&name), errno.message()),
            )
        };
        let dentry = namei::lookup(cx, AT_FDCWD, &name, 0).map_err(missing)?;
        program = Program::open(cx, dentry).map_err(missing)?;
        script = name;
    }
    Err(Errno::ELOOP.into())
}

/// The program and the one optional argument of a `#!` line. None when there is none, or when it does not fit.
fn shebang(head: &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let head = &head[2..head.len().min(HEAD_BYTES)];
    let blank = |b: &u8| *b == b' ' || *b == b'\t';
    let (line, whole) = match head.iter().position(|&b| b == b'\n') {
        Some(end) => (&head[..end], true),
        None => (head, head.len() < HEAD_BYTES - 2),
    };
    let start = line.iter().position(|b| !blank(b))?;
    let line = line[start..].trim_ascii_end();
    let end = line.iter().position(|b| blank(b) || *b == 0).unwrap_or(line.len());
    if end == 0 || (end == line.len() && !whole) {
        return None;
    }
    let rest = line[end..].split(|&b| b == 0).next().unwrap_or_default();
    let argument = rest.trim_ascii();
    Some((line[..end].to_vec(), (!argument.is_empty()).then(|| argument.to_vec())))
}

/// The interpreter that PT_INTERP names. An interpreter has none of its own: what Linux ignores is ignored.
fn interpreter(cx: &Ctx<'_>, program: &Program, elf: &Elf) -> Result<Option<(Program, Elf)>, ExecError> {
    let Some(range) = elf.interp.clone() else { return Ok(None) };
    let bytes = read(&*program.pages, range.start, (range.end - range.start) as usize)?;
    let name = elf::interp_path(&bytes)?;
    let shown = String::from_utf8_lossy(name).into_owned();
    let failed = |errno: Errno| match errno {
        Errno::ENOENT => ExecError::new(
            errno,
            format!("its interpreter {shown} is not in the image; copy it in or link statically"),
        ),
        errno => ExecError::new(errno, format!("its interpreter {shown}: {}", errno.message())),
    };
    let dentry = namei::lookup(cx, AT_FDCWD, name, 0).map_err(failed)?;
    let interpreter = Program::open(cx, dentry).map_err(failed)?;
    let elf = interpreter.elf().map_err(|error| {
        ExecError::new(Errno::ELIBBAD, format!("its interpreter {shown}: {}", error.reason))
    })?;
    Ok(Some((interpreter, elf)))
}

/// Credentials after the set-user-ID and set-group-ID bits.
fn new_cred(cx: &Ctx<'_>, program: &Program) -> super::Cred {
    let mut cred = super::Cred::clone(&cx.task.cred.borrow());
    let stat = program.dentry.inode.stat();
    let honoured = program.dentry.mount.flags.get() & MS_NOSUID as u32 == 0 && !cx.task.no_new_privs.get();
    let (uid, gid) = (cred.euid, cred.egid);
    if honoured && stat.mode & mode::S_ISUID != 0 {
        cred.euid = stat.uid;
    }
    if honoured && stat.mode & (mode::S_ISGID | 0o010) == mode::S_ISGID | 0o010 {
        cred.egid = stat.gid;
    }
    cred.after_exec((cred.euid, cred.egid) != (uid, gid));
    cred
}

/// The process's resource limits, as its memory needs them.
fn limits(task: &Task) -> Limits {
    let limit = |resource| task.process.rlimit(resource);
    Limits {
        address_space: limit(RLIMIT_AS),
        data: limit(RLIMIT_DATA),
        stack: limit(RLIMIT_STACK),
        locked: if task.cred.borrow().capable(CAP_SYS_ADMIN) { u64::MAX } else { limit(RLIMIT_MEMLOCK) },
    }
}

/// Map the program, its stack, its interpreter and the vDSO page, where [`Plan`] says.
fn load(mm: &Mm, found: &Found, cred: &super::Cred, vdso: &Rc<Mapped>) -> Result<Auxv, ExecError> {
    let elf = &found.elf;
    let interpreter = found.interpreter.as_ref().map(|(_, elf)| elf);
    let plan = Plan::new(elf, interpreter, mm.limits().stack).ok_or_else(|| {
        let reason = "linked for addresses that the machine does not have; link it position-independent";
        ExecError::new(Errno::ENOEXEC, reason)
    })?;
    let bias = plan.bias;
    let segment = |write: bool| {
        let ranges = elf.loads.iter().filter(move |load| if write { load.write } else { load.execute });
        let (start, end) = ranges.fold((u64::MAX, 0), |(a, b), load| (a.min(load.vaddr), b.max(load.end())));
        if start < end { (start.wrapping_add(bias), end.wrapping_add(bias)) } else { (0, 0) }
    };
    let mut layout = Layout {
        brk_start: plan.heap.start,
        brk: plan.heap.start,
        brk_max: plan.heap.end,
        mmap_base: plan.mmap_base,
        stack_end: plan.stack_end,
        code: segment(false),
        data: segment(true),
        ..Layout::default()
    };
    mm.set_layout(layout);
    plan.expected.iter().for_each(|range| mm.expect(range));
    map_segments(mm, &found.program, elf, bias)?;
    let stack_prot = PROT_READ | PROT_WRITE | if elf.executable_stack == Some(true) { PROT_EXEC } else { 0 };
    let stack = Mapping {
        flags: AreaFlags::GROWSDOWN,
        ..Mapping::anonymous(STACK_START_BYTES.min(plan.stack_bytes), stack_prot)
    };
    mm.map(Place::Fixed(plan.stack_end - stack.len), stack)?;
    let entry = bias.wrapping_add(elf.entry);
    let (base, first_pc) = match &found.interpreter {
        None => (0, entry),
        Some((program, elf)) => {
            let bias = place_interpreter(mm, elf)?;
            map_segments(mm, program, elf, bias)?;
            (bias, bias.wrapping_add(elf.entry))
        }
    };
    let backing = Backing::File(Rc::clone(vdso));
    layout.vdso =
        mm.map(Place::Hint(0), Mapping { backing, ..Mapping::anonymous(PAGE, PROT_READ | PROT_EXEC) })?;
    layout.sigreturn = layout.vdso + SIGRETURN_OFFSET;
    mm.set_layout(layout);
    Ok(Auxv {
        phdr: elf.phdr_vaddr.map_or(0, |vaddr| vaddr.wrapping_add(bias)),
        phnum: u64::from(elf.phnum),
        base,
        entry,
        uid: cred.uid,
        euid: cred.euid,
        gid: cred.gid,
        egid: cred.egid,
        vdso: layout.vdso,
        random: [0; 16],
        first_pc,
    })
}

/// Where the interpreter goes: its bias.
fn place_interpreter(mm: &Mm, elf: &Elf) -> Result<u64, ExecError> {
    let span = elf.span();
    if elf.placement == Placement::Fixed {
        return Ok(0);
    }
    let align = elf.align().max(PAGE);
    let room = (span.end - span.start).saturating_add(align);
    let hole = mm.map(Place::Hint(0), Mapping::anonymous(room, 0))?;
    mm.unmap(hole, room)?;
    Ok(hole.next_multiple_of(align).wrapping_sub(span.start))
}

/// Map the PT_LOAD segments of a program, moved by `bias`.
fn map_segments(mm: &Mm, program: &Program, elf: &Elf, bias: u64) -> Result<(), ExecError> {
    let mapped = Rc::new(Mapped {
        pages: Rc::clone(&program.pages),
        dentry: Some(Rc::clone(&program.dentry)),
        name: Vec::new(),
    });
    for load in &elf.loads {
        let prot = [(load.read, PROT_READ), (load.write, PROT_WRITE), (load.execute, PROT_EXEC)];
        let prot = prot.into_iter().filter(|p| p.0).fold(0, |all, p| all | p.1);
        let vaddr = load.vaddr.wrapping_add(bias);
        let start = vaddr & !(PAGE - 1);
        let file_end = vaddr + load.file_bytes;
        let memory_end = (vaddr + load.memory_bytes).next_multiple_of(PAGE);
        let mut anonymous = start;
        if load.file_bytes > 0 {
            let len = (file_end - start).next_multiple_of(PAGE);
            let backing = Backing::File(Rc::clone(&mapped));
            let offset = load.offset & !(PAGE - 1);
            mm.map(Place::Fixed(start), Mapping { backing, offset, ..Mapping::anonymous(len, prot) })?;
            anonymous = start + len;
            if load.memory_bytes > load.file_bytes && load.write {
                // The rest of the last file page is the beginning of .bss; all of it, as Linux does:
                // ld.so's first malloc takes what lies behind its .bss and counts on zeros.
                mm.poke(file_end, &vec![0; (anonymous - file_end) as usize])?;
            }
        }
        if memory_end > anonymous {
            mm.map(Place::Fixed(anonymous), Mapping::anonymous(memory_end - anonymous, prot))?;
        }
    }
    Ok(())
}

/// The point of no return: the old program is gone.
fn commit(cx: &mut Ctx<'_>, mm: Rc<Mm>, cred: super::Cred, found: &Found, path: &[u8]) {
    let task = cx.kernel.begin_new_exec(&cx.task);
    let old = task.mm.replace(mm);
    cx.kernel.release_vfork(&task);
    drop(old);
    unshare_files(&task);
    let closed = task.files.borrow().close_on_exec();
    drop(closed);
    task.cred.replace(Rc::new(cred));
    let name = path.rsplit(|&b| b == b'/').next().unwrap_or(path);
    task.comm.replace(name[..name.len().min(15)].to_vec());
    task.process.exe.replace(Some(Rc::clone(&found.program.dentry)));
    cx.task = task;
}

/// A table shared by CLONE_FILES is shared no longer.
fn unshare_files(task: &Task) {
    let shared = Rc::strong_count(&task.files.borrow()) > 1;
    if shared {
        let own: FdTable = task.files.borrow().duplicate();
        task.files.replace(Rc::new(own));
    }
}

/// New random bytes at AT_RANDOM of a program that has not run yet: two openings of one frozen file differ.
pub fn renew_random(kernel: &mut Kernel, task: &Task) {
    let mm = Rc::clone(&task.mm.borrow());
    let Some(addr) = exec_stack::auxv_value(&mm.auxv(), exec_stack::AT_RANDOM) else { return };
    let mut random = [0; 16];
    kernel.random_bytes(&mut random);
    // The page was written by exec and is there; a program that unmapped it does not need it.
    let _ = mm.poke(addr, &random);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(String, Option<String>)> {
        let own = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        shebang(text.as_bytes()).map(|(name, argument)| (own(name), argument.map(own)))
    }

    #[test]
    fn shebang_lines() {
        assert_eq!(parsed("#!/bin/sh\n"), Some(("/bin/sh".into(), None)));
        assert_eq!(
            parsed("#! /usr/bin/env  python3 -u \nx"),
            Some(("/usr/bin/env".into(), Some("python3 -u".into())))
        );
        assert_eq!(parsed("#!/bin/sh"), Some(("/bin/sh".into(), None)));
        assert_eq!(parsed("#!\n"), None);
        assert_eq!(parsed("#!   \n/bin/sh"), None);
        assert_eq!(parsed(&format!("#!/{}", "x".repeat(400))), None, "cut off in the middle of the name");
        assert_eq!(parsed(&format!("#!/bin/sh {}\n", "x".repeat(400))).map(|p| p.0), Some("/bin/sh".into()));
    }
}
