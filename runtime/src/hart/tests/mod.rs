//! Tests of the hart: each runs the decoded code and the reference interpreter and wants the same.

mod encodings;
mod integer;

use friscy_formats::aot::marked;

use super::{CodeCache, Exit, Library, Registers, run, step};
use crate::mm::{Access, PAGE, Window, perm};

const RAM_PAGES: usize = 16;
/// Where programs lie: page 1.
const CODE: u64 = 0x1000;
/// Scratch data: pages 4 to 7.
const DATA: u64 = 0x4000;
const RWX: u8 = perm::R | perm::W | perm::X;

/// A flat memory of 16 pages: code in pages 1 and 2, data in pages 4 to 7, nothing elsewhere.
struct Board {
    memory: Vec<u8>,
    perms: Vec<u8>,
    code: CodeCache,
    regs: Registers,
}

impl Board {
    fn new(program: &[u32]) -> Self {
        let mut memory = vec![0; RAM_PAGES * PAGE as usize];
        let mut perms = vec![0; RAM_PAGES];
        perms[1..3].fill(RWX);
        perms[4..8].fill(perm::R | perm::W);
        for (i, word) in program.iter().enumerate() {
            memory[CODE as usize + i * 4..][..4].copy_from_slice(&word.to_le_bytes());
        }
        let regs = Registers { pc: CODE, ..Registers::default() };
        Self { memory, perms, code: CodeCache::new(), regs }
    }

    fn window(&mut self) -> Window {
        Window { base: self.memory.as_mut_ptr(), perms: self.perms.as_mut_ptr(), pages: RAM_PAGES as u64 }
    }

    fn run(&mut self, mut budget: u64) -> Exit {
        let window = self.window();
        run(&mut self.regs, &mut self.code, &window, &Library::new(), &mut budget)
    }

    fn step_all(&mut self) -> Exit {
        let window = self.window();
        loop {
            if let Err(exit) = step(&mut self.regs, &window) {
                return exit;
            }
        }
    }
}

#[test]
fn a_loop_counts_every_instruction() {
    // li a0, 1000; 1: add a1, a1, a0; addi a0, a0, -1; bnez a0, 1b; ecall
    let program = [0x3e80_0513, 0x00a5_85b3, 0xfff5_0513, 0xfe05_1ce3, 0x0000_0073];
    let mut board = Board::new(&program);
    assert_eq!(board.run(1_000_000), Exit::Ecall);
    assert_eq!((board.regs.x[11], board.regs.pc, board.regs.instret), (500_500, CODE + 16, 3001));
    for budget in [0, 1, 2, 7, 255, 256, 257, 600, 3000] {
        let mut board = Board::new(&program);
        assert_eq!(board.run(budget), Exit::Budget);
        assert_eq!(board.regs.instret, budget);
        assert_eq!(board.run(3001 - budget), Exit::Budget, "{budget}");
        assert_eq!(board.run(1), Exit::Ecall);
        assert_eq!((board.regs.x[11], board.regs.instret), (500_500, 3001));
    }
    let mut board = Board::new(&program);
    assert_eq!(board.step_all(), Exit::Ecall);
    assert_eq!((board.regs.x[11], board.regs.instret), (500_500, 3001));
}

#[test]
fn the_profile_has_indirect_jumps_to_what_was_decoded_before() {
    // auipc t0, 0; addi t0, t0, 12; li a1, 2; 12: addi a1, a1, -1; beqz a1, 24; jr t0; 24: ecall
    let program = [0x0000_0297, 0x00c2_8293, 0x0020_0593, 0xfff5_8593, 0x0005_8463, 0x0002_8067, 0x0000_0073];
    let mut board = Board::new(&program);
    let (window, library) = (board.window(), Library::new());
    library.record();
    assert_eq!(run(&mut board.regs, &mut board.code, &window, &library, &mut 1000), Exit::Ecall);
    let profile = library.take_profile().unwrap_or_default();
    let entered: Vec<u16> = (0..28).step_by(4).filter(|&at| marked(&profile.pages[0].entered, at)).collect();
    assert_eq!((entered, board.regs.instret), (vec![0, 12], 8));
}

#[test]
fn refused_memory_is_named_and_nothing_has_happened() {
    // ld a0, -4(a1)
    let program = [0xffc5_b503, 0x0000_0073];
    for (a1, bad) in [(DATA, DATA - 4), (0x8000, 0x8000), (4, 0), (1 << 40, (1 << 40) - 4), (3, u64::MAX)] {
        let mut board = Board::new(&program);
        board.regs.x[11] = a1;
        board.regs.x[10] = 77;
        assert_eq!(board.run(1000), Exit::Fault { addr: bad, access: Access::Read }, "{a1:#x}");
        assert_eq!((board.regs.x[10], board.regs.pc, board.regs.instret), (77, CODE, 0));
    }
}

