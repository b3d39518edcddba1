//! Whom an exchange lets go on: preference and schedule_all (R16, R19, R21).

use tasklet_channels::Preference;
use tasklet_core::backend::Backend;
use tasklet_core::tasklet::StackKind;
use tasklet_scheduler::local;

use super::setup::{Setup, caught, channel, preferring};

const PREFERENCES: [Preference; 3] = [Preference::Receiver, Preference::Neither, Preference::Sender];

/// Runs a sender, a receiver and a bystander, started in the order of `order`.
fn exchange<B: Backend>(kind: StackKind, order: &str, preference: Preference, schedule_all: bool) -> String {
    let s = Setup::<B>::new(kind);
    let c = preferring::<B, _>(preference);
    c.set_schedule_all(schedule_all);
    for who in order.chars() {
        match who {
            'S' => s.spawn_with("S", &c, |log, c| {
                log.log("S0");
                c.send(()).unwrap();
                log.log("S1");
            }),
            'R' => s.spawn_with("R", &c, |log, c| {
                log.log("R0");
                c.recv().unwrap();
                log.log("R1");
            }),
            _ => s.spawn("X", |log| {
                log.log("X0");
                local::schedule();
                log.log("X1");
            }),
        };
    }
    s.run();
    s.log.take()
}

/// B1 (model), sender first; R19.
pub fn exchange_order_when_the_sender_came_first<B: Backend>(kind: StackKind) {
    let expected = ["S0 R0 R1 X0 S1 X1", "S0 R0 R1 X0 S1 X1", "S0 R0 S1 X0 R1 X1"];
    for (preference, expected) in PREFERENCES.into_iter().zip(expected) {
        assert_eq!(exchange::<B>(kind, "SRX", preference, false), expected, "{preference:?}");
    }
}

/// B1 (model), receiver first; R19.
pub fn exchange_order_when_the_receiver_came_first<B: Backend>(kind: StackKind) {
    let expected = ["R0 S0 R1 X0 S1 X1", "R0 S0 S1 X0 R1 X1", "R0 S0 S1 X0 R1 X1"];
    for (preference, expected) in PREFERENCES.into_iter().zip(expected) {
        assert_eq!(exchange::<B>(kind, "RSX", preference, false), expected, "{preference:?}");
    }
}

/// B1 (model), the column of schedule_all.
pub fn schedule_all_overrides_every_preference<B: Backend>(kind: StackKind) {
    for preference in PREFERENCES {
        assert_eq!(exchange::<B>(kind, "SRX", preference, true), "S0 R0 X0 S1 R1 X1");
        assert_eq!(exchange::<B>(kind, "RSX", preference, true), "R0 S0 X0 R1 S1 X1");
    }
}

/// B3 test_preference_neither, of the CCP suite.
pub fn with_no_preference_a_crowd_is_served_in_rounds<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = preferring::<B, _>(Preference::Neither);
    s.says("A1");
    s.says("A2");
    for i in 0..10 {
        s.spawn_with("S", &c, move |log, c| {
            let inner = log.clone();
            local::spawn(move || inner.log("si"));
            c.send(()).unwrap();
            log.log(format!("s{i}"));
        });
    }
    for _ in 0..10 {
        s.spawn_with("R", &c, |log, c| {
            let inner = log.clone();
            local::spawn(move || inner.log("ri"));
            c.recv().unwrap();
            log.log("r");
        });
    }
    for name in ["f1", "f2", "f3", "f4", "f5"] {
        s.says(name);
    }
    s.run();
    let received = ["r"; 10].join(" ");
    let started = ["si"; 10].join(" ");
    let served: Vec<String> = (0..10).map(|i| format!("ri s{i}")).collect();
    s.log.assert(&format!("A1 A2 {received} f1 f2 f3 f4 f5 {started} {}", served.join(" ")));
}

/// What ends an iteration in Python; the two switches more that it costs are in the numbers of the original.
struct StopIteration;

