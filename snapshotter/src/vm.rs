//! The engine under wasmtime: configuration, imports, and the exports as methods.
//!
//! Used twice: by the freeze stage, in a world where nothing is real, and by
//! the native host, in the real one. The difference is [`World`].

use anyhow::{Context, Result, anyhow, bail};
use friscy_formats::aot::{Profile, Translations};
use friscy_formats::boot::Boot;
use friscy_formats::ring::Status;
use friscy_formats::warm::BlockId;
use friscy_translator::module;
use wasmtime::{
    AsContext, AsContextMut, Caller, Config, Engine, Func, Instance, Linker, Memory, Module, Ref, Store,
    Table, TypedFunc,
};

use crate::cache;
use crate::ring::Ring;

const WASI: &str = "wasi_snapshot_preview1";
/// WASI's EFAULT.
const FAULT: i32 = 21;

/// Clocks, entropy, and the place for last words.
pub trait World: Send + 'static {
    /// Nanoseconds since the epoch.
    fn realtime_ns(&mut self) -> u64;
    /// Nanoseconds since some fixed point.
    fn monotonic_ns(&mut self) -> u64;
    /// Fill `bytes` with entropy.
    fn entropy(&mut self, bytes: &mut [u8]);
    /// What the engine writes before it traps.
    fn last_words(&mut self, text: &[u8]);
}

/// wasmtime's errors as ours, causes included.
pub fn wasmtime_error(error: wasmtime::Error) -> anyhow::Error {
    anyhow!("{error:#}")
}

/// The compiler and its cache. A cache that cannot be written is none.
pub fn engine() -> Result<Engine> {
    let mut config = Config::new();
    // Guest code is interpreted without host recursion, but exec, path walks and the like nest a little.
    config.max_wasm_stack(2 << 20).async_stack_size(4 << 20);
    if let Some(directory) = cache::directory("code") {
        let mut cache = wasmtime::CacheConfig::new();
        cache.with_directory(directory);
        if let Ok(cache) = wasmtime::Cache::new(cache) {
            config.cache(Some(cache));
        }
    }
    Engine::new(&config).map_err(wasmtime_error)
}

/// The imports that the engine uses when the ring is served from outside.
pub fn linker<T: World>(engine: &Engine, module: &Module) -> Result<Linker<T>> {
    let mut linker = Linker::new(engine);
    imports(&mut linker, module).map_err(wasmtime_error)?;
    Ok(linker)
}

fn memory_of<T>(caller: &mut Caller<'_, T>) -> wasmtime::Result<Memory> {
    match caller.get_export("memory").and_then(wasmtime::Extern::into_memory) {
        Some(memory) => Ok(memory),
        None => Err(wasmtime::Error::msg("the engine exports no memory")),
    }
}

fn imports<T: World>(linker: &mut Linker<T>, module: &Module) -> wasmtime::Result<()> {
    linker.func_wrap(
        WASI,
        "clock_time_get",
        |mut caller: Caller<'_, T>, clock: i32, _precision: i64, at: i32| -> wasmtime::Result<i32> {
            let world = caller.data_mut();
            let time = if clock == 0 { world.realtime_ns() } else { world.monotonic_ns() };
            let memory = memory_of(&mut caller)?;
            Ok(memory.write(&mut caller, at as u32 as usize, &time.to_le_bytes()).map_or(FAULT, |()| 0))
        },
    )?;
    linker.func_wrap(
        WASI,
        "random_get",
        |mut caller: Caller<'_, T>, at: i32, len: i32| -> wasmtime::Result<i32> {
            let memory = memory_of(&mut caller)?;
            let (bytes, world) = memory.data_and_store_mut(&mut caller);
            let (start, len) = (at as u32 as usize, len as u32 as usize);
            let Some(buffer) = bytes.get_mut(start..start.saturating_add(len)) else { return Ok(FAULT) };
            world.entropy(buffer);
            Ok(0)
        },
    )?;
    // Only the panic hook writes without the ring: one vector at a time.
    linker.func_wrap(
        WASI,
        "fd_write",
        |mut caller: Caller<'_, T>,
         _fd: i32,
         vectors: i32,
         count: i32,
         written: i32|
         -> wasmtime::Result<i32> {
            let memory = memory_of(&mut caller)?;
            let mut vector = [0; 8];
            if count != 1 || memory.read(&caller, vectors as u32 as usize, &mut vector).is_err() {
                return Ok(FAULT);
            }
            let [base, len] = [0, 4].map(|at| u32::from_le_bytes([0, 1, 2, 3].map(|i| vector[at + i])));
            let (bytes, world) = memory.data_and_store_mut(&mut caller);
            let (base, end) = (base as usize, (base as usize).saturating_add(len as usize));
            let Some(text) = bytes.get(base..end) else { return Ok(FAULT) };
            world.last_words(text);
            Ok(memory.write(&mut caller, written as u32 as usize, &len.to_le_bytes()).map_or(FAULT, |()| 0))
        },
    )?;
    // `_start` needs more, and is not called here.
    linker.define_unknown_imports_as_traps(module)
}

