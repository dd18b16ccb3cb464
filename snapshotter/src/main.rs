//! The `friscy-snap` command. What may be typed is in `cli`, what it does in
//! the module of each command's name.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use friscy_snap::cli::{self, Cli, Command};
use friscy_snap::freeze::NotReached;
use friscy_snap::{bench, bundle, demo, host, inspect, pack, run, serve};

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        eprintln!(
            "friscy-snap: a fault of friscy-snap itself: {panic}; please report it with the command line"
        );
    }));
    // Usage errors end here with code 2.
    let cli = Cli::parse();
    match std::panic::catch_unwind(|| dispatch(&cli)) {
        Ok(Ok(code)) => ExitCode::from(code),
        Ok(Err(error)) if host::is_broken_pipe(&error) => ExitCode::FAILURE,
        Ok(Err(error)) => {
            eprintln!("friscy-snap: {}", one_line(&error));
            if let Some(reason) = error.downcast_ref::<NotReached>() {
                reason.details.iter().for_each(|line| eprintln!("  {line}"));
            }
            ExitCode::FAILURE
        }
        Err(_) => ExitCode::FAILURE,
    }
}

/// The error and its causes, as one line.
fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn dispatch(cli: &Cli) -> Result<u8> {
    match &cli.command {
        Some(Command::Run(args)) => return run::command(args),
        Some(Command::Serve(args)) => serve::command(args)?,
        Some(Command::Bundle(args)) => bundle::command(args)?,
        Some(Command::Inspect(args)) => inspect::command(args)?,
        Some(Command::Demo(args)) => return demo::command(args),
        Some(Command::Bench(args)) => return bench::command(args),
        Some(Command::Floor { module }) => bench::open_empty_module(module)?,
        Some(Command::Completions { shell }) => cli::completions(*shell),
        Some(Command::Man) => cli::man()?,
        None => pack::command(&cli.pack)?,
    }
    Ok(0)
}
