//! `http_server` as curl sees it, as clients see it that nobody wishes for, under load, and when it is to end.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::program::{self, Folder, PROMPT};
use crate::service::Service;

/// Bytes of a file that does not fit into what the system holds of a connection, so that the server is not done with it before it is read.
const BIG: u64 = 256 << 20;

/// A server with a folder of its own.
struct Server {
    service: Service,
    folder: Folder,
}

impl Server {
    fn new(test: &str) -> Server {
        Server::with(test, &[])
    }

    fn with(test: &str, options: &[&str]) -> Server {
        let folder = Folder::new(test);
        folder.file("index.html", b"<h1>hello</h1>\n");
        folder.file("a b.txt", b"spaces\n");
        folder.file("empty", b"");
        let many: Vec<u8> = (0..3_000_000_u32).map(|at| (at.wrapping_mul(0x9E37_79B9) >> 24) as u8).collect();
        folder.file("many.bin", &many);
        // Which takes no place on a disk.
        File::create(folder.0.join("big")).unwrap().set_len(BIG).unwrap();
        symlink("/etc/passwd", folder.0.join("out")).unwrap();
        let mut command = program::command("http_server");
        let service = Service::start(command.arg(&folder.0).args(["--port", "0"]).args(options));
        Server { service, folder }
    }

    fn connect(&self) -> TcpStream {
        self.service.connect()
    }

    /// What comes back until the server closes.
    fn talk(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(request).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        // A server that refuses closes with something unread, which may come as a reset.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn curl<'a>(&self, arguments: impl IntoIterator<Item = &'a str>, path: &str) -> Vec<u8> {
        let url = format!("{}{path}", self.service.address);
        let mut curl = Command::new("curl");
        curl.args(arguments).args(["--silent", "--path-as-is", "--max-time", "20", &url]);
        let output = curl.stderr(Stdio::inherit()).output();
        output.expect("curl is installed: `.ci/run` sees to it").stdout
    }

    fn status(&self, arguments: &[&str], path: &str) -> String {
        let all = arguments.iter().copied().chain(["--output", "/dev/null", "--write-out", "%{http_code}"]);
        String::from_utf8(self.curl(all, path)).unwrap()
    }

    /// A client that asks for the big file, and reads no more than that it has begun.
    fn deaf(&self) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        stream
    }

    fn terminate(&self) {
        self.service.terminate();
    }

    fn ends_well(self) {
        let ended = self.service.ends_well();
        assert_eq!((&*ended.stdout, &*ended.stderr), ("", ""));
    }
}

/// Reads the head of an answer.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

#[test]
fn files_come_whole_and_in_parts() {
    let server = Server::new("http-files");
    let many = fs::read(server.folder.0.join("many.bin")).unwrap();
    assert!(server.curl([], "/many.bin") == many);
    assert_eq!(server.curl([], "/"), b"<h1>hello</h1>\n");
    assert_eq!(server.curl([], "/a%20b.txt?and=more"), b"spaces\n");
    assert_eq!(server.curl([], "/empty"), b"");
    assert!(server.curl(["--range", "1000000-1999999"], "/many.bin") == many[1_000_000..2_000_000]);
    assert!(server.curl(["--range", "-10"], "/many.bin") == many[many.len() - 10..]);
    assert!(server.curl(["--range", "2999990-"], "/many.bin") == many[2_999_990..]);
    assert_eq!(server.status(&["--range", "0-4"], "/many.bin"), "206");
    assert_eq!(server.status(&["--range", "3000000-"], "/many.bin"), "416");
    // Several parts are none.
    assert_eq!(server.status(&["--range", "0-1,3-4"], "/many.bin"), "200");
    let head = String::from_utf8(server.curl(["--head"], "/many.bin")).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("Content-Length: 3000000\r\n"), "{head}");
    assert!(head.contains("Content-Type: application/octet-stream\r\n"), "{head}");
    // A part is a matter of GET.
    assert_eq!(server.status(&["--head", "--range", "0-4"], "/many.bin"), "200");
    let date = head.lines().find_map(|line| line.strip_prefix("Last-Modified: ")).unwrap();
    let since = |date: &str| server.status(&["--header", &format!("If-Modified-Since: {date}")], "/many.bin");
    assert_eq!(since(date), "304");
    assert_eq!(since("Sun, 06 Nov 1994 08:49:37 GMT"), "200");
    assert_eq!(since("yesterday"), "200");
    server.terminate();
    server.ends_well();
}

