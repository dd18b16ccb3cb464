//! Programs on a terminal, driven as a person would, ours beside qemu-riscv64: the screens are equal.

use std::time::Duration;

use friscy_tests::oracle::Image;
use friscy_tests::terminal::Terminal;

const QUIET: Duration = Duration::from_millis(700);

/// A step of a session: keys to type, then text to wait for.
type Step = (&'static str, &'static str);

/// Drive `argv` on both sides through `steps` and compare the screens after each.
fn same_session(image: &Image, argv: &[&str], prompt: &str, steps: &[Step], end: &str) {
    let mut reference = Terminal::start(image.reference_command(argv), 24, 80);
    let mut ours = Terminal::start(image.our_command(argv), 24, 80);
    let sides = [&mut reference, &mut ours];
    for side in sides {
        side.wait_for(prompt);
        side.settle(QUIET);
    }
    for (keys, expect) in steps {
        let mut screens = Vec::new();
        for (name, side) in [("qemu-riscv64", &mut reference), ("friscy-snap", &mut ours)] {
            side.type_keys(keys);
            side.wait_until(&format!("{expect:?} under {name}"), |screen| screen.contains(expect));
            side.settle(QUIET);
            screens.push((side.text(), side.cursor()));
        }
        assert_eq!(screens[1], screens[0], "after {keys:?}: ours (left) differs from qemu-riscv64 (right)");
    }
    reference.type_keys(end);
    ours.type_keys(end);
    assert_eq!(ours.finish(), reference.finish(), "exit codes");
}

#[test]
fn vi_draws_its_screen() {
    let image = Image::get("tiny");
    let steps: &[Step] = &[
        ("ihello world", "hello world"),
        ("\x1b", "hello world"),
        ("yyp", "hello world\nhello world"),
        ("x:s/world/there/\r", "ello there"),
        (":w! /tmp/file\r", "23C"),
    ];
    same_session(&image, &["/bin/vi"], "~", steps, ":q!\r");
}

#[test]
fn busybox_shell_is_interactive() {
    let image = Image::get("tiny");
    let steps: &[Step] = &[
        ("echo $((6*7))\r", "\n42"),
        ("ls -C /\r", "etc"),
        ("stty size\r", "24 80"),
        // One after the other: what is typed ahead of `cat` still passes the shell's raw terminal.
        ("cat\r", "cat"),
        ("lines\r", "lines\nlines"),
        ("\x04", "# "),
        ("sleep 100\r", "sleep 100"),
        ("\x03", "^C"),
        ("echo one; echo two\r\x1b[A\x1b[A", "two"),
    ];
    same_session(&image, &["/bin/sh"], "#", steps, "\x03exit 6\r");
}

#[test]
fn bash_edits_lines_and_controls_jobs() {
    let image = Image::get("debian-min");
    let steps: &[Step] = &[
        ("PS1='> '\r", "> "),
        ("echo abd\x1b[Dc\x1b[C\r", "\nabcd"),
        ("\x1b[A\r", "\nabcd\n> echo"),
        ("clear\r", "> "),
        ("echo /etc/pass\t\r", "/etc/passwd"),
        ("sleep 100\r", "sleep 100"),
        ("\x1a", "Stopped"),
        ("jobs\r", "[1]+"),
        ("bg\r", "&"),
        // The job ends while the shell waits for another: the notice comes with the next prompt, not sooner.
        ("kill %1; sleep 1\r", "Terminated"),
        ("cat | rev\r", "rev"),
        ("abc\r\x04", "cba"),
        ("\x12ech", "reverse-i-search"),
        ("\x07", "> "),
    ];
    same_session(&image, &["/bin/bash", "--norc"], "#", steps, "exit 3\r");
}

#[test]
fn python_repl() {
    let image = Image::get("debian-python3");
    let steps: &[Step] = &[
        ("1+1\r", "\n2"),
        ("for i in range(2):\r    print('n', i)\r\r", "n 1"),
        ("1/0\r", "ZeroDivisionError"),
        ("import os; os.get_terminal_size()\r", "columns=80"),
    ];
    // The basic REPL: the new one draws with the terminal's timing.
    same_session(&image, &["/usr/bin/env", "PYTHON_BASIC_REPL=1", "python3"], ">>>", steps, "exit(5)\r");
}

#[test]
fn the_window_can_be_resized() {
    let image = Image::get("debian-min");
    let mut ours = Terminal::start(image.our_command(&["/bin/bash", "--norc"]), 24, 80);
    ours.wait_for("#");
    ours.type_keys("trap 'stty size' WINCH; echo re''ady\r");
    ours.wait_for("\nready");
    ours.resize(30, 100);
    ours.type_keys("\r");
    ours.wait_for("30 100");
    ours.type_keys("exit\r");
    assert_eq!(ours.finish(), Some(0));
}
