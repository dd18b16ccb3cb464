//! Address spaces against simple models: random operations, isolation, sharing, hostile arguments.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::arena::PRESENT;
use super::shared::{SharedMemory, Sharers};
use super::*;
use crate::abi::mman::{PROT_EXEC, PROT_READ, PROT_WRITE};
use crate::fs::Pages;

const RW: u32 = PROT_READ | PROT_WRITE;

fn space() -> Rc<Mm> {
    Mm::new(&Rc::new(Linear::new(64 << 20))).unwrap()
}

/// xorshift64*, seeded: the same sequence each time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }
}

/// A file whose page `i` begins with `i`, and which remembers what is written to it.
struct TestFile {
    size: u64,
    pages: RefCell<BTreeMap<u64, [u8; 4096]>>,
    sharers: Sharers,
}

impl TestFile {
    fn new(size: u64) -> Rc<TestFile> {
        Rc::new(TestFile { size, pages: RefCell::default(), sharers: Sharers::default() })
    }
}

impl Pages for TestFile {
    fn size(&self) -> u64 {
        self.size
    }
    fn read_page(&self, offset: u64, page: &mut [u8; 4096]) -> Result<(), Errno> {
        *page = [0; 4096];
        page[..8].copy_from_slice(&(offset / PAGE).to_le_bytes());
        if let Some(bytes) = self.pages.borrow().get(&offset) {
            *page = *bytes;
        }
        Ok(())
    }
    fn write_page(&self, offset: u64, page: &[u8; 4096]) -> Result<(), Errno> {
        self.pages.borrow_mut().insert(offset, *page);
        Ok(())
    }
    fn sharers(&self) -> &Sharers {
        &self.sharers
    }
}

fn file_mapping(object: Rc<dyn Pages>, len: u64, prot: u32, flags: AreaFlags, offset: u64) -> Mapping {
    let backing = Backing::File(Rc::new(Mapped { pages: object, dentry: None, name: b"test".to_vec() }));
    Mapping { len, prot, may: 7, flags, backing, offset }
}

fn read_u64(mm: &Mm, addr: u64) -> u64 {
    let mut bytes = [0; 8];
    mm.copy_in(addr, &mut bytes).unwrap();
    u64::from_le_bytes(bytes)
}

/// Every byte agrees with its area, and R2/W2 with the neighbours.
fn check_bytes(mm: &Mm) {
    let areas = mm.areas();
    let mut present = 0;
    for page in mm.arena.claims().iter().flatten() {
        let flags = mm.arena.flags(page);
        let above = mm.arena.flags(page + 1);
        let area = areas.find(page * PAGE);
        present += u64::from(flags & PRESENT != 0);
        if flags & PRESENT == 0 {
            assert_eq!(flags, 0, "page {page}");
            assert!(mm.arena.is_zero(page), "absent page {page} is not zero");
            continue;
        }
        let area = area.expect("a present page is mapped");
        assert_eq!(flags & perm::R != 0, area.readable());
        assert_eq!(flags & perm::X != 0, area.executable());
        assert!(flags & perm::W == 0 || area.writable());
        assert_eq!(flags & perm::R2 != 0, flags & above & perm::R != 0);
        assert_eq!(flags & perm::W2 != 0, flags & above & perm::W != 0);
    }
    assert_eq!(present, mm.arena.resident());
}

