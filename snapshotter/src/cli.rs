//! The command line: what may be typed. What it means is in the module that
//! each command is named after. Help, man page and completions come from here.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};

use crate::bench::{Host, Network, Versus};
use crate::compile;
use crate::point::{Point, Request};

/// Turn a riscv64 container image into one Wasm file that is already running.
#[derive(Debug, Parser)]
#[command(
    name = "friscy-snap",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    override_usage = "friscy-snap IMAGE -o APP.wasm [OPTIONS] [-- CMD [ARG...]]\n       \
                      friscy-snap <run|serve|bundle|inspect|bench|demo> ...",
    after_help = "An image is a tar of `docker save`, of an OCI layout or of a root file system, plain, gzip or zstd, \
                  for linux/riscv64:\n  docker buildx build --platform linux/riscv64 -o type=docker,dest=image.tar .\n  \
                  friscy-snap image.tar -o app.wasm\n  friscy-snap run app.wasm"
)]
pub struct Cli {
    /// Another command than packing.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Packing.
    #[command(flatten)]
    pub pack: Pack,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Resume an app.wasm in this terminal, or pack an image and start it
    Run(Run),
    /// Serve the page that opens an app.wasm, for a browser on this machine
    Serve(Serve),
    /// Write the page and the app.wasm to a directory, for any static web server
    Bundle(Bundle),
    /// Show what an app.wasm is made of
    Inspect(Inspect),
    /// Pack the built-in demo image, resume it here and measure its start
    Demo(Demo),
    /// Compare the start-up of images and apps: sizes, time to first output on each host, stages, memory, bytes
    Bench(Bench),
    /// Open the empty module that bench compares with
    #[command(hide = true)]
    Floor {
        /// The module
        module: PathBuf,
    },
    /// Print the completion script of a shell
    #[command(hide = true)]
    Completions {
        /// bash, elvish, fish, powershell or zsh
        shell: clap_complete::Shell,
    },
    /// Print the man page
    #[command(hide = true)]
    Man,
}

/// `friscy-snap IMAGE -o APP.wasm`. Both names are there, unless another command is.
#[derive(Debug, Args)]
pub struct Pack {
    /// The image: a tar file, or - for standard input
    #[arg(value_name = "IMAGE", required = true)]
    pub image: Option<PathBuf>,
    /// Where to write the app
    #[arg(short, long, value_name = "APP.wasm", required = true)]
    pub output: Option<PathBuf>,
    /// How far the program runs before it is frozen: entry (loaded), main (linked), idle (every task waits for
    /// input), listen:PORT (and at rest), output:REGEX, guest (it writes to /proc/friscy/freeze) or instructions:N
    #[arg(long, value_name = "POINT", default_value = "entry")]
    pub until: Point,
    /// With --until listen:PORT: before the freeze, send this to the port and wait for the answer, so that what
    /// answering takes has been read, compiled and kept; 'GET /PATH' for HTTP, else bytes with \r, \n, \t, \\ and
    /// \xNN; may be given again
    #[arg(long, value_name = "REQUEST")]
    pub warm: Vec<Request>,
    /// Give up when the point is not reached after so long, by the program's clock or by ours; 0 never does
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub until_timeout: u64,
    /// Translated code.
    #[command(flatten)]
    pub translate: TranslateOptions,
    /// The process and its world.
    #[command(flatten)]
    pub process: ProcessOptions,
    /// Where the contents of files go.
    #[command(flatten)]
    pub store: StoreOptions,
    /// How much is said.
    #[command(flatten)]
    pub talk: Talk,
}

/// Guest code that becomes Wasm code when packing.
#[derive(Debug, Clone, Args)]
pub struct TranslateOptions {
    /// Which guest code to translate: what ran so often before the freeze point, in training, or (frozen at entry or
    /// main) after it, that it is worth compiling; all that ran; or none
    #[arg(long, value_enum, default_value_t = Aot::Auto)]
    pub aot: Aot,
    /// Most bytes of translated code, such as 4m
    #[arg(long, value_name = "SIZE", default_value = "4m", value_parser = parse_size)]
    pub aot_size: u64,
    /// Run this command as well, to learn which files are worth fetching early and which code is worth translating;
    /// nothing else of it remains
    #[arg(long, value_name = "CMD")]
    pub train: Vec<String>,
}

