//! System calls on open files: positions, descriptors, locks, splicing.

use std::rc::Rc;

use super::Flow;
use super::testing::Guest;
use crate::abi::Errno;
use crate::abi::fcntl::*;
use crate::abi::file::*;
use crate::fs::pipe;
use crate::kernel::Task;

#[test]
fn positions_vectors_and_holes() {
    let mut g = Guest::new();
    let fd = g.open("/f", O_RDWR | O_CREAT, 0o644).expect("opens");
    let (one, two) = (g.put(b"one"), g.put(b"-two"));
    let vector: Vec<u8> = [one, 3, two, 4].iter().flat_map(|n: &u64| n.to_le_bytes()).collect();
    let vector = g.put(&vector);
    assert_eq!(g.call("writev", &[fd, vector, 2]), Ok(7));
    assert_eq!(g.call("pwritev", &[fd, vector, 2, 10_000, 0]), Ok(7));
    assert_eq!(g.call("lseek", &[fd, 0, u64::from(SEEK_CUR)]), Ok(7));
    assert_eq!(g.call("lseek", &[fd, 0, u64::from(SEEK_END)]), Ok(10_007));
    assert_eq!(g.call("lseek", &[fd, 4, u64::from(SEEK_HOLE)]), Ok(4096));
    assert_eq!(g.call("lseek", &[fd, 4096, u64::from(SEEK_DATA)]), Ok(8192));
    assert_eq!(g.call("lseek", &[fd, 10_007, u64::from(SEEK_DATA)]), Err(Errno::ENXIO));
    assert_eq!(g.call("lseek", &[fd, u64::MAX, u64::from(SEEK_SET)]), Err(Errno::EINVAL));
    assert_eq!(g.call("pread64", &[fd, one, 3, u64::MAX]), Err(Errno::EINVAL));
    assert_eq!(g.call("writev", &[fd, vector, 1025]), Err(Errno::EINVAL));
    g.call("lseek", &[fd, 0, u64::from(SEEK_END)]).expect("seeks");
    assert_eq!(g.call("read", &[fd, 8, 100]), Ok(0), "nothing is read at the end, so nothing is touched");
    g.call("lseek", &[fd, 0, 0]).expect("seeks");
    assert_eq!(g.call("read", &[fd, 8, 100]), Err(Errno::EFAULT));
    assert_eq!(g.call("fallocate", &[fd, 3, 0, 4096]), Ok(0));
    assert_eq!(g.read(fd, 7), Ok(vec![0; 7]));
    assert_eq!(g.call("ftruncate", &[fd, 3]), Ok(0));
    assert_eq!(g.call("ftruncate", &[fd, u64::MAX]), Err(Errno::EINVAL));
    assert_eq!(g.stat("/f", 0).map(|s| s.st_size), Ok(3));
}

#[test]
fn descriptors_are_the_lowest_and_flags_are_theirs() {
    let mut g = Guest::new();
    g.file("/f", b"");
    let fds: Vec<u64> = (0..4).map(|_| g.open("/f", O_RDWR | O_CLOEXEC, 0).expect("opens")).collect();
    assert_eq!(fds, [0, 1, 2, 3]);
    g.close(1);
    assert_eq!(g.call("dup", &[3]), Ok(1));
    assert_eq!(g.call("fcntl", &[1, u64::from(F_GETFD), 0]), Ok(0));
    assert_eq!(g.call("fcntl", &[3, u64::from(F_GETFD), 0]), Ok(1));
    assert_eq!(g.call("fcntl", &[3, u64::from(F_DUPFD_CLOEXEC), 10]), Ok(10));
    assert_eq!(g.call("dup3", &[3, 3, 0]), Err(Errno::EINVAL));
    assert_eq!(g.call("dup3", &[3, 64, 0]), Err(Errno::EBADF));
    assert_eq!(g.call("fcntl", &[3, u64::from(F_DUPFD), 64]), Err(Errno::EINVAL));
    // Status flags belong to the description that both share.
    g.call("fcntl", &[3, u64::from(F_SETFL), u64::from(O_NONBLOCK | O_WRONLY)]).expect("sets");
    let flags = g.call("fcntl", &[1, u64::from(F_GETFL), 0]);
    assert_eq!(flags, Ok(u64::from(O_RDWR | O_NONBLOCK | O_LARGEFILE)));
    assert_eq!(g.call("close_range", &[2, u64::from(u32::MAX), 0]), Ok(0));
    assert_eq!(g.task.files.borrow().list(), [0, 1]);
    for expected in 2..64 {
        assert_eq!(g.call("dup", &[0]), Ok(expected));
    }
    assert_eq!(g.call("dup", &[0]), Err(Errno::EMFILE));
}

