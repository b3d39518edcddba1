//! A tasklet's closure before it runs and its result after: erased, and stored inside the record when small.
//!
//! One allocation per tasklet is the aim, so a closure or result of up to three words lies in the record itself and only a larger
//! one in a box of its own. The vtable made where the types are known is the only place that knows which.
//!
//! # Invariant
//!
//! **T1** `storage` holds the value that `vtable` is for: a closure, a result, or, with [`EMPTY`], nothing. Every method below moves the
//! value out or drops it before it changes the vtable, or stores it before.

use std::cell::{Cell, UnsafeCell};
use std::mem::{MaybeUninit, align_of, size_of};

use crate::unwind::{self, Payload};

/// Three words: the closure of a worker that owns a channel and an index, the result of most computations, or a `Box`.
type Storage = MaybeUninit<[usize; 3]>;

/// Whether the record has a closure to run, its result, or neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No closure: never bound, running, or finished with nothing kept.
    Empty,
    /// A closure that has not run.
    Closure,
    /// The result of a joinable tasklet that nobody has taken.
    Result,
}

/// What can be done with a body; there is one for each type that its storage may hold.
struct Vtable {
    stage: Stage,
    /// Moves the closure out of the storage and calls it. Of a closure's only.
    run: unsafe fn(&Body) -> Result<(), Payload>,
    /// Drops what is in the storage, which counts as empty already.
    drop: unsafe fn(&Body),
    /// With the storage emptied: stores `Err(payload)` as the result of a joinable tasklet that ends without having run; gives it back
    /// otherwise.
    fail: unsafe fn(&Body, Payload) -> Option<Payload>,
}

/// Nothing is stored.
static EMPTY: Vtable = Vtable { stage: Stage::Empty, run: |_| Ok(()), drop: |_| {}, fail: |_, payload| Some(payload) };

/// The erased closure or result of one tasklet.
pub(crate) struct Body {
    vtable: Cell<&'static Vtable>,
    storage: UnsafeCell<Storage>,
}

/// Stores `value` inline or boxed.
///
/// # Safety
///
/// The storage holds nothing.
unsafe fn put<X>(body: &Body, value: X) {
    let at = body.storage.get();
    if const { size_of::<X>() <= size_of::<Storage>() && align_of::<X>() <= align_of::<Storage>() } {
        // SAFETY: it fits by the condition, and by the caller's promise nothing is overwritten.
        unsafe { at.cast::<X>().write(value) }
    } else {
        // SAFETY: a pointer fits; as above.
        unsafe { at.cast::<*mut X>().write(Box::into_raw(Box::new(value))) }
    }
}

/// Moves out the value that `put::<X>` stored.
///
/// # Safety
///
/// The storage holds an `X` stored by [`put`]; it holds nothing afterwards.
unsafe fn take<X>(body: &Body) -> X {
    let at = body.storage.get();
    if const { size_of::<X>() <= size_of::<Storage>() && align_of::<X>() <= align_of::<Storage>() } {
        // SAFETY: by the caller's promise an `X` lies here, and it counts as moved from now on.
        unsafe { at.cast::<X>().read() }
    } else {
        // SAFETY: `put` chose by the same condition, so a pointer from `Box::into_raw` lies here.
        unsafe { *Box::from_raw(at.cast::<*mut X>().read()) }
    }
}

/// A closure whose result is dropped and whose panics go to the scheduler.
struct Detached<F>(F);

impl<F: FnOnce()> Detached<F> {
    const VTABLE: &'static Vtable = &Vtable {
        stage: Stage::Closure,
        run: |body| {
            // SAFETY: T1, this vtable is of a `Detached<F>`.
            let Detached(f) = unsafe { take::<Detached<F>>(body) };
            body.vtable.set(&EMPTY);
            unwind::catch(f)
        },
        drop: |body| {
            // SAFETY: as above.
            drop(unsafe { take::<Detached<F>>(body) })
        },
        fail: |_, payload| Some(payload),
    };
}

/// A closure whose result and panics go to a join handle.
struct Joinable<F>(F);

impl<T, F: FnOnce() -> T> Joinable<F> {
    const VTABLE: &'static Vtable = &Vtable {
        stage: Stage::Closure,
        run: |body| {
            // SAFETY: T1, this vtable is of a `Joinable<F>`.
            let Joinable(f) = unsafe { take::<Joinable<F>>(body) };
            body.vtable.set(&EMPTY);
            let result: Result<T, Payload> = unwind::catch(f);
            // SAFETY: the closure was moved out above, so the storage holds nothing.
            unsafe { Outcome::store(body, result) };
            Ok(())
        },
        drop: |body| {
            // SAFETY: as above.
            drop(unsafe { take::<Joinable<F>>(body) })
        },
        fail: |body, payload| {
            // SAFETY: `Body::fail` has emptied the storage.
            unsafe { Outcome::<T>::store(body, Err(payload)) };
            None
        },
    };
}

/// The result for a join handle.
struct Outcome<T>(Result<T, Payload>);

impl<T> Outcome<T> {
    const VTABLE: &'static Vtable = &Vtable {
        stage: Stage::Result,
        run: |_| Ok(()),
        drop: |body| {
            // SAFETY: T1, this vtable is of an `Outcome<T>`.
            drop(unsafe { take::<Outcome<T>>(body) })
        },
        fail: |_, payload| Some(payload),
    };

    /// # Safety
    ///
    /// The storage holds nothing.
    unsafe fn store(body: &Body, result: Result<T, Payload>) {
        // SAFETY: the caller's promise.
        unsafe { put(body, Outcome(result)) };
        body.vtable.set(Self::VTABLE);
    }
}

