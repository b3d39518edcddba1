//! `parallel_grep` beside `grep -rnF`, on what is odd, large, many or not there; and how it ends when it is not wanted any more.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Instant;

use crate::program::{
    self, Folder, LONG, PROMPT, make_fifo, open_fifo, run, run_with_closed_output, signal, stderr, stdout,
    wait_promptly, within,
};

/// Bytes that the example reads at once.
const PIECE: usize = 96 << 10;

/// Whether there is a `grep` to compare with: other ones word their messages differently.
fn has_grep() -> bool {
    let version = Command::new("grep").arg("--version").output();
    let is_gnu = version.is_ok_and(|output| output.stdout.starts_with(b"grep (GNU grep) 3."));
    if !is_gnu {
        eprintln!("not tested: there is no GNU grep 3 to compare with");
    }
    is_gnu
}

/// How both programs are run.
struct Setting<'a> {
    locale: &'a str,
    folder: &'a Path,
    /// Whether to run them as a user who may not read everything.
    is_nobody: bool,
}

impl Setting<'_> {
    fn run(&self, mut command: Command, pattern: &OsStr, paths: &[OsString]) -> io::Result<Output> {
        command
            .arg("--")
            .arg(pattern)
            .args(paths)
            .env("LC_ALL", self.locale)
            .current_dir(self.folder)
            .stdin(Stdio::null());
        if self.is_nobody {
            command.uid(65534);
        }
        Ok(program::wait(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?))
    }

    #[track_caller]
    fn finds_the_same(&self, pattern: impl AsRef<OsStr>, paths: &[impl AsRef<OsStr>]) -> Output {
        let (pattern, paths) = (pattern.as_ref(), paths.iter().map(OsString::from).collect::<Vec<_>>());
        let mut grep = Command::new("grep");
        grep.arg("-rnF");
        let theirs = self.run(grep, pattern, &paths).unwrap();
        let ours = self.run(program::command("parallel_grep"), pattern, &paths).unwrap();
        let what = format!("{pattern:?} in {paths:?}, {}", self.locale);
        assert_same_lines(&theirs.stdout, &ours.stdout, &what);
        assert_eq!(notes("grep", &theirs), notes("parallel_grep", &ours), "{what}");
        assert_eq!(ours.status.code(), theirs.status.code(), "{what}");
        ours
    }
}

#[track_caller]
fn finds_the_same(folder: &Path, pattern: impl AsRef<OsStr>, paths: &[impl AsRef<OsStr>]) -> Output {
    Setting { locale: "C", folder, is_nobody: false }.finds_the_same(&pattern, paths);
    Setting { locale: "C.UTF-8", folder, is_nobody: false }.finds_the_same(pattern, paths)
}

fn sorted(text: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<_> = text.split_inclusive(|&byte| byte == b'\n').collect();
    lines.sort();
    lines
}

#[track_caller]
fn assert_same_lines(theirs: &[u8], ours: &[u8], what: &str) {
    let (theirs, ours) = (sorted(theirs), sorted(ours));
    // Not `assert_eq!`: the difference of two long texts is no help.
    if theirs != ours {
        let (left, right): (HashSet<_>, HashSet<_>) = (theirs.iter().collect(), ours.iter().collect());
        let some = |lines: Vec<&&&[u8]>| {
            lines.iter().take(5).map(|line| String::from_utf8_lossy(line).into_owned()).collect::<Vec<_>>()
        };
        let missing = some(left.difference(&right).collect());
        let excess = some(right.difference(&left).collect());
        panic!("{what}: {} lines and not {}; missing {missing:?}; too many {excess:?}", ours.len(), theirs.len());
    }
}

/// What was written to stderr, in an order and without what tells one program from the other.
fn notes(program: &str, output: &Output) -> Vec<String> {
    let mut notes: Vec<_> = stderr(output)
        .lines()
        .map(|line| {
            let line = line.strip_prefix(program).unwrap_or_else(|| panic!("not a note of {program}: {line}"));
            line.split(" (os error").next().unwrap().to_owned()
        })
        .collect();
    notes.sort();
    notes
}

