//! The floor: what opening costs when there is nothing to open. A page whose
//! worker compiles an 8-byte module, and a Wasm command that writes two letters.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;

use anyhow::{Context, Result};
use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, EntityType, ExportKind, ExportSection, Function, FunctionSection,
    ImportSection, MemorySection, MemoryType, Module, TypeSection, ValType,
};
use wasmtime::{Linker, Store};

use crate::page::mime;
use crate::vm::{self, wasmtime_error};

/// The page: its worker's word is its first output, shown as an app's is.
const PAGE: &str = r#"<!doctype html><title>floor</title><script type="module">
const worker = new Worker("worker.js", { type: "module" });
worker.onmessage = ({ data }) => {
  document.body.textContent = data;
  requestAnimationFrame(() => performance.mark("friscy:drawn"));
};
</script>"#;
const WORKER: &str = r#"const module = await WebAssembly.compileStreaming(fetch("empty.wasm"));
await WebAssembly.instantiate(module, {});
postMessage("ok");
"#;

/// A static server for the page; lives as long as this process.
pub(super) fn serve() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on this machine")?;
    let address = listener.local_addr()?;
    std::thread::Builder::new().spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who went away does not want an answer.
            std::thread::spawn(move || answer(&stream));
        }
    })?;
    Ok(address)
}

fn answer(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut lines = BufReader::new(stream).lines();
    while let Some(request) = lines.next() {
        let request = request?;
        let path = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_string();
        // The rest of the head says nothing that matters here.
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let (status, name, body) = match path.as_str() {
            "" => ("200 OK", "index.html", PAGE.as_bytes()),
            "worker.js" => ("200 OK", "worker.js", WORKER.as_bytes()),
            "empty.wasm" => ("200 OK", "empty.wasm", Module::HEADER.as_slice()),
            _ => ("404 Not Found", "none.txt", b"".as_slice()),
        };
        let cache = if name.ends_with(".wasm") { "public, max-age=31536000, immutable" } else { "no-cache" };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: {cache}\r\n\r\n",
            mime(name),
            body.len()
        );
        (&*stream).write_all(&[head.as_bytes(), body].concat())?;
    }
    Ok(())
}

/// A WASI command that writes "ok" and a line feed.
pub(super) fn module() -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32; 4], [ValType::I32]);
    types.ty().function([], []);
    let mut imports = ImportSection::new();
    imports.import("wasi_snapshot_preview1", "fd_write", EntityType::Function(0));
    let mut functions = FunctionSection::new();
    functions.function(1);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0).export("_start", ExportKind::Func, 1);
    let mut start = Function::new([]);
    // fd_write(1, one vector at 0, written to 16)
    start.instructions().i32_const(1).i32_const(0).i32_const(1).i32_const(16).call(0).drop().end();
    let mut code = CodeSection::new();
    code.function(&start);
    let mut data = DataSection::new();
    // The vector: address 8, length 3; then its bytes.
    data.active(0, &ConstExpr::i32_const(0), *b"\x08\0\0\0\x03\0\0\0ok\n");
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions).section(&memories);
    module.section(&exports).section(&code).section(&data);
    module.finish()
}

/// `friscy-snap floor MODULE`: what the native host must do for any module.
pub fn command(path: &Path) -> Result<()> {
    let engine = vm::engine()?;
    let bytes = std::fs::read(path).with_context(|| format!("cannot open {}", path.display()))?;
    let module = wasmtime::Module::new(&engine, &bytes).map_err(wasmtime_error)?;
    let mut store = Store::new(&engine, ());
    let mut linker = Linker::new(&engine);
    let write = |_: i32, _: i32, _: i32, _: i32| std::io::stdout().write_all(b"ok\n").map_or(1, |()| 0);
    linker.func_wrap("wasi_snapshot_preview1", "fd_write", write).map_err(wasmtime_error)?;
    let instance = linker.instantiate(&mut store, &module).map_err(wasmtime_error)?;
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start").map_err(wasmtime_error)?;
    start.call(&mut store, ()).map_err(wasmtime_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_command_is_valid() {
        crate::seal::validate(&module()).expect("valid");
    }

    #[test]
    fn the_page_is_served_on_one_connection() {
        let mut stream = TcpStream::connect(serve().expect("a server")).expect("it listens");
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /empty.wasm HTTP/1.1\r\n\r\n")
            .expect("it takes them");
        stream.shutdown(std::net::Shutdown::Write).expect("half closed");
        let mut answers = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut answers).expect("answers");
        assert!(answers.ends_with(&Module::HEADER));
        let text = String::from_utf8_lossy(&answers);
        assert_eq!(text.matches("200 OK").count(), 2, "{text}");
        assert!(text.contains("application/wasm") && text.contains("<title>floor"), "{text}");
    }
}