/// Handles to an instance; the store is passed to every call.
pub struct Vm {
    /// The engine's linear memory.
    pub memory: Memory,
    /// Its ring.
    pub ring: Ring,
    instance: Instance,
    alloc: TypedFunc<u32, u32>,
    free: TypedFunc<(u32, u32), ()>,
    boot: TypedFunc<(u32, u32), u32>,
    resume: TypedFunc<i64, u32>,
}

impl std::fmt::Debug for Vm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vm").field("ring", &self.ring).finish_non_exhaustive()
    }
}

impl Vm {
    /// The exports of `instance`, whose memory is filled in already.
    pub fn new<T>(store: &mut Store<T>, instance: Instance) -> Result<Vm> {
        let memory = instance.get_memory(&mut *store, "memory").context("the engine exports no memory")?;
        let ring: TypedFunc<(), u32> =
            instance.get_typed_func(&mut *store, "friscy_ring").map_err(wasmtime_error)?;
        let address = ring.call(&mut *store, ()).map_err(wasmtime_error)?;
        Ok(Vm {
            memory,
            ring: Ring::new(memory.data(&*store), address)?,
            instance,
            alloc: instance.get_typed_func(&mut *store, "friscy_alloc").map_err(wasmtime_error)?,
            free: instance.get_typed_func(&mut *store, "friscy_free").map_err(wasmtime_error)?,
            boot: instance.get_typed_func(&mut *store, "friscy_boot").map_err(wasmtime_error)?,
            resume: instance.get_typed_func(&mut *store, "friscy_resume").map_err(wasmtime_error)?,
        })
    }

    /// A copy of `bytes` in the engine's memory; its address.
    pub fn put(&self, mut store: impl AsContextMut, bytes: &[u8]) -> Result<u32> {
        let len = u32::try_from(bytes.len()).context("more than 4 GiB for the engine")?;
        let at = self.alloc.call(&mut store, len).map_err(wasmtime_error)?;
        if at == 0 {
            bail!("the engine has no room for {len} bytes");
        }
        self.memory.write(&mut store, at as usize, bytes)?;
        Ok(at)
    }