/// A tree with one of everything that is odd.
fn odd_tree(test: &str) -> Folder {
    let folder = Folder::new(&format!("parallel_grep-{test}"));
    let root = folder.0.join("tree");
    let all_bytes: Vec<u8> = (0..=255).collect();
    let files: &[(&str, &[u8])] = &[
        ("plain", b"a fn b\nnothing\nfn fn\n"),
        ("empty", b""),
        ("one newline", b"\n"),
        ("only newlines", b"\n\n\n"),
        ("no newline at the end", b"nothing\nfn"),
        ("dos", b"fn\r\n\r\nnothing\r\nfn\r\n"),
        ("mac", b"fn\rfn\r"),
        ("binary", b"fn\nfn \0 fn\nfn\n"),
        ("binary, no match", b"f\0n\n\0"),
        ("binary, no line", b"\0\0\0fn"),
        ("not utf-8", b"fn caf\xe9\nfn caf\xc3\xa9\ncaf\xe9\n\xff fn"),
        ("not utf-8 where it does not match", b"caf\xe9\nfn\n"),
        ("utf-8", "fn café fn\n\u{feff}fn\n日本fn\n".as_bytes()),
        ("all bytes", &all_bytes),
        ("the name:1:fn", b"fn\nfn:2:fn\n"),
        (".hidden", b"fn\n"),
        ("-x", b"fn\n"),
        ("sub/below", b"fn\n"),
        ("sub/.hidden/deeper/below", b"fn\n"),
    ];
    for (name, content) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let odd_name = |name: &[u8]| root.join(OsStr::from_bytes(name));
    fs::write(odd_name(b"n\xe4me \xff"), b"fn in a file\n").unwrap();
    fs::create_dir(odd_name(b"folder \xfe\n")).unwrap();
    fs::write(odd_name(b"folder \xfe\n/new\nline"), b"fn in a folder\n").unwrap();
    fs::create_dir(root.join("nothing")).unwrap();
    symlink("plain", root.join("link")).unwrap();
    symlink("sub", root.join("link to a folder")).unwrap();
    symlink("nowhere", root.join("dangling link")).unwrap();
    symlink("..", root.join("sub/loop")).unwrap();
    symlink("itself", root.join("itself")).unwrap();
    make_fifo(&root.join("pipe"));
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    folder
}

#[test]
fn finds_what_grep_finds_where_it_is_odd() {
    if !has_grep() {
        return;
    }
    let folder = odd_tree("odd");
    let not_utf8 = OsStr::from_bytes(b"caf\xe9");
    for pattern in ["fn", "", "fn ", "f.n", "nothing", "absent", "\r", "é", "fn café", "*", ":"] {
        let output = finds_the_same(&folder.0, pattern, &["tree"]);
        assert_eq!(output.stdout.is_empty(), matches!(pattern, "absent" | "f.n" | "*"), "{pattern}");
    }
    finds_the_same(&folder.0, not_utf8, &["tree"]);
    for paths in [
        &["tree/"][..],
        &["tree//"],
        &[".//tree/."],
        &["."],
        &["tree/sub/../.."],
        // Twice is twice.
        &["tree", "tree"],
        &["tree/plain", "tree/plain"],
        // One that is no directory goes without its name.
        &["tree/plain"],
        &["tree/link"],
        &["tree/binary"],
        &["tree/not utf-8"],
        &["tree/-x"],
        &["tree/empty"],
        &["tree/plain", "tree/empty"],
        // Links on the command line are followed.
        &["tree/link to a folder"],
        &["tree/link", "tree/link to a folder"],
        &["tree/sub/loop/sub/loop"],
        &["tree/plain", "tree/sub"],
        &["tree/dangling link"],
        &["tree/itself", "tree/plain"],
        &["tree/nothing"],
        &["missing"],
        &["missing", "tree", ""],
        &["tree/plain/below", "tree/socket"],
        &["/dev/null"],
    ] {
        finds_the_same(&folder.0, "fn", paths);
    }
}