#[test]
fn a_misaligned_access_goes_over_a_page_end() {
    // sd a0, -3(a1); ld a2, -3(a1); lw a3, -1(a1); lhu a4, -1(a1); fld fa0, -3(a1)
    let program = [0xfea5_bea3, 0xffd5_b603, 0xfff5_a683, 0xfff5_d703, 0xffd5_b507, 0x0000_0073];
    let mut board = Board::new(&program);
    (board.regs.x[10], board.regs.x[11]) = (0x8877_6655_4433_2211, DATA + PAGE);
    assert_eq!(board.run(1000), Exit::Ecall);
    let x = &board.regs.x;
    assert_eq!((x[12], x[13], x[14]), (0x8877_6655_4433_2211, 0x6655_4433, 0x4433));
    assert_eq!(board.regs.f[10], 0x8877_6655_4433_2211);
    // When the second page refuses, nothing is stored in the first.
    let mut board = Board::new(&program);
    (board.regs.x[10], board.regs.x[11]) = (MARK, 0x8000);
    assert_eq!(board.run(1000), Exit::Fault { addr: 0x8000, access: Access::Write });
    assert_eq!(board.memory[0x7ff8..0x8000], [0; 8]);
}

const MARK: u64 = 0x0123_4567_89ab_cdef;

#[test]
fn permissions_are_asked() {
    // lw a0, 0(a1) and sw a0, 0(a1)
    for (bits, raw, access) in [
        (perm::W, 0x0005_a503, Access::Read),
        (perm::R, 0x00a5_a023, Access::Write),
        (0, 0x0005_a503, Access::Read),
    ] {
        let mut board = Board::new(&[raw, 0x0000_0073]);
        board.perms[4] = bits;
        board.regs.x[11] = DATA;
        assert_eq!(board.run(1000), Exit::Fault { addr: DATA, access });
        board.perms[4] = perm::R | perm::W;
        assert_eq!(board.run(1000), Exit::Ecall, "it goes on after the kernel has helped");
    }
    let mut board = Board::new(&[0x0000_0013; 1024]);
    board.perms[2] = perm::R | perm::W;
    assert_eq!(board.run(10_000), Exit::Fault { addr: CODE + PAGE, access: Access::Exec });
    assert_eq!(board.regs.instret, 1024);
    // A load into x0 still faults.
    let mut board = Board::new(&[0x0005_b003]);
    board.regs.x[11] = 0x9000;
    assert_eq!(board.run(1000), Exit::Fault { addr: 0x9000, access: Access::Read });
}

#[test]
fn an_instruction_may_lie_in_two_pages() {
    // c.nop fills the page up to an addi a0, a0, 1 at its last halfword.
    let mut board = Board::new(&[]);
    let end = (CODE + PAGE) as usize;
    for at in (CODE as usize..end - 2).step_by(2) {
        board.memory[at..at + 2].copy_from_slice(&1u16.to_le_bytes());
    }
    board.memory[end - 2..end + 2].copy_from_slice(&0x0015_0513u32.to_le_bytes());
    board.memory[end + 2..end + 6].copy_from_slice(&0x0000_0073u32.to_le_bytes());
    assert_eq!(board.run(10_000), Exit::Ecall);
    assert_eq!((board.regs.x[10], board.regs.instret), (1, 2048));
    assert_eq!(board.perms[2] & perm::W, 0, "a store into the second half is noticed");
    board.regs.pc = CODE;
    // The kernel's way: it takes the ops of the second page away before it takes X.
    board.code.invalidate(2..3);
    assert!(!board.code.contains(1), "the first page went with it");
    let left = format!("{:?}", board.code);
    assert!(left.contains("ops: 0,"), "nothing is left, nothing is counted: {left}");
    board.perms[2] = perm::R;
    assert_eq!(board.run(10_000), Exit::Fault { addr: CODE + PAGE, access: Access::Exec });
    assert_eq!(
        board.regs.pc,
        CODE + PAGE - 2,
        "the second half was refused, the instruction is the first half's"
    );
    // The second page is guarded as soon as the first has code, and goes before anything in it is decoded.
    board.code.invalidate(1..2);
    (board.regs.pc, board.perms[2]) = (CODE, perm::R | perm::X);
    assert_eq!(board.run(300), Exit::Budget);
    board.code.invalidate(1..3);
    let left = format!("{:?}", board.code);
    assert!(left.contains("ops: 0,"), "what was not decoded was not counted: {left}");
}

