//! Coroutines inside coroutines (B5).

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tasklet_core::backend::{Backend, Resumed};

use super::Instance;
use super::routine::{Events, Pause, Routine};

/// Each of fifty levels creates the next, resumes it, suspends, and resumes it again.
pub fn coroutines_nest_fifty_deep<B: Backend>(_: Instance) {
    fn level<B: Backend>(pause: Pause<B>, left: usize, reached: Rc<Cell<usize>>) {
        reached.set(reached.get() + 1);
        if left > 1 {
            let deeper = Rc::clone(&reached);
            let mut inner = Routine::<B>::new(move |pause| level(pause, left - 1, deeper));
            assert_eq!(inner.resume(), Resumed::Suspended);
            pause.suspend();
            inner.finish().expect("no panic further in");
        } else {
            pause.suspend();
        }
        reached.set(reached.get() + 100);
    }
    let reached = Rc::new(Cell::new(0));
    let shared = Rc::clone(&reached);
    let mut outermost = Routine::<B>::new(move |pause| level(pause, 50, shared));

    assert_eq!(outermost.resume(), Resumed::Suspended);
    assert_eq!(reached.get(), 50);

    outermost.finish().expect("no panic");
    assert_eq!(reached.get(), 50 + 50 * 100);
}

/// An inner coroutine suspends the outer one: whoever resumed the outer one goes on, and its next resume continues inside.
pub fn suspending_an_outer_coroutine_takes_the_inner_one_along<B: Backend>(_: Instance) {
    let events = Events::default();
    let log = events.clone();
    let mut outer = Routine::<B>::new(move |outer| {
        let inner_log = log.clone();
        let mut inner = Routine::<B>::new(move |inner| {
            inner_log.push("inner starts");
            outer.suspend();
            inner_log.push("inner goes on");
            inner.suspend();
            inner_log.push("inner again");
            outer.suspend();
            inner_log.push("inner ends");
        });
        assert_eq!(inner.resume(), Resumed::Suspended);
        log.push("outer has control");
        outer.suspend();
        assert_eq!(inner.resume(), Resumed::Finished);
        log.push("outer ends");
    });

    assert_eq!(outer.resume(), Resumed::Suspended);
    assert_eq!(events.take(), ["inner starts"]);
    // Others may run meanwhile, also to the end.
    Routine::<B>::new(|pause| pause.suspend()).finish().expect("no panic");
    assert_eq!(outer.resume(), Resumed::Suspended);
    assert_eq!(events.take(), ["inner goes on", "outer has control"]);
    assert_eq!(outer.resume(), Resumed::Suspended);
    assert_eq!(events.take(), ["inner again"]);
    assert_eq!(outer.resume(), Resumed::Finished);
    assert_eq!(events.take(), ["inner ends", "outer ends"]);
}

/// As above over two levels, and the outermost is resumed from a different coroutine than before.
pub fn suspending_the_outermost_of_three_takes_both_inner_ones_along<B: Backend>(_: Instance) {
    let events = Events::default();
    let log = events.clone();
    let outermost = Routine::<B>::new(move |first| {
        let second_log = log.clone();
        let mut second = Routine::<B>::new(move |second| {
            let third_log = second_log.clone();
            let mut third = Routine::<B>::new(move |third| {
                third_log.push("third suspends first");
                first.suspend();
                third_log.push("third suspends second");
                second.suspend();
                third_log.push("third suspends itself");
                third.suspend();
                third_log.push("third ends");
            });
            assert_eq!(third.resume(), Resumed::Suspended);
            second_log.push("second has control");
            assert_eq!(third.resume(), Resumed::Finished);
        });
        assert_eq!(second.resume(), Resumed::Suspended);
        log.push("first has control");
        assert_eq!(second.resume(), Resumed::Finished);
    });
    let outermost = Rc::new(RefCell::new(outermost));

    assert_eq!(outermost.borrow_mut().resume(), Resumed::Suspended);
    assert_eq!(events.take(), ["third suspends first"]);

    let shared = Rc::clone(&outermost);
    Routine::<B>::new(move |_| shared.borrow_mut().finish().expect("no panic")).finish().expect("no panic");
    let order =
        ["third suspends second", "first has control", "third suspends itself", "second has control", "third ends"];
    assert_eq!(events.take(), order);
}
