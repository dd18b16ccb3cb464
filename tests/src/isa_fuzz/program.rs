//! A static ELF of many cases, made by hand: no toolchain is needed.

use super::Rng;
use super::generate::{Body, SCRATCH, TABLE, TEMP};

/// Encoders of the few instructions that frame the random ones.
pub mod asm {
    /// B-type offset bits.
    pub fn imm_b(offset: i32) -> u32 {
        let o = offset as u32;
        (o >> 12 & 1) << 31 | (o >> 5 & 63) << 25 | (o >> 1 & 15) << 8 | (o >> 11 & 1) << 7
    }
    /// Move bits of `value`: pairs of from and to.
    pub fn scatter(value: u32, pairs: &[(u32, u32)]) -> u32 {
        pairs.iter().fold(0, |bits, &(from, to)| bits | (value >> from & 1) << to)
    }
    fn i(base: u32, rd: u8, rs1: u8, imm: i32) -> u32 {
        base | u32::from(rd) << 7 | u32::from(rs1) << 15 | (imm as u32 & 0xfff) << 20
    }
    fn r(base: u32, rd: u8, rs1: u8, rs2: u8) -> u32 {
        base | u32::from(rd) << 7 | u32::from(rs1) << 15 | u32::from(rs2) << 20
    }
    fn s(base: u32, rs2: u8, rs1: u8, imm: i32) -> u32 {
        let imm = imm as u32;
        r(base, 0, rs1, rs2) | (imm & 31) << 7 | (imm >> 5 & 127) << 25
    }
    macro_rules! encoders {
        ($($name:ident $form:ident $base:literal ($($arg:ident: $type:ty),*);)*) => {$(
            #[doc = concat!("`", stringify!($name), "`")]
            pub fn $name($($arg: $type),*) -> u32 { $form($base, $($arg),*) }
        )*};
    }
    encoders! {
        addi i 0x13 (rd: u8, rs1: u8, imm: i32);
        andi i 0x7013 (rd: u8, rs1: u8, imm: i32);
        slli i 0x1013 (rd: u8, rs1: u8, imm: i32);
        srli i 0x5013 (rd: u8, rs1: u8, imm: i32);
        ld i 0x3003 (rd: u8, rs1: u8, imm: i32);
        fld i 0x3007 (rd: u8, rs1: u8, imm: i32);
        flw i 0x2007 (rd: u8, rs1: u8, imm: i32);
        jalr i 0x67 (rd: u8, rs1: u8, imm: i32);
        add r 0x33 (rd: u8, rs1: u8, rs2: u8);
        xor r 0x4033 (rd: u8, rs1: u8, rs2: u8);
        mul r 0x0200_0033 (rd: u8, rs1: u8, rs2: u8);
        sw s 0x2023 (rs2: u8, rs1: u8, imm: i32);
        sd s 0x3023 (rs2: u8, rs1: u8, imm: i32);
        fsd s 0x3027 (rs2: u8, rs1: u8, imm: i32);
    }
    /// `lui`; the low 12 bits of `imm` are zero.
    pub fn lui(rd: u8, imm: u32) -> u32 {
        0x37 | u32::from(rd) << 7 | imm
    }
    /// `auipc rd, 0`
    pub fn auipc(rd: u8) -> u32 {
        0x17 | u32::from(rd) << 7
    }
    /// `jal`
    pub fn jal(rd: u8, offset: i32) -> u32 {
        let o = offset as u32;
        0x6f | u32::from(rd) << 7
            | (o >> 20 & 1) << 31
            | (o >> 1 & 0x3ff) << 21
            | (o >> 11 & 1) << 20
            | (o >> 12 & 255) << 12
    }
    /// `fmv.x.d`
    pub fn fmv_x_d(rd: u8, rs1: u8) -> u32 {
        r(0xe200_0053, rd, rs1, 0)
    }
}

/// Where the code is loaded; it is writable, since cases patch themselves.
pub const TEXT: u64 = 0x1_0000;
/// Where the data is loaded: table, scratch, states.
pub const DATA: u64 = 0x80_0000;
const TABLE_AT: u64 = DATA + 0x1000;
const SCRATCH_AT: u64 = DATA + 0x4000;
const STATES_AT: u64 = DATA + 0x8000;
/// Bytes of the state of a case: 32 integer and 32 floating-point registers, fcsr.
pub const STATE: usize = 65 * 8;

