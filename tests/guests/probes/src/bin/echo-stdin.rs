//! Copies standard input to standard output, then says how much it was on standard error.
#![no_std]
#![no_main]

extern crate alloc;

fn main() -> i32 {
    let mut block = [0; 4096];
    let mut total = 0;
    loop {
        match sys::io::read(0, &mut block) {
            Ok(0) => break,
            Ok(count) => {
                total += count;
                if sys::io::write_all(1, &block[..count]).is_err() {
                    return 1;
                }
            }
            Err(error) => {
                sys::eprintln!("read: {error}");
                return 1;
            }
        }
    }
    sys::eprintln!("{total} bytes");
    0
}

sys::main!(main);
