//! What build.rs put inside: nothing here was committed, everything was built.

/// The engine.
pub const ENGINE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/engine.wasm"));

/// The demo image, as `docker save` would give it.
pub const DEMO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/demo.tar"));

/// Node's host (`bundle/node`), in one file; empty when it was built without Node.js.
pub const NODE_HOST: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/friscy-node.mjs"));

/// The page: name, contents. From `bundle/web`.
pub const WEB: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/web.rs"));