    /// The text at the address that an export gave.
    fn text(&self, store: impl AsContext, answer: u32) -> Result<String> {
        let memory = self.memory.data(&store);
        let text = memory.get(answer as usize..).and_then(|rest| {
            let (len, text) = rest.split_first_chunk::<4>()?;
            text.get(..u32::from_le_bytes(*len) as usize)
        });
        let text = text.context("the engine says something that cannot be read")?;
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    fn checked(&self, store: impl AsContext, answer: u32) -> Result<()> {
        match answer {
            0 => Ok(()),
            _ => bail!("{}", self.text(store, answer)?),
        }
    }

    fn lines(&self, mut store: impl AsContextMut, export: &str) -> Result<Vec<String>> {
        let ask: TypedFunc<(), u32> =
            self.instance.get_typed_func(&mut store, export).map_err(wasmtime_error)?;
        let answer = ask.call(&mut store, ()).map_err(wasmtime_error)?;
        Ok(self.text(&store, answer)?.lines().map(str::to_string).collect())
    }

    /// What every thread of the guest does or waits for, a line each.
    pub fn tasks(&self, store: impl AsContextMut) -> Result<Vec<String>> {
        self.lines(store, "friscy_tasks")
    }

    /// What a freeze now will not carry over, a line each.
    pub fn caveats(&self, store: impl AsContextMut) -> Result<Vec<String>> {
        self.lines(store, "friscy_caveats")
    }

    /// Mount the VFS archive; where it lies from now on.
    pub fn mount(&self, mut store: impl AsContextMut, archive: &[u8]) -> Result<u32> {
        let at = self.put(&mut store, archive)?;
        let mount: TypedFunc<(u32, u32), u32> =
            self.instance.get_typed_func(&mut store, "friscy_mount").map_err(wasmtime_error)?;
        let answer = mount.call(&mut store, (at, archive.len() as u32)).map_err(wasmtime_error)?;
        self.checked(&store, answer)?;
        Ok(at)
    }

    /// Start a program. The error is one line for the user.
    pub fn boot(&self, mut store: impl AsContextMut, boot: &Boot) -> Result<()> {
        let bytes = boot.to_bytes();
        let at = self.put(&mut store, &bytes)?;
        let answer = self.boot.call(&mut store, (at, bytes.len() as u32)).map_err(wasmtime_error)?;
        self.free.call(&mut store, (at, bytes.len() as u32)).map_err(wasmtime_error)?;
        self.checked(&store, answer)
    }

    /// Run for about `budget` guest instructions.
    pub fn resume(&self, mut store: impl AsContextMut, budget: i64) -> Result<Status> {
        Ok(match self.resume.call(&mut store, budget).map_err(wasmtime_error)? {
            0 => Status::Runnable,
            1 => Status::Idle,
            2 => Status::Exited,
            3 => Status::Frozen,
            other => bail!("the engine answers {other}, which is no status"),
        })
    }

    /// Where chunks come from after the freeze; `u32::MAX`: through the ring.
    pub fn chunk_slot(&self, mut store: impl AsContextMut, slot: u32) -> Result<()> {
        let set: TypedFunc<u32, ()> =
            self.instance.get_typed_func(&mut store, "friscy_chunk_slot").map_err(wasmtime_error)?;
        set.call(&mut store, slot).map_err(wasmtime_error)
    }

    /// Record from now on what guest code runs.
    pub fn record(&self, mut store: impl AsContextMut) -> Result<()> {
        let record: TypedFunc<(), ()> =
            self.instance.get_typed_func(&mut store, "friscy_record").map_err(wasmtime_error)?;
        record.call(&mut store, ()).map_err(wasmtime_error)
    }

    /// The bytes that an export gave, which are freed; none when it gave none.
    fn taken(&self, mut store: impl AsContextMut, export: &str) -> Result<Option<Vec<u8>>> {
        let take: TypedFunc<(), u32> =
            self.instance.get_typed_func(&mut store, export).map_err(wasmtime_error)?;
        let at = take.call(&mut store, ()).map_err(wasmtime_error)?;
        if at == 0 {
            return Ok(None);
        }
        let bytes = self.memory.data(&store).get(at as usize..).and_then(|rest| {
            let (len, bytes) = rest.split_first_chunk::<4>()?;
            bytes.get(..u32::from_le_bytes(*len) as usize)
        });
        let bytes = bytes.with_context(|| format!("what {export} gives cannot be read"))?.to_vec();
        self.free.call(&mut store, (at, bytes.len() as u32 + 4)).map_err(wasmtime_error)?;
        Ok(Some(bytes))
    }

    /// What was recorded. Recording ends.
    pub fn profile(&self, store: impl AsContextMut) -> Result<Profile> {
        let bytes = self.taken(store, "friscy_profile")?;
        bytes.and_then(|bytes| Profile::from_bytes(&bytes)).context("the engine's profile cannot be read")
    }

    /// Record from now on which contents of files are read.
    pub fn record_reads(&self, mut store: impl AsContextMut) -> Result<()> {
        let record: TypedFunc<(), ()> =
            self.instance.get_typed_func(&mut store, "friscy_record_reads").map_err(wasmtime_error)?;
        record.call(&mut store, ()).map_err(wasmtime_error)
    }

    /// Have the service on TCP `port` answer `request` before the freeze.
    pub fn warm_up(&self, mut store: impl AsContextMut, port: u16, request: &[u8]) -> Result<()> {
        let at = self.put(&mut store, request)?;
        let ask: TypedFunc<(u32, u32, u32), ()> =
            self.instance.get_typed_func(&mut store, "friscy_warm_up").map_err(wasmtime_error)?;
        let len = request.len() as u32;
        ask.call(&mut store, (port.into(), at, len)).map_err(wasmtime_error)?;
        self.free.call(&mut store, (at, len)).map_err(wasmtime_error)
    }

    /// The blocks that were read, in order, each once. Recording ends.
    pub fn reads(&self, store: impl AsContextMut) -> Result<Vec<BlockId>> {
        let bytes =
            self.taken(store, "friscy_reads")?.context("the engine has no room to say what was read")?;
        let (ids, _) = bytes.as_chunks::<4>();
        Ok(ids.iter().map(|id| BlockId(u32::from_le_bytes(*id))).collect())
    }

    /// The warm blocks come from this slot.
    pub fn set_warm_slot(&self, mut store: impl AsContextMut, slot: u32) -> Result<()> {
        let set: TypedFunc<u32, ()> =
            self.instance.get_typed_func(&mut store, "friscy_set_warm_slot").map_err(wasmtime_error)?;
        set.call(&mut store, slot).map_err(wasmtime_error)
    }

    /// Let the warm blocks come from `accessor`, which is what the link stage appends: `(dst, offset, len)`.
    pub fn warm_accessor(&self, mut store: impl AsContextMut, accessor: Func) -> Result<()> {
        let slot: TypedFunc<(), u32> =
            self.instance.get_typed_func(&mut store, "friscy_warm_slot").map_err(wasmtime_error)?;
        let slot = slot.call(&mut store, ()).map_err(wasmtime_error)?;
        let table = self.table(&mut store)?;
        table.set(&mut store, u64::from(slot), accessor.into()).map_err(wasmtime_error)
    }

    /// Tell where the functions that the link stage appends can be entered.
    pub fn translations(&self, store: impl AsContextMut, map: &Translations) -> Result<()> {
        self.pass(store, "friscy_translations", &map.to_bytes())
    }

    /// Whether the table holds the functions that the packer translated.
    pub fn translated(&self, mut store: impl AsContextMut, present: bool) -> Result<()> {
        let set: TypedFunc<u32, ()> =
            self.instance.get_typed_func(&mut store, "friscy_translated").map_err(wasmtime_error)?;
        set.call(&mut store, present.into()).map_err(wasmtime_error)
    }

    fn table(&self, store: impl AsContextMut) -> Result<Table> {
        self.instance
            .get_table(store, module::TABLE)
            .context("the engine exports no table; pack the image again")
    }

    /// Add empty slots to the table; the first of them.
    pub fn add_slots(&self, mut store: impl AsContextMut, count: u32) -> Result<u32> {
        let first = self.table(&mut store)?.grow(&mut store, count.into(), Ref::Func(None));
        Ok(u32::try_from(first.map_err(wasmtime_error)?)?)
    }

    /// Put translated code, a module of [`module`]'s form, into its slots of the table, which are there.
    pub fn add(&self, mut store: impl AsContextMut, code: &Module) -> Result<()> {
        let table = self.table(&mut store)?;
        Instance::new(&mut store, code, &[self.memory.into(), table.into()]).map_err(wasmtime_error)?;
        Ok(())
    }

    /// Tell where the functions of a module that was added can be entered.
    pub fn add_translations(&self, mut store: impl AsContextMut, map: &[u8]) -> Result<()> {
        self.pass(&mut store, "friscy_add_translations", map)
    }

    /// Have an export read `bytes`.
    fn pass(&self, mut store: impl AsContextMut, export: &str, bytes: &[u8]) -> Result<()> {
        let at = self.put(&mut store, bytes)?;
        let load: TypedFunc<(u32, u32), u32> =
            self.instance.get_typed_func(&mut store, export).map_err(wasmtime_error)?;
        let answer = load.call(&mut store, (at, bytes.len() as u32)).map_err(wasmtime_error)?;
        self.free.call(&mut store, (at, bytes.len() as u32)).map_err(wasmtime_error)?;
        self.checked(&store, answer)
    }

    /// First call after opening.
    pub fn thaw(&self, mut store: impl AsContextMut) -> Result<()> {
        let thaw: TypedFunc<(), ()> =
            self.instance.get_typed_func(&mut store, "friscy_thaw").map_err(wasmtime_error)?;
        thaw.call(&mut store, ()).map_err(wasmtime_error)
    }
}
