//! Takes and gives back memory of many sizes, checking that blocks do not overlap.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec;
use alloc::vec::Vec;

fn main() -> i32 {
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    let mut seed = 12345u32;
    let mut sum = 0u64;
    for step in 0..3000u32 {
        seed = seed.wrapping_mul(1_103_515_245).wrapping_add(12345);
        let size = 1usize << (seed >> 16 & 15) | (seed >> 8 & 0xff) as usize;
        blocks.push(vec![step as u8; size]);
        if step % 3 == 2 {
            let block = blocks.swap_remove((seed >> 4) as usize % blocks.len());
            if block.iter().any(|&byte| byte != block[0]) {
                sys::println!("block of {} bytes was overwritten", block.len());
                return 1;
            }
            sum += block.len() as u64;
        }
    }
    sys::println!("freed {sum} bytes, kept {} blocks", blocks.len());
    0
}

sys::main!(main);
