//! Expectation tables of the line discipline: typed bytes, what is read, what
//! is echoed, which signals are sent. Expected values are Linux's.

use super::ldisc::{CAPACITY, Effects, LineDiscipline};
use crate::abi::signal::{SIGINT, SIGQUIT, SIGTSTP};
use crate::abi::termios::*;

/// Outcome of typing: what reads give one after the other, the echo, the signals.
type Outcome = (Vec<Vec<u8>>, Vec<u8>, Vec<u32>);

fn type_in(termios: Termios, typed: &[u8]) -> (LineDiscipline, Effects) {
    let mut discipline = LineDiscipline::default();
    discipline.set_termios(termios);
    let mut fx = Effects::default();
    for &byte in typed {
        if !discipline.full() {
            discipline.receive(byte, &mut fx);
        }
    }
    (discipline, fx)
}

fn outcome(termios: Termios, typed: &[u8]) -> Outcome {
    let (mut discipline, fx) = type_in(termios, typed);
    let mut reads = Vec::new();
    while discipline.readable(1) {
        reads.push(discipline.read(100).unwrap());
    }
    (reads, fx.echo, fx.signals)
}

/// The default settings with flags changed: `(iflag, oflag, lflag)`, each (set, clear).
fn with(lset: u32, lclear: u32, iset: u32, iclear: u32) -> Termios {
    let base = Termios::default();
    Termios { lflag: base.lflag & !lclear | lset, iflag: base.iflag & !iclear | iset, ..base }
}

struct Case {
    name: &'static str,
    termios: Termios,
    typed: &'static [u8],
    reads: &'static [&'static [u8]],
    echo: &'static [u8],
    signals: &'static [u32],
}

fn check(cases: &[Case]) {
    for case in cases {
        let (reads, echo, signals) = outcome(case.termios, case.typed);
        let show = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        assert_eq!(reads, case.reads, "{}: read", case.name);
        assert_eq!(show(&echo), show(case.echo), "{}: echo", case.name);
        assert_eq!(signals, case.signals, "{}: signals", case.name);
    }
}

fn case(
    name: &'static str,
    termios: Termios,
    typed: &'static [u8],
    reads: &'static [&'static [u8]],
    echo: &'static [u8],
) -> Case {
    Case { name, termios, typed, reads, echo, signals: &[] }
}

#[test]
fn canonical_editing() {
    let usual = Termios::default();
    check(&[
        case("a line", usual, b"hello\n", &[b"hello\n"], b"hello\r\n"),
        case("carriage return is newline", usual, b"hi\r", &[b"hi\n"], b"hi\r\n"),
        case("nothing before the line's end", usual, b"hel", &[], b"hel"),
        case("two lines are two reads", usual, b"a\nb\n", &[b"a\n", b"b\n"], b"a\r\nb\r\n"),
        case("erase", usual, b"ab\x7fc\n", &[b"ac\n"], b"ab\x08 \x08c\r\n"),
        case("erase at the beginning", usual, b"\x7fa\n", &[b"a\n"], b"a\r\n"),
        case("erase a control character", usual, b"\x01\x7fb\n", &[b"b\n"], b"^A\x08 \x08\x08 \x08b\r\n"),
        case("erase a tab", usual, b"ab\t\x7fc\n", &[b"abc\n"], b"ab\t\x08\x08\x08\x08\x08\x08c\r\n"),
        case(
            "erase a tab after a tab",
            usual,
            b"\ta\t\x7f\n",
            &[b"\ta\n"],
            b"\ta\t\x08\x08\x08\x08\x08\x08\x08\r\n",
        ),
        case("kill", usual, b"abc\x15d\n", &[b"d\n"], b"abc\x08 \x08\x08 \x08\x08 \x08d\r\n"),
        case("word erase", usual, b"ab cd \x17e\n", &[b"ab e\n"], b"ab cd \x08 \x08\x08 \x08\x08 \x08e\r\n"),
        case("literal next", usual, b"\x16\x03\n", &[b"\x03\n"], b"^\x08^C\r\n"),
        case("reprint", usual, b"ab\x12c\n", &[b"abc\n"], b"ab^R\r\nabc\r\n"),
        case("end of file", usual, b"\x04", &[b""], b""),
        case("end of file after text", usual, b"ab\x04", &[b"ab"], b"ab"),
        case("disabled VEOL does not match NUL", usual, b"a\0b\n", &[b"a\0b\n"], b"a^@b\r\n"),
        case(
            "utf-8 erase, IUTF8",
            with(0, 0, IUTF8, 0),
            b"a\xc3\xa4\x7f\n",
            &[b"a\n"],
            b"a\xc3\xa4\x08 \x08\r\n",
        ),
        case("utf-8 erase by bytes", usual, b"\xc3\xa4\x7f\n", &[b"\xc3\n"], b"\xc3\xa4\x08 \x08\r\n"),
    ]);
}

#[test]
fn echo_flags() {
    check(&[
        case("no echo", with(0, ECHO, 0, 0), b"ab\n", &[b"ab\n"], b""),
        case("only newline", with(ECHONL, ECHO, 0, 0), b"ab\n", &[b"ab\n"], b"\r\n"),
        case("no ECHOCTL", with(0, ECHOCTL, 0, 0), b"\x01\n", &[b"\x01\n"], b"\x01\r\n"),
        case("erase without ECHOE", with(0, ECHOE, 0, 0), b"ab\x7f\n", &[b"a\n"], b"ab^?\r\n"),
        case("kill without ECHOKE", with(0, ECHOKE, 0, 0), b"ab\x15\n", &[b"\n"], b"ab^U\r\n\r\n"),
        case("ECHOPRT", with(ECHOPRT, 0, 0, 0), b"ab\x7f\x7fc\n", &[b"c\n"], b"ab\\ba/c\r\n"),
    ]);
}

