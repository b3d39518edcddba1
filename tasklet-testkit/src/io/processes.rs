//! Children: their ends, what they write, and what is left of them.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tasklet_core::backend::Backend;
use tasklet_io::fs::{self, File};
use tasklet_io::pipe::pipe;
use tasklet_io::process::{Child, Command, Stdio};
use tasklet_io::signal::{SIGUSR1, SIGUSR2, Signals};

use super::Case;
use super::setup::{Directory, Flag, bytes, give_way, run, spawn, until};

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// Output, errors, and how it has ended.
pub fn a_command_is_run<B: Backend>(case: Case) {
    run::<B>(case, || {
        let mut command = sh("cat; echo $WORD; pwd; echo bad >&2; exit 3");
        command.env("WORD", "word").current_dir("/");
        // The input is nothing; and again.
        for _ in 0..2 {
            let output = command.output().unwrap();
            assert_eq!(output.stdout, b"word\n/\n");
            assert_eq!(output.stderr, b"bad\n");
            assert_eq!(output.status.code(), Some(3));
        }
        let output = command.stdout(Stdio::null()).output().unwrap();
        assert_eq!((&*output.stdout, &*output.stderr), (&b""[..], &b"bad\n"[..]), "as was said");
        assert!(Command::new("true").status().unwrap().success());
        assert_eq!(sh("kill -TERM $$").status().unwrap().signal(), Some(15));
        assert_eq!(Command::new("/no/such/program").status().unwrap_err().kind(), ErrorKind::NotFound);
    });
}

/// More than a pipe holds goes in and comes out meanwhile.
pub fn pipes_lead_to_a_child_and_back<B: Backend>(case: Case) {
    run::<B>(case, || {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let writer = spawn(move || stdin.write_all(&bytes(1 << 20)).unwrap());
        let mut received = Vec::new();
        stdout.read_to_end(&mut received).unwrap();
        writer.join().unwrap();
        assert!(received == bytes(1 << 20));
        assert!(child.wait().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(0), "it is still known");
    });
}

/// A child that fills one pipe does not wait for ever for who reads the other.
pub fn both_outputs_are_read_together<B: Backend>(case: Case) {
    run::<B>(case, || {
        let fill = "head -c 300000 /dev/zero";
        let output = sh(&format!("{fill}; {fill} >&2; {fill}; {fill} >&2; echo end")).output().unwrap();
        assert!(output.status.success());
        assert_eq!((output.stdout.len(), output.stderr.len()), (600_004, 600_000));
        assert!(output.stdout.ends_with(b"end\n"));
        // One ends long before the other.
        let output = sh(&format!("exec 2>&-; {fill}; echo end")).output().unwrap();
        assert_eq!((output.stdout.len(), output.stderr.len()), (300_004, 0));
        // What it reads is closed.
        let child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        assert!(child.wait_with_output().unwrap().status.success());
    });
}

/// Who waits for a child is in nobody's way.
pub fn others_run_while_a_child_does<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (theirs, ours) = std::io::pipe().unwrap();
        let mut child = Command::new("cat").stdin(theirs).spawn().unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        let waiter = spawn(move || child.wait().unwrap());
        (0..100).for_each(|_| give_way());
        assert!(!waiter.is_finished());
        drop(ours);
        assert!(waiter.join().unwrap().success());
    });
}

/// The child goes on, and somebody else can wait for it.
pub fn a_killed_waiter_leaves_the_child<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (theirs, ours) = std::io::pipe().unwrap();
        let child = Arc::new(Mutex::new(Command::new("cat").stdin(theirs).spawn().unwrap()));
        let (other, begins) = (child.clone(), Flag::default());
        let told = begins.clone();
        let waiter = spawn(move || {
            let mut child = other.lock().unwrap();
            told.set();
            child.wait()
        });
        until(|| begins.is_set());
        (0..3).for_each(|_| give_way());
        waiter.kill();
        assert!(waiter.join().unwrap_err().is_killed());
        let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(child.try_wait().unwrap(), None);
        drop(ours);
        assert!(child.wait().unwrap().success());
    });
}

