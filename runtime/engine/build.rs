//! Linker arguments of the engine; they say what the packer relies on.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() != Ok("wasm32") {
        return;
    }
    for argument in [
        // Translated code and the chunk accessor are appended to the table; hosts look functions up in it.
        "--export-table",
        "--growable-table",
        // A stack overflow traps at address 0 instead of overwriting statics.
        "--stack-first",
        "-zstack-size=1048576",
    ] {
        println!("cargo::rustc-link-arg-cdylib={argument}");
    }
}