#[test]
fn input_flags() {
    check(&[
        case("no ICRNL", with(0, 0, 0, ICRNL), b"a\rb\n", &[b"a\rb\n"], b"a^Mb\r\n"),
        case("IGNCR", with(0, 0, IGNCR, 0), b"a\rb\n", &[b"ab\n"], b"ab\r\n"),
        case("INLCR", with(0, 0, INLCR, ICRNL), b"a\n\x04", &[b"a\r"], b"a^M"),
        case("ISTRIP", with(0, 0, ISTRIP, 0), b"\xe1\n", &[b"a\n"], b"a\r\n"),
        case("IUCLC", with(0, 0, IUCLC, 0), b"AbC\n", &[b"abc\n"], b"abc\r\n"),
        case("PARMRK doubles", with(0, 0, PARMRK, 0), b"\xff\n", &[b"\xff\xff\n"], b"\xff\r\n"),
    ]);
}

#[test]
fn signal_keys() {
    let usual = Termios::default();
    let cases = [
        Case {
            name: "interrupt drops the line",
            termios: usual,
            typed: b"ab\x03c\n",
            reads: &[b"c\n"],
            echo: b"ab^Cc\r\n",
            signals: &[SIGINT],
        },
        Case { name: "quit", termios: usual, typed: b"\x1c", reads: &[], echo: b"^\\", signals: &[SIGQUIT] },
        Case {
            name: "suspend",
            termios: usual,
            typed: b"\x1a",
            reads: &[],
            echo: b"^Z",
            signals: &[SIGTSTP],
        },
        Case {
            name: "NOFLSH keeps it",
            termios: with(NOFLSH, 0, 0, 0),
            typed: b"ab\x03c\n",
            reads: &[b"abc\n"],
            echo: b"ab^Cc\r\n",
            signals: &[SIGINT],
        },
        Case {
            name: "without ISIG a character",
            termios: with(0, ISIG, 0, 0),
            typed: b"\x03\n",
            reads: &[b"\x03\n"],
            echo: b"^C\r\n",
            signals: &[],
        },
        Case {
            name: "signals in raw mode too",
            termios: with(0, ICANON | ECHO, 0, 0),
            typed: b"a\x03b",
            reads: &[b"b"],
            echo: b"",
            signals: &[SIGINT],
        },
    ];
    check(&cases);
}

#[test]
fn flow_control_stops_output_and_is_not_read() {
    let (mut discipline, _) = type_in(Termios::default(), b"\x13");
    assert!(discipline.stopped);
    let mut fx = Effects::default();
    discipline.receive(b'\x11', &mut fx);
    assert!(!discipline.stopped);
    assert!(!discipline.readable(1));
    // With IXANY anything starts it, and is read.
    let (discipline, _) = type_in(with(0, ICANON, IXANY, 0), b"\x13a");
    assert!(!discipline.stopped);
    assert_eq!(discipline.available(), 1);
    // Without IXON they are characters.
    assert_eq!(
        outcome(with(0, 0, 0, IXON), b"\x13\n"),
        (vec![b"\x13\n".to_vec()], b"^S\r\n".to_vec(), vec![])
    );
}

#[test]
fn reads_shorter_than_a_line() {
    let (mut discipline, _) = type_in(Termios::default(), b"abcd\nxy\x04");
    assert_eq!(discipline.available(), 7);
    assert_eq!(discipline.read(2).unwrap(), b"ab");
    assert_eq!(discipline.read(2).unwrap(), b"cd");
    assert_eq!(discipline.read(2).unwrap(), b"\n");
    // The end-of-file mark goes with the text before it, though the buffer was just full.
    assert_eq!(discipline.read(2).unwrap(), b"xy");
    assert_eq!(discipline.read(2), None);
}

#[test]
fn raw_mode_reads_what_is_there() {
    let (mut discipline, fx) = type_in(with(0, ICANON | ECHO | ISIG, 0, ICRNL | IXON), b"ab\r\x03\x7f");
    assert_eq!(fx, Effects::default());
    assert!(discipline.readable(5) && !discipline.readable(6));
    assert_eq!(discipline.read(3).unwrap(), b"ab\r");
    assert_eq!(discipline.read(3).unwrap(), b"\x03\x7f");
    assert_eq!(discipline.read(3).unwrap(), b"");
}

#[test]
fn switching_modes_keeps_what_was_typed() {
    // Half a line becomes readable in raw mode...
    let (mut discipline, _) = type_in(Termios::default(), b"ab");
    discipline.set_termios(with(0, ICANON, 0, 0));
    assert_eq!(discipline.available(), 2);
    // ...and on return to canonical mode stays readable as it is.
    discipline.set_termios(Termios::default());
    assert_eq!(discipline.read(10).unwrap(), b"ab");
}

#[test]
fn a_line_too_long_is_cut_but_ends() {
    let mut typed = vec![b'x'; CAPACITY + 100];
    typed.push(b'\n');
    let (mut discipline, _) = type_in(with(0, ECHO, 0, 0), &typed);
    let line = discipline.read(2 * CAPACITY).unwrap();
    assert_eq!(line.len(), CAPACITY);
    assert_eq!(line.last(), Some(&b'\n'));
    // Raw mode makes the keyboard wait instead.
    let (discipline, _) = type_in(with(0, ICANON | ECHO, 0, 0), &typed);
    assert!(discipline.full());
    assert_eq!(discipline.available(), CAPACITY);
}