fn flock(kind: i16, start: i64, len: i64) -> Vec<u8> {
    let lock = Flock { l_type: kind, l_whence: 0, pad0: 0, l_start: start, l_len: len, l_pid: 0, pad1: 0 };
    zerocopy::IntoBytes::as_bytes(&lock).to_vec()
}

#[test]
fn record_locks_split_conflict_and_go_with_the_process() {
    let mut g = Guest::new();
    let fd = g.open("/f", O_RDWR | O_CREAT, 0o644).expect("opens");
    let child = g.fork(2);
    let parent = Rc::clone(&g.task);
    let mut lock = |task: &Rc<Task>, command: u32, kind: i16, start: i64, len: i64| {
        let addr = g.put(&flock(kind, start, len));
        drop(task.progress.take());
        let result = g.raw(task, "fcntl", &[fd, u64::from(command), addr]);
        let held = g.get(addr, 32);
        match result {
            Ok(_) => Ok((i16::from_le_bytes([held[0], held[1]]), held[24])),
            Err(Flow::Errno(errno)) => Err(errno),
            Err(_) => Err(Errno::RESTART),
        }
    };
    assert!(lock(&parent, F_SETLK, F_WRLCK, 0, 100).is_ok());
    assert!(lock(&parent, F_SETLK, F_UNLCK, 40, 20).is_ok());
    assert!(lock(&child, F_SETLK, F_WRLCK, 40, 20).is_ok(), "the hole is free");
    assert_eq!(lock(&child, F_SETLK, F_RDLCK, 30, 11), Err(Errno::EAGAIN));
    assert_eq!(lock(&child, F_GETLK, F_RDLCK, 0, 0), Ok((F_WRLCK, 1)), "the holder's pid");
    assert_eq!(lock(&parent, F_GETLK, F_RDLCK, 0, 40), Ok((F_UNLCK, 0)), "not one's own");
    assert_eq!(lock(&parent, F_SETLKW, F_WRLCK, 50, 1), Err(Errno::RESTART), "waits");
    drop(parent.progress.take());
    // Parent waits for child; then the child may not wait for the parent.
    let addr = g.put(&flock(F_WRLCK, 50, 1));
    assert!(matches!(g.raw(&parent, "fcntl", &[fd, u64::from(F_SETLKW), addr]), Err(Flow::Block(_))));
    let addr = g.put(&flock(F_WRLCK, 0, 1));
    let deadlock = g.raw(&child, "fcntl", &[fd, u64::from(F_SETLKW), addr]);
    assert!(matches!(deadlock, Err(Flow::Errno(Errno::EDEADLK))));
    drop(parent.progress.take());
    // Any descriptor of the file that the child closes takes all its locks along.
    let other = g.raw(&child, "dup", &[fd]).expect("dups");
    g.raw(&child, "close", &[other]).expect("closes");
    let addr = g.put(&flock(F_WRLCK, 50, 1));
    assert!(g.raw(&parent, "fcntl", &[fd, u64::from(F_SETLK), addr]).is_ok());
}