#[test]
fn random_operations_agree_with_a_model() {
    const PAGES: u64 = 200;
    const BASE: u64 = 0x40_0000;
    for seed in 1..20 {
        let mut random = Random(seed);
        let mm = space();
        // What each page allows (none: not mapped) and the byte stored in it.
        let mut model: Vec<Option<(u32, u8)>> = vec![None; PAGES as usize];
        for step in 0..400u32 {
            let first = random.below(PAGES);
            let len = 1 + random.below((PAGES - first).min(30));
            let (addr, bytes) = (BASE + first * PAGE, len * PAGE);
            let prot = random.below(8) as u32;
            let range = first as usize..(first + len) as usize;
            match random.below(5) {
                0 => {
                    mm.map(Place::Fixed(addr), Mapping::anonymous(bytes, prot)).unwrap();
                    model[range].fill(Some((prot, 0)));
                }
                1 => {
                    mm.unmap(addr, bytes).unwrap();
                    model[range].fill(None);
                }
                2 => {
                    let hole = model[range.clone()].iter().position(Option::is_none);
                    let result = mm.protect(addr, bytes, prot);
                    assert_eq!(result, if hole.is_some() { Err(Errno::ENOMEM) } else { Ok(()) });
                    for page in model[range].iter_mut().take(hole.unwrap_or(len as usize)) {
                        *page = page.map(|(_, byte)| (prot, byte));
                    }
                }
                3 => {
                    let value = step as u8 | 1;
                    let result = mm.copy_out(addr + 5, &[value]);
                    match &mut model[first as usize] {
                        Some((prot, byte)) if *prot & PROT_WRITE != 0 => {
                            assert_eq!(result, Ok(()));
                            *byte = value;
                        }
                        _ => assert_eq!(result, Err(Errno::EFAULT)),
                    }
                }
                _ => {
                    let mut byte = [0];
                    let result = mm.copy_in(addr + 5, &mut byte);
                    match model[first as usize] {
                        Some((prot, expected)) if prot & RW != 0 => {
                            assert_eq!((result, byte[0]), (Ok(()), expected))
                        }
                        _ => assert_eq!(result, Err(Errno::EFAULT)),
                    }
                }
            }
        }
        check_bytes(&mm);
        let areas = mm.areas();
        assert_eq!(areas.bytes(), model.iter().flatten().count() as u64 * PAGE, "seed {seed}");
        for (page, expected) in model.iter().enumerate() {
            let area = areas.find(BASE + page as u64 * PAGE);
            assert_eq!(area.map(|a| a.prot), expected.map(|(prot, _)| prot), "seed {seed} page {page}");
        }
        let all: Vec<&Area> = areas.iter().collect();
        assert!(
            all.windows(2).all(|w| w[0].end < w[1].start || w[0].prot != w[1].prot),
            "neighbours are merged"
        );
    }
}

#[test]
fn memory_comes_back_zeroed() {
    let linear = Rc::new(Linear::new(64 << 20));
    for round in 0..5 {
        let mm = Mm::new(&linear).unwrap();
        let at = mm.map(Place::Hint(0), Mapping::anonymous(1 << 20, RW)).unwrap();
        assert_eq!(read_u64(&mm, at + 8 * round), 0);
        mm.copy_out(at, &vec![0xaa; 1 << 20]).unwrap();
        assert_eq!(linear.resident_bytes(), 1 << 20);
    }
    assert_eq!(linear.resident_bytes(), 0);
}

#[test]
fn fork_isolates() {
    let mm = space();
    let at = mm.map(Place::Hint(0), Mapping::anonymous(40 * PAGE, RW)).unwrap();
    mm.copy_out(at + 100, b"parent").unwrap();
    let child = mm.fork().unwrap();
    child.copy_out(at + 100, b"child!").unwrap();
    mm.copy_out(at + 200, b"later").unwrap();
    let mut seen = [0; 6];
    mm.copy_in(at + 100, &mut seen).unwrap();
    assert_eq!(&seen, b"parent");
    child.copy_in(at + 200, &mut seen).unwrap();
    assert_eq!(seen, [0; 6]);
    assert_eq!(child.resident_bytes().0, PAGE, "zeros are not copied");
    check_bytes(&child);
    check_bytes(&mm);
}