/// Values at which floating point or integers do something special, then random ones.
pub(super) fn interesting(rng: &mut Rng) -> u64 {
    // The last two become the smallest normal binary32 in some modes only.
    const DOUBLES: [u64; 24] = [
        0,
        1,
        0x000f_ffff_ffff_ffff,
        0x0010_0000_0000_0000,
        0x0010_0000_0000_0001,
        0x3ff0_0000_0000_0000,
        0x3fef_ffff_ffff_ffff,
        0x3ff0_0000_0000_0001,
        0x3fe0_0000_0000_0000,
        0x4000_0000_0000_0000,
        0x7fef_ffff_ffff_ffff,
        0x7ff0_0000_0000_0000,
        0x7ff0_0000_0000_0001,
        0x7ff8_0000_0000_0000,
        0x41df_ffff_ffc0_0000,
        0x41e0_0000_0000_0000,
        0x41ef_ffff_ffe0_0000,
        0x43e0_0000_0000_0000,
        0x43f0_0000_0000_0000,
        0x4340_0000_0000_0000,
        0x3810_0000_0000_0000,
        0x47ef_ffff_f000_0000,
        0x380f_ffff_ffff_ffff,
        0x380f_ffff_f000_0000,
    ];
    const SINGLES: [u32; 18] = [
        0,
        1,
        0x007f_ffff,
        0x0080_0000,
        0x0080_0001,
        0x3f80_0000,
        0x3f7f_ffff,
        0x3f80_0001,
        0x4000_0000,
        0x7f7f_ffff,
        0x7f80_0000,
        0x7f80_0001,
        0x7fc0_0000,
        0x4f00_0000,
        0x4eff_ffff,
        0x5f00_0000,
        0x3f00_0000,
        0x4b00_0000,
    ];
    let sign = rng.below(2);
    match rng.below(10) {
        0 | 1 => rng.pick(&DOUBLES) | sign << 63,
        2 | 3 => 0xffff_ffff_0000_0000 | u64::from(rng.pick(&SINGLES)) | sign << 31,
        // Ordinary magnitudes.
        4 => sign << 63 | (1000 + rng.below(47)) << 52 | rng.next() >> 12,
        5 => 0xffff_ffff_0000_0000 | sign << 31 | (120 + rng.below(16)) << 23 | rng.next() >> 41,
        // Few significant bits: exact results.
        6 => (rng.below(64) as f64 - 32.0).to_bits(),
        7 => 0xffff_ffff_0000_0000 | u64::from((rng.below(64) as f32 - 32.0).to_bits()),
        // Near the ends of the exponent range.
        8 => sign << 63 | (rng.pick(&[0, 1, 2, 50, 2000, 2044, 2045, 2046])) << 52 | rng.next() >> 12,
        _ => rng.next() >> rng.below(64),
    }
}

/// The ELF: `bodies`, each run `rounds` times, then all states and the scratch memory on stdout.
pub fn elf(seed: u64, bodies: &[Body], rounds: u32) -> Vec<u8> {
    let mut text = Vec::new();
    let code = |words: &[u32], text: &mut Vec<u8>| {
        words.iter().for_each(|word| text.extend(word.to_le_bytes()));
    };
    let la = |rd: u8, value: u64| asm::lui(rd, value as u32);
    for (index, body) in bodies.iter().enumerate() {
        code(&[la(SCRATCH, SCRATCH_AT), la(TABLE, TABLE_AT)], &mut text);
        body.assemble(rounds, &mut text);
        let state = STATES_AT + (index * STATE) as u64;
        // SCRATCH serves as pointer for storing the rest; it is constant and known.
        let (upper, lower) = split(state);
        code(&[asm::lui(TEMP, upper), asm::addi(TEMP, TEMP, lower)], &mut text);
        for reg in 0..32u8 {
            code(&[asm::sd(reg, TEMP, i32::from(reg) * 8)], &mut text);
        }
        for reg in 0..32u8 {
            code(&[asm::fsd(reg, TEMP, 256 + i32::from(reg) * 8)], &mut text);
        }
        code(&[0x0030_22f3, asm::sd(5, TEMP, 512)], &mut text);
    }
    let states = bodies.len() * STATE;
    write(STATES_AT, states as u64, &mut text);
    write(SCRATCH_AT - 0x1000, 0x2000, &mut text);
    code(&[asm::addi(17, 0, 93), asm::addi(10, 0, 0), 0x73], &mut text);

    let mut rng = Rng(seed);
    let data: Vec<u8> = (0..0x1000).flat_map(|_| interesting(&mut rng).to_le_bytes()).collect();
    link(&text, &data, 0x8000 + states as u64)
}

/// LUI and ADDI operands of an address.
pub(super) fn split(value: u64) -> (u32, i32) {
    let upper = (value as u32).wrapping_add(0x800) & 0xffff_f000;
    (upper, (value as u32).wrapping_sub(upper) as i32)
}

/// write(1, addr, len)
pub(super) fn write(addr: u64, len: u64, text: &mut Vec<u8>) {
    let ((a, a_low), (l, l_low)) = (split(addr), split(len));
    let code = [
        asm::addi(10, 0, 1),
        asm::lui(11, a),
        asm::addi(11, 11, a_low),
        asm::lui(12, l),
        asm::addi(12, 12, l_low),
        asm::addi(17, 0, 64),
        0x73,
    ];
    code.iter().for_each(|word| text.extend(word.to_le_bytes()));
}

pub(super) fn link(text: &[u8], data: &[u8], data_memory: u64) -> Vec<u8> {
    let headers = 64 + 2 * 56;
    let text_at = 0x1000u64;
    let data_at = (text_at + text.len() as u64).next_multiple_of(0x1000);
    let mut elf = Vec::new();
    // ELFCLASS64, little-endian, ET_EXEC, EM_RISCV, entry, program headers follow; flags: RVC, double float ABI.
    elf.extend([0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 243, 0, 1, 0, 0, 0]);
    elf.extend(TEXT.to_le_bytes());
    elf.extend(64u64.to_le_bytes());
    elf.extend(0u64.to_le_bytes());
    elf.extend(5u32.to_le_bytes());
    for half in [64u16, 56, 2, 64, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    let segments = [
        (7u32, text_at, TEXT, text.len() as u64, text.len() as u64),
        (6, data_at, DATA, data.len() as u64, data_memory),
    ];
    for (flags, offset, addr, file, memory) in segments {
        elf.extend(1u32.to_le_bytes());
        elf.extend(flags.to_le_bytes());
        for field in [offset, addr, addr, file, memory, 0x1000] {
            elf.extend(field.to_le_bytes());
        }
    }
    debug_assert_eq!(elf.len(), headers);
    elf.resize(text_at as usize, 0);
    elf.extend(text);
    elf.resize(data_at as usize, 0);
    elf.extend(data);
    elf
}
