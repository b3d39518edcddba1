//! `redis_server` as redis-cli and redis-benchmark see it, as clients see it that nobody wishes for, and when it is to end.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::program::{self, PROMPT, run_with_input, signal, stderr, stdout, wait_promptly};
use crate::service::Service;

const TOOLS: &str =
    "redis-cli and redis-benchmark are installed: Debian has them in `redis-tools`, and `.ci/run` sees to it";

struct Server(Service);

impl Server {
    fn new() -> Server {
        Server(Service::start(program::command("redis_server").args(["--port", "0"])))
    }

    fn port(&self) -> &str {
        self.0.host().rsplit(':').next().unwrap()
    }

    fn connect(&self) -> TcpStream {
        self.0.connect()
    }

    /// What redis-cli prints for commands, each a line.
    fn cli(&self, commands: &str) -> String {
        let output = run_with_input(self.tool("redis-cli", &["--no-raw"]), commands.as_bytes());
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    }

    #[track_caller]
    fn says(&self, talk: &[(&str, &str)]) {
        let commands: String = talk.iter().map(|(command, _)| format!("{command}\n")).collect();
        let replies: String = talk.iter().map(|(_, reply)| format!("{reply}\n")).collect();
        assert_eq!(self.cli(&commands), replies);
    }

    fn tool(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(name);
        assert!(Command::new(name).arg("--version").output().is_ok(), "{TOOLS}");
        command.args(["-h", "127.0.0.1", "-p", self.port()]).args(arguments);
        command
    }

