//! Credentials and capabilities: what the set*id family changes. See credentials(7), capabilities(7).

use super::task::Cred;

/// Highest capability, as of Linux 6.12.
pub const CAP_LAST_CAP: u32 = 40;
/// All of them.
pub const ALL_CAPS: u64 = (1 << (CAP_LAST_CAP + 1)) - 1;
/// Change owners of files.
pub const CAP_CHOWN: u32 = 0;
/// Bypass permission checks of files.
pub const CAP_DAC_OVERRIDE: u32 = 1;
/// Read files and search directories.
pub const CAP_DAC_READ_SEARCH: u32 = 2;
/// Act as the owner of files.
pub const CAP_FOWNER: u32 = 3;
/// Send signals to anybody.
pub const CAP_KILL: u32 = 5;
/// Change group IDs.
pub const CAP_SETGID: u32 = 6;
/// Change user IDs.
pub const CAP_SETUID: u32 = 7;
/// Change capabilities.
pub const CAP_SETPCAP: u32 = 8;
/// chroot(2).
pub const CAP_SYS_CHROOT: u32 = 18;
/// Administration.
pub const CAP_SYS_ADMIN: u32 = 21;
/// Scheduling of others, negative nice.
pub const CAP_SYS_NICE: u32 = 23;
/// Raise limits.
pub const CAP_SYS_RESOURCE: u32 = 24;
/// Change the login user of a process that has one.
pub const CAP_AUDIT_CONTROL: u32 = 30;

/// Capabilities that follow the file-system UID.
const FS_CAPS: u64 = 1 << CAP_CHOWN
    | 1 << CAP_DAC_OVERRIDE
    | 1 << CAP_DAC_READ_SEARCH
    | 1 << CAP_FOWNER
    | 1 << 4
    | 1 << 9
    | 1 << 27
    | 1 << 32;

impl Cred {
    /// What becomes of the capabilities when user IDs went from those of `old`
    /// to these: capabilities(7), "Effect of user ID changes on capabilities".
    pub fn after_uid_change(&mut self, old: &Cred, keepcaps: bool) {
        let had_root = [old.uid, old.euid, old.suid].contains(&0);
        let has_root = [self.uid, self.euid, self.suid].contains(&0);
        if had_root && !has_root {
            self.cap_ambient = 0;
            self.cap_effective = 0;
            if !keepcaps {
                self.cap_permitted = 0;
            }
        }
        if old.euid == 0 && self.euid != 0 {
            self.cap_effective = 0;
        }
        if old.euid != 0 && self.euid == 0 {
            self.cap_effective = self.cap_permitted;
        }
        self.after_fsuid_change(old);
    }

    /// The same for the file-system UID alone.
    pub fn after_fsuid_change(&mut self, old: &Cred) {
        if old.fsuid == 0 && self.fsuid != 0 {
            self.cap_effective &= !FS_CAPS;
        }
        if old.fsuid != 0 && self.fsuid == 0 {
            self.cap_effective |= self.cap_permitted & FS_CAPS;
        }
    }

    /// What execve(2) makes of the capabilities: root regains them, others keep ambient ones.
    /// `setid`: the file changed the user or group ID.
    pub fn after_exec(&mut self, setid: bool) {
        if setid {
            self.cap_ambient = 0;
        }
        if self.euid == 0 || self.uid == 0 {
            self.cap_permitted = self.cap_bounding | self.cap_inheritable;
            self.cap_effective = if self.euid == 0 { self.cap_permitted } else { self.cap_ambient };
        } else {
            self.cap_permitted = self.cap_ambient;
            self.cap_effective = self.cap_ambient;
        }
        self.suid = self.euid;
        self.sgid = self.egid;
        self.fsuid = self.euid;
        self.fsgid = self.egid;
    }

    /// A member of group `gid`, as file permissions see it.
    pub fn in_group(&self, gid: u32) -> bool {
        self.fsgid == gid || self.groups.contains(&gid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaving_root_drops_capabilities_and_coming_back_restores_them() {
        let root = Cred::root();
        let mut user = Cred { uid: 1000, euid: 1000, suid: 1000, fsuid: 1000, ..root.clone() };
        user.after_uid_change(&root, false);
        assert_eq!((user.cap_effective, user.cap_permitted), (0, 0));
        let mut half = Cred { euid: 1000, fsuid: 1000, ..root.clone() };
        half.after_uid_change(&root, false);
        assert_eq!((half.cap_effective, half.cap_permitted), (0, ALL_CAPS));
        let mut back = Cred { euid: 0, fsuid: 0, ..half.clone() };
        back.after_uid_change(&half, false);
        assert_eq!(back.cap_effective, ALL_CAPS);
    }
}
