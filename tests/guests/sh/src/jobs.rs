//! Pipelines that run in the background or were stopped.

use alloc::vec::Vec;

use sys::process::{Change, wait, wait_flags};
use sys::text::lossy;

/// One of them.
#[derive(Debug)]
pub struct Job {
    /// As `jobs` shows it and `fg` takes it.
    pub number: usize,
    pub group: i32,
    /// Those that have not ended.
    pub pids: Vec<i32>,
    pub stopped: bool,
    pub text: Vec<u8>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Jobs {
    pub list: Vec<Job>,
}

impl Jobs {
    fn push(&mut self, group: i32, pids: Vec<i32>, text: Vec<u8>, stopped: bool) -> &Job {
        let number = self.list.last().map_or(1, |job| job.number + 1);
        self.list.push(Job { number, group, pids, stopped, text });
        &self.list[self.list.len() - 1]
    }

    /// A pipeline that runs on behind the shell.
    pub fn add(&mut self, group: i32, pids: Vec<i32>, text: Vec<u8>, say: bool) {
        let job = self.push(group, pids, text, false);
        if say {
            sys::println!("[{}] {}", job.number, job.group);
        }
    }

    /// A pipeline that Ctrl-Z stopped.
    pub fn add_stopped(&mut self, group: i32, pids: Vec<i32>, text: Vec<u8>) {
        let job = self.push(group, pids, text, true);
        sys::println!("[{}] stopped  {}  (`fg` goes on)", job.number, lossy(&job.text));
    }

    /// Collects what has ended, and says so.
    pub fn report(&mut self) {
        for job in &mut self.list {
            job.pids.retain(|&pid| match wait(pid, wait_flags::NOHANG | wait_flags::UNTRACED) {
                Ok(Some((_, Change::Stopped(_)))) => {
                    job.stopped = true;
                    true
                }
                Ok(Some(_)) | Err(_) => false,
                Ok(None) => true,
            });
            if job.pids.is_empty() {
                sys::println!("[{}] done  {}", job.number, lossy(&job.text));
            }
        }
        self.list.retain(|job| !job.pids.is_empty());
    }

    /// Takes out the job with this number, or the newest.
    pub fn take(&mut self, number: Option<usize>) -> Option<Job> {
        let at = match number {
            Some(number) => self.list.iter().position(|job| job.number == number)?,
            None => self.list.len().checked_sub(1)?,
        };
        Some(self.list.remove(at))
    }
}
