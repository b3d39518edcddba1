//! `ws_chat` in a browser, two of them, and beside clients of `tungstenite` that are slow, send halves, or what nobody may send.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, HandshakeError, Message, WebSocket, client};

use crate::program::{self, Folder, PROMPT, run, stderr, stdout, wait_promptly};
use crate::service::Service;

fn server(more: &[&str]) -> Service {
    Service::start(program::command("ws_chat").args(["--port", "0"]).args(more))
}

/// A browser that prints a page when it has loaded. It has processes of its own, which end with it.
struct Browser {
    child: Option<Child>,
    id: u32,
    _profile: Folder,
}

impl Browser {
    /// Opens the chat as `name`, to do what the script says.
    fn open(server: &Service, name: &str, script: &str) -> Browser {
        let profile = Folder::new(&format!("chat-{name}"));
        let mut command = Command::new("chromium-headless-shell");
        command.args(["--no-sandbox", "--disable-gpu", "--dump-dom"]);
        command.arg(format!("--user-data-dir={}", profile.0.display()));
        command.arg(format!("{}/?name={name}&script={}", server.address, script.replace(' ', "%20")));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let child = command.spawn().expect(
            "`chromium-headless-shell` is installed: `.ci/run` sees to it; it is Debian's package of that name",
        );
        Browser { id: child.id(), child: Some(child), _profile: profile }
    }

    /// What it shows at the end.
    #[track_caller]
    fn shows(mut self) -> String {
        let output = wait_promptly(self.child.take().unwrap());
        let page = stdout(&output);
        let log = page.split_once("<pre id=\"log\">").and_then(|(_, rest)| rest.split_once("</pre>"));
        log.unwrap_or_else(|| panic!("no page: {page}\n{}", stderr(&output))).0.to_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The group, if any of it is left.
        let group = format!("-{}", self.id);
        let _ = Command::new("kill").args(["-s", "KILL", "--", &group]).stderr(Stdio::null()).status();
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
    }
}

type Client = WebSocket<TcpStream>;

/// A client that has heard that it has come.
fn connect(server: &Service, name: &str) -> Client {
    let url = format!("ws://{}/chat?name={name}", server.address.strip_prefix("http://").unwrap());
    let (mut client, _) = client(url, server.connect()).unwrap();
    hears(&mut client, &format!("* {} has come", name.replace("%20", " ")));
    client
}