impl TranslateOptions {
    /// Translate nothing.
    pub fn off() -> TranslateOptions {
        TranslateOptions { aot: Aot::Off, aot_size: 0, train: Vec::new() }
    }
}

/// How much to translate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Aot {
    /// What ran so often that it is worth compiling
    Auto,
    /// All that ran
    All,
    /// Nothing
    Off,
}

/// Where the contents of files go, and how they are prepared.
#[derive(Debug, Default, Clone, Args)]
pub struct StoreOptions {
    /// Contents of files inside APP.wasm (single), in a file APP.chunks beside it that is read on demand (split), or
    /// by size (auto)
    #[arg(long, value_enum, value_name = "LAYOUT", default_value_t)]
    pub layout: Layout,
    /// Keep compressed contents here, so that packing a changed image takes as long as its change; otherwise they
    /// are in the user's cache directory
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Compress everything anew, and keep nothing
    #[arg(long, conflicts_with = "cache")]
    pub no_cache: bool,
}

/// `--layout`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Layout {
    /// By size.
    #[default]
    Auto,
    /// In app.wasm.
    Single,
    /// Beside app.wasm.
    Split,
}

/// `friscy-snap run`.
#[derive(Debug, Args)]
pub struct Run {
    /// An app.wasm, or an image to pack first
    #[arg(value_name = "APP.wasm|IMAGE")]
    pub app: PathBuf,
    /// Print instructions, time and memory at the end, on stderr
    #[arg(long)]
    pub stats: bool,
    /// When the file's translated code is compiled: while the program runs, before it starts, or never
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub compile: compile::When,
    /// Write when the stages of opening ended, for bench
    #[arg(long, value_name = "FILE", hide = true)]
    pub marks: Option<PathBuf>,
    /// Give the program our standard input (the default); =false gives it an empty one
    #[arg(
        short,
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true",
        action = ArgAction::Set
    )]
    pub interactive: bool,
    /// The process and its world.
    #[command(flatten)]
    pub process: ProcessOptions,
    /// How much is said.
    #[command(flatten)]
    pub talk: Talk,
}

/// Options shaped like docker's.
#[derive(Debug, Default, Clone, Args)]
pub struct ProcessOptions {
    /// Set an environment variable; NAME alone takes its value from here
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    pub env: Vec<OsString>,
    /// Working directory
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<OsString>,
    /// User and group, names or numbers
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<OsString>,
    /// Replace the image's Entrypoint (and drop its Cmd)
    #[arg(long, value_name = "PROGRAM")]
    pub entrypoint: Option<OsString>,
    /// Give the program a terminal; packing does unless =false, run does when it has one itself
    #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub tty: Option<bool>,
    /// Guest memory, such as 512m or 2g
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub memory: Option<u64>,
    /// Name of the machine
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<OsString>,
    /// Print each system call on stderr
    #[arg(long)]
    pub strace: bool,
    /// Arguments in the place of the image's Cmd
    #[arg(last = true, value_name = "CMD")]
    pub cmd: Vec<OsString>,
}

/// How much is said on stderr.
#[derive(Debug, Default, Clone, Copy, Args)]
pub struct Talk {
    /// Say more: every stage, and what the engine warns of
    #[arg(short, long)]
    pub verbose: bool,
    /// Say nothing but errors
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// `friscy-snap serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// The app to open
    #[arg(value_name = "APP.wasm")]
    pub app: PathBuf,
    /// TCP port; 0 takes a free one
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// Address to listen at; anyone who reaches it gets the page
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// How much is said.
    #[command(flatten)]
    pub talk: Talk,
}

/// `friscy-snap bundle`.
#[derive(Debug, Args)]
pub struct Bundle {
    /// The app that the page opens
    #[arg(value_name = "APP.wasm")]
    pub app: PathBuf,
    /// Directory to write to, made when it is missing
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Cut a chunk store beside the app into files, for servers without HTTP Range
    #[arg(long)]
    pub blocks: bool,
    /// How much is said.
    #[command(flatten)]
    pub talk: Talk,
}