impl Body {
    pub(crate) fn empty() -> Body {
        Body { vtable: Cell::new(&EMPTY), storage: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    pub(crate) fn detached<F: FnOnce()>(f: F) -> Body {
        let body = Body::empty();
        body.bind(f);
        body
    }

    #[inline]
    pub(crate) fn joinable<T, F: FnOnce() -> T>(f: F) -> Body {
        let mut body = Body::empty();
        body.bind_joinable(f);
        body
    }

    /// Stores a joinable closure in an empty body that nobody else refers to.
    #[inline]
    pub(crate) fn bind_joinable<T, F: FnOnce() -> T>(&mut self, f: F) {
        assert_eq!(self.stage(), Stage::Empty, "a body is bound once at a time");
        // SAFETY: T1, it is empty.
        unsafe { put(self, Joinable(f)) };
        self.vtable.set(Joinable::<F>::VTABLE);
    }

    /// Stores a detached closure in an empty body.
    pub(crate) fn bind<F: FnOnce()>(&self, f: F) {
        assert_eq!(self.stage(), Stage::Empty, "a body is bound once at a time");
        // SAFETY: T1, it is empty.
        unsafe { put(self, Detached(f)) };
        self.vtable.set(Detached::<F>::VTABLE);
    }

    pub(crate) fn stage(&self) -> Stage {
        self.vtable.get().stage
    }

    /// Calls the closure, or does nothing if there is none. `Err` is a panic that no join handle will report.
    #[inline]
    pub(crate) fn run(&self) -> Result<(), Payload> {
        // SAFETY: T1, the vtable is of what is stored; those without a closure do nothing.
        unsafe { (self.vtable.get().run)(self) }
    }

    /// Ends the tasklet with `payload` instead of running its closure. Gives the payload back if no join handle will report it.
    pub(crate) fn fail(&self, payload: Payload) -> Option<Payload> {
        let vtable = self.vtable.get();
        self.clear();
        // SAFETY: `clear` emptied the storage.
        unsafe { (vtable.fail)(self, payload) }
    }

    /// Drops what is stored; a panic of its destructor is swallowed.
    pub(crate) fn clear(&self) {
        let vtable = self.vtable.replace(&EMPTY);
        if vtable.stage != Stage::Empty {
            unwind::drop_quietly(Clear { body: self, vtable });
        }
    }

    /// Moves the result out.
    ///
    /// # Safety
    ///
    /// The body was made by [`Body::joinable`] with a closure that returns `T`, and has not been bound again.
    pub(crate) unsafe fn take_result<T>(&self) -> Option<Result<T, Payload>> {
        if self.stage() != Stage::Result {
            return None;
        }
        // SAFETY: T1 and the caller's promise: what is stored is the `Outcome` of a closure that returns `T`.
        let Outcome(result) = unsafe { take::<Outcome<T>>(self) };
        self.vtable.set(&EMPTY);
        Some(result)
    }

    /// Moves the contents to a new body, to be dropped elsewhere.
    pub(crate) fn take(&mut self) -> Body {
        std::mem::replace(self, Body::empty())
    }
}

/// Drops the contents of a body that counts as empty already.
struct Clear<'a> {
    body: &'a Body,
    vtable: &'static Vtable,
}

impl Drop for Clear<'_> {
    fn drop(&mut self) {
        // SAFETY: T1 at the time the vtable was taken; nothing ran in between.
        unsafe { (self.vtable.drop)(self.body) }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn small_and_large_closures_run_once_and_drop_once() {
        let witness = Rc::new(());
        let (a, b) = (witness.clone(), witness.clone());
        let large = [7u8; 200];
        let small = Body::detached(move || drop(a));
        let big = Body::joinable(move || {
            drop(b);
            large
        });
        assert_eq!(Rc::strong_count(&witness), 3);
        assert!(small.run().is_ok() && big.run().is_ok());
        assert_eq!(Rc::strong_count(&witness), 1);
        // SAFETY: the closure returns this array.
        let result = unsafe { big.take_result::<[u8; 200]>() };
        assert_eq!(result.unwrap().unwrap(), [7u8; 200]);
        assert_eq!(small.stage(), Stage::Empty);
    }

    #[test]
    fn unrun_closure_and_untaken_result_are_dropped() {
        let witness = Rc::new(());
        let (a, b) = (witness.clone(), witness.clone());
        drop(Body::detached(move || drop(a)));
        let body = Body::joinable(move || b);
        body.run().unwrap();
        assert_eq!(Rc::strong_count(&witness), 2);
        drop(body);
        assert_eq!(Rc::strong_count(&witness), 1);
    }

    #[test]
    fn failing_a_joinable_drops_its_closure_and_keeps_the_payload() {
        let witness = Rc::new(());
        let a = witness.clone();
        let body = Body::joinable(move || drop(a));
        assert!(body.fail(Box::new("gone")).is_none());
        assert_eq!(Rc::strong_count(&witness), 1);
        // SAFETY: the closure returns unit.
        let result = unsafe { body.take_result::<()>() };
        assert_eq!(unwind::message(&result.unwrap().unwrap_err()), "gone");
    }
}
