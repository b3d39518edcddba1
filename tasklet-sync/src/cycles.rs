//! Circles of locks: found when the wait begins that closes one, in builds with debug assertions. In others there is nothing here.
//!
//! A registry knows who holds which lock and who waits for which, without a time limit. A lock enters it when it was taken and leaves it before
//! it is released. Who waits enters itself, then goes from the lock to its holders, from those to the locks that they wait for, and so on. If it
//! comes back to itself, nobody in the circle can go on. Whoever closes a circle finds it: those before have entered themselves already, and what
//! they hold too, since a tasklet does one thing after the other. All that under one lock of std's, in which nothing of users runs.

#[cfg(debug_assertions)]
pub(crate) use registry::{gone, held, released, wait_for};

#[cfg(not(debug_assertions))]
pub(crate) use nothing::{gone, held, released, wait_for};

#[cfg(not(debug_assertions))]
mod nothing {
    #[inline(always)]
    pub(crate) fn held(_: u64) {}

    #[inline(always)]
    pub(crate) fn released(_: u64) {}

    #[inline(always)]
    pub(crate) fn gone(_: u64) {}

    /// What the other builds have too, so that a wait's code is the same.
    pub(crate) struct Edge;

    impl Drop for Edge {
        #[inline(always)]
        fn drop(&mut self) {}
    }

    #[inline(always)]
    pub(crate) fn wait_for(_: u64) -> Edge {
        Edge
    }
}

#[cfg(debug_assertions)]
mod registry {
    use std::collections::BTreeMap;
    use std::fmt::{self, Write};
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
        /// Those who hold a lock, by its number: several if they read.
        holders: BTreeMap<u64, Vec<Actor>>,
        /// What somebody waits for.
        waits: BTreeMap<Who, (Actor, u64)>,
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

    /// The caller has taken a lock.
    pub(crate) fn held(lock: u64) {
        let me = Actor::me();
        registry().holders.entry(lock).or_default().push(me);
    }

    /// The caller is about to release a lock. Of several holders it is the caller if it is one of them; else whoever locked first.
    pub(crate) fn released(lock: u64) {
        let me = Actor::me().who();
        let mut registry = registry();
        let Some(holders) = registry.holders.get_mut(&lock) else { return };
        let at = holders.iter().position(|holder| holder.who() == me).unwrap_or(0);
        let holder = (at < holders.len()).then(|| holders.swap_remove(at));
        if holders.is_empty() {
            registry.holders.remove(&lock);
        }
        drop(registry);
        // What a record's end runs is not to run under the lock.
        drop(holder);
    }

    /// A lock ends. Who holds it has forgotten its guard; another lock may come to lie in its place.
    pub(crate) fn gone(lock: u64) {
        let holders = registry().holders.remove(&lock);
        drop(holders);
    }

    /// While it lives, somebody waits for a lock.
    pub(crate) struct Edge(Who);

    impl Drop for Edge {
        fn drop(&mut self) {
            let entry = registry().waits.remove(&self.0);
            drop(entry);
        }
    }

    /// The caller is about to wait for a lock without a time limit.
    ///
    /// # Panics
    ///
    /// It would wait for itself. While the thread unwinds, that is printed instead.
    pub(crate) fn wait_for(lock: u64) -> Edge {
        let me = Actor::me();
        let edge = Edge(me.who());
        let report = {
            let mut registry = registry();
            registry.waits.insert(edge.0, (me, lock));
            registry.circle(edge.0, lock)
        };
        if let Some(report) = report {
            if std::thread::panicking() {
                eprintln!("{report}");
            } else {
                panic!("{report}");
            }
        }
        edge
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

    impl Registry {
        /// Looks for a way from a lock back to the tasklet that begins to wait for it, and describes it.
        fn circle(&self, me: Who, lock: u64) -> Option<String> {
            let mut path: Vec<(&Actor, u64)> = Vec::new();
            let mut seen = vec![lock];
            self.follow(me, lock, &mut path, &mut seen).then(|| describe(&path))
        }

        /// From `lock` on; `path` is made of those who hold a lock and the lock that they hold.
        fn follow<'r>(&'r self, me: Who, lock: u64, path: &mut Vec<(&'r Actor, u64)>, seen: &mut Vec<u64>) -> bool {
            for holder in self.holders.get(&lock).into_iter().flatten() {
                path.push((holder, lock));
                if holder.who() == me {
                    return true;
                }
                if let Some((_, next)) = self.waits.get(&holder.who())
                    && !seen.contains(next)
                {
                    seen.push(*next);
                    if self.follow(me, *next, path, seen) {
                        return true;
                    }
                }
                path.pop();
            }
            false
        }
    }

    /// The last of the path is the caller, who waits for the lock that the first holds.
    fn describe(path: &[(&Actor, u64)]) -> String {
        let mut text = String::from("deadlock: locks are waited for in a circle");
        for (at, (actor, holds)) in path.iter().enumerate() {
            let waits = path[(at + 1) % path.len()].1;
            let _ = write!(text, "; {actor} holds lock {holds:#x} and waits for lock {waits:#x}");
        }
        text
    }
}
