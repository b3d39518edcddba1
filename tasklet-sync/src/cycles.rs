//! Circles of locks: found when the wait begins that closes one, in builds with debug assertions. In others there is nothing here.
//!
//! A registry knows who holds which lock and who waits for which, without a time limit. A lock enters it when it was taken and leaves it before
//! it is released. Who waits enters itself, then goes from the lock to its holders, from those to the locks that they wait for, and so on. If it
//! comes back to itself, nobody in the circle can go on. Whoever closes a circle finds it: those before have entered themselves already, and what
//! they hold too, since a tasklet does one thing after the other. All that under one lock of std's, in which nothing of users runs.
//!
//! A circle is reported only if it is one. Where one at a time is inside, who waits does wait for whoever is registered. Where there may be
//! several, one that was let in and has not run yet, or one that need not wait, would count as waiting for others who are inside too: so there the
//! entry is made and removed under the lock that decides who is let in.

#[cfg(debug_assertions)]
pub(crate) use registry::{Edge, Holder, Identity, Report, Waiter};

#[cfg(not(debug_assertions))]
pub(crate) use nothing::{Edge, Holder, Identity, Report, Waiter};

#[cfg(not(debug_assertions))]
mod nothing {
    use std::convert::Infallible;

    pub(crate) struct Identity;

    impl Identity {
        #[inline(always)]
        pub(crate) const fn new() -> Identity {
            Identity
        }

        #[inline(always)]
        pub(crate) fn held(&self) -> Holder {
            Holder
        }

        #[inline(always)]
        pub(crate) fn released(&self) {}

        #[inline(always)]
        pub(crate) fn released_by(&self, _: &Holder) {}

        #[inline(always)]
        pub(crate) fn edge(&self, _: u64) -> Edge {
            Edge
        }

        #[inline(always)]
        pub(crate) fn wait_for(&self, _: u64) -> Edge {
            Edge
        }
    }

    pub(crate) struct Holder;

    /// What the other builds have too, so that a wait's code is the same.
    pub(crate) struct Edge;

    impl Edge {
        #[inline(always)]
        pub(crate) fn begin(&self) -> Option<Report> {
            None
        }

        #[inline(always)]
        pub(crate) fn waiter(&self) -> Waiter {
            Waiter
        }
    }

    impl Drop for Edge {
        #[inline(always)]
        fn drop(&mut self) {}
    }

    #[derive(Clone, Copy)]
    pub(crate) struct Waiter;

    impl Waiter {
        #[inline(always)]
        pub(crate) fn goes_on(self) {}
    }

    pub(crate) struct Report(Infallible);

    impl Report {
        pub(crate) fn raise(self) {
            match self.0 {}
        }
    }
}

#[cfg(debug_assertions)]
mod registry {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fmt::{self, Write};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

    use tasklet_core::current;
    use tasklet_core::tasklet::Record;

    /// A tasklet, or the one that stands for a thread, by the address of its record: identities are unique per scheduler only. A record that
    /// is in the registry is not freed.
    type Who = usize;

    /// Who holds or waits.
    #[derive(Clone)]
    struct Actor {
        record: Arc<Record>,
        /// It is a plain thread, which nobody has spawned as a tasklet.
        is_thread: bool,
    }

    struct Registry {
        /// Those who hold a lock, by its identity: several if they read.
        holders: BTreeMap<u64, Vec<Actor>>,
        /// What somebody waits for: the identity of a lock, and the number that dumps call it by.
        waits: BTreeMap<Who, (Actor, u64, u64)>,
    }

    static REGISTRY: Mutex<Registry> = Mutex::new(Registry { holders: BTreeMap::new(), waits: BTreeMap::new() });

