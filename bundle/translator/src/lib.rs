//! The translator as a Wasm module: what the page and Node load once a program
//! runs and is hot where nobody foresaw it. Bytes in and out, as the native host
//! has them; `bundle/web/translator.js` is the other side.

use friscy_translator::module;
use wasm_bindgen::prelude::wasm_bindgen;

/// What became of a request: [`module::Batch`].
#[wasm_bindgen]
#[derive(Debug)]
pub struct Batch(module::Batch);

#[wasm_bindgen]
impl Batch {
    /// Functions in the module.
    #[wasm_bindgen(getter)]
    pub fn functions(&self) -> u32 {
        self.0.functions
    }

    /// The module, which imports the engine's memory and table.
    #[wasm_bindgen(getter)]
    pub fn module(&self) -> Vec<u8> {
        self.0.module.clone()
    }

    /// Where the functions can be entered, for `friscy_add_translations`.
    #[wasm_bindgen(getter)]
    pub fn map(&self) -> Vec<u8> {
        self.0.map.clone()
    }
}

/// Slots of the table that a module needs.
#[wasm_bindgen]
pub fn slots() -> u32 {
    module::SLOTS
}

/// A module that finds out whether the host fuses multiplication and addition: [`module::probe`].
#[wasm_bindgen]
pub fn probe() -> Vec<u8> {
    module::probe()
}

/// Answer a request, a profile, for the slots from `first_slot` on; nothing when nothing is worth it. `fuses`: what the
/// probe said.
#[wasm_bindgen]
pub fn translate(profile: &[u8], first_slot: u32, fuses: bool) -> Option<Batch> {
    module::batch(profile, first_slot, fuses).map(Batch)
}
