//! Output processing of a terminal (OPOST): the bytes a program writes, or the
//! discipline echoes, become the bytes the device gets. See termios(3), `c_oflag`.

use crate::abi::termios::*;

/// Where the cursor is, as far as output processing must know.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Columns {
    pub(super) column: u32,
    /// Column at which the line being typed began, for erasing tabs.
    pub(super) canon: u32,
}

/// Bytes that one processed byte may become (a tab, at most).
pub(super) const EXPANSION: usize = 8;

/// Append what `byte` becomes to `out`.
pub(super) fn process(termios: &Termios, columns: &mut Columns, byte: u8, out: &mut Vec<u8>) {
    let flag = |bit: u32| termios.oflag & bit != 0;
    if !flag(OPOST) {
        out.push(byte);
        return;
    }
    match byte {
        b'\n' => {
            if flag(ONLRET) {
                columns.column = 0;
            }
            if flag(ONLCR) {
                *columns = Columns::default();
                out.extend_from_slice(b"\r\n");
                return;
            }
            columns.canon = columns.column;
            out.push(byte);
        }
        b'\r' => {
            if flag(ONOCR) && columns.column == 0 {
                return;
            }
            if flag(OCRNL) {
                if flag(ONLRET) {
                    *columns = Columns::default();
                }
                out.push(b'\n');
                return;
            }
            *columns = Columns::default();
            out.push(byte);
        }
        b'\t' => {
            let spaces = 8 - (columns.column & 7);
            columns.column += spaces;
            if termios.oflag & TABDLY == XTABS {
                out.extend(std::iter::repeat_n(b' ', spaces as usize));
            } else {
                out.push(byte);
            }
        }
        b'\x08' => {
            columns.column = columns.column.saturating_sub(1);
            out.push(byte);
        }
        _ => {
            let byte = if flag(OLCUC) { byte.to_ascii_uppercase() } else { byte };
            if !byte.is_ascii_control() && !is_continuation(termios, byte) {
                columns.column = columns.column.wrapping_add(1);
            }
            out.push(byte);
        }
    }
}

/// A byte that continues a UTF-8 character (IUTF8).
pub(super) fn is_continuation(termios: &Termios, byte: u8) -> bool {
    termios.iflag & IUTF8 != 0 && byte & 0xc0 == 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(oflag: u32, text: &[u8]) -> Vec<u8> {
        let termios = Termios { oflag, ..Termios::default() };
        let (mut columns, mut out) = (Columns::default(), Vec::new());
        for &byte in text {
            process(&termios, &mut columns, byte, &mut out);
        }
        out
    }

    #[test]
    fn output_flags() {
        let table: &[(u32, &[u8], &[u8])] = &[
            (0, b"a\nb\r\t", b"a\nb\r\t"),
            (OPOST, b"a\nb", b"a\nb"),
            (OPOST | ONLCR, b"a\nb\n", b"a\r\nb\r\n"),
            (OPOST | OCRNL, b"a\rb", b"a\nb"),
            (OPOST | ONOCR, b"\ra\r", b"a\r"),
            (OPOST | OLCUC, b"aB\n", b"AB\n"),
            (OPOST | XTABS, b"abc\td", b"abc     d"),
            (OPOST | XTABS | ONLCR, b"abc\n\td", b"abc\r\n        d"),
            // Without ONLCR the column does not return to 0 at a newline, with ONLRET it does.
            (OPOST | XTABS, b"abc\n\td", b"abc\n     d"),
            (OPOST | XTABS | ONLRET, b"abc\n\td", b"abc\n        d"),
            (OPOST | XTABS, b"ab\x08\td", b"ab\x08       d"),
        ];
        for (oflag, text, expected) in table {
            assert_eq!(run(*oflag, text), *expected, "oflag {oflag:o}, {text:?}");
        }
    }
}