#[test]
fn lines_and_words_go_on_across_pieces() {
    if !has_grep() {
        return;
    }
    let folder = Folder::new("parallel_grep-pieces");
    // At each place around the border: the word, the newline before it, and the end of the file.
    for shift in 0..6 {
        let before = "x".repeat(PIECE - 4 + shift);
        folder.file(&format!("word {shift}"), format!("{before}fn y\nfn").as_bytes());
        folder.file(&format!("line {shift}"), format!("{before}\nfn\n\nfn\n").as_bytes());
        folder.file(&format!("end {shift}"), format!("fn{}\n", &before[2..]).as_bytes());
        folder.file(&format!("newlines {shift}"), format!("{}fn", "\n".repeat(PIECE - 2 + shift)).as_bytes());
    }
    folder
        .file("longer than three pieces", format!("{}fn{}\nfn\n", "x".repeat(PIECE), "y".repeat(3 * PIECE)).as_bytes());
    folder.file("binary without lines", &[&[0; 4 * PIECE + 1][..], b"fn", &[0; PIECE]].concat());
    for pattern in ["fn", "xfn", "", "absent"] {
        finds_the_same(&folder.0, pattern, &["."]);
    }
}

#[test]
fn what_comes_pieces_before_the_first_nul_is_printed() {
    if !has_grep() {
        return;
    }
    // Without long lines, after which `grep` reads in larger pieces.
    let folder = Folder::new("parallel_grep-late");
    let lines: String = (0..60_000).map(|number| format!("line {number} fn\n")).collect();
    let after = "nothing\n".repeat(20_000);
    folder.file("nul in the last piece", format!("{lines}\0\nfn\n").as_bytes());
    folder.file("nul in the last piece, no match there", format!("{lines}{after}\0\n").as_bytes());
    for pattern in ["fn", "line 5", ""] {
        let output = finds_the_same(&folder.0, pattern, &["."]);
        assert!(output.stdout.len() > PIECE && stderr(&output).contains("binary file matches"));
    }
}

#[test]
fn the_lines_of_a_file_are_together_and_in_order() {
    let folder = Folder::new("parallel_grep-together");
    let long: String = (0..20_000).map(|number| format!("fn {number}\n")).collect();
    let files = 100;
    for number in 0..files {
        // Some print more than a batch.
        folder.file(&number.to_string(), if number % 10 == 0 { long.as_bytes() } else { b"fn 0\nfn 1\n" });
    }
    let mut command = program::command("parallel_grep");
    let output = program::output(command.args(["fn", "."]).current_dir(&folder.0));
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    let mut seen = HashSet::new();
    let mut last = ("", 0);
    for line in text.lines() {
        let (name, rest) = line.split_once(':').unwrap();
        let number: usize = rest.split_once(':').unwrap().0.parse().unwrap();
        if name != last.0 {
            assert!(seen.insert(name), "the lines of {name} are not together");
            last = (name, 0);
        }
        assert_eq!(number, last.1 + 1, "{name}");
        last.1 = number;
    }
    assert_eq!((seen.len(), text.lines().count()), (files, 10 * 20_000 + 90 * 2));
}

#[test]
fn more_files_than_may_be_open_and_more_folders_than_a_stack_holds() {
    if !has_grep() {
        return;
    }
    let folder = Folder::new("parallel_grep-many");
    for number in 0..1000 {
        folder.file(&number.to_string(), format!("{number}\nfn\n").as_bytes());
    }
    let mut deep = folder.0.clone();
    for _ in 0..500 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("f"), b"fn 7\n").unwrap();
    let ours = |pattern: &str| {
        let limited = r#"ulimit -n 100 && exec "$0" "$1" ."#;
        let mut command = Command::new("sh");
        command.args(["-c", limited]).arg(program::path("parallel_grep")).arg(pattern).current_dir(&folder.0);
        let output = program::output(command.stdin(Stdio::null()));
        assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
        output.stdout
    };
    for pattern in ["fn", "7"] {
        let theirs = Command::new("grep").args(["-rnF", pattern, "."]).current_dir(&folder.0).output().unwrap();
        assert_same_lines(&theirs.stdout, &ours(pattern), pattern);
    }
}

