//! Pipes, and the standard streams.

use std::io::{ErrorKind, PipeReader, Read, Write};
use std::thread;

use tasklet_core::backend::Backend;
use tasklet_io::pipe::{Reader, Writer, pipe};
use tasklet_io::process::Command;
use tasklet_io::stdio::{stderr, stdin, stdout};

use super::Case;
use super::setup::{Flag, bytes, give_way, run, spawn, until};

/// More than a pipe holds.
const MUCH: usize = 4 << 20;

/// In order and whole; a writer waits for room, a reader for what comes, until the end.
pub fn what_is_written_arrives<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (mut reader, mut writer) = pipe().unwrap();
        let is_written = Flag::default();
        let told = is_written.clone();
        let writes = spawn(move || {
            writer.write_all(&bytes(MUCH)).unwrap();
            told.set();
        });
        (0..100).for_each(|_| give_way());
        assert!(!is_written.is_set(), "nobody has read");
        let mut received = Vec::new();
        reader.read_to_end(&mut received).unwrap();
        writes.join().unwrap();
        assert!(received == bytes(MUCH));
        assert_eq!(reader.read(&mut [0; 8]).unwrap(), 0, "again");
    });
}

/// An end that is closed ends the waits at the other.
pub fn a_closed_end_is_seen_at_the_other<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (mut reader, writer) = pipe().unwrap();
        let begins = Flag::default();
        let told = begins.clone();
        let reads = spawn(move || {
            told.set();
            reader.read(&mut [0; 8]).unwrap()
        });
        until(|| begins.is_set());
        (0..3).for_each(|_| give_way());
        let another = writer.try_clone().unwrap();
        drop(writer);
        (0..3).for_each(|_| give_way());
        assert!(!reads.is_finished(), "there is another handle");
        drop(another);
        assert_eq!(reads.join().unwrap(), 0);

        let (reader, mut writer) = pipe().unwrap();
        let begins = Flag::default();
        let told = begins.clone();
        let writes = spawn(move || {
            told.set();
            writer.write_all(&bytes(MUCH)).unwrap_err().kind()
        });
        until(|| begins.is_set());
        (0..3).for_each(|_| give_way());
        drop(reader);
        assert_eq!(writes.join().unwrap(), ErrorKind::BrokenPipe);
    });
}

/// What comes later is for the next reader.
pub fn a_killed_reader_leaves_the_pipe_as_it_was<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (reader, mut writer) = pipe().unwrap();
        let mut other = reader.try_clone().unwrap();
        let begins = Flag::default();
        let told = begins.clone();
        let reads = spawn(move || {
            told.set();
            let _ = (&reader).read(&mut [0; 8]);
        });
        until(|| begins.is_set());
        (0..3).for_each(|_| give_way());
        reads.kill();
        assert!(reads.join().unwrap_err().is_killed());
        assert_eq!(other.read(&mut []).unwrap(), 0, "at once");
        writer.write_all(b"whole").unwrap();
        let mut received = [0; 5];
        other.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"whole");
    });
}

/// An end that stays here waits as a tasklet does, the other is as others expect it: a thread's, and another process's.
pub fn the_other_end_is_anybodys<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (theirs, ours) = std::io::pipe().unwrap();
        let mut ours = Writer::try_from(ours).unwrap();
        let thread = thread::spawn(move || read_all(theirs));
        give_way();
        ours.write_all(b"to a thread").unwrap();
        drop(ours);
        assert_eq!(thread.join().unwrap(), "to a thread");

        let (ours, theirs) = std::io::pipe().unwrap();
        let mut ours = Reader::try_from(ours).unwrap();
        // The command keeps its end until it is dropped.
        let mut child = Command::new("sh").args(["-c", "echo from a child"]).stdout(theirs).spawn().unwrap();
        let mut received = String::new();
        ours.read_to_string(&mut received).unwrap();
        assert_eq!(received, "from a child\n");
        assert!(child.wait().unwrap().success());

        let (reader, mut writer) = pipe().unwrap();
        let another = reader.try_clone().unwrap();
        assert!(reader.into_std().unwrap_err().to_string().contains("drop its clones"));
        let theirs = another.into_std().unwrap();
        let thread = thread::spawn(move || read_all(theirs));
        give_way();
        writer.write_all(b"and back").unwrap();
        drop(writer);
        assert_eq!(thread.join().unwrap(), "and back");
    });
}

/// A blocking read waits; of a non-blocking one this would be an error.
fn read_all(mut pipe: PipeReader) -> String {
    let mut received = String::new();
    pipe.read_to_string(&mut received).unwrap();
    received
}

/// Through the pool: the input by lines and to its end, output and errors.
pub fn standard_streams_are_those_of_the_process<B: Backend>(case: Case) {
    let ended = case.in_child_with("first\nsecond\nthe rest\nof it", || {
        run::<B>(case, || {
            let mut input = stdin();
            let mut line = String::from("1: ");
            assert_eq!(input.read_line(&mut line).unwrap(), 6);
            assert_eq!(line, "1: first\n");
            let mut word = [0; 6];
            input.read_exact(&mut word).unwrap();
            assert_eq!(&word, b"second");
            let mut rest = String::new();
            input.read_to_string(&mut rest).unwrap();
            assert_eq!(rest, "\nthe rest\nof it");
            assert_eq!(input.read_line(&mut rest).unwrap(), 0);
            writeln!(stdout(), "an answer").unwrap();
            stdout().flush().unwrap();
            writeln!(stderr(), "a complaint").unwrap();
        });
    });
    assert!(ended.success && ended.stdout.contains("an answer\n"), "{ended:?}");
    assert!(ended.stderr.contains("a complaint\n"), "{ended:?}");
}
