//! `word_count` beside `tr | sort | uniq -c`, and what becomes of files that cannot be read.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::program::{self, Folder, run, run_with_closed_output, run_with_input, stderr, stdout};

/// What the classic pipeline counts in the files, in our format and order.
fn expected(files: &[&str]) -> Vec<u8> {
    let pipeline = r#"cat "$@" | tr -s '[:space:]' '\n' | sort | uniq -c"#;
    let output = Command::new("sh")
        .args(["-c", pipeline, "sh"])
        .args(files)
        .env("LC_ALL", "C")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let mut words: Vec<(u64, &[u8])> = output
        .stdout
        .split(|&byte| byte == b'\n')
        .filter_map(|line| {
            let line = line.trim_ascii_start();
            let space = line.iter().position(|&byte| byte == b' ')?;
            let count = std::str::from_utf8(&line[..space]).unwrap().parse().unwrap();
            Some((count, &line[space + 1..]))
        })
        // White space at the start of a file leaves an empty line, which is no word.
        .filter(|(_, word)| !word.is_empty())
        .collect();
    words.sort_by_key(|&(count, word)| (std::cmp::Reverse(count), word));
    let line = |(count, word): (u64, &[u8])| [format!("{count} ").as_bytes(), word, b"\n"].concat();
    words.into_iter().flat_map(line).collect()
}

#[track_caller]
fn counts_like_the_pipeline(files: &[&str]) -> Output {
    let output = run("word_count", files);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
    // Not `assert_eq!`: the difference of two long tables is no help.
    assert!(output.stdout == expected(files), "{files:?}:\n{}", String::from_utf8_lossy(&output.stdout));
    output
}

/// Pseudo-random bytes, the same on each run.
fn noise(length: usize, mut seed: u64) -> Vec<u8> {
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn counts_the_files_of_this_project() {
    counts_like_the_pipeline(&["README.md"]);
    counts_like_the_pipeline(&["ARCHITECTURE.md", "README.md"]);
    counts_like_the_pipeline(&["README.md", "Cargo.lock", "src/lib.rs", "src/backend.rs", "Cargo.toml", "README.md"]);
}

#[test]
fn counts_odd_bytes_as_the_bytes_they_are() {
    let folder = Folder::new("word_count-odd");
    let all: Vec<u8> = (0..=255).collect();
    let odd = folder.file("odd", &all);
    counts_like_the_pipeline(&[&odd]);
    let invalid = folder.file("invalid", b"caf\xc3\xa9 caf\xe9 \xff\xfe\xff \x00 nul\x00nul caf\xe9\n");
    let output = counts_like_the_pipeline(&[&invalid]);
    assert!(output.stdout.starts_with(b"2 caf\xe9\n1 \x00\n"));
    let noise = folder.file("noise", &noise(300_000, 0x5eed));
    counts_like_the_pipeline(&[&noise, &odd, &invalid]);
}

#[test]
fn all_white_space_parts_words() {
    let folder = Folder::new("word_count-space");
    let file = folder.file("space", b"\n\n a\tb\x0bc\x0cd\re  f\n\x1c \xa0\x85");
    let output = counts_like_the_pipeline(&[&file]);
    assert_eq!(output.stdout.iter().filter(|&&byte| byte == b'\n').count(), 8);
    let nothing = folder.file("nothing", b"");
    assert!(counts_like_the_pipeline(&[&nothing]).stdout.is_empty());
    let only = folder.file("only", b" \n\t ");
    assert!(counts_like_the_pipeline(&[&only]).stdout.is_empty());
}

#[test]
fn a_word_goes_on_across_pieces_and_files() {
    let folder = Folder::new("word_count-pieces");
    // Longer than three pieces, and ends in the middle of the fourth.
    let long = folder.file("long", &[b'x'; 200_000]);
    let end = folder.file("end", b"yz x\n");
    let output = counts_like_the_pipeline(&[&long, &end]);
    assert_eq!(output.stdout.len(), "1 x\n".len() + 2 + 200_002 + 1);
    // Every border between pieces of 65,536 bytes falls into a word, at each place of it.
    let words: String = (0..100_000).map(|number| format!("word{} ", number % 977)).collect();
    let words = folder.file("words", words.as_bytes());
    counts_like_the_pipeline(&[&words]);
}

#[test]
fn the_most_frequent_comes_first_and_equals_go_by_their_bytes() {
    let output = run_with_input(
        {
            let mut command = program::command("word_count");
            command.arg("-");
            command
        },
        b"b a c b A a\nb \xc3\xa4",
    );
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stdout(&output), "3 b\n2 a\n1 A\n1 c\n1 ä\n");
}