#[test]
fn shared_pages_are_coherent() {
    let mm = space();
    let object = SharedMemory::new(mm.linear(), 4 * PAGE);
    let at = mm.map(Place::Hint(0), file_mapping(object, 4 * PAGE, RW, AreaFlags::SHARED, 0)).unwrap();
    let child = mm.fork().unwrap();
    assert_eq!(mm.futex_key(at + 4, false), child.futex_key(at + 4, false));
    assert_ne!(mm.futex_key(at + 4, true), child.futex_key(at + 4, true));
    let mut random = Random(7);
    let mut model = [0u8; 4 * PAGE as usize];
    for step in 0..4000u32 {
        let who = if random.below(2) == 0 { &mm } else { &child };
        let offset = random.below(4 * PAGE);
        if random.below(2) == 0 {
            who.copy_out(at + offset, &[step as u8]).unwrap();
            model[offset as usize] = step as u8;
        } else {
            let mut byte = [0];
            who.copy_in(at + offset, &mut byte).unwrap();
            assert_eq!(byte[0], model[offset as usize], "step {step}");
        }
        // One writer, or readers.
        for page in 0..4 {
            let bytes = [&mm, &child].map(|mm| mm.arena.flags(at / PAGE + page));
            let writers = bytes.iter().filter(|b| *b & perm::W != 0).count();
            let holders = bytes.iter().filter(|b| *b & PRESENT != 0).count();
            assert!(writers == 0 || holders == 1);
        }
    }
    check_bytes(&mm);
    check_bytes(&child);
}

#[test]
fn one_page_mapped_twice_is_one_page() {
    let mm = space();
    let object = SharedMemory::new(mm.linear(), PAGE);
    let a = mm.map(Place::Hint(0), file_mapping(object.clone(), PAGE, RW, AreaFlags::SHARED, 0)).unwrap();
    let b = mm.map(Place::Hint(0), file_mapping(object, PAGE, RW, AreaFlags::SHARED, 0)).unwrap();
    mm.copy_out(a, &7u64.to_le_bytes()).unwrap();
    assert_eq!(read_u64(&mm, b), 7);
    mm.copy_out(b, &8u64.to_le_bytes()).unwrap();
    assert_eq!(read_u64(&mm, a), 8);
    // Both faulted in first, as a scattered read(2) does, then used.
    mm.fault_in(a, 8, Access::Write).unwrap();
    mm.fault_in(b, 8, Access::Write).unwrap();
    mm.copy_out_mapped(a, &1u32.to_le_bytes());
    mm.copy_out_mapped(b + 4, &2u32.to_le_bytes());
    assert_eq!(read_u64(&mm, a), 1 | 2 << 32);
}

#[test]
fn file_mappings_fill_write_back_and_end() {
    let mm = space();
    let file = TestFile::new(20 * PAGE + 10);
    let private =
        mm.map(Place::Hint(0), file_mapping(file.clone(), 22 * PAGE, RW, AreaFlags::empty(), 0)).unwrap();
    let shared =
        mm.map(Place::Hint(0), file_mapping(file.clone(), 3 * PAGE, RW, AreaFlags::SHARED, PAGE)).unwrap();
    assert_eq!(read_u64(&mm, private + 2 * PAGE), 2);
    assert_eq!(mm.fault(private + 21 * PAGE, Access::Read), Err(Fault::Bus));
    assert_eq!(mm.fault(private + 20 * PAGE + 4000, Access::Write), Ok(()));
    // A private store stays private; a shared one reaches the file on recall and at unmap.
    mm.copy_out(private + 2 * PAGE, &99u64.to_le_bytes()).unwrap();
    mm.copy_out(shared, &55u64.to_le_bytes()).unwrap();
    assert!(file.pages.borrow().is_empty());
    file.sharers.before_read(&*file, PAGE, 1).unwrap();
    assert_eq!(file.pages.borrow()[&PAGE][..8], 55u64.to_le_bytes());
    mm.copy_out(shared, &56u64.to_le_bytes()).unwrap();
    // write(2) in between: the mapping sees it.
    file.sharers.before_write(&*file, PAGE, 8).unwrap();
    file.pages.borrow_mut().get_mut(&PAGE).unwrap()[0] = 57;
    assert_eq!(read_u64(&mm, shared), 57);
    mm.copy_out(shared + 2 * PAGE, &58u64.to_le_bytes()).unwrap();
    mm.unmap(shared, 3 * PAGE).unwrap();
    assert_eq!(file.pages.borrow()[&(3 * PAGE)][..8], 58u64.to_le_bytes());
    assert!(!file.sharers.held(1));
    assert_eq!(read_u64(&mm, private + 2 * PAGE), 99);
    check_bytes(&mm);
    // What was not written to can come again; what was cannot.
    assert_eq!(read_u64(&mm, private + 4 * PAGE), 4);
    mm.drop_clean();
    assert_eq!(mm.arena.flags((private + 4 * PAGE) / PAGE), 0);
    assert_ne!(mm.arena.flags((private + 2 * PAGE) / PAGE), 0);
    check_bytes(&mm);
    assert_eq!((read_u64(&mm, private + 4 * PAGE), read_u64(&mm, private + 2 * PAGE)), (4, 99));
    check_bytes(&mm);
}

