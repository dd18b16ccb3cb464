// What wasm-bindgen makes of ../translator when friscy-snap is built, and the digest
// of the engine for which that translates.
declare const FRISCY_ENGINE: string;
declare module "friscy-translator" {
  export default function init(options: { module_or_path: WebAssembly.Module | BufferSource }): Promise<unknown>;
  export function slots(): number;
  export function probe(): Uint8Array<ArrayBuffer>;
  export function translate(profile: Uint8Array, first_slot: number, fuses: boolean): Batch | undefined;
  export class Batch {
    free(): void;
    readonly functions: number;
    readonly module: Uint8Array<ArrayBuffer>;
    readonly map: Uint8Array<ArrayBuffer>;
  }
}
