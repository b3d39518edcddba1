//! Two runtimes in one program, each on a backend of its own, that talk over channels as if they were one.
//!
//! A backend is a type: [`RuntimeOn<B>`](tasklet::stealing::RuntimeOn) has its workers, stacks and tasklets on `B`, and a program may have several such
//! runtimes, for instance a library's beside the application's. A channel belongs to none of them; whoever waits at one is woken where it lives. What is
//! shown: a ball that goes to and fro, a select over both directions, a panic that stays on its side, and the end of one runtime, which the other is
//! told of by a channel that is closed.
//!
//! A program says `tasklet::backend::{Corosensei, Generator}` and turns on the features `backend-corosensei` and `backend-generator`. This one names the
//! backends' crates, so that it is built with whatever features there are.
//!
//! Each step is checked, and what is printed is the same each time.
//!
//! ```text
//! cargo run --release --example duplex
//! ```

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use tasklet::backend::Backend;
use tasklet::stealing::{BuildError, BuilderOn, RuntimeOn};
use tasklet::{bounded, select};
use tasklet_backend_corosensei::Corosensei;
use tasklet_backend_generator::Generator;

/// Times that the ball goes to and fro.
const ROUNDS: u32 = 1000;
/// Questions that are asked.
const QUESTIONS: u64 = 100;
/// For what has nothing left to do.
const TIME_TO_END: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    if std::env::args_os().len() > 1 {
        eprintln!("usage: duplex");
        return ExitCode::from(2);
    }
    match (runtime::<Corosensei>(), runtime::<Generator>()) {
        (Ok(left), Ok(right)) => {
            let text = talk(left, right);
            // Whoever does not want to read it has ended before us.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("duplex: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A runtime with two workers, whose threads say which backend they are of.
fn runtime<B: Backend>() -> Result<RuntimeOn<B>, BuildError> {
    BuilderOn::<B>::new().workers(2).thread_name(|worker| format!("{}-{worker}", B::NAME)).build()
}

/// Which backend the calling tasklet is on, by its worker's thread.
fn here() -> String {
    let thread = std::thread::current();
    let name = thread.name().and_then(|name| name.rsplit_once('-')).expect("a worker's thread has a name");
    name.0.to_owned()
}

fn talk(left: RuntimeOn<Corosensei>, right: RuntimeOn<Generator>) -> String {
    let mut text = String::new();
    text += &play(&left, &right);
    text += &listen(&left, &right);
    text += &break_down(&left, &right);
    text += &end_one(left, right);
    text
}

/// A ball to and fro, one player in each runtime.
fn play(left: &RuntimeOn<Corosensei>, right: &RuntimeOn<Generator>) -> String {
    let (to_right, from_left) = bounded::<u32>(0);
    let (to_left, from_right) = bounded::<u32>(0);
    let returner = right.spawn(move || {
        for ball in &from_left {
            to_left.send(ball + 1).expect("the other player waits for it");
        }
        here()
    });
    let server = left.spawn(move || {
        let mut ball = 0;
        for _ in 0..ROUNDS {
            to_right.send(ball).expect("the other player waits for it");
            ball = from_right.recv().expect("it comes back") + 1;
        }
        (ball, here())
    });
    // The ends of the channel that a player has are gone with it, so the other one's loop ends.
    let (ball, one) = server.join().expect("nobody panics");
    let other = returner.join().expect("nobody panics");
    assert_eq!((ball, &*one, &*other), (2 * ROUNDS, "corosensei", "generator"));
    format!("{ROUNDS} rounds between {one} and {other}: the ball says {ball}\n")
}

/// One tasklet that sends in one direction and receives from the other, whichever is possible first.
fn listen(left: &RuntimeOn<Corosensei>, right: &RuntimeOn<Generator>) -> String {
    let (questions, asked) = bounded::<u64>(0);
    let (answers, answered) = bounded::<u64>(0);
    let answering = right.spawn(move || {
        for question in &asked {
            answers.send(question * question).expect("somebody listens");
        }
    });
    let asking = left.spawn(move || {
        let (mut next, mut heard, mut sum) = (1, 0, 0);
        // Neither channel has room. Who asked without listening would be waited for by who answers, and wait for that one.
        while next <= QUESTIONS {
            select! {
                send(questions, next) -> sent => {
                    sent.expect("somebody answers");
                    next += 1;
                }
                recv(answered) -> answer => {
                    sum += answer.expect("somebody answers");
                    heard += 1;
                }
            }
        }
        // No more questions.
        drop(questions);
        for answer in &answered {
            sum += answer;
            heard += 1;
        }
        (heard, sum)
    });
    let (heard, sum) = asking.join().expect("nobody panics");
    answering.join().expect("nobody panics");
    assert_eq!((heard, sum), (QUESTIONS, QUESTIONS * (QUESTIONS + 1) * (2 * QUESTIONS + 1) / 6));
    format!("{heard} questions to the right, {heard} answers to the left: their sum is {sum}\n")
}

/// Who waits for one that panics is told that nothing comes any more; everybody else does not notice.
fn break_down(left: &RuntimeOn<Corosensei>, right: &RuntimeOn<Generator>) -> String {
    let (orders, inbox) = bounded::<&str>(0);
    let (deliveries, delivered) = bounded::<String>(0);
    let worker = right.spawn(move || {
        for order in &inbox {
            assert!(order != "round square", "there is no {order}");
            deliveries.send(format!("a {order} by {}", here())).expect("the customer waits");
        }
    });
    let customer = left.spawn(move || {
        let order = |order| {
            orders
                .send(order)
                .map_err(|error| error.to_string())
                .and_then(|()| delivered.recv().map_err(|error| error.to_string()))
        };
        [order("circle"), order("round square"), order("square")]
    });
    let got = customer.join().expect("the customer does not panic");
    let broken = worker.join().expect_err("the worker panics");
    assert!(broken.is_panic());
    // On both sides, life goes on.
    let others = [left.spawn(here), right.spawn(here)].map(|other| other.join().expect("nobody panics"));
    assert_eq!(others, ["corosensei", "generator"]);
    let [first, second, third] = got.map(|got| got.unwrap_or_else(|error| format!("nothing ({error})")));
    format!(
        "The customer gets {first}, {second} and {third}.\n\
         The worker is gone: {broken}. {} and {} go on.\n",
        others[0], others[1]
    )
}

/// The end of one runtime ends its tasklets, and with them their ends of the channels.
fn end_one(left: RuntimeOn<Corosensei>, right: RuntimeOn<Generator>) -> String {
    let (news, heard) = bounded::<u32>(0);
    let (letters, mailbox) = bounded::<u32>(0);
    // It says one thing, and then waits for a letter that nobody sends.
    let remote = right.spawn(move || {
        news.send(1).expect("somebody listens");
        mailbox.recv()
    });
    let (tell, told) = bounded::<()>(0);
    let listener = left.spawn(move || {
        let first = heard.recv();
        tell.send(()).expect("the host waits");
        // Nobody else has a sender. This one waits for what does not come any more.
        let second = heard.recv();
        (first.expect("there was one"), second.expect_err("there is no other"), letters.send(2))
    });
    told.recv().expect("the listener is there");
    let handle = right.handle();
    let end = right.shutdown(TIME_TO_END);
    assert!(end.is_clean(), "{end}");
    let remote = remote.join().expect_err("it was waiting when its runtime ended");
    assert!(remote.is_killed());
    let (first, second, letter) = listener.join().expect("nobody panics");
    let letter = letter.expect_err("nobody is there to get it");
    assert!(first == 1 && second.is_closed() && letter.is_closed());
    let refused = handle.try_spawn(|| ()).expect_err("the runtime has ended");
    assert!(refused.is_closed());
    let still = left.spawn(here).join().expect("nobody panics");
    let end = left.shutdown(TIME_TO_END);
    assert!(end.is_clean(), "{end}");
    format!(
        "The right side ends: {remote}.\n\
         The left side is told: {second}; {letter}.\n\
         Nothing starts there any more: {refused}. On {still} it does.\n"
    )
}