#[test]
fn the_standard_input_is_a_file_among_others() {
    let folder = Folder::new("word_count-stdin");
    let (first, last) = (folder.file("first", b"one two"), folder.file("last", b"four one\n"));
    let mut command = program::command("word_count");
    command.args([&first, "-", &last]);
    let output = run_with_input(command, b"-teen three\n");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stdout(&output), "2 one\n1 four\n1 three\n1 two-teen\n");
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_counts() {
    let folder = Folder::new("word_count-errors");
    let good = folder.file("good", b"good words\n");
    let missing = folder.0.join("missing").to_str().unwrap().to_owned();
    let directory = folder.0.to_str().unwrap().to_owned();
    let mut files = vec![missing.clone(), good.clone(), directory.clone(), good.clone()];
    let secret = folder.file("secret", b"secret");
    let hidden = hide(Path::new(&secret));
    if hidden {
        files.push(secret.clone());
    }
    let output = run("word_count", &files);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "2 good\n2 words\n");
    let errors = stderr(&output);
    let mut lines = errors.lines();
    let mut next = |name: &str, cause: &str| {
        let line = lines.next().unwrap();
        assert!(line.starts_with(&format!("word_count: {name}: ")) && line.contains(cause), "{errors}");
    };
    next(&missing, "No such file or directory");
    next(&directory, "Is a directory");
    if hidden {
        next(&secret, "Permission denied");
    }
    assert_eq!(lines.next(), None);
}

/// Makes a file unreadable. Returns false for a user, such as root, to whom that means nothing.
fn hide(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(0o000)).unwrap();
    fs::read(file).is_err()
}

#[test]
fn nothing_to_count_is_a_question_of_usage() {
    for arguments in
        [&[][..], &["--"], &["--frequency"], &["-x", "README.md"], &["-x", "--", "README.md"], &["--frequency", "--"]]
    {
        let output = run("word_count", arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty());
        assert!(stderr(&output).contains("usage: word_count [--] FILE..."), "{}", stderr(&output));
    }
    let output = run("word_count", ["--help"]);
    assert!(output.status.success() && stdout(&output).starts_with("usage: "));
}

#[test]
fn what_follows_two_hyphens_is_no_option() {
    let folder = Folder::new("word_count-hyphens");
    for (name, word) in [("-x", "x"), ("--", "hyphens"), ("--help", "help")] {
        folder.file(name, format!("{word}\n").as_bytes());
    }
    let plain = folder.file("plain", b"plain\n");
    for (arguments, expected) in [
        (&["--", "-x"][..], "1 x\n"),
        (&["--", "--"], "1 hyphens\n"),
        (&["--", "--help", "-x", "--"], "1 help\n1 hyphens\n1 x\n"),
        (&[&plain, "--", "-x"], "1 plain\n1 x\n"),
        (&["--", &plain], "1 plain\n"),
        (&["--", "-"], "1 input\n"),
        (&["-", "--"], "1 input\n"),
    ] {
        let mut command = program::command("word_count");
        command.args(arguments).current_dir(&folder.0);
        let output = run_with_input(command, b"input\n");
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), expected, "{arguments:?}");
    }
}

#[test]
fn white_space_at_the_beginning_is_an_empty_word_to_the_pipeline_only() {
    let folder = Folder::new("word_count-beginning");
    let file = folder.file("file", b" a\n");
    let raw = Command::new("sh")
        .args(["-c", r#"tr -s '[:space:]' '\n' < "$0" | sort | uniq -c | wc -l"#, &file])
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    assert_eq!(stdout(&raw).trim(), "2");
    assert_eq!(stdout(&run("word_count", [&file])), "1 a\n");
}

#[test]
fn shows_progress_on_a_terminal() {
    let folder = Folder::new("word_count-progress");
    let file = folder.file("file", "word ".repeat(200_000).as_bytes());
    // `script` runs its command on a terminal.
    let command = format!("'{}' '{file}'", program::path("word_count").display());
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &command, "/dev/null"]).env("TERM", "xterm").stdin(Stdio::null());
    let Ok(child) = script.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() else {
        eprintln!("not tested: there is no `script` to make a terminal with");
        return;
    };
    let output = program::wait(child);
    let text = stdout(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("iB read, "), "{text}");
    assert!(text.ends_with("200000 word\r\n"), "{text}");
}

#[test]
fn a_closed_output_ends_it_quietly() {
    let folder = Folder::new("word_count-closed");
    // More than a pipe holds.
    let words: String = (0..200_000).map(|number| format!("{number} ")).collect();
    let file = folder.file("words", words.as_bytes());
    let output = run_with_closed_output("word_count", &[&file]);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));

    let mut pipeline = Command::new("sh");
    pipeline.args(["-c", r#""$0" "$1" | head -n 1"#]).arg(program::path("word_count")).arg(&file).stdin(Stdio::null());
    let pipeline = program::output(&mut pipeline);
    assert_eq!((stdout(&pipeline).as_str(), stderr(&pipeline).as_str()), ("1 0\n", ""));
}

#[test]
fn a_full_disk_is_an_error() {
    let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") else { return };
    let mut command = program::command("word_count");
    let output = program::wait(command.arg("README.md").stdout(full).stderr(Stdio::piped()).spawn().unwrap());
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("word_count: could not print: "), "{}", stderr(&output));
}

#[test]
fn more_files_than_may_be_open_at_once() {
    let folder = Folder::new("word_count-many");
    let files: Vec<String> = (0..2000).map(|number| folder.file(&number.to_string(), b"a word\n")).collect();
    let output = run("word_count", &files);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stdout(&output), "2000 a\n2000 word\n");
}
