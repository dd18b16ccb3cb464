//! /proc/friscy: what a program can know and ask of being frozen. For programs and their authors: docs/RESUME.md.

use crate::abi::Errno;
use crate::fs::pseudo::Kind::{Edit, File, Watched};
use crate::fs::pseudo::{Row, Subject, row, row_mode};
use crate::kernel::Ctx;

type Contents = Result<Vec<u8>, Errno>;

pub(super) static FRISCY: &[Row] = &[
    row_mode("freeze", 0o666, Edit(freezing, freeze)),
    row("generation", Watched(generation)),
    row("version", File(version)),
];

/// 1 while a freeze is to come, else 0.
fn freezing(cx: &mut Ctx<'_>, _: &Subject) -> Contents {
    Ok(format!("{}\n", u8::from(cx.kernel.watch.armed)).into_bytes())
}

/// Whatever is written asks for the freeze.
fn freeze(cx: &mut Ctx<'_>, _: &Subject, _: &[u8]) -> Result<(), Errno> {
    cx.kernel.ask_for_freeze();
    Ok(())
}

/// Another number in each opening; zeros before the first one.
fn generation(_: &mut Ctx<'_>, subject: &Subject) -> Contents {
    let hex: String = subject.world.generation.get().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{hex}\n").into_bytes())
}

fn version(_: &mut Ctx<'_>, _: &Subject) -> Contents {
    Ok(format!("{}\n", env!("CARGO_PKG_VERSION")).into_bytes())
}
