"""Runs an app as a WASI command under wasmtime: `wasmtime_command.py APP.wasm [ARG...]`.

The environment variable GUEST is passed on. bundle/test/run installs wasmtime from PyPI.
"""

import os
import sys

from wasmtime import Engine, ExitTrap, Linker, Module, Store, WasiConfig

path, *arguments = sys.argv[1:]
wasi = WasiConfig()
wasi.argv = ["app", *arguments]
wasi.env = [("GUEST", os.environ["GUEST"])] if "GUEST" in os.environ else []
wasi.inherit_stdin()
wasi.inherit_stdout()
wasi.inherit_stderr()

engine = Engine()
store = Store(engine)
store.set_wasi(wasi)
linker = Linker(engine)
linker.define_wasi()
instance = linker.instantiate(store, Module.from_file(engine, path))
try:
    instance.exports(store)["_start"](store)
except ExitTrap as exit:
    sys.exit(exit.code)