/// Which of a folder's files a program has open.
fn open_files(child: &Child, folder: &Path) -> HashSet<PathBuf> {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap();
    let open = descriptors.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    open.filter(|path| path.starts_with(folder)).collect()
}

#[test]
fn so_many_files_are_searched_at_once_and_no_more() {
    if !Path::new("/proc/self/fd").exists() {
        return;
    }
    let folder = Folder::new("parallel_grep-flight");
    let path = folder.0.canonicalize().unwrap();
    let pipes: Vec<_> = (0..200).map(|number| path.join(number.to_string())).collect();
    pipes.iter().for_each(|pipe| make_fifo(pipe));
    // Both ends: whoever opens one of them can read, and waits.
    let open = |pipe: &PathBuf| File::options().read(true).write(true).open(pipe).unwrap();
    let writers: Vec<_> = pipes.iter().map(open).collect();
    let child = start(&pipes.iter().fold(vec!["fn".as_ref()], |mut arguments: Vec<&OsStr>, pipe| {
        arguments.push(pipe.as_ref());
        arguments
    }));
    for (pipe, mut writer) in pipes.iter().zip(writers) {
        let start = Instant::now();
        let mut open = HashSet::new();
        while !open.contains(pipe) {
            assert!(start.elapsed() < PROMPT, "{} is not searched", pipe.display());
            open = open_files(&child, &path);
            assert!(open.len() <= 64, "{} files are searched at once", open.len());
        }
        writer.write_all(b"fn\n").unwrap();
    }
    let output = wait_promptly(child);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
    assert_eq!(stdout(&output).lines().count(), pipes.len());
}

#[test]
fn finds_what_grep_finds_in_this_project() {
    if !has_grep() {
        return;
    }
    // Not in `target`, in which others may be writing.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<_> = names.filter(|name| name != "target" && !name.as_bytes().starts_with(b".")).collect();
    for pattern in ["fn ", "e", "// SAFETY"] {
        let output = finds_the_same(root, pattern, &names);
        assert!(output.status.success());
    }
}

