//! User and group IDs, groups, capabilities. See credentials(7), capabilities(7).

use std::rc::Rc;

use super::sys_process::find_task;
use super::{Args, SysResult};
use crate::abi::Errno;
use crate::abi::prctl::{
    PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, PR_CAP_AMBIENT_IS_SET, PR_CAP_AMBIENT_LOWER,
    PR_CAP_AMBIENT_RAISE, PR_CAPBSET_READ,
};
use crate::kernel::cred::{ALL_CAPS, CAP_LAST_CAP, CAP_SETGID, CAP_SETPCAP, CAP_SETUID};
use crate::kernel::{Cred, Ctx};

/// "Leave it as it is."
const KEEP: u32 = u32::MAX;
/// NGROUPS_MAX.
const GROUPS_MAX: i32 = 65536;

fn cred(cx: &Ctx<'_>) -> Rc<Cred> {
    Rc::clone(&cx.task.cred.borrow())
}

/// Put new credentials in place. IDs that changed make the process untraceable, as Linux does.
fn commit(cx: &Ctx<'_>, old: &Cred, mut new: Cred) -> SysResult {
    new.after_uid_change(old, cx.task.keepcaps.get());
    if (new.euid, new.egid, new.fsuid, new.fsgid) != (old.euid, old.egid, old.fsuid, old.fsgid) {
        cx.task.process.dumpable.set(0);
        cx.task.pdeathsig.set(0);
    }
    cx.task.cred.replace(Rc::new(new));
    Ok(0)
}

pub(super) fn getuid(cx: &mut Ctx<'_>, _: Args) -> SysResult {
    Ok(u64::from(cred(cx).uid))
}

pub(super) fn geteuid(cx: &mut Ctx<'_>, _: Args) -> SysResult {
    Ok(u64::from(cred(cx).euid))
}

pub(super) fn getgid(cx: &mut Ctx<'_>, _: Args) -> SysResult {
    Ok(u64::from(cred(cx).gid))
}

pub(super) fn getegid(cx: &mut Ctx<'_>, _: Args) -> SysResult {
    Ok(u64::from(cred(cx).egid))
}

pub(super) fn getresuid(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let cred = cred(cx);
    for (i, id) in [cred.uid, cred.euid, cred.suid].iter().enumerate() {
        cx.write_user(args.u64(i), id)?;
    }
    Ok(0)
}

pub(super) fn getresgid(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let cred = cred(cx);
    for (i, id) in [cred.gid, cred.egid, cred.sgid].iter().enumerate() {
        cx.write_user(args.u64(i), id)?;
    }
    Ok(0)
}

pub(super) fn setuid(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (old, id) = (cred(cx), args.u32(0));
    let mut new = (*old).clone();
    if id == KEEP {
        return Err(Errno::EINVAL.into());
    }
    if old.capable(CAP_SETUID) {
        (new.uid, new.suid) = (id, id);
    } else if id != old.uid && id != old.suid {
        return Err(Errno::EPERM.into());
    }
    (new.euid, new.fsuid) = (id, id);
    commit(cx, &old, new)
}

pub(super) fn setgid(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (old, id) = (cred(cx), args.u32(0));
    let mut new = (*old).clone();
    if id == KEEP {
        return Err(Errno::EINVAL.into());
    }
    if old.capable(CAP_SETGID) {
        (new.gid, new.sgid) = (id, id);
    } else if id != old.gid && id != old.sgid {
        return Err(Errno::EPERM.into());
    }
    (new.egid, new.fsgid) = (id, id);
    commit(cx, &old, new)
}

pub(super) fn setreuid(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (old, real, effective) = (cred(cx), args.u32(0), args.u32(1));
    let mut new = (*old).clone();
    let free = old.capable(CAP_SETUID);
    if real != KEEP {
        if !free && real != old.uid && real != old.euid {
            return Err(Errno::EPERM.into());
        }
        new.uid = real;
    }
    if effective != KEEP {
        if !free && ![old.uid, old.euid, old.suid].contains(&effective) {
            return Err(Errno::EPERM.into());
        }
        new.euid = effective;
    }
    if real != KEEP || (effective != KEEP && effective != old.uid) {
        new.suid = new.euid;
    }
    new.fsuid = new.euid;
    commit(cx, &old, new)
}

