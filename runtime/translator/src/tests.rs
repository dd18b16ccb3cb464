//! Expectation tests: RISC-V in, Wasm text out. The texts lie in `expect/`; `FRISCY_BLESS=1` writes them anew.

use std::path::Path;

use friscy_formats::aot::{PAGE, Place, Profile, ProfilePage, mark};
use wasm_encoder::{
    CodeSection, FunctionSection, MemorySection, MemoryType, Module, TableSection, TableType, TypeSection,
};

use crate::module::{fused, probe};
use crate::{Fma, Options, Output, REGION_TYPE, STEP_TYPE, translate};

/// A page of these instructions, all executed, entered at the first.
fn page(program: &[u32]) -> ProfilePage {
    let mut page = ProfilePage {
        identity: 0,
        bytes: [0; PAGE],
        starts: [0; PAGE / 128],
        entered: [0; PAGE / 128],
        samples: Vec::new(),
    };
    for (i, word) in program.iter().enumerate() {
        page.bytes[i * 4..][..4].copy_from_slice(&word.to_le_bytes());
        mark(&mut page.starts, i as u16 * 4);
    }
    mark(&mut page.entered, 0);
    page
}

fn profile(pages: Vec<ProfilePage>) -> Profile {
    let places = (0..pages.len() as u32).map(|page| Place { space: 1, number: 16 + page, page }).collect();
    let numbered = pages.into_iter().zip(1..).map(|(page, identity)| ProfilePage { identity, ..page });
    Profile { pages: numbered.collect(), places }
}

fn translated(profile: &Profile) -> Output {
    translate(
        profile,
        Options {
            bytes_per_sample: None,
            budget_bytes: 1 << 20,
            functions_max: usize::MAX,
            first_slot: 100,
            step_type: 0,
            fma: Fma::Both,
        },
    )
}

/// A module of the functions alone, which an engine takes.
fn module(output: &Output) -> Vec<u8> {
    let mut types = TypeSection::new();
    for (params, results) in [STEP_TYPE, REGION_TYPE] {
        types.ty().function(params.iter().copied(), results.iter().copied());
    }
    let (mut functions, mut code) = (FunctionSection::new(), CodeSection::new());
    for function in &output.functions {
        functions.function(1);
        code.raw(&function.body);
    }
    let mut tables = TableSection::new();
    tables.table(TableType {
        element_type: wasm_encoder::RefType::FUNCREF,
        table64: false,
        minimum: 0,
        maximum: None,
        shared: false,
    });
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&tables).section(&memories).section(&code);
    let bytes = module.finish();
    wasmparser::validate(&bytes).expect("a valid module");
    bytes
}

/// The text of the only function is what `expect/NAME.wat` says.
fn expect(name: &str, program: &[u32]) {
    let output = translated(&profile(vec![page(program)]));
    assert_eq!(output.functions.len(), 1);
    expect_function(name, &module(&output), 0);
}