    fn registry() -> MutexGuard<'static, Registry> {
        REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
    }

    impl Actor {
        /// The caller.
        fn me() -> Actor {
            Actor { record: current::record(), is_thread: current::id().is_none() }
        }

        fn who(&self) -> Who {
            Arc::as_ptr(&self.record).addr()
        }
    }

    /// What the registry knows a lock by, wherever it is moved: no other has the same, or had it. Zero until the lock is first registered.
    pub(crate) struct Identity(AtomicU64);

    impl Identity {
        pub(crate) const fn new() -> Identity {
            Identity(AtomicU64::new(0))
        }

        fn get(&self) -> u64 {
            static NEXT: AtomicU64 = AtomicU64::new(1);
            // Relaxed, all of them: it is a number, with nothing behind it.
            match self.0.load(Ordering::Relaxed) {
                0 => {
                    let new = NEXT.fetch_add(1, Ordering::Relaxed);
                    self.0.compare_exchange(0, new, Ordering::Relaxed, Ordering::Relaxed).map_or_else(|is| is, |_| new)
                }
                is => is,
            }
        }

        /// The caller has taken the lock.
        pub(crate) fn held(&self) -> Holder {
            let me = Actor::me();
            let holder = Holder(me.who());
            registry().holders.entry(self.get()).or_default().push(me);
            holder
        }

        /// The one that holds the lock is about to release it. That may be another one than the caller.
        pub(crate) fn released(&self) {
            let holders = registry().holders.remove(&self.get());
            // What a record's end runs is not to run under the lock.
            drop(holders);
        }

        /// One of those who hold the lock is about to release it.
        pub(crate) fn released_by(&self, holder: &Holder) {
            let lock = self.get();
            let mut registry = registry();
            let Some(holders) = registry.holders.get_mut(&lock) else { return };
            let at = holders.iter().position(|other| other.who() == holder.0);
            let gone = at.map(|at| holders.swap_remove(at));
            if holders.is_empty() {
                registry.holders.remove(&lock);
            }
            drop(registry);
            // As in `released`.
            drop(gone);
        }

        /// For a wait of the caller, without a time limit, that has not begun. `number` is what dumps call the lock by.
        pub(crate) fn edge(&self, number: u64) -> Edge {
            Edge { me: Actor::me(), lock: self.get(), number }
        }

        /// The caller is about to wait for the one that holds the lock, without a time limit.
        ///
        /// # Panics
        ///
        /// It would wait for itself. While the thread unwinds, that is printed instead.
        pub(crate) fn wait_for(&self, number: u64) -> Edge {
            let edge = self.edge(number);
            if let Some(report) = edge.begin() {
                report.raise();
            }
            edge
        }
    }

    impl Drop for Identity {
        fn drop(&mut self) {
            // Who holds it has forgotten its guard.
            if *self.0.get_mut() != 0 {
                self.released();
            }
        }
    }

    /// Who has taken a lock, for the one that releases it.
    pub(crate) struct Holder(Who);

    /// A wait for a lock: registered from its beginning on, until the waiter goes on or this is dropped.
    pub(crate) struct Edge {
        me: Actor,
        lock: u64,
        number: u64,
    }

    impl Edge {
        /// The wait begins. The report of the circle that it closes, if it does.
        pub(crate) fn begin(&self) -> Option<Report> {
            let mut registry = registry();
            registry.waits.insert(self.me.who(), (self.me.clone(), self.lock, self.number));
            registry.circle(self.me.who(), self.lock, self.number).map(Report)
        }

        /// For whoever lets the waiter in.
        pub(crate) fn waiter(&self) -> Waiter {
            Waiter(self.me.who())
        }
    }

    impl Drop for Edge {
        fn drop(&mut self) {
            self.waiter().goes_on();
        }
    }

    /// One that has an [`Edge`].
    #[derive(Clone, Copy)]
    pub(crate) struct Waiter(Who);

    impl Waiter {
        /// It waits no more. That it is dropped here does not end its record, which the edge has too.
        pub(crate) fn goes_on(self) {
            registry().waits.remove(&self.0);
        }
    }

    /// What is to be said of a circle.
    pub(crate) struct Report(String);

    impl Report {
        /// Panics; while the thread unwinds, prints it.
        pub(crate) fn raise(self) {
            if std::thread::panicking() {
                eprintln!("{}", self.0);
            } else {
                panic!("{}", self.0);
            }
        }
    }

    impl fmt::Display for Actor {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let (record, name) = (&self.record, self.record.name());
            match name {
                Some(name) if self.is_thread => write!(f, "thread `{name}`"),
                None if self.is_thread => f.write_str("a thread without a name"),
                Some(name) => write!(f, "tasklet {} `{name}`, spawned at {},", record.id().get(), record.site()),
                None => write!(f, "tasklet {}, spawned at {},", record.id().get(), record.site()),
            }
        }
    }

    /// A lock on the way that is searched: its number, those who hold it, and which of them is looked at.
    struct Step<'r> {
        number: u64,
        holders: &'r [Actor],
        at: usize,
    }

    impl Registry {
        fn step(&self, lock: u64, number: u64) -> Step<'_> {
            Step { number, holders: self.holders.get(&lock).map_or(&[], Vec::as_slice), at: 0 }
        }

        /// Looks for a way from a lock back to the one that begins to wait for it, and describes it. It may be long: no recursion.
        fn circle(&self, me: Who, lock: u64, number: u64) -> Option<String> {
            let mut seen = BTreeSet::from([lock]);
            let mut path = vec![self.step(lock, number)];
            while let Some(step) = path.last() {
                let Some(holder) = step.holders.get(step.at) else {
                    path.pop();
                    if let Some(before) = path.last_mut() {
                        before.at += 1;
                    }
                    continue;
                };
                if holder.who() == me {
                    return Some(describe(&path));
                }
                match self.waits.get(&holder.who()) {
                    Some(&(_, next, number)) if seen.insert(next) => path.push(self.step(next, number)),
                    _ => path.last_mut()?.at += 1,
                }
            }
            None
        }
    }

    /// The holder of the last lock is the caller, who waits for the first.
    fn describe(path: &[Step<'_>]) -> String {
        let mut text = String::from("deadlock: locks are waited for in a circle");
        for (at, step) in path.iter().enumerate() {
            let (actor, holds, waits) = (&step.holders[step.at], step.number, path[(at + 1) % path.len()].number);
            let _ = write!(text, "; {actor} holds lock {holds:#x} and waits for lock {waits:#x}");
        }
        text
    }
}
