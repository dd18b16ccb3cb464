//! Error numbers and their usual English.

use core::fmt;

/// An `errno` value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error(pub i32);

/// Of every call that can fail.
pub type Result<T> = core::result::Result<T, Error>;

/// Defines the constants and the messages from one list.
macro_rules! errors {
    ($($name:ident = $number:literal $text:literal),* $(,)?) => {
        impl Error {
            $( #[doc = $text] pub const $name: Error = Error($number); )*

            /// The usual English text.
            pub fn text(self) -> &'static str {
                match self.0 { $( $number => $text, )* _ => "Unknown error" }
            }
        }
    };
}

errors! {
    EPERM = 1 "Operation not permitted", ENOENT = 2 "No such file or directory", ESRCH = 3 "No such process",
    EINTR = 4 "Interrupted system call", EIO = 5 "Input/output error", E2BIG = 7 "Argument list too long",
    ENOEXEC = 8 "Exec format error", EBADF = 9 "Bad file descriptor", ECHILD = 10 "No child processes",
    EAGAIN = 11 "Resource temporarily unavailable", ENOMEM = 12 "Cannot allocate memory",
    EACCES = 13 "Permission denied", EFAULT = 14 "Bad address", EEXIST = 17 "File exists",
    EXDEV = 18 "Invalid cross-device link", ENOTDIR = 20 "Not a directory", EISDIR = 21 "Is a directory",
    EINVAL = 22 "Invalid argument", EMFILE = 24 "Too many open files", ENOTTY = 25 "Inappropriate ioctl for device",
    EFBIG = 27 "File too large", ENOSPC = 28 "No space left on device", ESPIPE = 29 "Illegal seek",
    EROFS = 30 "Read-only file system", EPIPE = 32 "Broken pipe", ERANGE = 34 "Numerical result out of range",
    ENAMETOOLONG = 36 "File name too long", ENOSYS = 38 "Function not implemented",
    ENOTEMPTY = 39 "Directory not empty", ELOOP = 40 "Too many levels of symbolic links",
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
