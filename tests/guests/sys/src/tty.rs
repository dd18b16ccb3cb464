//! Terminals: raw mode, size, foreground group. Source: ioctl_tty(2), termios(3).

use crate::Result;
use crate::call::call;

const TCGETS: u32 = 0x5401;
const TCSETSW: u32 = 0x5403;
const TIOCGPGRP: u32 = 0x540f;
const TIOCSPGRP: u32 = 0x5410;
const TIOCGWINSZ: u32 = 0x5413;

/// The kernel's `struct termios` (asm-generic/termbits.h).
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Termios {
    iflag: u32,
    oflag: u32,
    cflag: u32,
    lflag: u32,
    line: u8,
    cc: [u8; 19],
}
const _: () = assert!(size_of::<Termios>() == 36);

impl Termios {
    /// Of `fd`; ENOTTY when it is no terminal.
    pub fn of(fd: i32) -> Result<Termios> {
        let mut termios = Termios::default();
        call!(IOCTL, fd, TCGETS, &raw mut termios)?;
        Ok(termios)
    }

    /// Applies to `fd` once its output is out.
    pub fn set(&self, fd: i32) -> Result<()> {
        call!(IOCTL, fd, TCSETSW, core::ptr::from_ref(self)).map(drop)
    }

    /// Every key at once, none of them echoed or turned into a signal; output stays cooked.
    pub fn raw(mut self) -> Termios {
        const ICRNL: u32 = 0o400;
        const IXON: u32 = 0o2000;
        const ISIG: u32 = 1;
        const ICANON: u32 = 2;
        const ECHO: u32 = 0o10;
        const IEXTEN: u32 = 0o100_000;
        const VTIME: usize = 5;
        const VMIN: usize = 6;
        self.iflag &= !(ICRNL | IXON);
        self.lflag &= !(ISIG | ICANON | ECHO | IEXTEN);
        self.cc[VTIME] = 0;
        self.cc[VMIN] = 1;
        self
    }
}

/// Is it a terminal?
pub fn is_tty(fd: i32) -> bool {
    Termios::of(fd).is_ok()
}

/// Rows and columns; 24 by 80 when the terminal does not know.
pub fn size(fd: i32) -> (usize, usize) {
    let mut size = [0u16; 4];
    match call!(IOCTL, fd, TIOCGWINSZ, size.as_mut_ptr()) {
        Ok(_) if size[0] > 0 && size[1] > 0 => (size[0].into(), size[1].into()),
        _ => (24, 80),
    }
}

/// The group that keyboard signals go to.
pub fn foreground(fd: i32) -> Result<i32> {
    let mut group = 0i32;
    call!(IOCTL, fd, TIOCGPGRP, &raw mut group)?;
    Ok(group)
}

/// Makes `group` the one that keyboard signals go to.
pub fn set_foreground(fd: i32, group: i32) -> Result<()> {
    call!(IOCTL, fd, TIOCSPGRP, &raw const group).map(drop)
}