#[test]
fn remap_grows_moves_and_keeps_contents() {
    let mm = space();
    let at = mm.map(Place::Hint(0), Mapping::anonymous(4 * PAGE, RW)).unwrap();
    let above = mm.map(Place::Hint(0), Mapping::anonymous(PAGE, RW)).unwrap();
    assert_eq!(above, at + 4 * PAGE);
    mm.copy_out(at, &vec![3; 4 * PAGE as usize]).unwrap();
    assert_eq!(mm.remap(at, 4 * PAGE, 8 * PAGE, Remap::default()), Err(Errno::ENOMEM));
    let moved = mm.remap(at, 4 * PAGE, 8 * PAGE, Remap { may_move: true, ..Remap::default() }).unwrap();
    assert_ne!(moved, at);
    let mut bytes = vec![0; 8 * PAGE as usize];
    mm.copy_in(moved, &mut bytes).unwrap();
    assert!(
        bytes[..4 * PAGE as usize].iter().all(|&b| b == 3)
            && bytes[4 * PAGE as usize..].iter().all(|&b| b == 0)
    );
    assert_eq!(mm.fault(at, Access::Read), Err(Fault::NotMapped));
    // In place at the top, shrink, to a fixed place, and leaving the old one mapped but empty.
    assert_eq!(mm.remap(moved, 8 * PAGE, 16 * PAGE, Remap::default()), Ok(moved));
    assert_eq!(mm.remap(moved, 16 * PAGE, 2 * PAGE, Remap::default()), Ok(moved));
    let to = 0x800_0000;
    let fixed = Remap { may_move: true, fixed: Some(to), dont_unmap: false };
    assert_eq!(mm.remap(moved, 2 * PAGE, 2 * PAGE, fixed), Ok(to));
    let kept = Remap { may_move: true, fixed: None, dont_unmap: true };
    let last = mm.remap(to, 2 * PAGE, 2 * PAGE, kept).unwrap();
    assert_eq!((read_u64(&mm, last), read_u64(&mm, to)), (0x0303_0303_0303_0303, 0));
    check_bytes(&mm);
}

#[test]
fn hostile_lengths_are_refused() {
    let mm = space();
    let big = [u64::MAX, u64::MAX - 4095, 1 << 63, 1 << 40, GUEST_END];
    for len in big {
        assert_eq!(mm.map(Place::Hint(0), Mapping::anonymous(len, 0)), Err(Errno::ENOMEM));
        assert_eq!(mm.map(Place::Fixed(0x10000), Mapping::anonymous(len, RW)), Err(Errno::ENOMEM));
        assert_eq!(mm.unmap(0x10000, len), Err(Errno::EINVAL));
        assert_eq!(mm.protect(0x10000, len, 0), Err(Errno::ENOMEM));
        assert_eq!(mm.fault_in(0x10000, len, Access::Read), Err(Errno::EFAULT));
        assert_eq!(mm.fault_in(len, 1, Access::Read), Err(Errno::EFAULT));
        assert_eq!(mm.fault(len, Access::Write), Err(Fault::NotMapped));
        assert_eq!(mm.read_cstr(len, 10, Errno::ENAMETOOLONG), Err(Errno::EFAULT));
    }
    assert_eq!(mm.map(Place::Fixed(0), Mapping::anonymous(PAGE, RW)), Err(Errno::EPERM));
    assert_eq!(mm.map(Place::Fixed(0x10001), Mapping::anonymous(PAGE, RW)), Err(Errno::EINVAL));
    assert_eq!(mm.map(Place::Hint(0), Mapping::anonymous(0, RW)), Err(Errno::EINVAL));
    // A reservation costs nothing; using it up to the limit ends in OutOfMemory, not in a trap.
    let at = mm
        .map(Place::Hint(0), Mapping { flags: AreaFlags::NORESERVE, ..Mapping::anonymous(2 << 30, RW) })
        .unwrap();
    assert_eq!(mm.linear().resident_bytes(), 0);
    let fault =
        (0..2 << 30).step_by(PAGE as usize).find_map(|offset| mm.fault(at + offset, Access::Write).err());
    assert_eq!(fault, Some(Fault::OutOfMemory));
    assert_eq!(mm.linear().resident_bytes(), 64 << 20);
    mm.unmap(at, 2 << 30).unwrap();
    assert_eq!(mm.linear().resident_bytes(), 0);
}