    /// What comes back for bytes until the server closes.
    fn talk(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Asks for its keys, without looking at one, until that is so.
    #[track_caller]
    fn wait_for_keys(&self, is_so: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PROMPT;
        loop {
            let info = self.cli("INFO\n");
            if is_so(info.split_once("# Keyspace").unwrap().1.trim()) {
                return;
            }
            assert!(Instant::now() < deadline, "{info}");
        }
    }

    /// Bytes of memory that it has.
    fn resident(&self) -> usize {
        let id = self.0.child().id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    }

    fn ends_well(self) {
        self.0.terminate();
        let ended = self.0.ends_well();
        assert_eq!((&*ended.stdout, &*ended.stderr), ("", ""));
    }
}

/// A request as clients send it.
fn request(arguments: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

#[track_caller]
fn expect(stream: &mut TcpStream, expected: &[u8]) {
    let mut found = vec![0; expected.len()];
    stream.read_exact(&mut found).unwrap();
    assert!(found == expected, "{}", found[..found.len().min(200)].escape_ascii());
}

const WRONG_TYPE: &str = "(error) WRONGTYPE Operation against a key holding the wrong kind of value";
const NOT_AN_INTEGER: &str = "(error) ERR value is not an integer or out of range";

#[test]
fn commands_do_what_redis_does() {
    let server = Server::new();
    server.says(&[
        ("PING", "PONG"),
        ("PING hello", "\"hello\""),
        ("ECHO \"a b\\x00\"", "\"a b\\x00\""),
        ("GET a", "(nil)"),
        ("SET a 1", "OK"),
        ("GET a", "\"1\""),
        ("set a 2 nx", "(nil)"),
        ("SET b 2 XX", "(nil)"),
        ("SET b 2 NX", "OK"),
        ("INCR a", "(integer) 2"),
        ("INCR c", "(integer) 1"),
        ("EXISTS a b c nothing a", "(integer) 4"),
        ("DEL a b nothing", "(integer) 2"),
        ("GET a", "(nil)"),
        ("LPUSH l 1 2 3", "(integer) 3"),
        ("LPUSH l 4", "(integer) 4"),
        ("LRANGE l 0 -1", "1) \"4\"\n2) \"3\"\n3) \"2\"\n4) \"1\""),
        ("LRANGE l 1 2", "1) \"3\"\n2) \"2\""),
        ("LRANGE l -2 100", "1) \"2\"\n2) \"1\""),
        ("LRANGE l -100 0", "1) \"4\""),
        ("LRANGE l 2 1", "(empty array)"),
        ("LRANGE l 4 10", "(empty array)"),
        ("LRANGE l 0 -5", "(empty array)"),
        ("LRANGE l 0 -4", "1) \"4\""),
        ("LRANGE l -9223372036854775808 9223372036854775807", "1) \"4\"\n2) \"3\"\n3) \"2\"\n4) \"1\""),
        ("LRANGE nothing 0 -1", "(empty array)"),
        ("SELECT 0", "OK"),
        ("CONFIG GET save", "1) \"save\"\n2) \"\""),
        ("CLIENT SETNAME me", "OK"),
        ("HELLO 3", "(error) NOPROTO unsupported protocol version"),
        ("COMMAND DOCS", "(empty array)"),
        ("PUBLISH nobody hears", "(integer) 0"),
        ("UNSUBSCRIBE", "1) \"unsubscribe\"\n2) (nil)\n3) (integer) 0"),
    ]);
    assert_eq!(server.talk(b"PING\r\nQUIT\r\nPING\r\n"), "+PONG\r\n+OK\r\n");
    server.ends_well();
}

#[test]
fn what_is_wrong_is_said_in_redis_words() {
    let server = Server::new();
    server.says(&[
        ("LPUSH l 1", "(integer) 1"),
        ("SET t text", "OK"),
        ("GET l", WRONG_TYPE),
        ("INCR l", WRONG_TYPE),
        ("LPUSH t 1", WRONG_TYPE),
        ("LRANGE t 0 1", WRONG_TYPE),
        ("INCR t", NOT_AN_INTEGER),
        ("SET n 9223372036854775807", "OK"),
        ("INCR n", "(error) ERR increment or decrement would overflow"),
        ("LRANGE l 0 x", NOT_AN_INTEGER),
        ("SELECT 1", "(error) ERR DB index is out of range"),
        ("SET k v EX x", NOT_AN_INTEGER),
        ("SET k v EX 0", "(error) ERR invalid expire time in 'set' command"),
        ("SET k v PX -1", "(error) ERR invalid expire time in 'set' command"),
        ("SET k v EX 9223372036854775807", "(error) ERR invalid expire time in 'set' command"),
        ("SET k v EX 1 PX 1", "(error) ERR syntax error"),
        ("SET k v NX XX", "(error) ERR syntax error"),
        ("SET k v EX", "(error) ERR syntax error"),
        ("SET k v WHAT", "(error) ERR syntax error"),
        ("EXPIRE t 9223372036854775807", "(error) ERR invalid expire time in 'expire' command"),
        ("GET k", "(nil)"),
        ("NONE of \"th\\nis\"", "(error) ERR unknown command 'NONE', with args beginning with: 'of' 'th is' "),
    ]);
    for (command, few) in [
        ("get", "GET"),
        ("get", "GET a b"),
        ("set", "SET a"),
        ("del", "DEL"),
        ("incr", "INCR"),
        ("lpush", "LPUSH l"),
        ("lrange", "LRANGE l 1"),
        ("expire", "EXPIRE t"),
        ("echo", "ECHO"),
        ("ping", "PING a b"),
        ("publish", "PUBLISH a"),
    ] {
        server.says(&[(few, &format!("(error) ERR wrong number of arguments for '{command}' command"))]);
    }
    // One line, whatever is in it.
    let mut stream = server.connect();
    stream.write_all(&request(&[b"A\r\n+OK"])).unwrap();
    expect(&mut stream, b"-ERR unknown command 'A  +OK', with args beginning with: \r\n");
    stream.write_all(b"SUBSCRIBE\r\n").unwrap();
    expect(&mut stream, b"-ERR wrong number of arguments for 'subscribe' command\r\n");
}

#[test]
fn keys_expire() {
    let server = Server::new();
    server.says(&[
        ("SET a 1 EX 100", "OK"),
        ("TTL a", "(integer) 100"),
        ("INCR a", "(integer) 2"),
        ("TTL a", "(integer) 100"),
        ("SET a 1", "OK"),
        ("TTL a", "(integer) -1"),
        ("TTL nothing", "(integer) -2"),
        ("EXPIRE nothing 1", "(integer) 0"),
        ("EXPIRE a 100", "(integer) 1"),
        ("TTL a", "(integer) 100"),
        ("EXPIRE a 0", "(integer) 1"),
        ("EXISTS a", "(integer) 0"),
        ("SET kept 1 PX 1", "OK"),
        ("SET kept 2", "OK"),
        ("SET late 1 EX 1000", "OK"),
        ("SET soon 1 PX 5", "OK"),
        ("LPUSH list 1", "(integer) 1"),
        ("PEXPIRE list 5", "(integer) 1"),
    ]);
    // Nobody asks for them: the sweeper finds them, though it was waiting for a later one.
    server.wait_for_keys(|keys| keys == "db0:keys=2,expires=1,avg_ttl=0");
    server.says(&[
        ("EXISTS soon list", "(integer) 0"),
        ("GET kept", "\"2\""),
        ("SET soon 1 EX 2000 NX", "OK"),
        ("PEXPIRE late 1", "(integer) 1"),
    ]);
    server.wait_for_keys(|keys| keys == "db0:keys=2,expires=1,avg_ttl=0");
    server.ends_well();
}

#[test]
fn an_expired_key_is_gone_before_it_is_removed() {
    let server = Server::new();
    let mut stream = server.connect();
    let child = server.0.child();
    for _ in 0..30 {
        stream.write_all(&request(&[b"SET", b"k", b"1", b"PX", b"4"])).unwrap();
        expect(&mut stream, b"+OK\r\n");
        signal(child, "STOP");
        // Its time comes while nothing runs that could remove it. Then the one that sweeps and the one that asks begin together.
        std::thread::sleep(Duration::from_millis(5));
        stream.write_all(b"GET k\r\nEXISTS k\r\nPTTL k\r\nDEL k\r\nEXPIRE k 1\r\nSET k 1 XX\r\n").unwrap();
        signal(child, "CONT");
        expect(&mut stream, b"$-1\r\n:0\r\n:-2\r\n:0\r\n:0\r\n$-1\r\n");
    }
}

#[test]
fn many_requests_come_at_a_time() {
    let server = Server::new();
    let sets: Vec<u8> = (0..5000).flat_map(|n| request(&[b"SET", format!("k{n}").as_bytes(), &[b'v'; 100]])).collect();
    let output = run_with_input(server.tool("redis-cli", &["--pipe"]), &sets);
    assert!(stdout(&output).contains("errors: 0, replies: 5000"), "{}", stdout(&output));
    server.says(&[("EXISTS k0 k4999 k5000", "(integer) 2")]);
    // One piece, with lines between arrays; and byte for byte.
    let mut stream = server.connect();
    let talk = [&*request(&[b"ECHO", b"a\r\n"]), b"ECHO 'b'\r\n\r\n", &request(&[b"PING"])].concat();
    stream.write_all(&talk).unwrap();
    expect(&mut stream, b"$3\r\na\r\n\r\n$1\r\nb\r\n+PONG\r\n");
    for byte in &talk {
        stream.write_all(&[*byte]).unwrap();
    }
    expect(&mut stream, b"$3\r\na\r\n\r\n$1\r\nb\r\n+PONG\r\n");
    // What has come is answered, though nothing more will.
    stream.write_all(&talk[..talk.len() - 3]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"$3\r\na\r\n\r\n$1\r\nb\r\n");
    server.ends_well();
}

#[test]
fn the_benchmark_finds_nothing_wrong() {
    let server = Server::new();
    let tests = ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "LPUSH", "LRANGE_100"];
    for pipeline in ["1", "16"] {
        let asked = "ping,set,get,incr,lpush,lrange_100";
        let arguments = ["-n", "3000", "-c", "20", "-P", pipeline, "--csv", "-t", asked];
        let child = server.tool("redis-benchmark", &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let output = wait_promptly(child.expect(TOOLS));
        assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
        for test in tests {
            assert!(stdout(&output).contains(&format!("\n\"{test}")), "{test}: {}", stdout(&output));
        }
    }
    let counter = server.cli("GET counter:__rand_int__\n");
    let count: u32 = counter.trim().trim_matches('"').parse().unwrap();
    assert!(count >= 6000, "{count}");
    server.ends_well();
}

/// redis-cli that listens.
struct Listener {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Listener {
    fn new(server: &Server, channels: &[&str]) -> Listener {
        let mut command = server.tool("redis-cli", &["SUBSCRIBE"]);
        let mut child = command.args(channels).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect(TOOLS);
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut listener = Listener { child, lines };
        for (number, channel) in channels.iter().enumerate() {
            listener.hears(&["subscribe", channel, &(number + 1).to_string()]);
        }
        listener
    }

    #[track_caller]
    fn hears(&mut self, expected: &[&str]) {
        for expected in expected {
            let mut line = String::new();
            self.lines.read_line(&mut line).unwrap();
            assert_eq!(line.trim_end(), *expected);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn messages_reach_those_who_listen() {
    let server = Server::new();
    let mut one = Listener::new(&server, &["news", "weather"]);
    let mut other = Listener::new(&server, &["news"]);
    server.says(&[
        ("PUBLISH news hello", "(integer) 2"),
        ("PUBLISH weather rain", "(integer) 1"),
        ("PUBLISH sports nothing", "(integer) 0"),
    ]);
    one.hears(&["message", "news", "hello", "message", "weather", "rain"]);
    other.hears(&["message", "news", "hello"]);
    // Who leaves is missed when the server has seen it.
    drop(other);
    let deadline = Instant::now() + PROMPT;
    while server.cli("PUBLISH news again\n") != "(integer) 1\n" {
        assert!(Instant::now() < deadline);
    }
    one.hears(&["message", "news", "again"]);
    drop(one);
    while !server.cli("INFO\n").contains("pubsub_channels:0") {
        assert!(Instant::now() < deadline);
    }
    server.ends_well();
}

#[test]
fn a_listener_does_little_else() {
    let server = Server::new();
    let mut stream = server.connect();
    stream.write_all(b"SUBSCRIBE a b a\r\nPING\r\nPING x\r\nGET a\r\nUNSUBSCRIBE b none\r\n").unwrap();
    expect(&mut stream, b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n");
    expect(&mut stream, b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:2\r\n");
    expect(&mut stream, b"*2\r\n$4\r\npong\r\n$0\r\n\r\n*2\r\n$4\r\npong\r\n$1\r\nx\r\n");
    expect(&mut stream, b"-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are ");
    expect(&mut stream, b"allowed in this context\r\n");
    expect(
        &mut stream,
        b"*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n*3\r\n$11\r\nunsubscribe\r\n$4\r\nnone\r\n:1\r\n",
    );
    server.says(&[("PUBLISH b x", "(integer) 0"), ("PUBLISH a x", "(integer) 1")]);
    expect(&mut stream, b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n");
    stream.write_all(b"UNSUBSCRIBE\r\nPING\r\nPUBLISH a x\r\nSUBSCRIBE a\r\n").unwrap();
    expect(&mut stream, b"*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n+PONG\r\n:0\r\n");
    expect(&mut stream, b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    // So many channels and no more, with names of some length and no more.
    let names: Vec<String> = (0..1024).map(|n| n.to_string()).collect();
    stream
        .write_all(format!("SUBSCRIBE {}\r\nSUBSCRIBE {}\r\n", names.join(" "), "x".repeat(1025)).as_bytes())
        .unwrap();
    expect(&mut stream, b"-ERR a client can listen to 1024 channels at most\r\n");
    expect(&mut stream, b"-ERR the name of a channel can have 1024 bytes at most\r\n");
}

#[test]
fn no_message_comes_after_the_end_of_a_subscription() {
    let server = Server::new();
    let (mut listener, mut publisher) = (server.connect(), server.connect());
    let child = server.0.child();
    for _ in 0..50 {
        listener.write_all(b"SUBSCRIBE a\r\n").unwrap();
        expect(&mut listener, b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
        // Both are there when it goes on, and which is first is open.
        signal(child, "STOP");
        publisher.write_all(&request(&[b"PUBLISH", b"a", b"x"])).unwrap();
        listener.write_all(b"UNSUBSCRIBE\r\nPING\r\n").unwrap();
        signal(child, "CONT");
        let mut reached = [0; 4];
        publisher.read_exact(&mut reached).unwrap();
        if &reached == b":1\r\n" {
            expect(&mut listener, &request(&[b"message", b"a", b"x"]));
        }
        expect(&mut listener, b"*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n+PONG\r\n");
    }
    server.ends_well();
}

#[test]
fn a_listener_that_does_not_read_is_dropped() {
    let server = Server::new();
    let listen = |channel: &str| {
        let mut stream = server.connect();
        stream.write_all(&request(&[b"SUBSCRIBE", channel.as_bytes()])).unwrap();
        let confirmed = format!("*3\r\n$9\r\nsubscribe\r\n${}\r\n{channel}\r\n:1\r\n", channel.len());
        expect(&mut stream, confirmed.as_bytes());
        stream
    };
    let (mut deaf, mut listener, mut publisher) = (listen("c"), listen("c"), server.connect());
    let payload = vec![b'x'; 100_000];
    let message = request(&[b"message", b"c", &payload]);
    let mut is_dropped = false;
    // Twice as much as its queue and the sockets' buffers hold.
    for _ in 0..400 {
        publisher.write_all(&request(&[b"PUBLISH", b"c", &payload])).unwrap();
        let mut reached = [0; 4];
        publisher.read_exact(&mut reached).unwrap();
        is_dropped |= &reached == b":1\r\n";
        assert_eq!(&reached, if is_dropped { b":1\r\n" } else { b":2\r\n" });
        // The other gets everything, at once.
        expect(&mut listener, &message);
    }
    assert!(is_dropped);
    assert!(server.resident() < 100 << 20, "{}", server.resident());
    // It can read what was on the way, up to some point in a message maybe, and then no more.
    let mut heard = Vec::new();
    match deaf.read_to_end(&mut heard) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    assert!(heard.len() < 40_000_000 && heard.starts_with(&message), "{} bytes", heard.len());
    // Small ones are counted.
    let _deaf = listen("d");
    let mut publisher = BufReader::new(publisher);
    let mut last = String::new();
    for _ in 0..1000 {
        publisher.get_mut().write_all(&request(&[b"PUBLISH", b"d", &[b'x'; 1000]]).repeat(100)).unwrap();
        for _ in 0..100 {
            last.clear();
            publisher.read_line(&mut last).unwrap();
        }
        if last == ":0\r\n" {
            break;
        }
    }
    assert_eq!(last, ":0\r\n");
    server.ends_well();
}

#[test]
fn nonsense_is_refused_and_the_connection_closed() {
    let server = Server::new();
    for (bytes, error) in [
        (&b"*x\r\n"[..], "invalid multibulk length"),
        (b"*65537\r\n", "invalid multibulk length"),
        (b"*1\r\n$x\r\n", "invalid bulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$1048577\r\n", "invalid bulk length"),
        (b"*1\r\n+PING\r\n", "expected '$', got '+'"),
        (b"*1\r\n$1\r\nPING\r\n", "expected the end of a line after a bulk"),
        (b"*1\n$4\nPING\n", "expected the end of a line, with a carriage return"),
        (b"GET \"a\r\n", "unbalanced quotes in request"),
    ] {
        // What came before is answered, and what comes behind is not.
        let talk = [b"PING\r\n", bytes, b"PING\r\n"].concat();
        assert_eq!(server.talk(&talk), format!("+PONG\r\n-ERR Protocol error: {error}\r\n"));
    }
    // More than it has read when it knows.
    let long = vec![b'a'; 10 << 20];
    let mut stream = server.connect();
    let _ = stream.write_all(&long);
    let mut answer = String::new();
    if stream.read_to_string(&mut answer).is_ok() {
        assert_eq!(answer, "-ERR Protocol error: too big inline request\r\n");
    }
    server.ends_well();
}

#[test]
fn what_a_client_takes_is_limited() {
    let server = Server::new();
    let megabyte = vec![b'x'; 1 << 20];
    let mut stream = server.connect();
    stream.write_all(&request(&[b"SET", b"k", &megabyte])).unwrap();
    expect(&mut stream, b"+OK\r\n");
    stream.write_all(b"GET k\r\n").unwrap();
    expect(&mut stream, &[b"$1048576\r\n", &*megabyte, b"\r\n"].concat());
    // A request that is too long as a whole, a list that is.
    let many = request(&[b"LPUSH", b"l", &megabyte, &megabyte, &megabyte]);
    let answer = server.talk(&request(&[b"LPUSH", b"l", &megabyte, &megabyte, &megabyte, &megabyte]));
    assert_eq!(answer, "-ERR Protocol error: too big request\r\n");
    for n in 1..=6 {
        stream.write_all(&many).unwrap();
        expect(&mut stream, format!(":{}\r\n", 3 * n).as_bytes());
    }
    stream.write_all(b"LRANGE l 0 -1\r\nPING\r\n").unwrap();
    expect(&mut stream, b"-ERR the reply would be longer than 16777216 bytes: ask for less\r\n+PONG\r\n");
    let before = server.resident();
    // Says that much will come, a hundred times.
    let idle: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(b"PING\r\n*65536\r\n$1048576\r\n").unwrap();
            expect(&mut stream, b"+PONG\r\n");
            stream
        })
        .collect();
    // Asks and does not read: at some time it is not read from any more.
    let mut deaf = server.connect();
    deaf.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let asks = b"GET k\r\n".repeat(10_000);
    let sent = (0..1000).take_while(|_| deaf.write_all(&asks).is_ok()).count();
    assert!(sent < 1000);
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 40 << 20, "{grown} bytes more");
    server.says(&[("PING", "PONG")]);
    drop((idle, deaf));
    server.ends_well();
}

#[test]
fn the_end_is_the_end_for_all() {
    let server = Server::new();
    let listener = Listener::new(&server, &["news"]);
    let mut clients: Vec<TcpStream> = [&b"PING\r\n"[..], b"PING\r\n*2\r\n$3\r\nGE", b"SUBSCRIBE a\r\n"]
        .map(|talk| {
            let mut stream = server.connect();
            stream.write_all(talk).unwrap();
            // It has been read.
            stream.read_exact(&mut [0; 4]).unwrap();
            stream
        })
        .into();
    server.ends_well();
    for client in &mut clients {
        client.read_to_end(&mut Vec::new()).unwrap();
    }
    drop(listener);
}

#[test]
fn what_it_cannot_do_is_said() {
    let refused = |arguments: &[&str]| {
        let output = program::run("redis_server", arguments);
        (output.status.code(), stderr(&output))
    };
    for arguments in [&["--port"][..], &["--port", "70000"], &["--what"], &["a"]] {
        let (code, text) = refused(arguments);
        assert!(code == Some(2) && text.contains("usage:"), "{text}");
    }
    let server = Server::new();
    let (code, text) = refused(&["--port", server.port()]);
    assert!(code == Some(1) && text.contains(&format!("could not listen at port {}: ", server.port())), "{text}");
}