/// `friscy-snap inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// The app to look into
    #[arg(value_name = "APP.wasm")]
    pub app: PathBuf,
    /// For programs
    #[arg(long)]
    pub json: bool,
    /// The text in the frozen memory, with addresses, as strings(1) prints it; what looks like a key is hidden
    #[arg(long, conflicts_with = "json")]
    pub strings: bool,
}

/// `friscy-snap demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Keep the packed demo here
    #[arg(short, long, value_name = "APP.wasm")]
    pub output: Option<PathBuf>,
    /// Run the scripted session even on a terminal
    #[arg(long)]
    pub scripted: bool,
}

/// `friscy-snap bench`.
#[derive(Debug, Args)]
#[command(
    after_help = "Everything is opened once in each round, beside the floor: an empty page with a worker, and an \
                        empty module. CPU time is that of the whole process tree; it ranks, for wall time moves with \
                        whatever else the machine does.\n\nExit code 1: something that was asked for did not work; \
                        the rest is reported all the same."
)]
pub struct Bench {
    /// Images to pack, and apps as they are
    #[arg(value_name = "IMAGE|APP.wasm", required = true)]
    pub images: Vec<PathBuf>,
    /// Rounds
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,
    /// Where to open them; the default is every host that is installed
    #[arg(long, value_name = "HOST,...", value_delimiter = ',')]
    pub hosts: Vec<Host>,
    /// Freeze point of the images that are packed
    #[arg(long, value_name = "POINT", default_value = "entry", value_parser = until_text)]
    pub until: String,
    /// Where the contents of files go in the apps that are packed
    #[arg(long, value_enum, value_name = "LAYOUT", default_value_t)]
    pub layout: Layout,
    /// A line between server and browser besides loopback, such as 50mbit,40ms (round trip); may be given again
    #[arg(long, value_name = "RATE,DELAY")]
    pub network: Vec<Network>,
    /// Another command, timed to its first output in the same rounds; may be given again
    #[arg(long, value_name = "LABEL=COMMAND")]
    pub vs: Vec<Versus>,
    /// Write report.html, report.json and samples.csv to this directory
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// How much is said.
    #[command(flatten)]
    pub talk: Talk,
    /// Arguments in the place of the Cmd of the images that are packed
    #[arg(last = true, value_name = "CMD")]
    pub cmd: Vec<OsString>,
}

/// A freeze point that is passed on as it was typed.
fn until_text(text: &str) -> Result<String, String> {
    text.parse::<Point>().map(|_| text.to_string())
}

/// Bytes with docker's suffixes: b, k, m, g.
fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        _ => return Err("say a number with b, k, m or g, such as 512m".to_string()),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|count: u64| count.checked_mul(unit));
    bytes.ok_or_else(|| "say a number with b, k, m or g, such as 512m".to_string())
}

/// The completion script of `shell`, to stdout.
pub fn completions(shell: clap_complete::Shell) {
    clap_complete::generate(shell, &mut Cli::command(), "friscy-snap", &mut std::io::stdout());
}

/// The man page, to stdout.
pub fn man() -> std::io::Result<()> {
    clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn packing_needs_no_subcommand() {
        let cli = Cli::parse_from([
            "friscy-snap",
            "a.tar",
            "-o",
            "b.wasm",
            "-eA=1",
            "-t=false",
            "--",
            "sh",
            "-c",
            "x",
        ]);
        let pack = cli.pack;
        assert!(cli.command.is_none());
        assert_eq!(pack.process.cmd, ["sh", "-c", "x"]);
        assert_eq!(pack.process.tty, Some(false));
    }

    #[test]
    fn run_takes_a_command_after_two_dashes() {
        let cli = Cli::parse_from(["friscy-snap", "run", "a.wasm", "-t", "--", "ls", "-l"]);
        let Some(Command::Run(run)) = cli.command else { panic!("not run") };
        assert_eq!(run.process.cmd, ["ls", "-l"]);
        assert_eq!(run.process.tty, Some(true));
        assert!(run.interactive);
    }

    #[test]
    fn sizes_are_docker_s() {
        assert_eq!(parse_size("512m"), Ok(512 << 20));
        assert_eq!(parse_size("2G"), Ok(2 << 30));
        assert!(parse_size("2q").is_err());
        assert!(parse_size("99999999999999g").is_err());
    }
}