/// The same of a function of `module`.
fn expect_function(name: &str, module: &[u8], number: usize) {
    let text = wasmprinter::print_bytes(module).expect("a printable module");
    let function = text.split("  (func (;").nth(1 + number).expect("a function");
    let text = format!("  (func (;{}", function.trim_end_matches([')', '\n']));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("expect").join(format!("{name}.wat"));
    if std::env::var_os("FRISCY_BLESS").is_some() {
        std::fs::write(&path, format!("{}\n", text.trim_end())).expect("expect/ can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text.trim_end(), expected.trim_end(), "{}", path.display());
}

#[test]
fn a_loop_is_a_loop() {
    // 1: lw a3, 0(a0); addw a1, a1, a3; addi a0, a0, 4; bne a0, a2, 1b; ret
    expect("loop", &[0x0005_2683, 0x00d5_85bb, 0x0045_0513, 0xfec5_1ae3, 0x0000_8067]);
}

#[test]
fn one_check_serves_a_stack_frame() {
    // addi sp, sp, -32; sd ra, 24(sp); sd s0, 16(sp); sd s1, 8(sp); ecall
    expect("frame", &[0xfe01_0113, 0x0011_3c23, 0x0081_3823, 0x0091_3423, 0x0000_0073]);
}

#[test]
fn what_two_ways_share_is_written_once() {
    // beqz a0, 1f; addi a1, a1, 1; j 2f; 1: addi a1, a1, -1; 2: add a0, a0, a1; ret
    let program = [0x0005_0663, 0x0015_8593, 0x0080_006f, 0xfff5_8593, 0x00b5_0533, 0x0000_8067];
    expect("diamond", &program);
}

#[test]
fn a_loop_in_a_loop_stays_a_loop() {
    // li a0, 10; 1: li a1, 10; 2: addi a1, a1, -1; bnez a1, 2b; addi a0, a0, -1; bnez a0, 1b; ret
    let program = [0x00a0_0513, 0x00a0_0593, 0xfff5_8593, 0xfe05_9ee3, 0xfff5_0513, 0xfe05_18e3, 0x0000_8067];
    expect("nested", &program);
}

#[test]
fn words_stay_in_i32_locals() {
    // sext.w a0, a0; 1: slliw a3, a0, 7; srliw a4, a0, 25; or a0, a3, a4; addiw a1, a1, -1; bnez a1, 1b; ret
    let program = [0x0005_051b, 0x0075_169b, 0x0195_571b, 0x00e6_e533, 0xfff5_859b, 0xfe05_98e3, 0x0000_8067];
    expect("rotate", &program);
}

/// A word that is wanted in full (srai) in a block with one way to it is one there, and so is what is made of it.
#[test]
fn every_word_has_a_local_of_its_own() {
    // li s4, 0; beq a0, a1, 8; srai s5, s4, 3; ret
    let output = translated(&profile(vec![page(&[0x0000_0a13, 0x00b5_0463, 0x403a_5a93, 0x0000_8067])]));
    let text = wasmprinter::print_bytes(module(&output)).expect("a printable module");
    assert!(!text.contains("local.set 0\n"), "a parameter is overwritten\n{text}");
}

#[test]
fn a_loop_with_two_entries_gets_a_dispatch() {
    // 1: addi a0, a0, -1; jal ra, +0x400 (elsewhere); 2: addi a1, a1, 1; bnez a0, 1b; ret
    let program = [0xfff5_0513, 0x4000_00ef, 0x0015_8593, 0xfe05_1ae3, 0x0000_8067];
    let output = translated(&profile(vec![page(&program)]));
    module(&output);
    let entries: Vec<u16> = output.map.pages[0].entries.iter().map(|entry| entry.at).collect();
    assert_eq!(entries, [0, 8]);
}

#[test]
fn another_page_is_asked_for_its_identity() {
    // j +4096 (to the next page); there: addi a0, a0, 1; bnez a0, -4100 (back)
    let back = 0x0000_1063 | 10 << 15 | 1 << 31 | 0x3e << 25 | 0xe << 8 | 1 << 7;
    let pages = vec![page(&[0x0015_0513, 0x7fd0_006f | 1 << 12]), page(&[0x0015_0513, back, 0x0000_8067])];
    let output = translated(&profile(pages));
    module(&output);
    assert!(output.map.pages.iter().any(|page| page.below + page.above > 0 || page.entries.is_empty()));
}

/// What is stored in front of a loop with calls is also stored where control does not get that far.
#[test]
fn a_page_exit_in_front_of_a_loop_stores_what_the_loop_does_not_need() {
    // addi s8, s8, 1; j 1f (the next page); 1: addi a0, a0, -1; jal ra, +0x400; bnez a0, 1b; ret
    let pages =
        vec![page(&[0x001c_0c13, 0x7fd0_006f]), page(&[0xfff5_0513, 0x4000_00ef, 0xfe05_1ce3, 0x0000_8067])];
    let output = translated(&profile(pages));
    assert_eq!(output.functions.len(), 1);
    let text = wasmprinter::print_bytes(module(&output)).expect("a printable module");
    let stores = text.matches(&format!("i64.store offset={}", 24 * 8)).count();
    assert_eq!(stores, 2, "s8: on the way into the loop, and at the edge of the page\n{text}");
}

/// 1: fld fa3, 0(a4); fmadd.d fa5, fa3, fa4, fa5; addi a4, a4, 8; bne a4, a5, 1b; ret
const DOT: [u32; 5] = [0x0007_3687, 0x7ae6_f7c3, 0x0087_0713, 0xfef7_1ae3, 0x0000_8067];

#[test]
fn a_fused_multiplication_and_addition_has_two_forms() {
    expect("fma", &DOT);
    let output = translated(&profile(vec![page(&DOT)]));
    assert_eq!(output.fused.iter().map(|&(slot, _)| slot).collect::<Vec<_>>(), [100]);
    let fused = fused(&output).expect("a module");
    wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all())
        .validate_all(&fused)
        .expect("valid");
    expect_function("fma_fused", &fused, 0);
    // What puts it into its slot.
    expect_function("fma_start", &fused, 1);
}

#[test]
fn the_product_of_binary32_numbers_is_exact() {
    // fnmadd.s fa5, fa3, fa4, fa5; ret
    let program = [0x78e6_f7cf, 0x0000_8067];
    expect("fma_single", &[0x0000_0013, program[0], program[1]]);
    let output = translated(&profile(vec![page(&[0x0000_0013, program[0], program[1]])]));
    assert!(output.fused.is_empty() && fused(&output).is_none(), "there is no second form");
}

#[test]
fn the_probe_is_for_hosts_with_relaxed_simd_only() {
    use wasmparser::{Validator, WasmFeatures};
    let valid = |features| Validator::new_with_features(features).validate_all(&probe()).is_ok();
    assert!(valid(WasmFeatures::WASM2 | WasmFeatures::RELAXED_SIMD) && !valid(WasmFeatures::WASM2));
}

#[test]
fn the_same_profile_gives_the_same_bytes() {
    let program = [0x0005_2683, 0x00d5_85bb, 0x0045_0513, 0xfec5_1ae3, 0x0000_8067];
    let profile = profile(vec![page(&program)]);
    assert_eq!(module(&translated(&profile)), module(&translated(&profile)));
}
