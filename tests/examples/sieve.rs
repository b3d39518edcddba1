//! `sieve` beside trial division.

use crate::program::{run, run_with_closed_output, stderr, stdout};

fn is_prime(number: &u64) -> bool {
    (2..).take_while(|divisor| divisor * divisor <= *number).all(|divisor| !number.is_multiple_of(divisor))
}

#[test]
fn the_first_primes_come_in_order() {
    for count in [1, 2, 25, 400] {
        let output = run("sieve", [count.to_string()]);
        assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
        let expected: String = (2..).filter(is_prime).take(count).map(|prime| format!("{prime}\n")).collect();
        assert_eq!(stdout(&output), expected);
    }
}

#[test]
fn without_a_number_there_are_25() {
    assert_eq!(stdout(&run("sieve", [""; 0])).lines().last(), Some("97"));
}

#[test]
fn what_is_no_number_of_primes_is_a_question_of_usage() {
    for arguments in [&["0"][..], &["10001"], &["many"], &["-1"], &[""], &["2", "3"]] {
        let output = run("sieve", arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && stderr(&output).starts_with("usage: sieve [N]"), "{}", stderr(&output));
    }
}

#[test]
fn a_closed_output_ends_it_quietly() {
    let output = run_with_closed_output("sieve", &[]);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
}
