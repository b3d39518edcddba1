//! `beside_tokio`: results, errors, panics and time limits of futures that were handed over.

use crate::program::{run, stderr, stdout};

#[test]
fn customers_are_told_what_became_of_their_futures() {
    let output = run("beside_tokio", [""; 0]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..3], ["apple: 3", "pear: 4", "stone: nobody sells that"]);
    // Tokio's words, with a number of its own.
    assert!(lines[3].starts_with("brick: task") && lines[3].contains("panicked"), "{text}");
    assert_eq!(lines[4..], ["cloud: no answer within 50ms"]);
    assert!(stderr(&output).contains("prices are numbers"), "the panic's message is tokio's to print");
}
