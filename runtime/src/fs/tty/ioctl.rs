//! ioctl_tty(2), for terminals and for masters of pseudo-terminals.

use std::rc::Rc;

use super::pty::Master;
use super::{Tty, job};
use crate::abi::Errno;
use crate::abi::ioctl::*;
use crate::abi::signal::SIGTTOU;
use crate::abi::termios::*;
use crate::fs::OpenFile;
use crate::kernel::Ctx;
use crate::syscall::SysResult;

/// A request to a terminal.
pub(super) fn terminal(cx: &mut Ctx<'_>, tty: &Rc<Tty>, cmd: u32, arg: u64) -> SysResult {
    if let Some(result) = settings(cx, tty, tty, cmd, arg) {
        return result;
    }
    match cmd {
        TIOCGPGRP => {
            own(cx, tty)?;
            cx.write_user(arg, &tty.foreground())?;
        }
        TIOCGSID => {
            own(cx, tty)?;
            cx.write_user(arg, &tty.session())?;
        }
        TIOCSPGRP => set_foreground(cx, tty, arg)?,
        TIOCSCTTY => job::acquire(cx, tty, arg == 1)?,
        TIOCNOTTY => job::give_up(cx, tty)?,
        FIONREAD => {
            let waiting = tty.discipline.borrow().available() as i32;
            cx.write_user(arg, &waiting)?;
        }
        TIOCOUTQ => cx.write_user(arg, &(tty.driver.pending() as i32))?,
        TCFLSH => {
            check_background(cx, tty)?;
            flush(tty, arg)?;
        }
        TCXONC => {
            check_background(cx, tty)?;
            flow(tty, arg)?;
        }
        TIOCVHANGUP => {
            if cx.task.cred.borrow().euid != 0 {
                return Err(Errno::EPERM.into());
            }
            tty.hang_up();
        }
        _ => return Err(Errno::ENOTTY.into()),
    }
    Ok(0)
}

/// A request to a master. Settings are the slave's.
pub(super) fn master(cx: &mut Ctx<'_>, master: &Master, file: &OpenFile, cmd: u32, arg: u64) -> SysResult {
    let slave = &master.slave;
    if let Some(result) = settings(cx, slave, slave, cmd, arg) {
        return result;
    }
    match cmd {
        TIOCGPTN => cx.write_user(arg, &master.index)?,
        TIOCSPTLCK => {
            let lock: i32 = cx.read_user(arg)?;
            master.locked.set(lock != 0);
        }
        TIOCGPTLCK => cx.write_user(arg, &i32::from(master.locked.get()))?,
        TIOCGPTPEER => return super::devpts::open_peer(cx, master, file, arg),
        TIOCPKT => {
            let on: i32 = cx.read_user(arg)?;
            master.set_packet_mode(on != 0);
        }
        TIOCGPKT => cx.write_user(arg, &i32::from(master.packet_mode()))?,
        TIOCGPGRP => cx.write_user(arg, &slave.foreground())?,
        TIOCGSID => match slave.session() {
            0 => return Err(Errno::ENOTTY.into()),
            sid => cx.write_user(arg, &sid)?,
        },
        TIOCSPGRP => set_foreground(cx, slave, arg)?,
        FIONREAD => cx.write_user(arg, &(master.waiting() as i32))?,
        TIOCOUTQ => cx.write_user(arg, &0i32)?,
        TCFLSH => match arg {
            TCIFLUSH => master.flush_from_slave(),
            TCOFLUSH => slave.staging.borrow_mut().clear(),
            TCIOFLUSH => {
                master.flush_from_slave();
                slave.staging.borrow_mut().clear();
            }
            _ => return Err(Errno::EINVAL.into()),
        },
        TCXONC => return Ok(0),
        TIOCSCTTY | TIOCNOTTY => return Err(Errno::ENOTTY.into()),
        _ => return Err(Errno::ENOTTY.into()),
    }
    Ok(0)
}

