//! Compiled modules in files that are mapped: the engine, which is the same for
//! every app, is compiled once, and opening an app touches what runs of it.
//! wasmtime's own cache, which `vm::engine` sets up for all else, packs what it
//! keeps, and unpacking an engine costs more than the rest of opening a shell.
//!
//! A file is what `Engine::precompile_module` gave, complete before it has its
//! name, and never changed. Its name is `KEY-DIGEST`: KEY is of the Wasm and of
//! everything that compiling it depends on, DIGEST of the contents, which are
//! looked at each time: machine code is not to be run from a damaged file.

use std::fs::{self, File, Permissions};
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use wasmtime::{Engine, Module};

use crate::cache;
use crate::mapped::Mapped;
use crate::vm::wasmtime_error;

/// Files that are kept. Each is some 8 MB.
const KEPT: usize = 8;
/// A file that is used is marked as used so often.
const MARKED: Duration = Duration::from_secs(24 * 3600);

/// The module that `wasm` is, compiled now or before.
pub fn module(engine: &Engine, wasm: &[u8]) -> Result<Module> {
    match cache::directory("engines") {
        Some(directory) => module_in(&directory, engine, wasm),
        None => compile(engine, wasm).map(|(module, _)| module),
    }
}

fn module_in(directory: &Path, engine: &Engine, wasm: &[u8]) -> Result<Module> {
    let key = key(engine, wasm);
    if let Some(module) = files(directory).find_map(|path| open(engine, &path, &key)) {
        return Ok(module);
    }
    let (module, compiled) = compile(engine, wasm)?;
    // What cannot be kept is compiled again.
    let _ = keep(directory, &key, &compiled);
    Ok(module)
}

fn compile(engine: &Engine, wasm: &[u8]) -> Result<(Module, Vec<u8>)> {
    let compiled = engine.precompile_module(wasm).map_err(wasmtime_error)?;
    // SAFETY: these are the bytes that wasmtime has just made, in our memory.
    let module = unsafe { Module::deserialize(engine, &compiled) }.map_err(wasmtime_error)?;
    Ok((module, compiled))
}

/// Feeds what is hashed to blake3.
struct Key(blake3::Hasher);

impl Hasher for Key {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let mut start = [0; 8];
        self.0.finalize_xof().fill(&mut start);
        u64::from_le_bytes(start)
    }
}

/// Of the Wasm, of wasmtime's version, and of the settings and the processor that it compiles for.
fn key(engine: &Engine, wasm: &[u8]) -> String {
    let mut key = Key(blake3::Hasher::new());
    engine.precompile_compatibility_hash().hash(&mut key);
    wasm.hash(&mut key);
    key.0.finalize().to_hex().to_string()
}

