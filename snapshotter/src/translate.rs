//! Stage *translate*: guest code that ran before the freeze point, or during
//! training, becomes Wasm functions. What they look like is
//! `friscy_translator`'s business; this stage says which code, and how much.

use anyhow::{Context, Result, bail};
use friscy_formats::aot::Profile;
use friscy_formats::boot::{Boot, Until};
use friscy_formats::warm::BlockId;
use friscy_translator::{Fma, Options, Output};
use wasmtime::AsContextMut;

use crate::cli::{Aot, TranslateOptions};
use crate::freeze::{self, Input};
use crate::link::Places;
use crate::train;
use crate::vm::Vm;

/// Most instructions of one training command.
const TRAINING_MAX: u64 = 4_000_000_000;

/// Most bytes of a function for each sample in it, of 10,000 instructions. Interpreting those takes 30 to 40 µs longer
/// than running them translated, and V8's two compilers want 0.8 µs for a byte: more than half is gained back at once.
const BYTES_PER_SAMPLE: u64 = 24;

/// What to translate when the freeze point is reached.
#[derive(Debug)]
pub struct Plan {
    options: Options,
    /// What ran during training.
    training: Profile,
}

/// What training commands did.
#[derive(Debug, Default)]
pub struct Training {
    /// The code that ran.
    pub profile: Profile,
    /// What was read, in order.
    pub reads: Vec<BlockId>,
    /// What the program itself read, if it was run.
    pub own: Option<Vec<BlockId>>,
}

impl Training {
    /// Run the training commands. `say` gets a line for each.
    pub fn new(commands: &[String], input: Input<'_>, say: &mut dyn FnMut(&str)) -> Result<Training> {
        let mut training = Training::default();
        for command in commands {
            let boot = Boot {
                argv: words(command).with_context(|| format!("--train {command}"))?,
                tty: false,
                until: Until::Never,
                ..input.boot.clone()
            };
            say(&format!("training: {command}"));
            let (profile, reads) =
                freeze::train(input, &boot, TRAINING_MAX).with_context(|| format!("--train {command}"))?;
            training.profile.merge(profile);
            training.reads.extend(reads);
        }
        Ok(training)
    }

    /// Run the program itself as far as it goes without input. What breaks down here does so when it is opened.
    pub fn run_program(&mut self, input: Input<'_>) {
        let boot = Boot { until: Until::Never, ..input.boot.clone() };
        if let Ok((profile, reads)) = freeze::train(input, &boot, train::BUDGET) {
            self.profile.merge(profile);
            self.own = Some(reads);
        }
    }
}

impl Plan {
    /// `None` when nothing is to be translated.
    pub fn new(args: &TranslateOptions, places: Places, training: Profile) -> Result<Option<Plan>> {
        let bytes_per_sample = match args.aot {
            Aot::Off => return Ok(None),
            Aot::Auto => Some(BYTES_PER_SAMPLE),
            Aot::All => None,
        };
        let options = Options {
            bytes_per_sample,
            budget_bytes: usize::try_from(args.aot_size)?,
            functions_max: usize::MAX,
            first_slot: places.translated_slot,
            step_type: places.step_type,
            fma: Fma::Both,
        };
        Ok(Some(Plan { options, training }))
    }

    /// Translate what ran in this instance, which has reached its freeze point, and tell it.
    pub fn carry_out(&self, vm: &Vm, mut store: impl AsContextMut) -> Result<Option<Output>> {
        let mut profile = vm.profile(&mut store)?;
        profile.merge(self.training.clone());
        let output = friscy_translator::translate(&profile, self.options);
        if output.functions.is_empty() {
            return Ok(None);
        }
        vm.translations(&mut store, &output.map)?;
        Ok(Some(output))
    }
}

/// A command line in words, with quotes and backslashes as in a shell, and nothing else.
fn words(line: &str) -> Result<Vec<Vec<u8>>> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut bytes = line.bytes();
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (Some(open), _) if byte == open => quote = None,
            (None, b'\'' | b'"') => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (None | Some(b'"'), b'\\') => {
                let next = bytes.next().context("it ends in a backslash")?;
                word.get_or_insert_default().push(next);
            }
            (None, b' ' | b'\t' | b'\n') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(byte),
        }
    }
    if quote.is_some() {
        bail!("a quote is not closed");
    }
    words.extend(word);
    if words.is_empty() {
        bail!("say a command");
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_are_cut_as_by_a_shell() {
        let cut = |line| words(line).map(|words| words.join(&b'|'));
        assert_eq!(cut("a  b").unwrap(), b"a|b");
        assert_eq!(cut("sh -c 'echo \"x y\"' \"\"").unwrap(), b"sh|-c|echo \"x y\"|");
        assert_eq!(cut(r#"a\ b "c\"d"e"#).unwrap(), b"a b|c\"de");
        assert!(cut("'").is_err() && cut("").is_err() && cut("a\\").is_err());
    }
}
