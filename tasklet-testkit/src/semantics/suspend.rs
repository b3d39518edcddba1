//! Typed suspend and resume: Stackless's `schedule_remove` with `tempval` (D13).

use std::cell::RefCell;
use std::rc::Rc;

use tasklet_core::backend::Backend;
use tasklet_core::park::ParkError;
use tasklet_core::tasklet::StackKind;
use tasklet_scheduler::local::{self, Resumer, SuspendError};

use super::setup::Setup;

type Waiting<T> = Rc<RefCell<Vec<Resumer<T>>>>;

/// A queued tasklet that suspends itself and logs how it came back.
fn waits<B: Backend>(s: &Setup<B>, name: &'static str, waiting: &Waiting<String>) -> local::Tasklet {
    s.spawn_with(name, waiting, move |log, waiting| {
        let result = local::suspend(|resumer| waiting.borrow_mut().push(resumer));
        log.log(match result {
            Ok(value) => format!("({name},{value})"),
            Err(error) => format!("({name},{error:?})"),
        });
    })
}

/// D13 (model).
pub fn suspended_tasklets_get_what_their_resumers_bring<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let waiting = Waiting::default();
    waits(&s, "a", &waiting);
    waits(&s, "b", &waiting);
    s.run();
    s.log.log("main");
    for resumer in waiting.take() {
        let value = format!("res-{}", resumer.tasklet().name().unwrap());
        resumer.resume(value);
    }
    s.run();
    s.log.assert("main (a,res-a) (b,res-b)");
}

/// Resuming appends and never switches.
pub fn resuming_appends_to_the_queue<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let waiting = Waiting::default();
    let t = waits(&s, "t", &waiting);
    s.run();
    assert!(t.is_paused());
    s.says("x");
    waiting.take().pop().unwrap().resume("v".to_owned());
    s.log.assert("");
    assert_eq!(s.queue(), "main x t");
    s.run();
    s.log.assert("x (t,v)");
}

/// A resume before the tasklet has left the queue is not lost, and nobody else runs.
pub fn resuming_at_once_does_not_switch<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    s.spawn("t", |log| {
        let got = local::suspend(|resumer| resumer.resume(5)).unwrap();
        log.log(got.to_string());
        let abandoned = local::suspend(|resumer: Resumer<i32>| drop(resumer));
        log.log(format!("{:?}", abandoned.unwrap_err()));
    });
    s.says("x");
    s.run();
    s.log.assert("5 Abandoned x");
}

/// A dropped resumer brings the tasklet back without a value; so does anybody who inserts it.
pub fn a_suspended_tasklet_is_told_when_no_value_comes<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let waiting = Waiting::default();
    waits(&s, "a", &waiting);
    let b = waits(&s, "b", &waiting);
    s.run();
    waiting.borrow_mut().remove(0);
    b.insert().unwrap();
    s.run();
    s.log.assert("(a,Abandoned) (b,Inserted)");
}

/// Resuming the dead drops the value.
pub fn resuming_a_killed_tasklet_drops_the_value<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let waiting: Waiting<Rc<()>> = Waiting::default();
    let t = s.spawn_with("t", &waiting, |_, waiting| {
        drop(local::suspend(|resumer| waiting.borrow_mut().push(resumer)));
    });
    s.run();
    t.kill().unwrap();
    let value = Rc::new(());
    waiting.take().pop().unwrap().resume(value.clone());
    assert_eq!(Rc::strong_count(&value), 1);
    assert!(!t.is_alive());
    s.run();
}

/// A resumer that comes late must not disturb the tasklet's next suspension.
pub fn a_late_resumer_finds_nobody_waiting_for_it<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let waiting: Waiting<i32> = Waiting::default();
    let t = s.spawn_with("t", &waiting, |log, waiting| {
        for _ in 0..2 {
            let result = local::suspend(|resumer| waiting.borrow_mut().push(resumer));
            log.log(format!("{result:?}"));
        }
    });
    s.run();
    t.insert().unwrap();
    s.run();
    s.log.assert("Err(Inserted)");
    let [late, current] = <[_; 2]>::try_from(waiting.take()).unwrap();
    late.resume(1);
    s.run();
    current.resume(2);
    s.run();
    s.log.assert("Ok(2)");
}

/// Main may suspend, and be resumed by a tasklet.
pub fn main_may_suspend<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    let got = local::suspend(|resumer| {
        s.spawn("t", move |log| {
            log.log("t");
            resumer.resume(3);
        });
    });
    assert_eq!(got, Ok(3));
    s.log.assert("t");
}

/// A suspension that is refused says why.
pub fn suspending_under_the_switch_trap_is_refused<B: Backend>(kind: StackKind) {
    let s = Setup::<B>::new(kind);
    s.says("x");
    let _trap = local::switch_trap();
    let kept = RefCell::new(None);
    let result = local::suspend(|resumer: Resumer<i32>| *kept.borrow_mut() = Some(resumer));
    assert_eq!(result, Err(SuspendError::Park(ParkError::SwitchTrapped)));
    assert_eq!(s.queue(), "main x");
}
