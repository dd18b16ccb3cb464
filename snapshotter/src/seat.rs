//! Stage *seat*: which process is started in which world, from the image's
//! config and what was typed. The seating itself (ELF, stack, auxv) is the
//! engine's, in `runtime::kernel::exec`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use anyhow::{Result, bail};
use friscy_formats::boot::{Boot, Until};
use friscy_formats::image::ImageConfig;

use crate::cli::ProcessOptions;

/// As docker: for images that say nothing.
const DEFAULT_PATH: &[u8] = b"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What xterm.js and most terminals are.
const DEFAULT_TERM: &[u8] = b"TERM=xterm-256color";
const DEFAULT_HOSTNAME: &[u8] = b"friscy";

/// What to start in an image with this config.
pub fn boot(config: &ImageConfig, options: &ProcessOptions, until: Until, tty: bool) -> Result<Boot> {
    let mut boot = Boot {
        argv: config.entrypoint.iter().chain(&config.cmd).map(|word| word.clone().into_bytes()).collect(),
        entrypoint_len: u32::try_from(config.entrypoint.len())?,
        cwd: config.working_dir.clone().into_bytes(),
        user: config.user.clone().into_bytes(),
        hostname: DEFAULT_HOSTNAME.to_vec(),
        tty,
        until,
        ..Boot::default()
    };
    boot.env.push(DEFAULT_PATH.to_vec());
    if tty {
        boot.env.push(DEFAULT_TERM.to_vec());
    }
    for variable in &config.env {
        boot.set_env(variable.clone().into_bytes());
    }
    apply(options, &mut boot);
    if boot.argv.is_empty() {
        bail!("the image has neither Entrypoint nor Cmd; say what to run after --, such as -- /bin/sh");
    }
    Ok(boot)
}

/// Change what was frozen at `entry` to what was typed; whether that changed anything. `tty` is what this host
/// gives when nothing is said.
pub fn override_boot(boot: &mut Boot, options: &ProcessOptions, tty: bool) -> bool {
    let before = boot.clone();
    boot.tty = options.tty.unwrap_or(tty);
    apply(options, boot);
    *boot != before
}

/// Change what was frozen after its start to what was typed; whether that changed anything. The error names what
/// a program that runs cannot be given.
pub fn change_boot(boot: &mut Boot, options: &ProcessOptions) -> Result<bool, &'static str> {
    let ProcessOptions { env, workdir, user, entrypoint, tty, memory, hostname, strace, cmd } = options;
    let too_late = [
        (!env.is_empty(), "--env"),
        (workdir.is_some(), "--workdir"),
        (user.is_some(), "--user"),
        (entrypoint.is_some(), "--entrypoint"),
        (tty.is_some_and(|tty| tty != boot.tty), "--tty"),
        (memory.is_some(), "--memory"),
        (!cmd.is_empty(), "a command"),
    ];
    if let Some((_, what)) = too_late.iter().find(|(asked, _)| *asked) {
        return Err(what);
    }
    let before = boot.clone();
    if let Some(hostname) = hostname {
        boot.hostname = bytes(hostname);
    }
    boot.strace |= strace;
    Ok(*boot != before)
}

fn bytes(text: &OsStr) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn apply(options: &ProcessOptions, boot: &mut Boot) {
    if let Some(entrypoint) = &options.entrypoint {
        boot.argv = if entrypoint.is_empty() { Vec::new() } else { vec![bytes(entrypoint)] };
        boot.entrypoint_len = boot.argv.len() as u32;
    }
    if !options.cmd.is_empty() {
        boot.argv.truncate(boot.entrypoint_len as usize);
        boot.argv.extend(options.cmd.iter().map(|argument| bytes(argument)));
    }
    for variable in &options.env {
        set_env(boot, variable);
    }
    if let Some(workdir) = &options.workdir {
        boot.cwd = bytes(workdir);
    }
    if let Some(user) = &options.user {
        boot.user = bytes(user);
    }
    if let Some(hostname) = &options.hostname {
        boot.hostname = bytes(hostname);
    }
    if let Some(memory) = options.memory {
        boot.memory_bytes = memory;
    }
    boot.strace |= options.strace;
}

/// `NAME=value`, or `NAME` with the value it has here; a name without value here changes nothing.
fn set_env(boot: &mut Boot, variable: &OsString) {
    if variable.as_bytes().contains(&b'=') {
        return boot.set_env(bytes(variable));
    }
    if let Some(value) = std::env::var_os(variable) {
        let mut pair = bytes(variable);
        pair.push(b'=');
        pair.extend_from_slice(value.as_bytes());
        boot.set_env(pair);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> ImageConfig {
        ImageConfig {
            entrypoint: vec!["/entry".to_string()],
            cmd: vec!["serve".to_string()],
            env: vec!["A=1".to_string(), "PATH=/bin".to_string()],
            ..ImageConfig::default()
        }
    }

    fn argv(boot: &Boot) -> Vec<String> {
        boot.argv.iter().map(|a| String::from_utf8_lossy(a).into_owned()).collect()
    }

    #[test]
    fn cmd_is_replaced_and_entrypoint_kept() {
        let options = ProcessOptions { cmd: vec!["x".into(), "y".into()], ..ProcessOptions::default() };
        let boot = boot(&image(), &options, Until::Entry, false).expect("boots");
        assert_eq!(argv(&boot), ["/entry", "x", "y"]);
        assert_eq!(boot.env, [b"PATH=/bin".to_vec(), b"A=1".to_vec()]);
    }

    #[test]
    fn another_entrypoint_drops_the_cmd() {
        let options = ProcessOptions { entrypoint: Some("sh".into()), ..ProcessOptions::default() };
        assert_eq!(argv(&boot(&image(), &options, Until::Entry, false).expect("boots")), ["sh"]);
    }

    #[test]
    fn nothing_to_run_is_said() {
        let error = boot(&ImageConfig::default(), &ProcessOptions::default(), Until::Entry, false)
            .expect_err("nothing");
        assert!(error.to_string().contains("Entrypoint"));
    }

    #[test]
    fn overrides_start_from_what_was_frozen() {
        let mut frozen = boot(&image(), &ProcessOptions::default(), Until::Entry, true).expect("boots");
        assert!(!override_boot(&mut frozen, &ProcessOptions::default(), true));
        let options =
            ProcessOptions { cmd: vec!["z".into()], env: vec!["B=2".into()], ..ProcessOptions::default() };
        assert!(override_boot(&mut frozen, &options, false));
        assert_eq!(argv(&frozen), ["/entry", "z"]);
        assert!(!frozen.tty);
        assert!(frozen.env.contains(&b"B=2".to_vec()));
    }
}