/// A child is killed, also if it is waited for by the same tasklet afterwards.
pub fn a_child_is_killed<B: Backend>(case: Case) {
    run::<B>(case, || {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        child.kill().unwrap();
        assert_eq!(child.try_wait().unwrap().and_then(|status| status.signal()), Some(9));
    });
}

/// With its caller ends the child of a command that is run, which nobody else knows.
pub fn a_killed_command_leaves_no_child<B: Backend>(case: Case) {
    run::<B>(case, || {
        let directory = Directory::new();
        for (at, run) in [with_output as fn(&Path), with_status].into_iter().enumerate() {
            let path = directory.join(at.to_string());
            let number = path.clone();
            let caller = spawn(move || run(&path));
            let number = || -> Option<u32> { std::fs::read_to_string(&number).ok()?.strip_suffix('\n')?.parse().ok() };
            until(|| number().is_some());
            caller.kill();
            assert!(caller.join().unwrap_err().is_killed());
            let process = PathBuf::from(format!("/proc/{}", number().unwrap()));
            assert!(!process.exists(), "neither running nor a zombie");
        }
    });
}

/// Tells its number, and does not end.
fn endless(path: &Path) -> Command {
    let mut command = sh("echo $$ > $NUMBER; exec sleep 1000");
    command.env("NUMBER", path);
    command
}

fn with_output(path: &Path) {
    let _ = endless(path).output();
}

fn with_status(path: &Path) {
    let _ = endless(path).status();
}

/// No descriptor and no zombie is left, whatever ended the waits: of processes, and of all else here that has a descriptor.
pub fn nothing_is_left<B: Backend>(case: Case) {
    let ended = case.in_child(|| {
        let before = descriptors();
        run::<B>(case, || {
            for _ in 0..5 {
                sh("echo out; echo err >&2").output().unwrap();
                assert!(Command::new("/no/such/program").output().is_err());
                let mut child: Child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
                child.wait().unwrap();
                killed_in(|| drop(Command::new("sleep").arg("1000").output()));
                killed_in(|| drop(Signals::new([SIGUSR1, SIGUSR2]).unwrap().recv()));
                let (mut reader, writer) = pipe().unwrap();
                killed_in(move || drop(reader.read(&mut [0])));
                assert!((&writer).write(b"x").is_err(), "its reader has gone");
                let entries = fs::read_dir("/proc/self").unwrap();
                drop(entries.map(Result::unwrap).take(1).last());
                drop(File::open("/proc/self/stat").unwrap().try_clone().unwrap());
            }
        });
        // The workers' own go with their threads, which nobody waits for.
        until(|| descriptors() == before);
        // SAFETY: no status is asked for.
        let any = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
        assert_eq!(any, -1, "there are no children");
    });
    assert!(ended.success, "{ended:?}");
}

/// Of our descriptors a child gets none but those that it is given.
pub fn a_child_inherits_nothing<B: Backend>(case: Case) {
    let ended = case.in_child(|| {
        let list = || std::process::Command::new("ls").arg("/proc/self/fd").output().unwrap().stdout;
        let before = list();
        run::<B>(case, move || {
            let signals = Signals::new([SIGUSR1]).unwrap();
            let pipe = pipe().unwrap();
            let mut waits = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            waits.wait().unwrap();
            let file = File::open("/proc/self/stat").unwrap();
            assert_eq!(Command::new("ls").arg("/proc/self/fd").output().unwrap().stdout, before);
            drop((signals, pipe, waits, file));
        });
    });
    assert!(ended.success, "{ended:?}");
}

/// A tasklet that is killed while it waits.
fn killed_in(f: impl FnOnce() + Send + 'static) {
    let begins = Flag::default();
    let told = begins.clone();
    let caller = spawn(move || {
        told.set();
        f();
    });
    until(|| begins.is_set());
    (0..3).for_each(|_| give_way());
    caller.kill();
    assert!(caller.join().unwrap_err().is_killed());
}

/// What they refer to.
fn descriptors() -> Vec<PathBuf> {
    let fds = std::fs::read_dir("/proc/self/fd").unwrap();
    // That of the directory itself is gone.
    let mut names: Vec<_> = fds.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok()).collect();
    names.sort();
    names
}