#[test]
fn strings_end_where_they_should() {
    let mm = space();
    let at = mm.map(Place::Hint(0), Mapping::anonymous(2 * PAGE, RW)).unwrap();
    mm.copy_out(at + PAGE - 3, b"abcdef\0").unwrap();
    assert_eq!(mm.read_cstr(at + PAGE - 3, 7, Errno::ENAMETOOLONG).unwrap(), b"abcdef");
    assert_eq!(mm.read_cstr(at + PAGE - 3, 6, Errno::ENAMETOOLONG), Err(Errno::ENAMETOOLONG));
    assert_eq!(mm.read_cstr(at, 6, Errno::ENAMETOOLONG).unwrap(), b"");
    mm.copy_out(at + 2 * PAGE - 3, b"xyz").unwrap();
    assert_eq!(mm.read_cstr(at + 2 * PAGE - 3, 100, Errno::ENAMETOOLONG), Err(Errno::EFAULT));
}

#[test]
fn stacks_grow_down_to_their_limit() {
    let mm = space();
    mm.set_limits(Limits { stack: 64 * PAGE, ..Limits::default() });
    let top = 0x1000_0000;
    let mapping = Mapping { flags: AreaFlags::GROWSDOWN, ..Mapping::anonymous(2 * PAGE, RW) };
    mm.map(Place::Fixed(top - 2 * PAGE), mapping).unwrap();
    assert_eq!(mm.fault(top - 64 * PAGE, Access::Write), Ok(()));
    assert_eq!(mm.fault(top - 65 * PAGE, Access::Write), Err(Fault::NotMapped));
    assert_eq!(mm.areas().iter().next().map(|a| a.len()), Some(64 * PAGE));
}

#[test]
fn a_moved_arena_keeps_its_pages() {
    let linear = Rc::new(Linear::new(64 << 20));
    let a = Mm::new(&linear).unwrap();
    let at = a.map(Place::Fixed(0x10000), Mapping::anonymous(PAGE, RW | PROT_EXEC)).unwrap();
    a.copy_out(at, b"stays").unwrap();
    let before = a.window().base;
    let b = Mm::new(&linear).unwrap();
    b.map(Place::Fixed(0x10000), Mapping::anonymous(PAGE, RW)).unwrap();
    b.copy_out(0x10000, b"other").unwrap();
    a.map(Place::Fixed(0x2_0000), Mapping::anonymous(PAGE, RW)).unwrap();
    a.copy_out(0x2_0000, b"where b is").unwrap();
    assert_ne!(a.window().base, before);
    let mut bytes = [0; 5];
    a.copy_in(at, &mut bytes).unwrap();
    assert_eq!(&bytes, b"stays");
    check_bytes(&a);
}

