//! What the three kinds of System V objects have in common: keys, identifiers, permissions. See sysvipc(7).

use std::collections::BTreeMap;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Cred, Ctx};
use crate::abi::Errno;

/// Always a new object.
pub const IPC_PRIVATE: i32 = 0;
/// Make it when it is missing.
pub const IPC_CREAT: u32 = 0o1000;
/// Fail when it is there.
pub const IPC_EXCL: u32 = 0o2000;
/// Do not wait.
pub const IPC_NOWAIT: u32 = 0o4000;
/// Commands of shmctl(2), semctl(2) and msgctl(2).
pub const IPC_RMID: u32 = 0;
/// Change owner and mode.
pub const IPC_SET: u32 = 1;
/// All that is known of an object.
pub const IPC_STAT: u32 = 2;
/// The limits.
pub const IPC_INFO: u32 = 3;
/// A flag of old interfaces that C libraries may still set in a command.
pub const IPC_64: u32 = 0x100;
/// CAP_IPC_OWNER.
const CAP_IPC_OWNER: u32 = 15;

/// `struct ipc64_perm`, `asm-generic/ipcbuf.h`.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are Linux's; sysvipc(7) says what they mean")]
pub struct Perm {
    pub key: i32,
    pub uid: u32,
    pub gid: u32,
    pub cuid: u32,
    pub cgid: u32,
    pub mode: u32,
    pub seq: u32,
    pub pad: u32,
    pub unused: [u64; 2],
}
const _: () = assert!(size_of::<Perm>() == 48);

impl Perm {
    /// Of a new object.
    pub fn new(key: i32, flags: u32, cred: &Cred) -> Perm {
        let mode = flags & 0o777;
        Perm {
            key,
            uid: cred.euid,
            gid: cred.egid,
            cuid: cred.euid,
            cgid: cred.egid,
            mode,
            ..Perm::default()
        }
    }

    /// EACCES unless `cred` may do this (4 read, 2 write).
    pub fn check(&self, cred: &Cred, want: u32) -> Result<(), Errno> {
        let shift = if cred.euid == self.uid || cred.euid == self.cuid {
            6
        } else if cred.in_group(self.gid) || cred.in_group(self.cgid) {
            3
        } else {
            0
        };
        let allowed = cred.capable(CAP_IPC_OWNER) || self.mode >> shift & want == want;
        if allowed { Ok(()) } else { Err(Errno::EACCES) }
    }

    /// EPERM unless `cred` may change or remove the object.
    pub fn check_owner(&self, cred: &Cred) -> Result<(), Errno> {
        let owner = cred.euid == self.uid || cred.euid == self.cuid;
        if owner || cred.capable(super::cred::CAP_SYS_ADMIN) { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// IPC_SET: owner and permission bits; what else the mode holds stays.
    pub fn set(&mut self, given: &Perm) {
        (self.uid, self.gid) = (given.uid, given.gid);
        self.mode = self.mode & !0o777 | given.mode & 0o777;
    }
}

/// An object with a key and permissions.
pub trait Object {
    /// Its permissions.
    fn perm(&self) -> &Perm;
}

/// All objects of one kind. Identifiers are not used twice.
pub struct Registry<T> {
    by_id: BTreeMap<i32, T>,
    next_id: i32,
}

impl<T> Default for Registry<T> {
    fn default() -> Registry<T> {
        Registry { by_id: BTreeMap::new(), next_id: 0 }
    }
}

impl<T: Object> Registry<T> {
    /// What `key` and `flags` of a *get(2) call mean: the identifier of an object that exists, or none when one
    /// is to be made. EEXIST, ENOENT, ENOSPC (there are `max`), EACCES.
    pub fn find(&self, key: i32, flags: u32, cred: &Cred, max: usize) -> Result<Option<i32>, Errno> {
        let found = self.by_id.iter().find(|(_, object)| key != IPC_PRIVATE && object.perm().key == key);
        if let Some((&id, object)) = found {
            if flags & (IPC_CREAT | IPC_EXCL) == IPC_CREAT | IPC_EXCL {
                return Err(Errno::EEXIST);
            }
            object.perm().check(cred, (flags >> 6 | flags >> 3 | flags) & 6)?;
            return Ok(Some(id));
        }
        if key != IPC_PRIVATE && flags & IPC_CREAT == 0 {
            return Err(Errno::ENOENT);
        }
        if self.by_id.len() >= max { Err(Errno::ENOSPC) } else { Ok(None) }
    }

    /// Keep a new object; its identifier. ENOSPC.
    pub fn add(&mut self, object: T) -> Result<i32, Errno> {
        let id = self.next_id;
        self.next_id = id.checked_add(1).ok_or(Errno::ENOSPC)?;
        self.by_id.insert(id, object);
        Ok(id)
    }

    /// The object `id`. EINVAL.
    pub fn get(&mut self, id: i32) -> Result<&mut T, Errno> {
        self.by_id.get_mut(&id).ok_or(Errno::EINVAL)
    }

    /// The identifier of the object at `index` of all (SHM_STAT and its like). EINVAL.
    pub fn at(&self, index: i32) -> Result<i32, Errno> {
        let index = usize::try_from(index).map_err(|_| Errno::EINVAL)?;
        self.by_id.keys().nth(index).copied().ok_or(Errno::EINVAL)
    }

    /// Forget an object.
    pub fn remove(&mut self, id: i32) -> Option<T> {
        self.by_id.remove(&id)
    }

    /// Keep only what `keep` says.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        self.by_id.retain(|_, object| keep(object));
    }

    /// All objects, by identifier.
    pub fn iter(&self) -> impl Iterator<Item = (i32, &T)> {
        self.by_id.iter().map(|(&id, object)| (id, object))
    }

    /// All objects, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.by_id.values_mut()
    }

    /// The highest index in use, as IPC_INFO and its like return it.
    pub fn highest(&self) -> u64 {
        (self.by_id.len() as u64).saturating_sub(1)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

impl Ctx<'_> {
    /// The caller's credentials.
    pub fn cred(&self) -> std::rc::Rc<Cred> {
        std::rc::Rc::clone(&self.task.cred.borrow())
    }
}
