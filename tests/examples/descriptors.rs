//! The servers where there are no descriptors left: they go on, and end when they are told to.

use std::process::Command;

use crate::program;
use crate::service::Service;

/// A server with as few descriptors as it starts with: none is left for anything that it waits for.
fn with_few_descriptors(name: &str, arguments: &[&str]) -> Service {
    let start = |limit: u32| {
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(format!("ulimit -n {limit}; exec \"$0\" \"$@\""))
            .arg(program::path(name))
            .args(arguments);
        Service::try_start(&mut command).ok()
    };
    // A program that may have too few for its standard streams, or for its libraries, is none of ours.
    (6..64).find_map(start).unwrap_or_else(|| panic!("{name} does not start"))
}

#[test]
fn a_signal_ends_who_has_none_left() {
    let any = ["--port", "0"];
    for (name, arguments) in [
        ("http_server", &[".", "--port", "0"][..]),
        ("hyper_server", &any),
        ("redis_server", &any),
        ("tls_echo", &any),
        ("ws_chat", &any),
        ("tcp_proxy", &["--listen", "127.0.0.1:0", "--to", "127.0.0.1:1"]),
    ] {
        let server = with_few_descriptors(name, arguments);
        server.terminate();
        let said = server.ends_well().stderr;
        // Nobody has come.
        assert!(
            said.lines().all(|line| line.starts_with(&format!("{name}: could not accept a connection: "))),
            "{said}"
        );
    }
}