#[test]
fn an_arena_begins_where_the_stack_is_and_moves_once_when_that_grows() {
    const STACK_END: u64 = 8 << 20;
    let linear = Rc::new(Linear::new(64 << 20));
    let mm = Mm::new(&linear).unwrap();
    mm.set_limits(Limits { stack: 7 << 20, ..Limits::default() });
    mm.expect(&(STACK_END - 16 * PAGE..STACK_END + 256 * PAGE));
    let stack = Mapping { flags: AreaFlags::GROWSDOWN, ..Mapping::anonymous(PAGE, RW) };
    mm.map(Place::Fixed(STACK_END - PAGE), stack).unwrap();
    mm.map(Place::Fixed(STACK_END + PAGE), Mapping::anonymous(PAGE, RW)).unwrap();
    mm.copy_out(STACK_END - 8, b"deepness").unwrap();
    mm.copy_out(STACK_END + PAGE, b"program").unwrap();
    let claims = mm.arena.claims();
    assert_eq!((claims.start(), claims.end()), (STACK_END / PAGE - 16, STACK_END / PAGE + 256));
    check_bytes(&mm);
    let mut places = vec![mm.window().base];
    for depth in (100..7 << 20).step_by(100_000) {
        mm.copy_out(STACK_END - depth - 8, &depth.to_le_bytes()).unwrap();
        places.push(mm.window().base);
    }
    places.dedup();
    assert_eq!(places.len(), 2, "the arena moved {} times", places.len() - 1);
    assert_eq!(read_u64(&mm, STACK_END - 8), u64::from_le_bytes(*b"deepness"));
    let mut bytes = [0; 7];
    mm.copy_in(STACK_END + PAGE, &mut bytes).unwrap();
    assert_eq!(&bytes, b"program");
    check_bytes(&mm);
    let child = mm.fork().unwrap();
    assert_eq!(read_u64(&child, STACK_END - 8), u64::from_le_bytes(*b"deepness"));
    drop(mm);
    check_bytes(&child);
}

#[test]
fn a_stack_at_the_bottom_ends_above_the_lowest_address() {
    let mm = space();
    mm.set_limits(Limits { stack: 64 << 20, ..Limits::default() });
    let mapping = Mapping { flags: AreaFlags::GROWSDOWN, ..Mapping::anonymous(PAGE, RW) };
    mm.map(Place::Fixed(GUEST_START + 40 * PAGE), mapping).unwrap();
    assert_eq!(mm.fault(GUEST_START, Access::Write), Ok(()));
    assert_eq!(mm.fault(GUEST_START - 1, Access::Write), Err(Fault::NotMapped));
}

#[test]
fn what_is_mapped_leaves_out_the_heap_and_stays_near() {
    let mm = space();
    let (base, heap) = (0x20_0000, 0x30_0000..0x40_0000);
    let layout = Layout { mmap_base: base, brk_start: heap.start, brk: heap.start, ..Layout::default() };
    mm.set_layout(Layout { brk_max: heap.end, ..layout });
    let mapped = |len: u64| mm.map(Place::Hint(0), Mapping::anonymous(len, RW)).unwrap();
    assert_eq!(mapped(0xf_0000), base);
    assert_eq!(mapped(0x2_0000), heap.end, "does not fit below the heap");
    assert_eq!(mapped(0x1_0000), base + 0xf_0000);
    assert_eq!(mapped(PAGE), heap.end + 0x2_0000);
    assert_eq!(mm.brk(heap.end), heap.end);
    let far = |at| mm.map(Place::FixedNoReplace(at), Mapping::anonymous(PAGE, RW));
    assert_eq!(far(base), Err(Errno::EEXIST));
    assert_eq!(far(0x200_0000), Ok(0x200_0000));
    assert_eq!(far(0xc000_0000), Err(Errno::ENOMEM));
    assert_eq!(mm.map(Place::Fixed(0xc000_0000), Mapping::anonymous(PAGE, RW)), Ok(0xc000_0000));
}

#[test]
fn the_break_moves_between_its_limits() {
    let mm = space();
    let start = 0x20_0123;
    mm.set_layout(Layout { brk_start: start, brk: start, brk_max: 0x30_0000, ..Layout::default() });
    assert_eq!(mm.brk(0), start);
    assert_eq!(mm.brk(start + 100_000), start + 100_000);
    mm.copy_out(start + 99_990, &[1; 10]).unwrap();
    assert_eq!(mm.brk(0x30_0001), start + 100_000);
    assert_eq!(mm.brk(start), start);
    assert_eq!(mm.brk(start + 100_000), start + 100_000);
    let mut bytes = [9; 10];
    mm.copy_in(start + 99_990, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 10]);
}

