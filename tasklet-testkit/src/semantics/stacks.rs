//! Stacks as tasklets see them: sizes, exhaustion, going on afterwards.

use tasklet_core::backend::{Backend, StackProvision};
use tasklet_core::stack::{Depot, StackConfig, StackPool, StackSize};
use tasklet_core::tasklet::StackKind;
use tasklet_scheduler::local::RunError;

use super::setup::{Setup, caught, leave};
use crate::kinds;

/// A scheduler whose stacks have an address space for a few only; `None` where the backend brings its own.
fn few_stacks<B: Backend>(kind: StackKind) -> Option<Setup<B>> {
    if B::STACKS == StackProvision::Backend {
        return None;
    }
    let slab = 256 << 10;
    let depot = Depot::new(StackConfig::new().slab_bytes(slab).ceiling(slab));
    Some(Setup::on(kinds::local(kind).stacks(StackPool::new(&depot)).build()))
}

/// A tasklet that cannot start for want of a stack stays queued, as do the others; the run says so and can be called again.
pub fn running_out_of_stacks_ends_the_run_and_loses_nothing<B: Backend>(kind: StackKind) {
    let Some(s) = few_stacks::<B>(kind) else { return };
    let tasklets: Vec<_> = (0..20)
        .map(|i| {
            s.spawn("t", move |log| {
                log.log(format!("a{i}"));
                leave();
                log.log(format!("b{i}"));
            })
        })
        .collect();
    let mut started = Vec::new();
    let mut failures = 0;
    while started.len() < tasklets.len() {
        match s.scheduler.run() {
            Err(RunError::Stack { tasklet, error }) => {
                failures += 1;
                assert!(error.is_ceiling(), "{error}");
                assert!(error.to_string().contains(|c: char| c.is_ascii_digit()), "{error}");
                assert_eq!(s.scheduler.runnable()[1].id(), tasklet);
                // Those that have started give their stacks back.
                started.extend(s.scheduler.started());
                assert!(!s.scheduler.started().is_empty());
                let queued: Vec<_> = s.scheduler.runnable().split_off(1);
                queued.iter().for_each(|t| t.remove().unwrap());
                s.scheduler.started().iter().for_each(|t| t.insert().unwrap());
                s.run();
                queued.iter().for_each(|t| t.insert().unwrap());
            }
            outcome => {
                outcome.unwrap();
                started.extend(s.scheduler.started());
                s.scheduler.started().iter().for_each(|t| t.insert().unwrap());
                s.run();
            }
        }
    }
    assert!(failures > 0);
    let events = s.log.take();
    for i in 0..20 {
        assert!(events.contains(&format!("a{i}")) && events.contains(&format!("b{i}")), "{events}");
    }
    assert!(tasklets.iter().all(|t| !t.is_alive()));
}

/// Outside of a run, main has the want of a stack raised.
pub fn running_out_of_stacks_is_raised_in_a_main_that_does_not_run<B: Backend>(kind: StackKind) {
    let Some(s) = few_stacks::<B>(kind) else { return };
    for _ in 0..20 {
        s.spawn("t", |_| leave());
    }
    let payload = caught(|| s.scheduler.schedule()).unwrap_err();
    let text = payload.downcast::<String>().unwrap();
    assert!(text.contains("stack"), "{text}");
    assert!(s.scheduler.run_count() > 1);
}

/// A tasklet gets at least the stack it asked for, also after smaller ones have been used.
pub fn a_tasklet_gets_the_stack_it_asked_for<B: Backend>(kind: StackKind) {
    fn deep(levels: usize) -> usize {
        let frame = std::hint::black_box([levels as u8; 4096]);
        if levels == 0 { 0 } else { deep(levels - 1) + usize::from(frame[17] == levels as u8) }
    }
    let s = Setup::<B>::new(kind);
    s.yields("small", 1);
    s.run();
    let size = StackSize::new(4 << 20).unwrap();
    let log = s.log.clone();
    let t = s.scheduler.tasklet().stack_size(size).spawn(move || log.log(deep(200).to_string()));
    assert!(t.stack_size() >= size);
    s.run();
    s.log.assert("small0 200");

    // Nor does it begin on the stack of a smaller one that ends just before it.
    s.scheduler.trim();
    s.says("small");
    let log = s.log.clone();
    s.scheduler.tasklet().stack_size(size).spawn(move || log.log(deep(200).to_string()));
    s.run();
    s.log.assert("small 200");
}