#[track_caller]
fn next(client: &mut Client) -> String {
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < PROMPT, "only pings come");
        match client.read().unwrap() {
            Message::Text(text) => return text.to_string(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[track_caller]
fn hears(client: &mut Client, line: &str) {
    assert_eq!(next(client), line);
}

/// Reads until the end; says how it was announced.
#[track_caller]
fn is_closed(client: &mut Client) -> CloseCode {
    let (start, mut code) = (Instant::now(), None);
    loop {
        assert!(start.elapsed() < PROMPT, "it is not closed");
        match client.read() {
            Ok(Message::Close(frame)) => code = frame.map(|frame| frame.code),
            Ok(_) => {}
            Err(Error::ConnectionClosed) => return code.expect("a reason"),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn two_browsers_talk() {
    let server = server(&[]);
    let mut here = connect(&server, "test");
    let ann = Browser::open(&server, "ann", "wait * bob has come|say hello|wait bob: hi|close");
    // In this order, whichever browser is faster.
    hears(&mut here, "* ann has come");
    let bob = Browser::open(&server, "bob", "wait ann: hello|say hi|wait * ann has gone|close");
    assert_eq!(ann.shows(), "* ann has come\n* bob has come\nann: hello\nbob: hi\n[closed: 1000 enough]\n");
    assert_eq!(bob.shows(), "* bob has come\nann: hello\nbob: hi\n* ann has gone\n[closed: 1000 enough]\n");
    for line in ["* bob has come", "ann: hello", "bob: hi", "* ann has gone", "* bob has gone"] {
        hears(&mut here, line);
    }
    // One that is told that the server ends.
    let waits = Browser::open(&server, "dog", "wait never");
    hears(&mut here, "* dog has come");
    here.send(Message::text("<b>bold</b>")).unwrap();
    hears(&mut here, "test: <b>bold</b>");
    server.terminate();
    let shown = waits.shows();
    assert!(shown.contains("test: &lt;b&gt;bold&lt;/b&gt;\n"), "what others say is text: {shown}");
    assert!(shown.ends_with("[closed: 1001 the server ends]\n"), "{shown}");
    assert_eq!(is_closed(&mut here), CloseCode::Away);
    assert_eq!(server.ends_well().stderr, "");
}

#[test]
fn nobody_speaks_for_others() {
    let server = server(&[]);
    let mut ann = connect(&server, "ann");
    // These would look as if the server said it, or nobody.
    for name in ["*", "*%20bob", "%20*%20bob", "%0a*", "%e2%80%8b*", "%e2%80%a8*", "%20"] {
        let url = format!("ws://{}/chat?name={name}", server.host());
        match client(url, server.connect()) {
            Err(HandshakeError::Failure(Error::Http(response))) => assert_eq!(response.status(), 400, "{name}"),
            other => panic!("{name}: {:?}", other.map(drop)),
        }
    }
    let mut bob = connect(&server, "bob%20*");
    hears(&mut ann, "* bob * has come");
    bob.send(Message::text("hello\n* ann has gone\r\u{85}\u{2028}ann: bye")).unwrap();
    hears(&mut ann, "bob *: hello * ann has gone   ann: bye");
}

#[test]
fn half_a_message_keeps_nobody() {
    let server = server(&[]);
    let (mut ann, mut bob) = (connect(&server, "ann"), connect(&server, "bob"));
    hears(&mut ann, "* bob has come");
    // A masked text of five bytes, of which some come.
    let frame = [0x81, 0x85, 0, 0, 0, 0, b'w', b'h', b'o', b'l', b'e'];
    for (at, byte) in frame[..10].iter().enumerate() {
        bob.get_mut().write_all(&[*byte]).unwrap();
        ann.send(Message::text(at.to_string())).unwrap();
        hears(&mut bob, &format!("ann: {at}"));
        hears(&mut ann, &format!("ann: {at}"));
    }
    bob.get_mut().write_all(&frame[10..]).unwrap();
    hears(&mut ann, "bob: whole");
    // Several in one piece, the last of them a ping and a half.
    let three = [&frame[..], &frame, &[0x89, 0x80, 0, 0, 0, 0], &frame[..4]].concat();
    bob.get_mut().write_all(&three).unwrap();
    hears(&mut ann, "bob: whole");
    hears(&mut ann, "bob: whole");
    hears(&mut bob, "bob: whole");
    let mut came: Vec<_> = (0..3).map(|_| bob.read().unwrap()).collect();
    came.retain(|message| !message.is_text());
    assert_eq!(came, [Message::Pong("".into())]);
}

#[test]
fn the_slow_are_told_and_then_cut() {
    let server = server(&["--patience", "2"]);
    let mut fast = connect(&server, "fast");
    let mut slow = connect(&server, "slow");
    let deaf = connect(&server, "deaf");
    hears(&mut fast, "* slow has come");
    hears(&mut fast, "* deaf has come");
    hears(&mut slow, "* deaf has come");
    // More than the buffers of a connection hold.
    let much = "x".repeat(4000);
    let mut sent = 0;
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < PROMPT, "it is not cut");
        fast.send(Message::text(much.as_str())).unwrap();
        sent += 1;
        if next(&mut fast) == "* deaf has gone" {
            break;
        }
        // One that reads a little is slow, and stays.
        if sent % 10 == 0 {
            next(&mut slow);
        }
    }
    fast.send(Message::text("last")).unwrap();
    let (mut got, mut missed) = (0, 0);
    loop {
        let text = next(&mut slow);
        if text == "fast: last" {
            break;
        }
        match text.strip_prefix("* you have missed ").and_then(|rest| rest.split(' ').next()) {
            Some(number) => missed += number.parse::<u64>().unwrap(),
            None => got += 1,
        }
    }
    assert!(missed != 0, "{got} of {sent} without a gap");
    drop(deaf);
    server.terminate();
    assert_eq!(server.ends_well().stderr, "ws_chat: deaf has taken nothing for 2s\n");
}

#[test]
fn what_was_said_before_the_end_is_heard() {
    let server = server(&["--patience", "60", "--grace", "60"]);
    let mut slow = connect(&server, "slow");
    let mut fast = connect(&server, "fast");
    // More than the buffers of a connection hold: the server is in the middle of telling the slow one when it is to end.
    let much = "x".repeat(4000);
    for _ in 0..5000 {
        fast.send(Message::text(much.as_str())).unwrap();
        next(&mut fast);
    }
    fast.send(Message::text("last")).unwrap();
    hears(&mut fast, "fast: last");
    server.terminate();
    server.listens_no_more();
    assert_eq!(is_closed(&mut fast), CloseCode::Away);
    while next(&mut slow) != "fast: last" {}
    assert_eq!(is_closed(&mut slow), CloseCode::Away);
    drop((slow, fast));
    assert_eq!(server.ends_well().stderr, "");
}

#[test]
fn each_end_has_its_reason() {
    let server = server(&[]);
    let mut here = connect(&server, "here");
    let mut ann = connect(&server, "ann");
    ann.close(None).unwrap();
    loop {
        match ann.read() {
            Err(Error::ConnectionClosed) => break,
            message => drop(message.unwrap()),
        }
    }
    hears(&mut here, "* ann has come");
    hears(&mut here, "* ann has gone");
    let mut ends = |message: Message| {
        let mut bob = connect(&server, "bob");
        bob.send(message).unwrap();
        let code = is_closed(&mut bob);
        drop(bob);
        hears(&mut here, "* bob has come");
        hears(&mut here, "* bob has gone");
        code
    };
    assert_eq!(ends(Message::text("x".repeat(5000))), CloseCode::Size);
    assert_eq!(ends(Message::binary(vec![1, 2, 3])), CloseCode::Unsupported);
    let mut cat = connect(&server, "cat");
    // A frame without a mask.
    cat.get_mut().write_all(&[0x81, 1, b'x']).unwrap();
    assert_eq!(is_closed(&mut cat), CloseCode::Protocol);
    drop(cat);
    hears(&mut here, "* cat has come");
    hears(&mut here, "* cat has gone");
    let mut gone = connect(&server, "gone");
    // Without a word.
    gone.get_mut().shutdown(Shutdown::Both).unwrap();
    hears(&mut here, "* gone has come");
    hears(&mut here, "* gone has gone");
}

#[test]
fn who_does_not_answer_is_cut() {
    let server = server(&["--ping", "1"]);
    let mut here = connect(&server, "here");
    let mut deaf = connect(&server, "deaf");
    // It goes on sending, but never a whole message.
    deaf.get_mut().write_all(&[0x81, 0xFE, 0x0F, 0xA0, 0, 0, 0, 0]).unwrap();
    hears(&mut here, "* deaf has come");
    let trickle = deaf.get_ref().try_clone().unwrap();
    let (stop, stopped) = mpsc::channel::<()>();
    let sender = thread::spawn(move || {
        let pause = Duration::from_millis(50);
        while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
            let _ = (&trickle).write_all(b"x");
        }
    });
    // Who reads answers, and stays.
    hears(&mut here, "* deaf has gone");
    drop(stop);
    sender.join().unwrap();
    // Its own library would answer first what it has been asked meanwhile.
    let mut came = Vec::new();
    let _ = deaf.get_mut().read_to_end(&mut came);
    let reason = [&u16::from(CloseCode::Policy).to_be_bytes()[..], b"nothing has come for too long"].concat();
    assert!(came.ends_with(&reason), "{}", String::from_utf8_lossy(&came));
}

#[test]
fn so_many_are_served_at_a_time() {
    let server = server(&["--connections", "1"]);
    let mut first = connect(&server, "first");
    thread::scope(|scope| {
        let second = scope.spawn(|| connect(&server, "second"));
        for number in 0..500 {
            first.send(Message::text(number.to_string())).unwrap();
            hears(&mut first, &format!("first: {number}"));
        }
        drop(first);
        second.join().unwrap();
    });
    server.terminate();
    server.ends_well();
}

#[test]
fn who_takes_nothing_does_not_keep_it_from_its_end() {
    let server = server(&["--patience", "600", "--grace", "0.2"]);
    let deaf = connect(&server, "deaf");
    let mut here = connect(&server, "here");
    // It asks for answers until there is no room for more on the way. A server that sleeps though there is something to read waits for something else.
    let ping = [&[0x89, 0xFD, 0, 0, 0, 0][..], &[b'x'; 125]].concat();
    deaf.get_ref().set_nonblocking(true).unwrap();
    let (start, mut at, mut is_full) = (Instant::now(), 0, false);
    while !(is_full && server.is_asleep()) {
        assert!(start.elapsed() < PROMPT, "it takes everything");
        let written = deaf.get_ref().write(&ping[at..]);
        is_full = written.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        at = (at + if is_full { 0 } else { written.unwrap() }) % ping.len();
    }
    server.terminate();
    assert_eq!(is_closed(&mut here), CloseCode::Away);
    drop(here);
    let said = server.ends_with(1).stderr;
    assert_eq!(said, "ws_chat: 1 clients could not be told that this is the end within 200ms\n");
}

#[test]
fn what_is_no_chat_is_answered() {
    let server = server(&[]);
    let ask = |request: &str| {
        let mut stream = server.connect();
        stream.set_read_timeout(Some(PROMPT)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    assert!(ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").contains("<title>chat</title>"));
    assert!(ask("GET /favicon.ico HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 404 "));
    assert!(ask("POST / HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 400 "));
    assert!(ask("GET /chat HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 400 "));
    let chat = |headers: &str| {
        ask(&format!(
            "GET /chat HTTP/1.1\r\nHost: here:1\r\n{headers}Connection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\nno frame"
        ))
    };
    // Only its own page may have a browser come here.
    assert!(chat("").starts_with("HTTP/1.1 101 "));
    assert!(chat("Origin: http://here:1\r\n").starts_with("HTTP/1.1 101 "));
    for origin in ["http://here:2", "http://elsewhere", "null"] {
        assert!(chat(&format!("Origin: {origin}\r\n")).starts_with("HTTP/1.1 403 "), "{origin}");
    }
    assert!(ask("nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
    // Without an end.
    assert_eq!(ask(&format!("GET /{}", "x".repeat(100_000))), "");
    server.terminate();
    assert_eq!(server.ends_well().stderr, "");
    for arguments in [
        &["--what"][..],
        &["--port"],
        &["--port", "70000"],
        &["--connections", "0"],
        &["--ping", "often"],
        &["--patience", "NaN"],
        &["--grace", "-1"],
    ] {
        let output = run("ws_chat", arguments);
        let text = stderr(&output);
        assert!(output.status.code() == Some(2) && text.contains("usage:"), "{text}");
    }
}
