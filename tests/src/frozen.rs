//! Frozen equals unfrozen: a program that is frozen somewhere and wakes up in
//! another world writes the same output, from its beginning, and ends with the
//! same code as one that nobody disturbed.
//!
//! On the native machine, whose freeze is that of the engine without the copying
//! of bytes. The property test is `tests/tests/frozen.rs`, the fuzz target
//! `tests/fuzz`; both come here.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use friscy_formats::boot::{Boot, Until};

use crate::native::{Disk, NativeHost};
use crate::scripts::SCRIPTS;

/// How long one run may take.
const LIMIT: Duration = Duration::from_secs(60);
/// What every script can read.
const INPUT: &[u8] = b"first second\nthird\n";
/// How much later the frozen machine is opened.
const LATER: Duration = Duration::from_secs(40 * 86_400);

/// What a program did.
#[derive(Debug, PartialEq, Eq)]
struct Did {
    code: u32,
    stdout: String,
    stderr: String,
}

/// A script and how it runs undisturbed.
pub struct Subject {
    script: &'static str,
    whole: Did,
    /// Instructions that the undisturbed run took.
    pub retired: u64,
}

fn boot(script: &str, until: Until) -> Boot {
    let env = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TZ=UTC"];
    Boot {
        argv: ["/bin/sh", "-c", script].map(|word| word.as_bytes().to_vec()).to_vec(),
        env: env.map(|variable| variable.as_bytes().to_vec()).to_vec(),
        hostname: b"frozen".to_vec(),
        until,
        ..Boot::default()
    }
}

fn did(host: &NativeHost, code: u32) -> Did {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Did { code, stdout: text(&host.stdout), stderr: text(&host.stderr) }
}

impl Subject {
    /// Run script number `index` (of [`SCRIPTS`], taken round) undisturbed.
    pub fn new(disk: &Disk, index: u64) -> Result<Subject> {
        let script = SCRIPTS[(index % SCRIPTS.len() as u64) as usize];
        let mut host = NativeHost::boot(disk, &boot(script, Until::Never), Some(INPUT))?;
        let code = host.run(LIMIT).with_context(|| script.to_string())?;
        Ok(Subject { script, whole: did(&host, code), retired: host.retired() })
    }

    /// Freeze it after about `instructions`, and compare. False: it ended before that.
    pub fn check(&self, disk: &Disk, instructions: u64) -> Result<bool> {
        let boot = boot(self.script, Until::Instructions(instructions.max(1)));
        let named = || format!("{:?} frozen after {instructions} instructions", self.script);
        let mut host = NativeHost::boot(disk, &boot, Some(INPUT))?;
        let ended = host.run_until_frozen(LIMIT).with_context(named)?;
        let code = match ended {
            Some(code) => code,
            None => {
                host.freeze_and_thaw(LATER);
                host.run(LIMIT).with_context(named)?
            }
        };
        let frozen = did(&host, code);
        ensure!(frozen == self.whole, "{}: {frozen:?}, undisturbed {:?}", named(), self.whole);
        Ok(ended.is_none())
    }
}

/// The fuzz target: which script, and where it is frozen, as a fraction of its run. Panics when the property does not hold.
pub fn fuzz(disk: &Disk, bytes: &[u8]) {
    let mut input = [0; 9];
    let len = bytes.len().min(input.len());
    input[..len].copy_from_slice(&bytes[..len]);
    let [index, at @ ..] = input;
    let subject = Subject::new(disk, index.into()).expect("it runs undisturbed");
    // Two bits choose the whole run or its end, where the output is.
    let at = u64::from_le_bytes(at);
    let part = subject.retired / [1, 10, 100, 1000][(at & 3) as usize];
    let point = u128::from(subject.retired) - ((u128::from(at) * u128::from(part)) >> 64);
    if let Err(error) = subject.check(disk, point as u64) {
        panic!("{error:#}");
    }
}
