//! The demo image: its scripts print what `tests/guests/cases/*.out` says, under
//! qemu-riscv64 (so the programs are right) and packed (so the machine is). A
//! person at its shell finds history, completion and job control.
//!
//! `BLESS=1` writes the `.out` files anew from qemu-riscv64.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use friscy_tests::oracle::{LIMIT, finish, friscy_snap, repository, work};
use friscy_tests::terminal::Terminal;

#[allow(unreachable_pub, dead_code, reason = "a module of several programs, each with its own needs")]
#[path = "../guests/demo.rs"]
mod demo;

/// The demo's tree, unpacked and ready for chroot under qemu-riscv64.
fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let guests = repository().join("tests/guests");
        let target = work().join("guests-build");
        demo::compile(&guests, &target).expect("the guest programs compile");
        let root = work().join("reference/demo");
        let _ = std::fs::remove_dir_all(&root);
        for (path, (mode, node)) in demo::tree(&guests, &target).expect("the demo's tree") {
            let place = root.join(&path);
            match node {
                demo::Node::Directory => std::fs::create_dir_all(&place).expect("directory"),
                demo::Node::File(bytes) => std::fs::write(&place, bytes).expect("file"),
                demo::Node::Link(target) => {
                    symlink(target, &place).expect("link");
                    continue;
                }
            }
            std::fs::set_permissions(&place, PermissionsExt::from_mode(mode)).expect("mode");
            std::os::unix::fs::lchown(&place, Some(demo::owner(&path)), Some(demo::owner(&path)))
                .expect("owner");
        }
        // A stand-in, for the reference alone: the packed machine brings its own devices.
        let null = root.join("dev/null");
        std::fs::write(&null, "").expect("file");
        std::fs::set_permissions(&null, PermissionsExt::from_mode(0o666)).expect("mode");
        root
    })
}

/// The demo's tree, packed.
fn app() -> &'static Path {
    static APP: OnceLock<PathBuf> = OnceLock::new();
    APP.get_or_init(|| {
        let (tar, app) = (work().join("demo.tar"), work().join("demo.wasm"));
        let packed = Command::new("tar")
            .arg("-cf")
            .arg(&tar)
            .arg("--exclude=./dev/null")
            .arg("-C")
            .arg(root())
            .arg(".")
            .status();
        assert!(packed.expect("tar").success());
        let mut command = Command::new(friscy_snap());
        command.arg(&tar).arg("-o").arg(&app).args([
            "-u",
            demo::USER.0,
            "-w",
            demo::WORKDIR,
            "--hostname=friscy",
        ]);
        for variable in demo::ENV {
            command.args(["-e", variable]);
        }
        assert!(command.args(["--", "/bin/sh"]).status().expect("friscy-snap").success());
        app
    })
}

/// `/bin/sh` of the demo, under qemu-riscv64 or packed.
fn shell(packed: bool) -> Command {
    if packed {
        let mut command = Command::new(friscy_snap());
        command.arg("run").arg(app());
        return command;
    }
    let user = demo::USER.1;
    let mut command = Command::new("/usr/bin/env");
    command.arg("-i").args(demo::ENV).args([
        "/usr/bin/unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
    ]);
    command
        .args(["/usr/sbin/chroot", &format!("--userspec={user}:{user}"), "--groups="])
        .arg(root())
        .arg("/bin/sh");
    command
}

/// Every script of `tests/guests/cases` says what it should.
fn scripts(packed: bool) {
    let cases = repository().join("tests/guests/cases");
    let mut names: Vec<PathBuf> =
        std::fs::read_dir(&cases).expect("cases").map(|entry| entry.expect("case").path()).collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "sh"));
    names.sort();
    assert!(!names.is_empty(), "no scripts in {}", cases.display());
    for script in names {
        let text = std::fs::read_to_string(&script).expect("script");
        let outcome = finish(
            shell(packed),
            format!("cd\nexport PATH\nexec_all() 2>&1\n{text}").replace("exec_all() 2>&1\n", "").as_bytes(),
            LIMIT,
        );
        let said = format!(
            "{}--- standard error\n{}--- exit {}\n",
            String::from_utf8_lossy(&outcome.stdout),
            String::from_utf8_lossy(&outcome.stderr),
            outcome.code.map_or("never".to_owned(), |code| code.to_string())
        );
        let expected = script.with_extension("out");
        if !packed && std::env::var_os("BLESS").is_some() {
            std::fs::write(&expected, &said).expect("expectation");
        }
        let wanted = std::fs::read_to_string(&expected).expect("expectation (BLESS=1 writes it)");
        assert!(said == wanted, "{}: printed\n{said}\ninstead of\n{wanted}", script.display());
    }
}

#[test]
fn scripts_print_what_linux_printed() {
    scripts(false);
}

#[test]
fn scripts_print_the_same_when_packed() {
    scripts(true);
}

/// Line editing, history, completion, interruption and job control.
fn session(packed: bool) {
    let mut terminal = Terminal::start(shell(packed), 24, 80);
    terminal.wait_for("This is a Linux program");
    terminal.wait_for("$ ");
    terminal.type_keys("cd\recho fist\x1b[D\x1b[Dr\r");
    terminal.wait_for("\nfirst\n");
    // The line before the last, changed at its beginning and its end.
    terminal.type_keys("\x1b[A\x01\x1b[C\x1b[C\x1b[C\x1b[C second\x05 third\r");
    terminal.wait_for("\nsecond first third\n");
    terminal.type_keys("head -1 REA\t\r");
    terminal.wait_for("A SMALL WORLD");
    terminal.type_keys("sleep 100\r");
    terminal.wait_for("sleep 100");
    terminal.settle(std::time::Duration::from_millis(300));
    terminal.type_keys("\x03");
    terminal.type_keys("echo status $?\r");
    terminal.wait_for("status 130");
    terminal.type_keys("sleep 100\r");
    terminal.settle(std::time::Duration::from_millis(300));
    terminal.type_keys("\x1a");
    terminal.wait_for("[1] stopped  sleep 100");
    terminal.type_keys("bg\rjobs\r");
    terminal.wait_for("[1] running  sleep 100");
    terminal.type_keys("kill $(ps | grep 'sleep 100' | head -1 | cut)\x15");
    terminal.type_keys("fg\r");
    terminal.settle(std::time::Duration::from_millis(300));
    terminal.type_keys("\x03");
    terminal.type_keys("echo over $?\r");
    terminal.wait_for("over 130");
    terminal.type_keys("exit 7\r");
    assert_eq!(terminal.finish(), Some(7));
}

#[test]
fn a_session_at_the_shell() {
    session(false);
}

#[test]
fn a_session_at_the_packed_shell() {
    session(true);
}