#[test]
fn code_may_be_rewritten() {
    // addi a0, a0, 1; sw a1, 0(a2); addi a3, a3, -1; bnez a3, -12; ecall. The store makes the first addi add 2.
    let program = [0x0015_0513, 0x00b6_2023, 0xfff6_8693, 0xfe06_9ae3, 0x0000_0073];
    let mut board = Board::new(&program);
    (board.regs.x[11], board.regs.x[12], board.regs.x[13]) = (0x0025_0513, CODE, 10);
    assert_eq!(board.run(1000), Exit::Ecall);
    assert_eq!(board.regs.x[10], 1 + 9 * 2);
    assert_eq!(
        (board.perms[1] & perm::W, board.perms[1] & perm::CODE),
        (0, perm::CODE),
        "decoded again since"
    );
    // The kernel's way: it takes the ops away before it changes the page.
    board.code.invalidate(1..2);
    assert!(!board.code.contains(1));
    board.memory[CODE as usize..][..4].copy_from_slice(&0x0035_0513u32.to_le_bytes());
    (board.regs.pc, board.regs.x[10], board.regs.x[13], board.regs.x[11]) = (CODE, 0, 1, 0x0035_0513);
    assert_eq!(board.run(1000), Exit::Ecall);
    assert_eq!(board.regs.x[10], 3);
}

#[test]
fn reservations() {
    // lr.w a0, (a1); sc.w a2, a3, (a1); sc.w a4, a3, (a1)
    let mut board = Board::new(&[0x1005_a52f, 0x18d5_a62f, 0x18d5_a72f, 0x0000_0073]);
    board.memory[DATA as usize..][..4].copy_from_slice(&0xffff_fffeu32.to_le_bytes());
    (board.regs.x[11], board.regs.x[13]) = (DATA, 7);
    assert_eq!(board.run(1000), Exit::Ecall);
    assert_eq!((board.regs.x[10], board.regs.x[12], board.regs.x[14]), (-2i64 as u64, 0, 1));
    assert_eq!(board.memory[DATA as usize..][..4], [7, 0, 0, 0]);
    // A context switch in between: the kernel clears the reservation.
    board.regs.pc = CODE;
    assert_eq!(board.run(1), Exit::Budget);
    board.regs.reservation = None;
    assert_eq!(board.run(1000), Exit::Ecall);
    assert_eq!(board.regs.x[12], 1);
    // Misaligned ones are refused.
    board.regs.pc = CODE;
    board.regs.x[11] = DATA + 2;
    assert_eq!(board.run(1000), Exit::Misaligned { addr: DATA + 2 });
}

#[test]
fn what_is_not_an_instruction_is_illegal() {
    for raw in [0u32, 0xffff_ffff, 0x0000_007f, 0xc000_1073, 0x1000_2573, 0x0200_5053, 0x8002] {
        let mut board = Board::new(&[0x0000_0013, raw]);
        let bits = if raw & 3 == 3 { raw } else { raw & 0xffff };
        assert_eq!(board.run(1000), Exit::Illegal(bits), "{raw:#x}");
        assert_eq!((board.regs.pc, board.regs.instret), (CODE + 4, 1));
    }
    // A reserved rounding mode in frm makes what rounds by it illegal, decoded or not: fadd.d, fcvt.d.w, dynamic.
    for raw in [0x02c5_f553, 0xd205_f553] {
        let mut board = Board::new(&[raw]);
        board.regs.fcsr = 5 << 5 | 1;
        assert_eq!(board.run(1000), Exit::Illegal(raw));
        board.regs.fcsr = 0;
        assert_ne!(board.run(1000), Exit::Illegal(raw));
    }
}

#[test]
fn counters_and_flags_are_read() {
    // nop; rdinstret a0; rdcycle a1; rdtime a2; csrrwi a3, frm, 3; frcsr a4; csrrsi a5, fflags, 0; ebreak
    let program =
        [0x13, 0xc020_2573, 0xc000_25f3, 0xc010_2673, 0x0021_d6f3, 0x0030_2773, 0x0010_67f3, 0x0010_0073];
    let mut board = Board::new(&program);
    (board.regs.time, board.regs.fcsr) = (12345, 0x11);
    assert_eq!(board.run(1000), Exit::Breakpoint);
    let x = &board.regs.x;
    assert_eq!((x[10], x[11], x[12], x[13], x[14], x[15]), (1, 2, 12345, 0, 0x71, 0x11));
}

#[test]
fn singles_that_are_not_boxed_are_nans() {
    // fadd.s fa0, fa1, fa2; fmv.x.w a0, fa1; fsgnj.s fa3, fa1, fa1; fclass.s a1, fa1
    let program = [0x00c5_f553, 0xe005_8553, 0x20b5_86d3, 0xe005_95d3, 0x0000_0073];
    let mut board = Board::new(&program);
    board.regs.f[11] = 0x7fff_ffff_3f80_0000;
    board.regs.f[12] = 0xffff_ffff_3f80_0000;
    assert_eq!(board.run(1000), Exit::Ecall);
    let nan = 0xffff_ffff_7fc0_0000;
    assert_eq!(
        (board.regs.f[10], board.regs.f[13], board.regs.fcsr),
        (nan, nan, 0),
        "a quiet NaN, so no flag"
    );
    assert_eq!((board.regs.x[10], board.regs.x[11]), (0x3f80_0000, 1 << 9), "moves copy bits");
}
