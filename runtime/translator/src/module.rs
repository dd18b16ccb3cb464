//! Translated code as a module of its own: it imports the engine's memory and
//! table and puts its functions into their slots when it is instantiated. So
//! dispatch never leaves Wasm, and a host has nothing to do but instantiate.

use friscy_formats::aot::Profile;
use wasm_encoder::{
    CodeSection, ConstExpr, ElementSection, Elements, EntityType, FunctionSection, ImportSection, MemoryType,
    Module, RefType, TableType, TypeSection,
};

use crate::{Options, Output, REGION_TYPE, STEP_TYPE, translate};

/// Module of the imports.
pub const IMPORTS: &str = "friscy";
/// Name of the memory, there and in the engine's exports.
pub const MEMORY: &str = "memory";
/// Name of the table, there and in the engine's exports.
pub const TABLE: &str = "friscy_table";

/// The memory of any engine.
pub const ANY_MEMORY: MemoryType =
    MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None };
/// The table of any engine.
pub const ANY_TABLE: TableType =
    TableType { element_type: RefType::FUNCREF, table64: false, minimum: 0, maximum: None, shared: false };

/// Slots that a host sets aside for the module of one request.
pub const SLOTS: u32 = 1024;
/// Most bytes of bodies in it: some 20 ms of V8's first compiler, and far fewer functions than slots.
const BODY_BYTES: usize = 128 << 10;
/// As `Options::bytes_per_sample`, for samples of 16,384 instructions: as long as interpreting them has cost more than
/// compiling costs, which is worth it if the code goes on for as long as it has run.
const BYTES_PER_SAMPLE: u64 = 192;

/// The import section of such a module.
pub fn imports() -> ImportSection {
    let mut imports = ImportSection::new();
    imports.import(IMPORTS, MEMORY, EntityType::Memory(ANY_MEMORY));
    imports.import(IMPORTS, TABLE, EntityType::Table(ANY_TABLE));
    imports
}

/// What became of a request.
#[derive(Debug)]
pub struct Batch {
    /// The module.
    pub module: Vec<u8>,
    /// `Translations` for `friscy_add_translations`.
    pub map: Vec<u8>,
    /// Functions in it.
    pub functions: u32,
    /// Bytes of guest code that they are made of.
    pub guest_bytes: u64,
}

/// Answer a request ([`Op::Translate`](friscy_formats::ring::Op::Translate)): translate what is worth it in the
/// [`Profile`] that `profile` holds, for [`SLOTS`] slots from `first_slot` on. `None` when that is nothing.
pub fn batch(profile: &[u8], first_slot: u32) -> Option<Batch> {
    let profile = Profile::from_bytes(profile)?;
    let options = Options {
        bytes_per_sample: Some(BYTES_PER_SAMPLE),
        budget_bytes: BODY_BYTES,
        first_slot,
        step_type: 0,
    };
    let output = translate(&profile, options);
    let functions = output.functions.len() as u32;
    (functions > 0 && functions <= SLOTS).then(|| Batch {
        module: module(&output, first_slot),
        map: output.map.to_bytes(),
        functions,
        guest_bytes: output.functions.iter().map(|function| function.guest_bytes).sum(),
    })
}

/// `output`, which was translated with `step_type` 0.
fn module(output: &Output, first_slot: u32) -> Vec<u8> {
    let mut types = TypeSection::new();
    for (params, results) in [STEP_TYPE, REGION_TYPE] {
        types.ty().function(params.iter().copied(), results.iter().copied());
    }
    let mut functions = FunctionSection::new();
    let mut code = CodeSection::new();
    for function in &output.functions {
        functions.function(1);
        code.raw(&function.body);
    }
    let all: Vec<u32> = (0..functions.len()).collect();
    let mut elements = ElementSection::new();
    let slot = ConstExpr::i32_const(first_slot.cast_signed());
    elements.active(None, &slot, Elements::Functions(all.into()));
    let mut module = Module::new();
    module.section(&types).section(&imports()).section(&functions).section(&elements).section(&code);
    module.finish()
}
