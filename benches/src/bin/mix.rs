//! The native side of the compute bench: the same rounds as the guest's `bench`, on this machine's processor.
//!
//!     mix ITERATIONS

#[path = "../../../tests/guests/tools/src/mix.rs"]
mod mix;

fn main() {
    let iterations = std::env::args().nth(1).and_then(|text| text.parse().ok()).expect("mix ITERATIONS");
    println!("checksum   {:04x}", mix::run(iterations));
}