#[test]
fn address_spaces_that_ended_leave_their_places_to_others() {
    const END: u64 = 14 << 20;
    let linear = Rc::new(Linear::new(64 << 20));
    let start = || {
        let mm = Mm::new(&linear).unwrap();
        mm.expect(&(0..END));
        // Low, then high: the arena must not move.
        for at in [1 << 20, END - PAGE] {
            mm.map(Place::Fixed(at), Mapping::anonymous(PAGE, RW)).unwrap();
            mm.poke(at, b"x").unwrap();
        }
        mm
    };
    let shell = start();
    let mut sizes = Vec::new();
    for _ in 0..50 {
        let child = shell.fork().unwrap();
        // exec(2): the new program's space is there before the old one goes.
        let program = start();
        drop(child);
        drop(program);
        sizes.push(linear.size_bytes());
    }
    // Three at once, each with its table.
    assert!(sizes[0] <= 3 * (END + (1 << 20)) + (1 << 20), "{} bytes", sizes[0]);
    assert_eq!(sizes.first(), sizes.last());
}

#[test]
fn processes_with_gaps_lie_in_each_others() {
    // As glibc's malloc has it for eight threads.
    const HEAPS: u64 = 8;
    let linear = Rc::new(Linear::new(0));
    let parent = Mm::new(&linear).unwrap();
    for heap in 0..HEAPS {
        let at = (1 + heap) * (64 << 20);
        parent.map(Place::Fixed(at), Mapping::anonymous(132 << 10, RW)).unwrap();
        parent.map(Place::Fixed(at + (132 << 10)), Mapping::anonymous((64 << 20) - (132 << 10), 0)).unwrap();
        parent.copy_out(at + 8, &heap.to_le_bytes()).unwrap();
    }
    let mut children = Vec::new();
    for number in 0..100_u64 {
        let child = parent.fork().unwrap();
        child.copy_out((64 << 20) + 16, &number.to_le_bytes()).unwrap();
        children.push(child);
    }
    assert!(linear.size_bytes() < 1 << 30, "{} bytes", linear.size_bytes());
    // Each grows into what is the next one's, and moves.
    for (number, child) in children.iter().enumerate() {
        let at = 2 * (64 << 20);
        child.protect(at, 32 << 20, RW).unwrap();
        for page in (at..at + (2 << 20)).step_by(PAGE as usize) {
            child.copy_out(page + 24, &[number as u8]).unwrap();
        }
    }
    for (number, child) in children.iter().enumerate() {
        check_bytes(child);
        assert_eq!(read_u64(child, (64 << 20) + 16), number as u64);
        assert!((0..HEAPS).all(|heap| read_u64(child, (1 + heap) * (64 << 20) + 8) == heap));
        assert_eq!(read_u64(child, 2 * (64 << 20) + (1 << 20) + 24), number as u64);
    }
    drop((parent, children));
    let all = linear.size_bytes() / PAGE;
    assert!(linear.alloc(all).is_some() && linear.size_bytes() / PAGE == all, "all of it is free again");
}

#[test]
fn an_arena_that_finds_no_place_is_out_of_memory() {
    let linear = Rc::new(Linear::new(0));
    let spaces: Vec<_> = (0..2)
        .map(|_| {
            let mm = Mm::new(&linear).unwrap();
            let mapping = Mapping { flags: AreaFlags::NORESERVE, ..Mapping::anonymous(2 << 30, RW) };
            mm.map(Place::Fixed(0x10_0000), mapping).unwrap();
            mm
        })
        .collect();
    // Densely enough that nothing fits between.
    for (number, mm) in (1..).zip(&spaces) {
        mm.copy_out(0x10_0000, &u64::to_le_bytes(number)).unwrap();
        for at in (0x10_0000..(2 << 30) - (1 << 20)).step_by(1 << 20) {
            if mm.fault(at, Access::Write).is_err() {
                assert_eq!(mm.fault(at, Access::Write), Err(Fault::OutOfMemory));
                break;
            }
        }
        assert_eq!(read_u64(mm, 0x10_0000), number);
    }
}