#[test]
fn whole_file_locks_belong_to_the_description() {
    let mut g = Guest::new();
    let one = g.open("/f", O_RDWR | O_CREAT, 0o644).expect("opens");
    let two = g.open("/f", O_RDWR, 0).expect("opens");
    let same = g.call("dup", &[one]).expect("dups");
    let nonblocking = u64::from(LOCK_EX | LOCK_NB);
    assert_eq!(g.call("flock", &[one, nonblocking]), Ok(0));
    assert_eq!(g.call("flock", &[same, nonblocking]), Ok(0));
    assert_eq!(g.call("flock", &[two, nonblocking]), Err(Errno::EAGAIN));
    g.close(one);
    assert_eq!(g.call("flock", &[two, nonblocking]), Err(Errno::EAGAIN));
    g.close(same);
    assert_eq!(g.call("flock", &[two, nonblocking]), Ok(0));
}

#[test]
fn splicing_moves_bytes_once() {
    let mut g = Guest::new();
    g.file("/in", b"0123456789");
    let input = g.open("/in", O_RDONLY, 0).expect("opens");
    let out = g.open("/out", O_RDWR | O_CREAT, 0o644).expect("opens");
    let ends = g.room(8);
    g.call("pipe2", &[ends, 0]).expect("pipes");
    let ends = g.get(ends, 8);
    let (read_end, write_end) = (u64::from(ends[0]), u64::from(ends[4]));
    let offset = g.put(&2u64.to_le_bytes());
    assert_eq!(g.call("splice", &[input, offset, write_end, 0, 5, 0]), Ok(5));
    assert_eq!(g.get(offset, 8), 7u64.to_le_bytes());
    assert_eq!(g.call("splice", &[read_end, 0, out, 0, 3, 0]), Ok(3));
    assert_eq!(g.read(read_end, 10), Ok(b"56".to_vec()), "what was spliced is gone, the rest is there");
    assert_eq!(g.contents("/out"), Ok(b"234".to_vec()));
    assert_eq!(g.call("splice", &[input, 0, out, 0, 3, 0]), Err(Errno::EINVAL));
    assert_eq!(g.call("splice", &[read_end, 0, out, 0, 3, 2]), Err(Errno::EAGAIN));
    assert_eq!(g.call("sendfile", &[out, input, 0, 100]), Ok(10));
    assert_eq!(g.contents("/out"), Ok(b"2340123456789".to_vec()));
    let to = g.put(&1u64.to_le_bytes());
    let from = g.put(&8u64.to_le_bytes());
    assert_eq!(g.call("copy_file_range", &[input, from, out, to, 100, 0]), Ok(2));
    assert_eq!(g.contents("/out"), Ok(b"2890123456789".to_vec()));
    let overlap = g.put(&2u64.to_le_bytes());
    assert_eq!(g.call("copy_file_range", &[out, to, out, overlap, 5, 0]), Err(Errno::EINVAL));
}

#[test]
fn a_write_larger_than_a_pipe_keeps_its_progress() {
    let mut g = Guest::new();
    let ends = g.room(8);
    g.call("pipe2", &[ends, 0]).expect("pipes");
    let ends = g.get(ends, 8);
    let (read_end, write_end) = (u64::from(ends[0]), u64::from(ends[4]));
    let bytes: Vec<u8> = (0..200_000u32).map(|i| (i % 251) as u8).collect();
    let addr = g.put(&bytes);
    let writer = g.fork(2);
    let (mut received, mut written) = (Vec::new(), None);
    for _ in 0..10 {
        if written.is_none() {
            match g.raw(&writer, "write", &[write_end, addr, bytes.len() as u64]) {
                Ok(count) => written = Some(count),
                Err(Flow::Block(_)) => {}
                Err(flow) => panic!("{flow:?}"),
            }
        }
        let room = addr + bytes.len() as u64;
        let count = g.call("read", &[read_end, room, pipe::DEFAULT_CAPACITY as u64]).expect("there is some");
        received.extend(g.get(room, count));
        if received.len() == bytes.len() {
            break;
        }
    }
    assert_eq!(written, Some(bytes.len() as u64));
    assert!(received == bytes);
}
