//! Commands: what they do, what they say when something is wrong, how keys expire, and how many requests come at a time.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{Server, TOOLS, expect, request};
use crate::program::{run_with_input, signal, stderr, stdout, wait_promptly};

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
        ("LRANGE l 00 1", NOT_AN_INTEGER),
        ("LRANGE l -0 1", NOT_AN_INTEGER),
        ("LRANGE l 0 9223372036854775808", NOT_AN_INTEGER),
        ("SET z 007", "OK"),
        ("INCR z", NOT_AN_INTEGER),
        ("SET z +7", "OK"),
        ("INCR z", NOT_AN_INTEGER),
        ("SET z -0", "OK"),
        ("INCR z", NOT_AN_INTEGER),
        ("SET z \" 7\"", "OK"),
        ("INCR z", NOT_AN_INTEGER),
        ("SET z -7", "OK"),
        ("INCR z", "(integer) -6"),
        ("EXPIRE z 010", NOT_AN_INTEGER),
        ("EXPIRE z +10", NOT_AN_INTEGER),
        ("SET k v EX 010", NOT_AN_INTEGER),
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
        ("EXPIRE t -9223372036854775808", "(error) ERR invalid expire time in 'expire' command"),
        ("PEXPIRE t 9223372036854775807", "(error) ERR invalid expire time in 'pexpire' command"),
        ("EXPIRE t 1 NX GT", "(error) ERR NX and XX, GT or LT options at the same time are not compatible"),
        ("EXPIRE t 1 XX NX", "(error) ERR NX and XX, GT or LT options at the same time are not compatible"),
        ("EXPIRE t 1 XX GT LT", "(error) ERR GT and LT options at the same time are not compatible"),
        ("EXPIRE t x CH", "(error) ERR Unsupported option CH"),
        ("TTL t", "(integer) -1"),
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
        ("reset", "RESET a"),
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

/// A key has as much time left as it had been given at an instant or after it.
#[track_caller]
fn has_left(server: &Server, key: &str, given: Duration, since: Instant) {
    let replies = server.cli(&format!("PTTL {key}\nTTL {key}\n"));
    let numbers: Vec<u128> = replies.lines().map(|line| line["(integer) ".len()..].parse().unwrap()).collect();
    // Parts of a millisecond are not told.
    let least = given.saturating_sub(since.elapsed() + Duration::from_millis(1)).as_millis();
    let most = given.as_millis();
    let seconds = |milliseconds: u128| (milliseconds + 500) / 1000;
    assert!((least..=most).contains(&numbers[0]), "{replies}: not from {least} to {most}");
    assert!((seconds(least)..=seconds(most)).contains(&numbers[1]), "{replies}: not from {least} to {most}, rounded");
}

#[test]
fn keys_expire() {
    let server = Server::new();
    let (start, given) = (Instant::now(), Duration::from_secs(100));
    server.says(&[("SET a 1 EX 100", "OK")]);
    has_left(&server, "a", given, start);
    server.says(&[("INCR a", "(integer) 2")]);
    has_left(&server, "a", given, start);
    server.says(&[
        ("SET a 1", "OK"),
        ("TTL a", "(integer) -1"),
        ("TTL nothing", "(integer) -2"),
        ("EXPIRE nothing 1", "(integer) 0"),
        ("PEXPIRE a 100000", "(integer) 1"),
    ]);
    has_left(&server, "a", given, start);
    server.says(&[
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
fn a_key_expires_sooner_or_later_as_said() {
    let server = Server::new();
    server.says(&[
        ("EXPIRE nothing 100 NX", "(integer) 0"),
        ("SET a 1", "OK"),
        // It does not expire, which is later than anything.
        ("EXPIRE a 1000 XX", "(integer) 0"),
        ("EXPIRE a 1000 GT", "(integer) 0"),
        ("EXPIRE a 1000 XX LT", "(integer) 0"),
        ("TTL a", "(integer) -1"),
        ("EXPIRE a 1000 NX", "(integer) 1"),
        ("EXPIRE a 2000 nx", "(integer) 0"),
        ("EXPIRE a 500 GT", "(integer) 0"),
        ("EXPIRE a 5000 LT", "(integer) 0"),
        ("EXPIRE a 5000 xx gt", "(integer) 1"),
        ("EXPIRE a 4000 LT XX", "(integer) 1"),
        ("EXPIRE a 3000 LT LT", "(integer) 1"),
        ("PEXPIRE a -1 GT", "(integer) 0"),
        ("PEXPIRE a -1 NX", "(integer) 0"),
        ("GET a", "\"1\""),
        ("PEXPIRE a -9223372036854775808 LT", "(integer) 1"),
        ("GET a", "(nil)"),
        ("SET b 1", "OK"),
        ("EXPIRE b 1000 LT", "(integer) 1"),
        ("EXPIRE b 0", "(integer) 1"),
        ("EXPIRE b 0", "(integer) 0"),
    ]);
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