/// Requests about settings and size, the same from both ends; none for others.
fn settings(cx: &mut Ctx<'_>, tty: &Rc<Tty>, real: &Rc<Tty>, cmd: u32, arg: u64) -> Option<SysResult> {
    Some(match cmd {
        TCGETS => cx.write_user(arg, &real.termios()).map(|()| 0),
        TCGETS2 => cx.write_user(arg, &with_speeds(real.termios())).map(|()| 0),
        TCSETS | TCSETSW | TCSETSF => {
            cx.read_user::<Termios>(arg).and_then(|new| set(cx, real, new, cmd == TCSETSF))
        }
        TCSETS2 | TCSETSW2 | TCSETSF2 => {
            cx.read_user::<Termios2>(arg).and_then(|new| set(cx, real, new.basic, cmd == TCSETSF2))
        }
        TIOCGWINSZ => cx.write_user(arg, &tty.winsize()).map(|()| 0),
        TIOCSWINSZ => cx.read_user(arg).map(|size: Winsize| {
            tty.set_winsize(size);
            0
        }),
        TCSBRK | TCSBRKP => check_background(cx, real).map(|()| 0).map_err(Into::into),
        TIOCSBRK | TIOCCBRK => Ok(0),
        TIOCEXCL | TIOCNXCL => {
            real.exclusive.set(cmd == TIOCEXCL);
            Ok(0)
        }
        TIOCGEXCL => cx.write_user(arg, &i32::from(real.exclusive.get())).map(|()| 0),
        TIOCGETD => cx.write_user(arg, &N_TTY).map(|()| 0),
        TIOCSETD => cx.read_user::<i32>(arg).and_then(|line| match line {
            N_TTY => Ok(0),
            _ => Err(Errno::EINVAL.into()),
        }),
        // dev.tty.legacy_tiocsti is off: nobody types for others.
        TIOCSTI => Err(Errno::EIO.into()),
        _ => return None,
    })
}

/// The terminal must be the caller's own.
fn own(cx: &Ctx<'_>, tty: &Tty) -> Result<(), Errno> {
    let sid = cx.task.process.sid.get();
    if tty.session() == sid && sid != 0 { Ok(()) } else { Err(Errno::ENOTTY) }
}

fn check_background(cx: &mut Ctx<'_>, tty: &Tty) -> Result<(), Errno> {
    job::check(cx, tty, SIGTTOU)
}

fn set(cx: &mut Ctx<'_>, tty: &Tty, new: Termios, flush: bool) -> SysResult {
    check_background(cx, tty)?;
    if flush {
        tty.flush_input();
    }
    tty.set_termios(Termios { line: 0, ..new });
    Ok(0)
}

/// The speeds that CBAUD encodes; no device here has any other.
fn with_speeds(basic: Termios) -> Termios2 {
    const RATES: [u32; 16] =
        [0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400];
    const FAST: [u32; 15] = [
        57600, 115200, 230400, 460800, 500000, 576000, 921600, 1000000, 1152000, 1500000, 2000000, 2500000,
        3000000, 3500000, 4000000,
    ];
    let code = basic.cflag & CBAUD;
    let slow = RATES.get(code as usize);
    let fast = code.checked_sub(BOTHER + 1).and_then(|i| FAST.get(i as usize));
    let speed = slow.or(fast).copied().unwrap_or(38400);
    Termios2 { basic, ispeed: speed, ospeed: speed }
}

fn set_foreground(cx: &mut Ctx<'_>, tty: &Tty, arg: u64) -> Result<(), crate::syscall::Flow> {
    match check_background(cx, tty) {
        Err(Errno::EIO) => return Err(Errno::ENOTTY.into()),
        other => other?,
    }
    own(cx, tty)?;
    let group: i32 = cx.read_user(arg)?;
    let group = u32::try_from(group).map_err(|_| Errno::EINVAL)?;
    match job::session_of(cx.kernel, group) {
        None => Err(Errno::ESRCH.into()),
        Some(sid) if sid != tty.session() => Err(Errno::EPERM.into()),
        Some(sid) => {
            tty.set_session(sid, group);
            Ok(())
        }
    }
}

fn flush(tty: &Tty, which: u64) -> Result<(), Errno> {
    match which {
        TCIFLUSH => tty.flush_input(),
        TCOFLUSH => tty.flush_output(),
        TCIOFLUSH => {
            tty.flush_input();
            tty.flush_output();
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(())
}

fn flow(tty: &Tty, action: u64) -> Result<(), Errno> {
    match action {
        TCOOFF => tty.set_stopped(true),
        TCOON => tty.set_stopped(false),
        TCIOFF | TCION => {
            let cc = tty.termios().cc;
            let byte = cc[if action == TCIOFF { VSTOP } else { VSTART }];
            if byte != 0 {
                tty.driver.write(&[byte]);
            }
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(())
}
