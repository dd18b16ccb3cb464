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
fn bash_on_debian_edits_lines_and_controls_jobs() {
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

/// Programs of Debian images; `tests/run quick` leaves them out by this name.
mod debian {
    use super::*;

    #[test]
    fn vim_edits_a_file() {
        let image = Image::get("programs");
        let steps: &[Step] = &[
            ("ione two\rthree four\r\tfive\x1b", "five"),
            ("gg:set number\r", "1 one two"),
            ("wcwTWO words\x1b", "TWO words"),
            ("yyjp", "3 one TWO words"),
            ("u:3\r", "3 "),
            ("/thr\r", "three"),
            ("V\x1b:split\r", "[No Name] [+]"),
            (":w! /tmp/vim-test\r", "written"),
            (":!wc -l /tmp/vim-test\r", "3 /tmp/vim-test"),
        ];
        let start = "rm -f /tmp/vim-test; exec vim -u NONE -N -i NONE";
        same_session(&image, &["/bin/sh", "-c", start], "~", steps, "\r:qa!\r");
    }

    #[test]
    fn less_pages_through_a_file() {
        let image = Image::get("programs");
        let steps: &[Step] = &[
            (" ", ":"),
            ("/ldap\r", "ldap"),
            ("n", "ldap"),
            ("G", "(END)"),
            ("g", "Network services"),
            ("-N\r", "1 "),
            ("10j", "20 "),
            ("=", "lines"),
        ];
        same_session(&image, &["/usr/bin/less", "/etc/services"], "/etc/services", steps, "q");
    }

    #[test]
    fn tmux_splits_detaches_and_attaches() {
        let image = Image::get("programs");
        let start = "cd /; rm -rf /tmp/tmux-0; shell='PS1=\"$TMUX_PANE> \" bash --norc'; tmux -f /dev/null new -s main \"$shell\" \\; \
            set -g status-right '' \\; set -g automatic-rename off \\; set -g default-command \"$shell\" \\; rename-window work
            echo left with $?; exec bash --norc";
        let steps: &[Step] = &[
            ("echo in tmux $((6*7))\r", "in tmux 42"),
            ("\x02", "in tmux 42"),
            ("%", "%1> "),
            ("stty size\r", "23 39"),
            ("\x02", "23 39"),
            ("\"", "%2> "),
            ("seq 3\r", "3"),
            // One key after the other: tmux takes what comes within a millisecond for pasted text.
            ("\x02", "in tmux 42"),
            ("o", "in tmux 42"),
            ("\x02", "in tmux 42"),
            ("z", "0:work*Z"),
            ("\x02", "in tmux 42"),
            ("z", "│"),
            ("\x02", "in tmux 42"),
            ("c", "%3> "),
            ("sleep 100\r", "sleep"),
            ("\x03", "^C"),
            ("\x02", "^C"),
            ("p", "in tmux 42"),
            ("\x02", "in tmux 42"),
            ("[", "[0/"),
            ("q", "in tmux 42"),
            ("\x02", "in tmux 42"),
            ("d", "left with 0"),
            ("tmux ls | cut -d'(' -f1\r", "main: 2 windows"),
            ("tmux attach\r", "in tmux 42"),
            ("tmux kill-server\r", "[server exited]"),
        ];
        same_session(&image, &["/bin/bash", "-c", start], "%0> ", steps, "exit 4\r");
    }

    #[test]
    fn htop_and_top_show_processes() {
        let image = Image::get("programs");
        let mut ours = Terminal::start(image.our_command(&["/bin/bash", "--norc"]), 24, 80);
        ours.wait_for("#");
        ours.type_keys("sleep 1000 &\rhtop\r");
        ours.wait_until("htop", |screen| {
            ["Mem[", "Load average", "PID", "sleep 1000", "F10Quit"].iter().all(|t| screen.contains(t))
        });
        ours.type_keys("t");
        ours.wait_for("├─ sleep 1000");
        ours.type_keys("q");
        ours.wait_until("the shell again", |screen| !screen.contains("F10Quit"));
        ours.type_keys("top -d 0.5\r");
        ours.wait_until("top", |screen| {
            ["load average", "%Cpu(s)", "MiB Mem", "sleep"].iter().all(|t| screen.contains(t))
        });
        ours.type_keys("q");
        // What is typed ahead is flushed when it restores the terminal.
        ours.wait_until("the shell again", |screen| screen.ends_with("# "));
        ours.type_keys("kill %1; exit 6\r");
        assert_eq!(ours.finish(), Some(6));
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
}