/// B5 (model): send_sequence and iteration.
pub fn a_sequence_meets_an_iteration_as_the_preference_says<B: Backend>(kind: StackKind) {
    let expected = [("s0 r0 s1 r1 s2 r2 s3 r3", 12), ("s0 r0 s1 s2 r1 r2 s3 r3", 8), ("s0 s1 r0 s2 r1 s3 r2 r3", 13)];
    for (preference, (order, switches)) in PREFERENCES.into_iter().zip(expected) {
        let s = Setup::<B>::new(kind);
        let c = preferring::<B, _>(preference);
        s.spawn_with("P", &c, |log, c| {
            let items = (0..4).inspect(|i| log.log(format!("s{i}")));
            assert_eq!(c.send_all(items).unwrap(), 4);
            c.send_throw(Box::new(StopIteration)).unwrap();
        });
        s.spawn_with("C", &c, |log, c| {
            let end = caught(|| c.iter().for_each(|i| log.log(format!("r{i}"))));
            assert!(end.is_err_and(|payload| payload.is::<StopIteration>()));
        });
        let before = s.scheduler.switches();
        s.run();
        s.log.assert(order);
        assert_eq!(s.scheduler.switches() - before, switches, "{preference:?}");
    }
}

/// B6 (model).
pub fn ping_pong_switches_seven_times_for_two_rounds<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let channels = (channel::<B, _>(), channel::<B, _>());
    s.spawn_with("P", &channels, |log, (a, b)| {
        for i in 0..2 {
            a.send(i).unwrap();
            log.log(format!("ping{}", b.recv().unwrap()));
        }
    });
    s.spawn_with("Q", &channels, |log, (a, b)| {
        for _ in 0..2 {
            let i: i32 = a.recv().unwrap();
            log.log(format!("pong{i}"));
            b.send(i).unwrap();
        }
    });
    let switches = super::hooks::record_switches(&s);
    s.run();
    s.log.assert("pong0 ping0 pong1 ping1");
    switches.assert("main>P P>Q Q>P P>Q Q>P P>Q Q>main");
}

/// B7: the pumping idiom.
pub fn a_yield_channel_wakes_everybody_once_per_frame<B: Backend>(kind: StackKind) {
    for preference in [Preference::Sender, Preference::Neither] {
        pump::<B>(kind, preference).log.assert("F0 a b c F1 a b c F2 a b c");
    }
    pump::<B>(kind, Preference::Receiver).log.assert("F0 a b c a b c F1 a b c F2 a b c");
}

fn pump<B: Backend>(kind: StackKind, preference: Preference) -> Setup<B> {
    let s = Setup::<B>::new(kind);
    let frame_over = preferring::<B, _>(preference);
    for name in ["a", "b", "c"] {
        s.spawn_with(name, &frame_over, move |log, frame_over| {
            loop {
                log.log(name);
                frame_over.recv().unwrap();
            }
        });
    }
    for frame in 0..3 {
        s.log.log(format!("F{frame}"));
        s.run();
        for _ in 0..-frame_over.balance() {
            frame_over.send(()).unwrap();
        }
    }
    s
}

/// R16 (b): the caller becomes the last in the queue.
pub fn handing_over_to_the_partner_makes_the_caller_last<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    let seen = s.log.clone();
    s.spawn_with("R", &c, move |_, c| {
        c.recv().unwrap();
        seen.log(super::setup::names(&super::ring::queue_of_current()));
    });
    s.run();
    s.says("x");
    s.says("y");
    c.send(()).unwrap();
    s.log.assert("R x y main x y");
}

/// R16 (a): everybody queued runs before the caller goes on.
pub fn schedule_all_lets_everybody_run_before_the_caller<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let c = channel::<B, _>();
    c.set_schedule_all(true);
    s.spawn_with("R", &c, |log, c| {
        c.recv().unwrap();
        log.log("R");
    });
    s.run();
    s.says("x");
    c.send(()).unwrap();
    s.log.log("main");
    s.log.assert("x R main");
}