fn files(directory: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// The module in the file at `path`, if it is that of `key`; the file goes when it is not whole.
fn open(engine: &Engine, path: &Path, key: &str) -> Option<Module> {
    let (_, digest) = path.file_name()?.to_str()?.split_once('-').filter(|(of, _)| *of == key)?;
    let file = File::open(path).ok()?;
    let metadata = file.metadata().ok()?;
    if metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & 0o022 != 0 {
        // Others could have written it, digest and all.
        return None;
    }
    let whole = Mapped::of(&file).is_ok_and(|bytes| blake3::hash(&bytes).to_hex().as_str() == digest);
    if !whole {
        let _ = fs::remove_file(path);
        return None;
    }
    if metadata.modified().ok()?.elapsed().is_ok_and(|age| age > MARKED) {
        let _ = file.set_modified(SystemTime::now());
    }
    // SAFETY: the file has the digest that its writer gave it, which is nobody but this user (see above) by way of
    // `keep`, so that it is what wasmtime made for this key, whose engines are compatible. Files of this directory are
    // not written to after they have their name; removing one leaves the mapping as it is.
    unsafe { Module::deserialize_open_file(engine, file) }.ok()
}

/// Write what was compiled, and remove what was unused for longest.
fn keep(directory: &Path, key: &str, compiled: &[u8]) -> Result<()> {
    fs::create_dir_all(directory)?;
    let mut file =
        tempfile::Builder::new().permissions(Permissions::from_mode(0o600)).tempfile_in(directory)?;
    file.write_all(compiled)?;
    file.persist(directory.join(format!("{key}-{}", blake3::hash(compiled).to_hex())))?;
    let mut others: Vec<(SystemTime, PathBuf)> = files(directory)
        .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
        .collect();
    others.sort();
    for (_, path) in others.iter().rev().skip(KEPT) {
        fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module that exports a function of this name.
    fn wasm(name: &str) -> Vec<u8> {
        use wasm_encoder::{CodeSection, ExportKind, ExportSection, Function, FunctionSection, TypeSection};
        let mut types = TypeSection::new();
        types.ty().function([], []);
        let mut functions = FunctionSection::new();
        functions.function(0);
        let mut exports = ExportSection::new();
        exports.export(name, ExportKind::Func, 0);
        let mut body = Function::new([]);
        body.instructions().end();
        let mut code = CodeSection::new();
        code.function(&body);
        let mut module = wasm_encoder::Module::new();
        module.section(&types).section(&functions).section(&exports).section(&code);
        module.finish()
    }

    fn exports(directory: &Path, name: &str) -> Vec<String> {
        let module = module_in(directory, &Engine::default(), &wasm(name)).expect("it compiles");
        module.exports().map(|export| export.name().to_string()).collect()
    }

    fn only_file(directory: &Path) -> PathBuf {
        let mut files = files(directory);
        let file = files.next().expect("one was written");
        assert!(files.next().is_none(), "and no other");
        file
    }

    #[test]
    fn what_was_compiled_is_taken_from_its_file() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(exports(dir.path(), "other"), ["other"]);
        let other = only_file(dir.path());
        assert_eq!(exports(dir.path(), "this"), ["this"]);
        let this = files(dir.path()).find(|path| *path != other).expect("another key");
        // The other module under this one's key shows that it is the file that is opened.
        let part = |path: &Path, at| {
            let name = path.file_name().expect("a name").to_str().expect("hexadecimal").to_string();
            name.split('-').nth(at).expect("two parts").to_string()
        };
        fs::copy(&other, dir.path().join(format!("{}-{}", part(&this, 0), part(&other, 1)))).expect("a copy");
        fs::remove_file(this).expect("it is there");
        assert_eq!(exports(dir.path(), "this"), ["other"]);
    }

    #[test]
    fn a_damaged_or_foreign_file_is_not_run() {
        let dir = tempfile::tempdir().expect("a directory");
        exports(dir.path(), "this");
        let path = only_file(dir.path());
        let good = fs::read(&path).expect("it was written");
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 1;
        for bad in [&flipped[..], &good[..good.len() - 1], &good[..4096], b"", b"\x7fELF"] {
            fs::write(&path, bad).expect("it can be written");
            assert_eq!(exports(dir.path(), "this"), ["this"]);
            assert_eq!(fs::read(only_file(dir.path())).expect("it was written anew"), good);
        }
        // Code that this engine cannot run, with a good digest.
        fs::remove_file(&path).expect("it is there");
        let key = key(&Engine::default(), &wasm("this"));
        keep(dir.path(), &key, b"\x7fELF from elsewhere").expect("it can be written");
        assert_eq!(exports(dir.path(), "this"), ["this"]);
        // A file that others may write to.
        let path = files(dir.path()).find(|path| fs::read(path).is_ok_and(|bytes| bytes == good));
        let path = path.expect("it was written anew");
        fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("it is ours");
        assert!(open(&Engine::default(), &path, &key).is_none());
    }

    #[test]
    fn few_files_are_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        for number in 0..KEPT + 3 {
            keep(dir.path(), &number.to_string(), &[0]).expect("it can be written");
        }
        assert_eq!(files(dir.path()).count(), KEPT);
    }
}