#[test]
fn folders_end_with_a_slash() {
    let server = Server::new("http-folders");
    fs::create_dir(server.folder.0.join("in side")).unwrap();
    server.folder.file("in side/index.html", b"inside\n");
    // curl goes where it is told to.
    for path in ["/in%20side/", "/in%20side", "/in%20side?x=1", "//in%20side", "/./in%20side/.", "/in%20side#x"] {
        assert_eq!(server.curl(["--location"], path), b"inside\n", "{path}");
    }
    let head = String::from_utf8(server.curl(["--head"], "//in%20side?x=1")).unwrap();
    assert!(head.starts_with("HTTP/1.1 301 ") && head.contains("\r\nLocation: ./in%20side/?x=1\r\n"), "{head}");
    // An index that is elsewhere, a folder without one, and a file that is no folder.
    fs::create_dir(server.folder.0.join("led-out")).unwrap();
    symlink("/etc/passwd", server.folder.0.join("led-out/index.html")).unwrap();
    assert_eq!(server.status(&[], "/led-out/"), "404");
    fs::create_dir(server.folder.0.join("empty-folder")).unwrap();
    assert_eq!(server.status(&[], "/empty-folder/"), "404");
    assert_eq!(server.status(&[], "/index.html/"), "404");
}

#[test]
fn nothing_outside_is_served() {
    let server = Server::new("http-outside");
    for path in ["/../etc/passwd", "/%2e%2e/etc/passwd", "/x/..%2f..%2fetc/passwd", "/%00", "/%ff"] {
        assert_eq!(server.status(&[], path), "400", "{path}");
    }
    for path in ["/out", "/none", "/index.html/x", "//etc/passwd"] {
        assert_eq!(server.status(&[], path), "404", "{path}");
    }
    let long = format!("/{}", "x".repeat(1000));
    assert_eq!(server.status(&[], &long), "404");
}

