//! Commands that change the shell itself.

use alloc::vec::Vec;

use sys::process::{Change, kill, wait, wait_flags};
use sys::text::{lossy, number};
use sys::{println, signal};

use crate::Shell;

type Builtin = fn(&mut Shell, &[Vec<u8>]) -> i32;

/// Name, function, help.
static BUILTINS: &[(&str, Builtin, &str)] = &[
    ("bg", background, "[JOB] goes on with a stopped job behind the shell"),
    ("cd", change_directory, "[DIRECTORY] goes there, or home"),
    ("exit", exit, "[CODE] ends the shell"),
    ("export", export, "NAME[=VALUE]... passes variables on to programs"),
    ("fg", foreground, "[JOB] goes on with a job in front"),
    ("help", help, "this"),
    ("jobs", jobs, "what runs behind the shell"),
    ("unset", unset, "NAME... forgets variables"),
    ("wait", wait_all, "waits for all jobs"),
];

/// The built-in of this name.
pub fn find(name: &[u8]) -> Option<Builtin> {
    BUILTINS.iter().find(|(known, _, _)| known.as_bytes() == name).map(|&(_, run, _)| run)
}

/// Names, for completion.
pub fn names() -> impl Iterator<Item = &'static str> {
    BUILTINS.iter().map(|&(name, _, _)| name)
}

fn help(shell: &mut Shell, _: &[Vec<u8>]) -> i32 {
    println!("Built in:");
    for (name, _, text) in BUILTINS {
        println!("  {name:8} {text}");
    }
    println!("Programs:");
    sys::io::flush();
    shell.run_text(b"tools\n");
    println!("Joined by  | && || ; &   with  < > >> 2>&1  'quotes'  $VARIABLES  $(commands)  *.globs");
    println!("Keys: arrows, Tab completes, Ctrl-C interrupts, Ctrl-Z stops, Ctrl-D leaves");
    0
}

fn change_directory(shell: &mut Shell, args: &[Vec<u8>]) -> i32 {
    let back = shell.get(b"OLDPWD").unwrap_or(b".").to_vec();
    let target = match args.first().map(|arg| &arg[..]) {
        None => shell.get(b"HOME").unwrap_or(b"/").to_vec(),
        Some(b"-") => back,
        Some(path) => path.to_vec(),
    };
    let before = sys::fs::current_dir().unwrap_or_default();
    if let Err(error) = sys::fs::change_dir(&target) {
        sys::eprintln!("cd: {}: {error}", lossy(&target));
        return 1;
    }
    shell.set(b"OLDPWD", &before, true);
    let now = sys::fs::current_dir().unwrap_or_default();
    shell.set(b"PWD", &now, true);
    0
}

fn exit(shell: &mut Shell, args: &[Vec<u8>]) -> i32 {
    let code = match args.first() {
        None => shell.status,
        Some(text) => number(text).map_or(2, |code| (code & 0xff) as i32),
    };
    shell.leaving = Some(code);
    code
}

fn export(shell: &mut Shell, args: &[Vec<u8>]) -> i32 {
    if args.is_empty() {
        shell.exported().iter().for_each(|entry| println!("export {}", lossy(entry)));
    }
    for arg in args {
        let (name, value) = match arg.iter().position(|&b| b == b'=') {
            Some(at) => (&arg[..at], arg[at + 1..].to_vec()),
            None => (&arg[..], shell.get(arg).unwrap_or_default().to_vec()),
        };
        if name.is_empty() || !name.iter().all(|&b| crate::lex::is_name(b)) {
            sys::eprintln!("export: {}: not the name of a variable", lossy(name));
            return 1;
        }
        shell.set(name, &value, true);
    }
    0
}

fn unset(shell: &mut Shell, args: &[Vec<u8>]) -> i32 {
    shell.variables.retain(|(name, _, _)| !args.contains(name));
    0
}

fn jobs(shell: &mut Shell, _: &[Vec<u8>]) -> i32 {
    shell.jobs.report();
    for job in &shell.jobs.list {
        println!(
            "[{}] {}  {}",
            job.number,
            if job.stopped { "stopped" } else { "running" },
            lossy(&job.text)
        );
    }
    0
}

fn wait_all(shell: &mut Shell, _: &[Vec<u8>]) -> i32 {
    for job in core::mem::take(&mut shell.jobs.list) {
        for pid in job.pids {
            let _ = wait(pid, 0);
        }
    }
    0
}

/// `%1` or `1`.
fn job_number(args: &[Vec<u8>]) -> Option<usize> {
    let text = args.first()?;
    number(text.strip_prefix(b"%").unwrap_or(text)).and_then(|number| usize::try_from(number).ok())
}

fn background(shell: &mut Shell, args: &[Vec<u8>]) -> i32 {
    let Some(mut job) = shell.jobs.take(job_number(args)) else {
        sys::eprintln!("bg: no such job");
        return 1;
    };
    let _ = kill(-job.group, signal::CONT);
    job.stopped = false;
    println!("[{}] {} &", job.number, lossy(&job.text));
    shell.jobs.list.push(job);
    0
}

fn foreground(shell: &mut Shell, args: &[Vec<u8>]) -> i32 {
    let Some(mut job) = shell.jobs.take(job_number(args)) else {
        sys::eprintln!("fg: no such job");
        return 1;
    };
    println!("{}", lossy(&job.text));
    sys::io::flush();
    let _ = sys::tty::set_foreground(0, job.group);
    let _ = kill(-job.group, signal::CONT);
    let mut code = 0;
    let mut stopped = false;
    for pid in job.pids.clone() {
        if let Ok(Some((_, change))) = wait(pid, wait_flags::UNTRACED) {
            code = change.code();
            match change {
                Change::Stopped(_) => stopped = true,
                change => shell.tell(change),
            }
        }
    }
    if stopped {
        job.stopped = true;
        println!("\n[{}] stopped  {}", job.number, lossy(&job.text));
        shell.jobs.list.push(job);
    }
    shell.take_terminal();
    code
}
