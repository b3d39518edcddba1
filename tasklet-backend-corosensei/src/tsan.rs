//! Tells ThreadSanitizer which stack it is looking at.
//!
//! It keeps a list of the calls in progress for each thread, and for each fiber that it was told of. All of it is told by whoever
//! resumes, on one stack: the coroutine's fiber before the switch, its own after it. So what is entered and left between the two
//! tells, `resume` on this stack and `suspend` on the other, is put on the coroutine's list and taken from it equally often,
//! whether it was inlined or not.

#[cfg(feature = "tsan")]
pub(crate) use announced::Fiber;
#[cfg(not(feature = "tsan"))]
pub(crate) use silent::Fiber;

#[cfg(feature = "tsan")]
mod announced {
    use std::ffi::{c_uint, c_void};

    // `sanitizer/tsan_interface.h` of compiler-rt.
    unsafe extern "C" {
        safe fn __tsan_get_current_fiber() -> *mut c_void;
        safe fn __tsan_create_fiber(flags: c_uint) -> *mut c_void;
        fn __tsan_destroy_fiber(fiber: *mut c_void);
        fn __tsan_switch_to_fiber(fiber: *mut c_void, flags: c_uint);
    }

    /// The switch orders what happens before it and after it, as one thread's code is ordered.
    const SYNCHRONISES: c_uint = 0;

    /// What the sanitizer knows of one coroutine.
    pub(crate) struct Fiber(*mut c_void);

    impl Fiber {
        pub(crate) fn new() -> Fiber {
            Fiber(__tsan_create_fiber(0))
        }

        /// Calls `resume`, which switches to the coroutine and comes back.
        #[inline(always)]
        pub(crate) fn enter<R>(&self, resume: impl FnOnce() -> R) -> R {
            let resumer = __tsan_get_current_fiber();
            // SAFETY: made by `new` and not destroyed; a coroutine is resumed once at a time, so no thread is on its fiber.
            unsafe { __tsan_switch_to_fiber(self.0, SYNCHRONISES) };
            let result = resume();
            // SAFETY: where this call came from, which has not gone on meanwhile.
            unsafe { __tsan_switch_to_fiber(resumer, SYNCHRONISES) };
            result
        }
    }

    impl Drop for Fiber {
        fn drop(&mut self) {
            // SAFETY: made by `new`; the coroutine is not being resumed, and never will be again.
            unsafe { __tsan_destroy_fiber(self.0) }
        }
    }
}

#[cfg(not(feature = "tsan"))]
mod silent {
    /// Nobody is told.
    pub(crate) struct Fiber;

    impl Fiber {
        #[inline(always)]
        pub(crate) fn new() -> Fiber {
            Fiber
        }

        #[inline(always)]
        pub(crate) fn enter<R>(&self, resume: impl FnOnce() -> R) -> R {
            resume()
        }
    }
}
