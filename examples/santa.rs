//! The Santa Claus problem: Santa sleeps until all nine reindeer are back or three of his ten elves want to see him.
//!
//! With the reindeer he delivers toys, with the elves he talks in his study. If both are there, the reindeer go first: it is
//! [`select_biased!`] that says so. Those who come to a door wait in its channel; a porter for each group lets in as many as belong
//! together, and knocks at Santa's with all of them. Each hears by a channel of its own that it may go.
//!
//! ```text
//! cargo run --release --example santa
//! cargo run --release --no-default-features --features backend-context --example santa
//! ```

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use tasklet::channel::never;
use tasklet::{Receiver, Sender, bounded, rendezvous, scope, select_biased};

const REINDEER: usize = 9;
const ELVES: usize = 10;
/// As many elves as Santa sees at once.
const COMMITTEE: usize = 3;
const YEARS: usize = 100;
/// How often Santa sees elves.
const MEETINGS: usize = 1000;

/// Somebody who waits to be sent off.
struct Caller {
    number: usize,
    go: Sender<()>,
}

fn main() -> ExitCode {
    let text = tasklet::run(north_pole);
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("santa: could not print: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn north_pole() -> String {
    let (stable, returned) = bounded(REINDEER);
    let (study, asking) = bounded(ELVES);
    let (sleigh, harnessed) = rendezvous();
    let (committee, at_door) = rendezvous();
    // Elves ask what nobody has asked yet. With so many questions for each elf, one could be left with two, and nobody to come along.
    let questions = AtomicUsize::new(MEETINGS * COMMITTEE);
    scope(|pole| {
        (0..REINDEER).for_each(|number| {
            drop(pole.spawn({
                let stable = stable.clone();
                move || (0..YEARS).for_each(|_| visit(number, &stable))
            }))
        });
        (0..ELVES).for_each(|number| {
            drop(pole.spawn({
                let (study, questions) = (study.clone(), &questions);
                move || {
                    while questions
                        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                        .is_ok()
                    {
                        visit(number, &study);
                    }
                }
            }))
        });
        drop((stable, study));
        pole.spawn(move || let_in(&returned, REINDEER, &sleigh));
        pole.spawn(move || let_in(&asking, COMMITTEE, &committee));
        live(harnessed, at_door)
    })
}

/// A reindeer or an elf comes to the door, and waits there until it is sent off.
fn visit(number: usize, door: &Sender<Caller>) {
    let (go, gone) = bounded(1);
    door.send(Caller { number, go }).expect("the porter is there");
    gone.recv().expect("Santa sends everybody off");
}

/// The porter: nobody passes until there are `size` of them. Ends when nobody comes any more.
fn let_in(door: &Receiver<Caller>, size: usize, santa: &Sender<Vec<Caller>>) {
    loop {
        let group: Vec<Caller> = door.iter().take(size).collect();
        if group.len() < size {
            assert!(group.is_empty(), "somebody is left in the cold");
            return;
        }
        santa.send(group).expect("Santa is there");
    }
}

fn live(mut reindeer: Receiver<Vec<Caller>>, mut elves: Receiver<Vec<Caller>>) -> String {
    let (mut deliveries, mut talks) = ([0; REINDEER], [0; ELVES]);
    let (mut years, mut meetings) = (0, 0);
    while years + meetings < YEARS + MEETINGS {
        select_biased! {
            recv(reindeer) -> group => {
                years += 1;
                send_off(group.expect("the porter is there"), &mut deliveries);
            }
            recv(elves) -> group => {
                meetings += 1;
                send_off(group.expect("the porter is there"), &mut talks);
            }
        }
        // A porter who has closed his door for good is no reason to wake up.
        if years == YEARS {
            reindeer = never();
        }
        if meetings == MEETINGS {
            elves = never();
        }
    }
    assert!(deliveries.iter().all(|times| *times == YEARS), "a reindeer stayed away: {deliveries:?}");
    let questions: usize = talks.iter().sum();
    format!(
        "{years} Christmases with all {REINDEER} reindeer\n{meetings} meetings of {COMMITTEE} elves: {questions} questions\n"
    )
}

fn send_off(group: Vec<Caller>, times: &mut [usize]) {
    let mut present: Vec<usize> = group.iter().map(|caller| caller.number).collect();
    present.sort_unstable();
    assert!(present.is_sorted_by(|a, b| a < b), "somebody came twice at once: {present:?}");
    for caller in group {
        times[caller.number] += 1;
        caller.go.send(()).expect("it waits");
    }
}
