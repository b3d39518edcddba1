//! Files and directories, whose calls go through the scheduler's pool, or keep the thread where there is none.

use std::collections::HashSet;
use std::fs as std_fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, DirEntryExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::thread;

use tasklet_core::backend::Backend;
use tasklet_io::fs::{self, DirBuilder, File, OpenOptions};
use tasklet_io::process::Command;

use super::Case;
use super::setup::{Directory, Flag, bytes, give_way, run, spawn, until};

/// More than is copied at a time for tasklets that cannot lend a buffer.
const MUCH: usize = (3 << 20) + 5;

/// Each function does what std's does.
pub fn functions_do_what_they_say<B: Backend>(case: Case) {
    run::<B>(case, || {
        let directory = Directory::new();
        let (a, b) = (directory.join("a"), directory.join("b"));
        assert!(!fs::exists(&a).unwrap());
        fs::write(&a, "content").unwrap();
        assert!(fs::exists(&a).unwrap());
        assert_eq!(fs::read(&a).unwrap(), b"content");
        assert_eq!(fs::read_to_string(&a).unwrap(), "content");
        assert_eq!(fs::metadata(&a).unwrap().len(), 7);

        fs::hard_link(&a, &b).unwrap();
        assert_eq!(fs::metadata(&a).unwrap().nlink(), 2);
        fs::remove_file(&b).unwrap();
        fs::symlink("a", &b).unwrap();
        assert_eq!(fs::read_link(&b).unwrap(), Path::new("a"));
        assert!(fs::symlink_metadata(&b).unwrap().is_symlink());
        assert!(fs::metadata(&b).unwrap().is_file());
        assert_eq!(fs::canonicalize(&b).unwrap(), fs::canonicalize(&a).unwrap());
        fs::remove_file(&b).unwrap();

        assert_eq!(fs::copy(&a, &b).unwrap(), 7);
        fs::rename(&b, directory.join("c")).unwrap();
        assert_eq!(std_fs::read(directory.join("c")).unwrap(), b"content");
        assert!(!fs::exists(&b).unwrap());
        fs::set_permissions(&a, PermissionsExt::from_mode(0o400)).unwrap();
        assert_eq!(fs::metadata(&a).unwrap().permissions().mode() & 0o777, 0o400);
    });
}

/// More than one call's worth, from and into buffers on the caller's stack and beside it.
pub fn what_is_written_is_read<B: Backend>(case: Case) {
    run::<B>(case, || {
        let directory = Directory::new();
        let path = directory.join("file");
        let written = bytes(MUCH);
        fs::write(&path, &written).unwrap();
        assert!(fs::read(&path).unwrap() == written);

        let mut file = OpenOptions::new().read(true).write(true).mode(0o600).open(&path).unwrap();
        file.set_len(0).unwrap();
        file.write_all(&written).unwrap();
        file.sync_all().unwrap();
        assert_eq!(file.metadata().unwrap().len(), MUCH as u64);
        file.rewind().unwrap();
        let mut read = vec![0; MUCH];
        file.read_exact(&mut read).unwrap();
        assert!(read == written);
        assert_eq!(file.read(&mut [0; 4]).unwrap(), 0, "the end");

        // On the stack; with what others do to it meanwhile.
        let mut piece = [0; 100];
        let other = spawn(|| (0..10).for_each(|_| give_way()));
        file.seek(SeekFrom::Start(1000)).unwrap();
        file.read_exact(&mut piece).unwrap();
        assert_eq!(piece, written[1000..1100]);
        piece.fill(7);
        file.seek(SeekFrom::Current(-100)).unwrap();
        file.write_all(&piece).unwrap();
        other.join().unwrap();
        file.read_exact_at(&mut piece[50..], 1050).unwrap();
        assert_eq!(piece, [7; 100]);
        file.write_all_at(b"here", 2).unwrap();
        assert_eq!(std_fs::read(&path).unwrap()[2..6], *b"here");

        // What is appended stays behind what the buffer has, with and without room in it.
        let mut text = String::from("begin ");
        std_fs::write(&path, "middle end").unwrap();
        let mut file = File::open(&path).unwrap();
        assert_eq!(file.read_to_string(&mut text).unwrap(), 10);
        assert_eq!(text, "begin middle end");
        for before in ["", "the "] {
            let mut all = before.as_bytes().to_vec();
            file.seek(SeekFrom::Start(7)).unwrap();
            assert_eq!(file.read_to_end(&mut all).unwrap(), 3);
            assert_eq!(all, format!("{before}end").into_bytes());
        }
    });
}