pub(super) fn setregid(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (old, real, effective) = (cred(cx), args.u32(0), args.u32(1));
    let mut new = (*old).clone();
    let free = old.capable(CAP_SETGID);
    if real != KEEP {
        if !free && real != old.gid && real != old.egid {
            return Err(Errno::EPERM.into());
        }
        new.gid = real;
    }
    if effective != KEEP {
        if !free && ![old.gid, old.egid, old.sgid].contains(&effective) {
            return Err(Errno::EPERM.into());
        }
        new.egid = effective;
    }
    if real != KEEP || (effective != KEEP && effective != old.gid) {
        new.sgid = new.egid;
    }
    new.fsgid = new.egid;
    commit(cx, &old, new)
}

/// The three IDs asked for, or those there are: EPERM for one that is neither.
fn three(args: Args, old: [u32; 3], free: bool) -> Result<[u32; 3], Errno> {
    let mut new = old;
    for (i, slot) in new.iter_mut().enumerate() {
        let wanted = args.u32(i);
        if wanted == KEEP {
            continue;
        }
        if !free && !old.contains(&wanted) {
            return Err(Errno::EPERM);
        }
        *slot = wanted;
    }
    Ok(new)
}

pub(super) fn setresuid(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let old = cred(cx);
    let [uid, euid, suid] = three(args, [old.uid, old.euid, old.suid], old.capable(CAP_SETUID))?;
    commit(cx, &old, Cred { uid, euid, suid, fsuid: euid, ..(*old).clone() })
}

pub(super) fn setresgid(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let old = cred(cx);
    let [gid, egid, sgid] = three(args, [old.gid, old.egid, old.sgid], old.capable(CAP_SETGID))?;
    commit(cx, &old, Cred { gid, egid, sgid, fsgid: egid, ..(*old).clone() })
}

/// setfsuid(2) cannot fail: it returns the old ID in any case.
pub(super) fn setfsuid(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (old, id) = (cred(cx), args.u32(0));
    if old.capable(CAP_SETUID) || [old.uid, old.euid, old.suid, old.fsuid].contains(&id) {
        let mut new = Cred { fsuid: id, ..(*old).clone() };
        new.after_fsuid_change(&old);
        cx.task.cred.replace(Rc::new(new));
    }
    Ok(u64::from(old.fsuid))
}

pub(super) fn setfsgid(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (old, id) = (cred(cx), args.u32(0));
    if old.capable(CAP_SETGID) || [old.gid, old.egid, old.sgid, old.fsgid].contains(&id) {
        cx.task.cred.replace(Rc::new(Cred { fsgid: id, ..(*old).clone() }));
    }
    Ok(u64::from(old.fsgid))
}

pub(super) fn getgroups(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (size, cred) = (args.i32(0), cred(cx));
    let count = i32::try_from(cred.groups.len()).unwrap_or(i32::MAX);
    if size < 0 || (size != 0 && size < count) {
        return Err(Errno::EINVAL.into());
    }
    if size != 0 {
        let bytes: Vec<u8> = cred.groups.iter().flat_map(|id| id.to_le_bytes()).collect();
        cx.mm().copy_out(args.u64(1), &bytes)?;
    }
    Ok(u64::from(count.unsigned_abs()))
}

pub(super) fn setgroups(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (count, old) = (args.i32(0), cred(cx));
    if !old.capable(CAP_SETGID) {
        return Err(Errno::EPERM.into());
    }
    if !(0..=GROUPS_MAX).contains(&count) {
        return Err(Errno::EINVAL.into());
    }
    let mut bytes = vec![0; count as usize * 4];
    cx.mm().copy_in(args.u64(1), &mut bytes)?;
    let id = |b: &[u8]| u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    let mut groups: Vec<u32> = bytes.chunks_exact(4).map(id).collect();
    groups.sort_unstable();
    cx.task.cred.replace(Rc::new(Cred { groups, ..(*old).clone() }));
    Ok(0)
}

// ---- Capabilities ----

/// _LINUX_CAPABILITY_VERSION_{1,2,3} and how many words of each set they carry.
const VERSIONS: [(u32, usize); 3] = [(0x1998_0330, 1), (0x2007_1026, 2), (0x2008_0522, 2)];

