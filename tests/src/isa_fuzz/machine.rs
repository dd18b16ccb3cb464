//! The two that run a program: `qemu-riscv64`, and our hart over a flat memory.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};
use friscy_runtime::hart::{CodeCache, Exit, Library, Registers, run, step};
use friscy_runtime::mm::{PAGE, Window, perm};

use crate::oracle::{friscy_snap, repository};

/// What the program wrote when `qemu-riscv64` ran it.
pub fn qemu(elf: &[u8], directory: &Path) -> Result<Vec<u8>> {
    use std::os::unix::fs::PermissionsExt;
    let path = directory.join("program");
    std::fs::write(&path, elf)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    let output = Command::new("qemu-riscv64").arg(&path).output().context(
        "qemu-riscv64 does not start; it is the oracle of this test: install Debian's package qemu-user",
    )?;
    ensure!(
        output.status.success(),
        "qemu-riscv64: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

/// The program packed with all of its code translated.
pub fn packed(elf: &[u8], directory: &Path) -> Result<PathBuf> {
    pack(elf, directory, &["--aot", "all", "--aot-size", "1g", "--train", "/program"])
}

/// What the program wrote when it was packed so and run: by the native host with the second forms of functions if the
/// processor fuses multiplication and addition, and by Node, which has not come to them when a program ends that soon.
pub fn translated(elf: &[u8], directory: &Path) -> Result<[(&'static str, Vec<u8>); 2]> {
    let app = packed(elf, directory)?;
    let mut native = Command::new(friscy_snap());
    native.args(["run", "--tty=false", "--compile", "first"]).arg(&app);
    let mut node = Command::new("node");
    node.arg(repository().join("bundle/node/friscy-node.mjs")).arg(&app);
    let node = node.output().context("node does not start")?;
    Ok([("native", succeeded(native.output()?)?.0), ("Node", succeeded(node)?.0)])
}

/// Code that comes and goes while the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mixed {
    /// Nothing is translated before, everything that is hot meanwhile, by the page's translator in Node.
    InPage,
    /// The same, and at random times some of it goes again.
    Evicted,
    /// The same, with some code translated before; frozen after so many instructions and thawed.
    Frozen(u64),
}

/// What the program wrote when Node ran it so, and how many functions were translated meanwhile.
pub fn mixed(elf: &[u8], directory: &Path, how: Mixed, seed: u64) -> Result<(Vec<u8>, u64)> {
    let until = match how {
        Mixed::Frozen(after) => format!("instructions:{after}"),
        _ => "entry".to_owned(),
    };
    let some = ["--aot", "all", "--aot-size", "100k", "--train", "/program", "--until", &until];
    let app = pack(elf, directory, if until == "entry" { &["--aot", "off"] } else { &some })?;
    let seed = if how == Mixed::InPage { 0 } else { seed as u32 | 1 };
    let mut node = Command::new("node");
    node.arg(repository().join("bundle/test/mixed.mjs")).arg(&app).arg(seed.to_string());
    let (stdout, said) = succeeded(node.output().context("node does not start")?)?;
    let count = said.rsplit("translated ").next().and_then(|rest| rest.split(',').next()?.parse().ok());
    Ok((stdout, count.with_context(|| said.clone())?))
}

/// An app that holds nothing but the program.
fn pack(elf: &[u8], directory: &Path, options: &[&str]) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let root = directory.join("root");
    std::fs::create_dir_all(&root)?;
    std::fs::write(root.join("program"), elf)?;
    std::fs::set_permissions(root.join("program"), std::fs::Permissions::from_mode(0o755))?;
    let (image, app) = (directory.join("image.tar"), directory.join("app.wasm"));
    succeeded(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&image).arg(".").output()?)?;
    let mut command = Command::new(friscy_snap());
    command.arg(&image).args(["-q", "--tty=false"]).args(options).arg("-o").arg(&app);
    succeeded(command.args(["--", "/program"]).output()?)?;
    Ok(app)
}

/// What a command wrote to its two streams. It must have succeeded.
fn succeeded(output: Output) -> Result<(Vec<u8>, String)> {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{}: {said}", output.status);
    Ok((output.stdout, said))
}

/// How our side executes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Decoded code, with slices of this many instructions.
    Decoded(u64),
    /// The reference interpreter.
    Reference,
}

/// What the program wrote when our hart ran it, and the instructions retired.
pub fn ours(elf: &[u8], mode: Mode) -> Result<(Vec<u8>, u64)> {
    let mut board = Board::load(elf)?;
    let mut output = Vec::new();
    let window = Window {
        base: board.memory.as_mut_ptr(),
        perms: board.perms.as_mut_ptr(),
        pages: board.perms.len() as u64,
    };
    let (mut code, library) = (CodeCache::new(), Library::new());
    loop {
        let regs = &mut board.regs;
        let exit = match mode {
            Mode::Decoded(mut budget) => run(regs, &mut code, &window, &library, &mut budget),
            Mode::Reference => match step(regs, &window) {
                Ok(()) => continue,
                Err(exit) => exit,
            },
        };
        match exit {
            Exit::Budget => {}
            Exit::Ecall if regs.x[17] == 93 => return Ok((output, regs.instret)),
            Exit::Ecall if regs.x[17] == 64 => {
                let (at, len) = (regs.x[11] as usize, regs.x[12] as usize);
                output.extend(board.memory.get(at..at + len).context("write from nowhere")?);
                regs.x[10] = len as u64;
                regs.pc += 4;
            }
            other => bail!("{other:?} at {:#x}", regs.pc),
        }
    }
}

struct Board {
    memory: Vec<u8>,
    perms: Vec<u8>,
    regs: Registers,
}

impl Board {
    fn load(elf: &[u8]) -> Result<Self> {
        let field = |at: usize| u64::from_le_bytes(elf[at..at + 8].try_into().expect("eight bytes"));
        let segments: Vec<_> = (0..2).map(|i| 64 + i * 56).collect();
        let end = segments.iter().map(|&at| field(at + 16) + field(at + 40)).max().unwrap_or(0);
        let pages = end.div_ceil(PAGE) as usize + 1;
        let mut memory = vec![0; pages * PAGE as usize];
        let mut perms = vec![0; pages];
        for at in segments {
            let (offset, addr) = (field(at + 8) as usize, field(at + 16) as usize);
            let (file, size) = (field(at + 32) as usize, field(at + 40) as usize);
            memory[addr..addr + file].copy_from_slice(&elf[offset..offset + file]);
            let flags = elf[at + 4];
            let exec = if flags & 1 != 0 { perm::X } else { 0 };
            perms[addr / PAGE as usize..(addr + size).div_ceil(PAGE as usize)].fill(perm::R | perm::W | exec);
        }
        Ok(Self { memory, perms, regs: Registers { pc: field(24), ..Registers::default() } })
    }
}
