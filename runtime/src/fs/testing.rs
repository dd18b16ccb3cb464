//! For unit tests of files: descriptions that need no kernel.

use std::rc::Rc;

use super::mount::Mount;
use super::{Dentry, FileOps, FileRef, OpenFile, Stat, anon};

/// An open description of `ops` without a path.
pub(crate) fn anonymous(ops: Rc<dyn FileOps>, flags: u32) -> FileRef {
    let inode = anon::Node::new(Stat { mode: 0o600, ..Stat::default() });
    let mount = Mount::detached("anon_inodefs", Rc::clone(&inode));
    OpenFile::new(ops, flags, Dentry::root(b"test", inode, mount))
}
