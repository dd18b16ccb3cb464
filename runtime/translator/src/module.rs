//! Translated code as a module of its own: it imports the engine's memory and
//! table and puts its functions into their slots when it is instantiated. So
//! dispatch never leaves Wasm, and a host has nothing to do but instantiate.

use friscy_formats::aot::Profile;
use wasm_encoder::{
    CodeSection, ConstExpr, ElementSection, Elements, EntityType, ExportKind, ExportSection, Function,
    FunctionSection, Ieee64, ImportSection, MemoryType, Module, RefType, StartSection, TableType,
    TypeSection, ValType,
};

use crate::{Fma, Options, Output, REGION_TYPE, STEP_TYPE, translate};

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

/// Slots that a host sets aside for the module of one request, and most functions in it: few requests have more than a
/// dozen. V8 keeps a copy of the whole table for each instance, and writes to a slot into all of them.
pub const SLOTS: u32 = 128;
/// Most bytes of bodies in it: some 20 ms of V8's first compiler.
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
/// [`Profile`] that `profile` holds, for [`SLOTS`] slots from `first_slot` on. `None` when that is nothing. `fuses`: what
/// [`probe`] has found.
pub fn batch(profile: &[u8], first_slot: u32, fuses: bool) -> Option<Batch> {
    let profile = Profile::from_bytes(profile)?;
    let options = Options {
        bytes_per_sample: Some(BYTES_PER_SAMPLE),
        budget_bytes: BODY_BYTES,
        functions_max: SLOTS as usize,
        first_slot,
        step_type: 0,
        fma: if fuses { Fma::Fused } else { Fma::Software },
    };
    let output = translate(&profile, options);
    let functions = output.functions.len() as u32;
    (functions > 0).then(|| Batch {
        module: module(&output, first_slot),
        map: output.map.to_bytes(),
        functions,
        guest_bytes: output.functions.iter().map(|function| function.guest_bytes).sum(),
    })
}

/// Types of translated code.
fn types() -> TypeSection {
    let mut types = TypeSection::new();
    for (params, results) in [STEP_TYPE, REGION_TYPE] {
        types.ty().function(params.iter().copied(), results.iter().copied());
    }
    types
}

/// `output`, which was translated with `step_type` 0.
fn module(output: &Output, first_slot: u32) -> Vec<u8> {
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
    module.section(&types()).section(&imports()).section(&functions).section(&elements).section(&code);
    module.finish()
}

/// The second forms ([`Output::fused`]) as a module that puts them into their slots, in the place of the first, when it
/// is instantiated, if the host fuses; hosts without relaxed SIMD do not take it. `None` when there are none.
pub fn fused(output: &Output) -> Option<Vec<u8>> {
    let (mut functions, mut code) = (FunctionSection::new(), CodeSection::new());
    let mut elements = ElementSection::new();
    let mut start = Function::new([]);
    push_fuses(&mut start);
    start.instructions().if_(wasm_encoder::BlockType::Empty);
    let adjacent = |a: &(u32, Vec<u8>), b: &(u32, Vec<u8>)| a.0 + 1 == b.0;
    for (segment, run) in output.fused.chunk_by(adjacent).enumerate() {
        let first = functions.len();
        for (_, body) in run {
            functions.function(1);
            code.raw(body);
        }
        let all: Vec<u32> = (first..functions.len()).collect();
        let (slot, count) = (run[0].0.cast_signed(), all.len() as i32);
        elements.passive(Elements::Functions(all.into()));
        let segment = segment as u32;
        start
            .instructions()
            .i32_const(slot)
            .i32_const(0)
            .i32_const(count)
            .table_init(0, segment)
            .elem_drop(segment);
    }
    if output.fused.is_empty() {
        return None;
    }
    start.instructions().end().end();
    code.function(&start);
    let mut types = types();
    types.ty().function([], []);
    functions.function(2);
    let function_index = functions.len() - 1;
    let mut module = Module::new();
    module.section(&types).section(&imports()).section(&functions).section(&StartSection { function_index });
    module.section(&elements).section(&code);
    Some(module.finish())
}

/// Name of the function of [`probe`].
pub const FUSES: &str = "fuses";

/// A module without imports that exports [`FUSES`], `() -> i32`: whether the relaxed instructions that translated code
/// would have are fused here. They are or are not for as long as the host runs
/// (<https://webassembly.github.io/spec/core/exec/relaxed.html>). Hosts without relaxed SIMD do not take the module.
pub fn probe() -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([], [ValType::I32]);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut exports = ExportSection::new();
    exports.export(FUSES, ExportKind::Func, 0);
    let mut body = Function::new([]);
    push_fuses(&mut body);
    body.instructions().end();
    let mut code = CodeSection::new();
    code.function(&body);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&exports).section(&code);
    module.finish()
}

/// Push whether the host fuses: (1 + 2^-30) (1 - 2^-30) - 1 is -2^-60, or 0 when the product is rounded first.
fn push_fuses(function: &mut Function) {
    let ulps = f64::exp2(-30.0);
    let splat = |function: &mut Function, value: f64| {
        function.instructions().f64_const(Ieee64::new(value.to_bits())).f64x2_splat();
    };
    for negated in [false, true] {
        splat(function, 1.0 + ulps);
        splat(function, 1.0 - ulps);
        splat(function, if negated { 1.0 } else { -1.0 });
        let mut op = function.instructions();
        if negated {
            op.f64x2_relaxed_nmadd();
        } else {
            op.f64x2_relaxed_madd();
        }
        let rest = if negated { ulps * ulps } else { -ulps * ulps };
        op.f64x2_extract_lane(0).f64_const(Ieee64::new(rest.to_bits())).f64_eq();
    }
    function.instructions().i32_and();
}
