//! Examples that print the same on every run and every backend, and `ping_pong`.

use crate::program::{run, run_with_closed_output, stderr, stdout};

const NO_ARGUMENTS: [&str; 0] = [];

#[track_caller]
fn prints(name: &str, expected: &str) {
    let output = run(name, NO_ARGUMENTS);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stdout(&output), expected, "{name}");
}

#[test]
fn assembly_line_goes_through_the_same_shift() {
    prints("assembly_line", include_str!("output/assembly_line.txt"));
}

#[test]
fn digital_circuit_adds() {
    prints("digital_circuit", include_str!("output/digital_circuit.txt"));
}

#[test]
fn game_loop_plays_the_same_frames() {
    prints("game_loop", include_str!("output/game_loop.txt"));
}

#[test]
fn actors_live_through_the_crash_of_one() {
    prints("actors", include_str!("output/actors.txt"));
    let output = run("actors", NO_ARGUMENTS);
    assert_eq!(stderr(&output).matches("robot r broke at bump 2").count(), 1, "{}", stderr(&output));
}

#[test]
fn every_philosopher_eats() {
    prints("dining_philosophers", include_str!("output/dining_philosophers.txt"));
}

#[test]
fn santa_delivers_and_talks() {
    prints("santa", include_str!("output/santa.txt"));
}

#[test]
fn chat_reaches_all_members_and_waits_for_none() {
    prints("chat", include_str!("output/chat.txt"));
}

#[test]
fn timeouts_and_cancel_disturb_nobody_else() {
    prints("timeouts_and_cancel", include_str!("output/timeouts_and_cancel.txt"));
}

#[test]
fn duplex_talks_across_backends() {
    prints("duplex", include_str!("output/duplex.txt"));
    let output = run("duplex", NO_ARGUMENTS);
    // The one panic that is meant.
    assert_eq!(stderr(&output).matches("panicked at").count(), 1, "{}", stderr(&output));
    let output = run("duplex", ["twice"]);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(2), "usage: duplex\n"));
}

#[test]
fn a_closed_output_ends_them_quietly() {
    for name in [
        "crawler",
        "assembly_line",
        "digital_circuit",
        "game_loop",
        "ping_pong",
        "dining_philosophers",
        "santa",
        "chat",
        "timeouts_and_cancel",
    ] {
        let output = run_with_closed_output(name, &[]);
        assert!(output.status.success() && output.stderr.is_empty(), "{name}: {}", stderr(&output));
    }
}

#[test]
fn ping_pong_prints_who_gets_the_ball() {
    prints("ping_pong", "pong0 ping0 pong1 ping1\n");
    assert_eq!(stdout(&run("ping_pong", ["0"])), "\n");
    assert_eq!(stdout(&run("ping_pong", ["1"])), "pong0 ping0\n");
}

#[test]
fn ping_pong_measures_many_rounds() {
    let output = run("ping_pong", ["10000"]);
    assert_eq!(stdout(&output), "10000 rounds\n");
    let rate = stderr(&output);
    // Two to a round, and some to start and end.
    assert!(rate.contains(": 2000") && rate.contains(" per second"), "{rate}");
}

#[test]
fn ping_pong_explains_what_it_cannot_read() {
    for arguments in [&["many"][..], &["-1"], &["1000000001"], &["99999999999999999999"], &["2", "3"], &[""]] {
        let output = run("ping_pong", arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty());
        assert!(stderr(&output).contains("usage: ping_pong [ROUNDS]"), "{}", stderr(&output));
    }
}
