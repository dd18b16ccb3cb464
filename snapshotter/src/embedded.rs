//! What build.rs put inside: nothing here was committed, everything was built.

/// The engine.
pub const ENGINE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/engine.wasm"));

/// The demo image, as `docker save` would give it.
pub const DEMO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/demo.tar"));

/// The page: path below its directory, contents. From `bundle/web`.
pub const WEB: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/web.rs"));