#[test]
fn finds_what_grep_finds_in_the_sources_of_other_crates() {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let Some(source) = home.map(|home| home.join("registry/src")).filter(|source| source.is_dir()) else { return };
    if !has_grep() {
        return;
    }
    // A few: tests with odd bytes, and some large files.
    let crates = ["libc-", "memchr-", "corosensei-", "boost-", "crossbeam-", "regex-", "syn-", "tokio-"];
    let is_chosen = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().as_bytes();
        crates.iter().any(|start| name.starts_with(start.as_bytes()))
    };
    let list = |path: PathBuf| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let chosen: Vec<_> = list(source).filter(|path| path.is_dir()).flat_map(list).filter(is_chosen).collect();
    if chosen.is_empty() {
        return;
    }
    let setting = Setting { locale: "C.UTF-8", folder: Path::new("/"), is_nobody: false };
    setting.finds_the_same("fn ", &chosen);
    setting.finds_the_same("unsafe", &chosen);
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_searched() {
    if !has_grep() {
        return;
    }
    let folder = Folder::new("parallel_grep-unreadable");
    folder.file("good", b"fn\n");
    folder.file("secret", b"fn\n");
    fs::create_dir(folder.0.join("locked")).unwrap();
    folder.file("locked/inside", b"fn\n");
    // Opens, and cannot be read from its beginning.
    if Path::new("/proc/self/mem").exists() {
        let output = finds_the_same(&folder.0, "fn", &["/proc/self/mem", "good"]);
        assert_eq!((stdout(&output).as_str(), output.status.code()), ("good:1:fn\n", Some(2)));
    }
    for name in ["secret", "locked"] {
        fs::set_permissions(folder.0.join(name), fs::Permissions::from_mode(0o000)).unwrap();
    }
    // Nothing is hidden from root, who may become somebody else, if that one may run our program.
    let is_root = fs::read(folder.0.join("secret")).is_ok();
    let setting = Setting { locale: "C", folder: &folder.0, is_nobody: is_root };
    if is_root && setting.run(program::command("parallel_grep"), "--help".as_ref(), &[]).is_err() {
        eprintln!("not tested: nothing is hidden from the user of the test");
    } else {
        let output = setting.finds_the_same("fn", &["."]);
        assert_eq!((stdout(&output).as_str(), output.status.code()), ("./good:1:fn\n", Some(2)));
        let notes = stderr(&output);
        assert!(
            notes.contains("./secret: Permission denied") && notes.contains("./locked: Permission denied"),
            "{notes}"
        );
        setting.finds_the_same("fn", &["secret"]);
        setting.finds_the_same("absent", &["secret", "good"]);
    }
    // So that it can be removed.
    fs::set_permissions(folder.0.join("locked"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn its_own_output_is_not_searched() {
    if !has_grep() {
        return;
    }
    let folder = Folder::new("parallel_grep-output");
    folder.file("good", b"fn\n");
    let write = |mut command: Command| {
        let output = File::options().append(true).create(true).open(folder.0.join("output")).unwrap();
        command.current_dir(&folder.0).stdin(Stdio::null()).stdout(output).stderr(Stdio::piped());
        let errors = program::wait(command.spawn().unwrap());
        (fs::read(folder.0.join("output")).unwrap(), errors)
    };
    fs::write(folder.0.join("output"), b"fn\n").unwrap();
    let mut ours = program::command("parallel_grep");
    ours.args(["fn", "."]);
    let (printed, output) = write(ours);
    assert_eq!(String::from_utf8_lossy(&printed), "fn\n./good:1:fn\n");
    fs::write(folder.0.join("output"), b"fn\n").unwrap();
    let mut grep = Command::new("grep");
    grep.args(["-rnF", "fn", "."]);
    let (theirs, expected) = write(grep);
    assert_eq!(printed, theirs);
    assert_eq!(notes("parallel_grep", &output), notes("grep", &expected));
    assert_eq!(output.status.code(), expected.status.code());
}

fn start(arguments: &[&OsStr]) -> Child {
    let mut command = program::command("parallel_grep");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn ctrl_c_ends_it_while_files_are_being_read() {
    let folder = Folder::new("parallel_grep-interrupt");
    let (silent, unopened) = (folder.0.join("silent"), folder.0.join("unopened"));
    make_fifo(&silent);
    make_fifo(&unopened);
    let child = start(&["fn".as_ref(), unopened.as_ref(), silent.as_ref()]);
    // Returns when the other end has been opened, to read what is never written.
    let _writer = open_fifo(&silent);
    signal(&child, "INT");
    let output = wait_promptly(child);
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{}", stderr(&output));
}

#[test]
fn ctrl_c_ends_it_while_nobody_reads_what_it_prints() {
    let folder = Folder::new("parallel_grep-stalled");
    // More than a pipe holds.
    let file = folder.file("file", "a line\n".repeat(1_000_000).as_bytes());
    let mut child = start(&["line".as_ref(), file.as_ref()]);
    let mut printed = child.stdout.take().unwrap();
    within(PROMPT, child.id(), || printed.read_exact(&mut [0])).0.unwrap();
    signal(&child, "INT");
    let output = wait_promptly(child);
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(output.stderr.is_empty(), "{}", stderr(&output));
}

#[test]
fn a_closed_output_ends_it_quietly() {
    let folder = Folder::new("parallel_grep-closed");
    let file = folder.file("lines", "a line\n".repeat(1_000_000).as_bytes());
    let output = run_with_closed_output("parallel_grep", &["line", &file]);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));

    // Others still read, or wait for what nobody writes.
    let silent = folder.0.join("silent");
    make_fifo(&silent);
    let mut command = Command::new("sh");
    command.args(["-c", r#""$0" line "$2" "$1" "$1" | head -n 1"#]).arg(program::path("parallel_grep"));
    command.arg(&file).arg(&silent).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = wait_promptly(command.spawn().unwrap());
    assert_eq!((stdout(&output), stderr(&output)), (format!("{file}:1:a line\n"), String::new()));
}

#[test]
fn what_is_found_is_printed_while_others_are_searched() {
    let folder = Folder::new("parallel_grep-early");
    let file = folder.file("file", b"fn\n");
    let silent = folder.0.join("silent");
    make_fifo(&silent);
    let mut child = start(&["fn".as_ref(), silent.as_ref(), file.as_ref()]);
    let mut printed = vec![0; file.len()];
    let (id, output) = (child.id(), child.stdout.as_mut().unwrap());
    within(PROMPT, id, || output.read_exact(&mut printed)).0.unwrap();
    assert_eq!(printed, file.as_bytes());
    open_fifo(&silent).write_all(b"the fn").unwrap();
    let output = wait_promptly(child);
    assert!(output.status.success());
    assert_eq!(stdout(&output), format!(":1:fn\n{}:1:the fn\n", silent.display()));
}

#[test]
fn a_full_disk_is_an_error() {
    let Ok(full) = File::options().write(true).open("/dev/full") else { return };
    let mut command = program::command("parallel_grep");
    let output = program::wait(command.args(["fn", "src"]).stdout(full).stderr(Stdio::piped()).spawn().unwrap());
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).starts_with("parallel_grep: could not print: "), "{}", stderr(&output));
}

/// The most memory that a process has had, in KiB.
fn peak(child: &Child) -> Option<usize> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn memory_does_not_grow_with_the_file_nor_with_what_is_found() {
    let folder = Folder::new("parallel_grep-memory");
    let endless = folder.0.join("endless");
    make_fifo(&endless);
    let mut child = start(&["line".as_ref(), endless.as_ref()]);
    let mut printed = child.stdout.take().unwrap();
    let reader = thread::spawn(move || io::copy(&mut printed, &mut io::sink()).unwrap());
    let mut writer = open_fifo(&endless);
    let lines = "a line that is found\n".repeat(5000);
    let length = 64 << 20;
    let write = || (0..length / lines.len()).try_for_each(|_| writer.write_all(lines.as_bytes()));
    within(LONG, child.id(), write).0.unwrap();
    let peak = peak(&child);
    drop(writer);
    assert!(wait_promptly(child).status.success());
    assert!(reader.join().unwrap() > length as u64);
    if let Some(peak) = peak {
        assert!(peak < 32 << 10, "{peak} KiB for {} KiB", length >> 10);
    }
}

#[test]
fn the_status_is_that_of_grep() {
    let folder = Folder::new("parallel_grep-status");
    let file = folder.file("file", b"-fn\nfn\n");
    let missing = folder.0.join("missing").to_str().unwrap().to_owned();
    for (arguments, status, printed) in [
        (&["fn", &file][..], 0, "1:-fn\n2:fn\n"),
        (&["--", "-fn", &file], 0, "1:-fn\n"),
        (&["fn", "--", &file], 0, "1:-fn\n2:fn\n"),
        (&["--", "--", &file], 1, ""),
        (&["absent", &file], 1, ""),
        (&["fn", &missing], 2, ""),
        (&["absent", &file, &missing], 2, ""),
    ] {
        let output = run("parallel_grep", arguments);
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(status), printed), "{arguments:?}");
        assert_eq!(stderr(&output).is_empty(), status != 2, "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn explains_what_it_cannot_read() {
    for line in [&b""[..], b"fn", b"-- fn", b"-v fn", b"fn -", b"-\xff fn ."] {
        let arguments: Vec<_> =
            line.split(|&byte| byte == b' ').filter(|word| !word.is_empty()).map(OsStr::from_bytes).collect();
        let output = run("parallel_grep", &arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty());
        assert!(stderr(&output).contains("usage: parallel_grep [--] PATTERN PATH..."), "{}", stderr(&output));
    }
    let output = run("parallel_grep", ["two\nlines", "."]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("no newline"), "{}", stderr(&output));
    let output = run("parallel_grep", ["--help"]);
    assert!(output.status.success() && stdout(&output).starts_with("usage: "));
}