/// The version a caller speaks; the newest is written back to who speaks another.
fn version(cx: &Ctx<'_>, header: u64) -> Result<(usize, i32), super::Flow> {
    let [asked, pid] = cx.read_user::<[u32; 2]>(header)?;
    match VERSIONS.iter().find(|known| known.0 == asked) {
        Some(known) => Ok((known.1, pid as i32)),
        None => {
            cx.write_user(header, &VERSIONS[2].0)?;
            Err(Errno::EINVAL.into())
        }
    }
}

pub(super) fn capget(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let asked = version(cx, args.u64(0));
    let Some(data) = args.ptr(1) else {
        // Probing for the version is no error.
        return match asked {
            Err(super::Flow::Errno(Errno::EINVAL)) | Ok(_) => Ok(0),
            Err(other) => Err(other),
        };
    };
    let (words, pid) = asked?;
    if pid < 0 {
        return Err(Errno::EINVAL.into());
    }
    let target = find_task(cx, pid)?;
    let cred = Rc::clone(&target.cred.borrow());
    for word in 0..words {
        let part = |set: u64| (set >> (32 * word)) as u32;
        let sets = [part(cred.cap_effective), part(cred.cap_permitted), part(cred.cap_inheritable)];
        cx.write_user(data.wrapping_add(12 * word as u64), &sets)?;
    }
    Ok(0)
}

pub(super) fn capset(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (words, pid) = version(cx, args.u64(0))?;
    if pid != 0 && pid != cx.task.tid as i32 {
        return Err(Errno::EPERM.into());
    }
    let mut sets = [0u64; 3];
    for word in 0..words {
        let parts = cx.read_user::<[u32; 3]>(args.u64(1).wrapping_add(12 * word as u64))?;
        for (set, part) in sets.iter_mut().zip(parts) {
            *set |= u64::from(part) << (32 * word);
        }
    }
    let [effective, permitted, inheritable] = sets.map(|set| set & ALL_CAPS);
    let old = cred(cx);
    let may_add = if old.capable(CAP_SETPCAP) { old.cap_bounding } else { old.cap_permitted };
    let ok = permitted & !old.cap_permitted == 0
        && effective & !permitted == 0
        && inheritable & !(old.cap_inheritable | may_add) == 0;
    if !ok {
        return Err(Errno::EPERM.into());
    }
    let new = Cred {
        cap_effective: effective,
        cap_permitted: permitted,
        cap_inheritable: inheritable,
        cap_ambient: old.cap_ambient & permitted & inheritable,
        ..(*old).clone()
    };
    cx.task.cred.replace(Rc::new(new));
    Ok(0)
}

/// prctl(2)'s part: bounding and ambient sets.
pub(super) fn prctl_caps(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let old = cred(cx);
    let capability = |arg: u64| match u32::try_from(arg) {
        Ok(cap) if cap <= CAP_LAST_CAP => Ok(1u64 << cap),
        _ => Err(Errno::EINVAL),
    };
    let mut new = (*old).clone();
    match args.u32(0) {
        PR_CAPBSET_READ => return Ok(u64::from(old.cap_bounding & capability(args.u64(1))? != 0)),
        PR_CAP_AMBIENT => match args.u32(1) {
            PR_CAP_AMBIENT_CLEAR_ALL => new.cap_ambient = 0,
            PR_CAP_AMBIENT_IS_SET => {
                return Ok(u64::from(old.cap_ambient & capability(args.u64(2))? != 0));
            }
            PR_CAP_AMBIENT_LOWER => new.cap_ambient &= !capability(args.u64(2))?,
            PR_CAP_AMBIENT_RAISE => {
                let bit = capability(args.u64(2))?;
                if old.cap_permitted & old.cap_inheritable & bit == 0 {
                    return Err(Errno::EPERM.into());
                }
                new.cap_ambient |= bit;
            }
            _ => return Err(Errno::EINVAL.into()),
        },
        _ => {
            let bit = capability(args.u64(1))?;
            if !old.capable(CAP_SETPCAP) {
                return Err(Errno::EPERM.into());
            }
            new.cap_bounding &= !bit;
        }
    }
    cx.task.cred.replace(Rc::new(new));
    Ok(0)
}
