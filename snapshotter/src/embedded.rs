//! What build.rs put inside: nothing here was committed, everything was built.

/// The engine.
pub const ENGINE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/engine.wasm"));

/// Its blake3, as hexadecimal digits.
pub const ENGINE_DIGEST: &str = include_str!(concat!(env!("OUT_DIR"), "/translator/engine"));

/// The demo image, as `docker save` would give it.
pub const DEMO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/demo.tar"));

/// Name of Node's host.
pub const NODE_HOST_NAME: &str = "friscy-node.mjs";

/// Node's host (`bundle/node`), in one file, which looks for the translator's Wasm ([`is_translator`]) beside itself; empty
/// when it was built without Node.js.
pub const NODE_HOST: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/friscy-node.mjs"));

/// Whether the file of this name in [`WEB`] is the translator's Wasm.
pub fn is_translator(name: &str) -> bool {
    name.starts_with("translator.") && name.ends_with(".wasm")
}

/// The page: name, contents. From `bundle/web`.
pub const WEB: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/web.rs"));