#[test]
fn what_is_wrong_is_refused() {
    let server = Server::new("http-wrong");
    assert_eq!(server.status(&["--request", "DELETE"], "/"), "405");
    assert_eq!(server.status(&["--data-binary", "x"], "/"), "405");
    assert_eq!(server.status(&["--header", "Transfer-Encoding: chunked"], "/"), "501");
    let padding = format!("X-Padding: {}", "x".repeat(20_000));
    assert_eq!(server.status(&["--header", &padding], "/"), "431");
    let headers = "A: b\r\n".repeat(100);
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("nonsense\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/3.0\r\nHost: x\r\n\r\n".to_owned(), "505"),
        (format!("GET / HTTP/1.1\r\nHost: x\r\n{headers}\r\n"), "431"),
        ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n".to_owned(), "413"),
        ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\nx".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n".to_owned(), "400"),
        ("GET http:///index.html HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "400"),
        ("GET ftp://x/index.html HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "400"),
        ("GET index.html HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "400"),
        ("GET http://x/../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "400"),
    ] {
        let answer = server.talk(request.as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        assert!(answer.contains("Connection: close\r\n"), "{answer}");
    }
}

#[test]
fn who_is_refused_may_be_sending() {
    let server = Server::new("http-refused");
    let mut stream = server.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n").unwrap();
    let mut answer = head(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 413 Content Too Large\r\n"), "{answer}");
    // A server that has closed would answer these with a reset, and what is left of its answer could be lost.
    for _ in 0..1000 {
        stream.write_all(&[b'x'; 1000]).unwrap();
    }
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("413 Content Too Large\n"), "{answer}");
}

#[test]
fn requests_follow_each_other() {
    let server = Server::new("http-keep-alive");
    // Three in one piece, one of them with a body that nobody wants.
    let answer = server.talk(
        b"GET /a%20b.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nthrowHEAD /many.bin HTTP/1.1\r\nHost: x\r\n\r\n\
          GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET /never HTTP/1.1\r\n\r\n",
    );
    assert_eq!(answer.matches("HTTP/1.1 200 OK\r\n").count(), 3, "{answer}");
    assert!(answer.contains("\r\n\r\nspaces\nHTTP/1.1") && answer.ends_with("<h1>hello</h1>\n"), "{answer}");
    // Byte for byte.
    let mut stream = server.connect();
    for byte in b"GET / HTTP/1.0\r\n\r\n" {
        stream.write_all(&[*byte]).unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("<h1>hello</h1>\n"), "{answer}");
}

#[test]
fn targets_may_have_a_host() {
    let server = Server::new("http-absolute");
    let ask = |target: &str| server.curl(["--request-target", target], "/none");
    assert_eq!(ask("http://somewhere.example/index.html"), b"<h1>hello</h1>\n");
    assert_eq!(ask("HTTP://somewhere.example:80"), b"<h1>hello</h1>\n");
    assert_eq!(ask("http://somewhere.example?x=/none"), b"<h1>hello</h1>\n");
    assert_eq!(ask("http://somewhere.example/a%20b.txt?x"), b"spaces\n");
}

#[test]
fn bodies_are_asked_for_when_they_are_wanted() {
    let server = Server::new("http-expect");
    let ask = |more: &str| {
        let mut stream = server.connect();
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\n{more}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        (head(&mut stream), stream)
    };
    let (first, mut stream) = ask("Expect: 100-Continue\r\nContent-Length: 5\r\n");
    assert_eq!(first, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"throw").unwrap();
    let answer = head(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && !answer.contains("Connection"), "{answer}");
    for (more, status) in [
        // Too much, and it is said before any of it is sent.
        ("Expect: 100-continue\r\nContent-Length: 1000000\r\n", "413 Content Too Large"),
        ("Expect: wonders\r\n", "417 Expectation Failed"),
        // There is nothing to wait for.
        ("Expect: 100-continue\r\n", "200 OK"),
    ] {
        let (answer, _) = ask(more);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{more}: {answer}");
    }
    // Clients of HTTP/1.0 know no 100.
    let answer = server.talk(b"GET / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let arguments = ["--request", "GET", "--header", "Expect: 100-continue", "--data", "x=y"];
    assert_eq!(server.curl(arguments, "/"), b"<h1>hello</h1>\n");
}

#[test]
fn old_clients_are_told_what_becomes_of_the_connection() {
    let server = Server::new("http-old");
    let curl = |options: &[&str]| {
        let all = ["--head", "--http1.0"].iter().chain(options);
        String::from_utf8(server.curl(all.copied(), "/")).unwrap()
    };
    assert!(curl(&[]).contains("\r\nConnection: close\r\n"));
    assert!(curl(&["--header", "Connection: Keep-Alive"]).contains("\r\nConnection: keep-alive\r\n"));
    assert!(curl(&["--header", "Connection: keep-alive, close"]).contains("\r\nConnection: close\r\n"));
    // It may be said anywhere, and among other things.
    for said in [
        "x, CLOSE ,y",
        "keep-alive\r\nConnection: close",
        "close\r\nConnection: keep-alive",
        "\u{fffd}\r\nConnection: close",
    ] {
        for version in ["1.0", "1.1"] {
            let request = format!("GET / HTTP/{version}\r\nHost: x\r\nConnection: {said}\r\n\r\n");
            let answer = server.talk(request.repeat(2).as_bytes());
            assert_eq!(answer.matches("\r\nConnection: close\r\n").count(), 1, "{said}: {answer}");
        }
    }
    let answer = server.talk(b"GET / HTTP/1.0\r\nConnection: x\r\nConnection: keep-alive\r\n\r\n");
    assert!(answer.contains("\r\nConnection: keep-alive\r\n"), "{answer}");
    let request = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let answer = server.talk(&request.repeat(2));
    assert_eq!(answer.matches("\r\nConnection: keep-alive\r\n").count(), 2, "{answer}");
}

#[test]
fn the_slow_are_in_nobodys_way() {
    let server = Server::new("http-slow");
    let slow: Vec<TcpStream> = (0..300)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(b"GET / HTT").unwrap();
            stream
        })
        .collect();
    let deaf: Vec<TcpStream> = (0..20).map(|_| server.deaf()).collect();
    assert_eq!(server.status(&[], "/"), "200");
    drop((slow, deaf));
    assert_eq!(server.status(&[], "/"), "200");
}

#[test]
fn an_answer_on_its_way_arrives_before_the_end() {
    let server = Server::new("http-end");
    let mut idle = server.connect();
    let mut busy = server.connect();
    // The second has come when the server is to end, and is answered too.
    busy.write_all(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let head = head(&mut busy);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    server.terminate();
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
    // From here on it has noticed.
    server.service.listens_no_more();
    let mut body = (&mut busy).take(BIG);
    assert_eq!(std::io::copy(&mut body, &mut std::io::sink()).unwrap(), BIG);
    let mut last = String::new();
    busy.read_to_string(&mut last).unwrap();
    assert!(last.contains("Connection: close\r\n") && last.ends_with("<h1>hello</h1>\n"), "{last}");
    server.ends_well();
}

#[test]
fn clients_that_do_not_read_are_cut_at_the_end() {
    let server = Server::with("http-cut", &["--grace", "0.2"]);
    let _deaf = [server.deaf(), server.deaf()];
    server.terminate();
    let ended = server.service.ends_with(1);
    assert_eq!(ended.stderr, "http_server: 2 answers could not be sent within 200ms\n");
}

#[test]
fn clients_that_do_not_read_are_dropped() {
    let server = Server::with("http-deaf", &["--patience", "0.2"]);
    let mut deaf = server.deaf();
    // What is sent to a server that does not read comes to nothing, until that has gone.
    let start = Instant::now();
    while deaf.write_all(b"x").is_ok() {
        assert!(start.elapsed() < PROMPT, "it is still waited for");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn clients_that_ask_nothing_are_closed() {
    // Long enough to ask in.
    let server = Server::with("http-idle", &["--idle", "3"]);
    let mut idle = server.connect();
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
    let mut asked = server.connect();
    asked.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    asked.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("<h1>hello</h1>\n"), "{answer}");
}

#[test]
fn requests_that_trickle_are_not_waited_for() {
    let server = Server::with("http-trickle", &["--request", "0.2"]);
    let trickle = |begin: &[u8]| {
        let mut stream = server.connect();
        let mut writer = stream.try_clone().unwrap();
        writer.write_all(begin).unwrap();
        // Each byte is progress. It ends when the server has closed.
        let writer = thread::spawn(move || {
            while writer.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(10));
            }
        });
        let answer = head(&mut stream);
        // The server may have closed it already.
        let _ = stream.shutdown(Shutdown::Both);
        writer.join().unwrap();
        answer
    };
    let answer = trickle(b"GET / HTTP/1.1\r\nHost: ");
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    let answer = trickle(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
}

#[test]
fn one_more_than_the_limit_waits() {
    let server = Server::with("http-limit", &["--connections", "1"]);
    let (mut first, mut second) = (server.connect(), server.connect());
    let ask = |stream: &mut TcpStream| stream.write_all(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    ask(&mut second);
    // Time enough for the second to be answered.
    for _ in 0..100 {
        ask(&mut first);
        head(&mut first);
    }
    second.set_nonblocking(true).unwrap();
    assert_eq!(second.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    second.set_nonblocking(false).unwrap();
    drop(first);
    let answer = head(&mut second);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[test]
fn a_load_is_served() {
    let server = Server::new("http-load");
    let url = format!("{}/index.html", server.service.address);
    let output = Command::new("wrk").args(["-t1", "-c64", "-d2", &url]).output();
    let output = output.expect("wrk is installed: `.ci/run` sees to it");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("Requests/sec") && !text.contains("Socket errors") && !text.contains("Non-2xx"), "{text}");
    server.terminate();
    server.ends_well();
}

#[test]
fn what_cannot_be_served_is_said() {
    let refused = |arguments: &[&str]| {
        let output = program::run("http_server", arguments);
        (output.status.code(), program::stderr(&output))
    };
    let (code, text) = refused(&["/nowhere"]);
    assert!(code == Some(1) && text.starts_with("http_server: could not serve /nowhere: "), "{text}");
    let (code, text) = refused(&["/etc/passwd"]);
    assert!(code == Some(1) && text.starts_with("http_server: could not serve /etc/passwd: "), "{text}");
    for arguments in [&[][..], &["--port"], &["--port", "70000", "."], &["--what"], &["a", "b"]] {
        let (code, text) = refused(arguments);
        assert!(code == Some(2) && text.contains("usage:"), "{text}");
    }
    for arguments in
        [["--grace", "NaN"], ["--grace", "-1"], ["--grace", "inf"], ["--idle", "100000"], ["--connections", "0"]]
    {
        let (code, text) = refused(&[".", arguments[0], arguments[1]]);
        let wrong = format!("http_server: {} {}: needs a number", arguments[0], arguments[1]);
        assert!(code == Some(2) && text.starts_with(&wrong), "{text}");
    }
    let output = program::run("http_server", [OsStr::new("."), OsStr::new("--idle"), OsStr::from_bytes(b"1\xff")]);
    let text = program::stderr(&output);
    assert!(
        output.status.code() == Some(2) && text.starts_with("http_server: --idle 1\u{fffd}: is no text\n"),
        "{text}"
    );
    // No time at all is the least that there is.
    let server = Server::with("http-hurry", &["--patience", "0"]);
    assert_eq!(server.curl([], "/"), b"<h1>hello</h1>\n");
    let server = Server::new("http-twice");
    let port = server.service.host().rsplit(':').next().unwrap();
    let (code, text) = refused(&[".", "--port", port]);
    assert!(code == Some(1) && text.contains(&format!("could not listen at port {port}: ")), "{text}");
}