/// Clones share the position; what comes from std and goes there is the same file.
pub fn handles_are_of_one_file<B: Backend>(case: Case) {
    run::<B>(case, || {
        let directory = Directory::new();
        let path = directory.join("file");
        let mut file = File::create_new(&path).unwrap();
        assert_eq!(File::create_new(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
        file.write_all(b"one\ntwo\nthree\n").unwrap();
        let mut other = file.try_clone().unwrap();
        assert_eq!(other.stream_position().unwrap(), 14);
        other.rewind().unwrap();
        let lines: Vec<_> = BufReader::new(&file).lines().map(Result::unwrap).collect();
        assert_eq!(lines, ["one", "two", "three"]);

        file.lock().unwrap();
        assert!(File::open(&path).unwrap().try_lock().is_err());
        file.unlock().unwrap();
        assert!(File::open(&path).unwrap().try_lock().is_ok());

        let mut of_std = std_fs::File::from(file);
        of_std.seek(SeekFrom::Start(4)).unwrap();
        let mut file = File::from(of_std);
        let mut word = [0; 3];
        file.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"two");
    });
}

/// More entries than are read at a time, each once.
pub fn directories_are_read<B: Backend>(case: Case) {
    run::<B>(case, || {
        let directory = Directory::new();
        let deep = directory.join("a/b");
        assert_eq!(fs::create_dir(&deep).unwrap_err().kind(), ErrorKind::NotFound);
        fs::create_dir_all(&deep).unwrap();
        DirBuilder::new().mode(0o700).create(deep.join("c")).unwrap();
        assert_eq!(fs::metadata(deep.join("c")).unwrap().permissions().mode() & 0o777, 0o700);
        DirBuilder::new().recursive(true).create(&deep).unwrap();
        for count in [0, 1, 64, 65, 128, 200] {
            let path = directory.join(count.to_string());
            fs::create_dir(&path).unwrap();
            (0..count).for_each(|at| std_fs::write(path.join(at.to_string()), "x").unwrap());
            let names: Vec<_> = fs::read_dir(&path)
                .unwrap()
                .map(|entry| {
                    let entry = entry.unwrap();
                    assert!(entry.file_type().unwrap().is_file());
                    assert_eq!(entry.metadata().unwrap().ino(), entry.ino());
                    assert_eq!(entry.path(), path.join(entry.file_name()));
                    entry.file_name()
                })
                .collect();
            assert_eq!(names.len(), count);
            assert_eq!(names.iter().collect::<HashSet<_>>().len(), count);
        }
        assert!(fs::remove_dir(directory.join("a")).is_err(), "it is not empty");
        fs::remove_dir(deep.join("c")).unwrap();
        fs::remove_dir_all(directory.join("a")).unwrap();
        assert!(!fs::exists(directory.join("a")).unwrap());
    });
}

/// The errors of the system, and of std.
pub fn errors_are_those_of_std<B: Backend>(case: Case) {
    run::<B>(case, || {
        let directory = Directory::new();
        let none = directory.join("none");
        assert_eq!(File::open(&none).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(fs::read_dir(&none).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(fs::read_dir("with\0zero").unwrap_err().kind(), ErrorKind::InvalidInput);
        let path = directory.join("file");
        fs::write(&path, b"\xFF").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap_err().kind(), ErrorKind::InvalidData);
        let mut text = String::from("before");
        let mut file = File::open(&path).unwrap();
        assert_eq!(file.read_to_string(&mut text).unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(text, "before");
        assert!(file.write(b"x").is_err(), "it was opened to be read");
    });
}

/// A call that blocks keeps nobody else: opening a named pipe ends when another tasklet opens it too.
pub fn a_call_that_blocks_keeps_nobody<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let directory = Directory::new();
        let path = named_pipe(&directory);
        let other = path.clone();
        let begins = Flag::default();
        let told = begins.clone();
        let write = move || {
            let mut file = File::options().write(true).open(&other).unwrap();
            file.write_all(b"hello").unwrap();
        };
        let reader = spawn(move || {
            told.set();
            fs::read_to_string(path).unwrap()
        });
        if case.workers == 0 {
            // There is no pool: the thread waits.
            let writer = thread::spawn(write);
            assert_eq!(reader.join().unwrap(), "hello");
            writer.join().unwrap();
        } else {
            until(|| begins.is_set());
            write();
            assert_eq!(reader.join().unwrap(), "hello");
        }
    });
}

/// A kill waits for the call, and what has come of that is dropped.
pub fn a_kill_waits_for_the_call<B: Backend>(case: Case) {
    if case.workers == 0 {
        // Nobody could kill it meanwhile.
        return;
    }
    run::<B>(case, || {
        let directory = Directory::new();
        let path = named_pipe(&directory);
        let other = path.clone();
        let begins = Flag::default();
        let told = begins.clone();
        let reader = spawn(move || {
            told.set();
            let _file = File::open(path);
        });
        until(|| begins.is_set());
        reader.kill();
        (0..10).for_each(|_| give_way());
        assert!(!reader.is_finished());
        let mut writer = File::options().write(true).open(other).unwrap();
        assert!(reader.join().unwrap_err().is_killed());
        assert_eq!(writer.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

fn named_pipe(directory: &Directory) -> std::path::PathBuf {
    let path = directory.join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}
