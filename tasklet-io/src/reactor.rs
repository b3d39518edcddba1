//! What a worker sleeps on once one of its tasklets has waited for I/O: a poller, and the sources that it watches.
//!
//! Each scheduler has its own, made by the first wait and attached to the scheduler's driver. A source is watched by the reactor of whoever
//! waits for it first; those who wait for it elsewhere are woken across threads, and if that is all that happens, the source moves (`source`).

use std::any::Any;
use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use rustix::event::{PollFd, PollFlags, Timespec};
use slab::Slab;
use tasklet_core::current;
use tasklet_core::driver::{Notify, Reactor as Attached};

use crate::source::{Ready, Source};

/// Of the waker. Sources count from 0.
const NOTIFIED: Token = Token(usize::MAX);

/// Events that are fetched at a time; those beyond come with the next wait. A guess.
const BATCH: usize = 256;

/// What is shorter than the poller's clock can tell.
const TICK: Duration = Duration::from_millis(1);

/// What a source is watched for. Urgent bytes, where the poller tells of them, since reads end before one.
#[cfg(any(target_os = "linux", target_os = "android"))]
const INTEREST: Interest = Interest::READABLE.add(Interest::WRITABLE).add(Interest::PRIORITY);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const INTEREST: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// On the thread that waits.
pub(crate) struct Reactor {
    poller: RefCell<(Poll, Events)>,
    /// Who is to be told. Empty but for the time of a wait.
    told: RefCell<Vec<(Arc<Source>, Ready)>>,
    watch: Arc<Watch>,
}

/// On every thread: what is watched.
pub(crate) struct Watch {
    registry: Registry,
    waker: Waker,
    sources: Mutex<Slab<Weak<Source>>>,
    /// Nobody waits here any more.
    is_over: AtomicBool,
}

impl Reactor {
    pub(crate) fn make() -> io::Result<Box<dyn Attached>> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = Waker::new(&registry, NOTIFIED)?;
        let watch = Watch { registry, waker, sources: Mutex::default(), is_over: AtomicBool::new(false) };
        let poller = RefCell::new((poll, Events::with_capacity(BATCH)));
        Ok(Box::new(Reactor { poller, told: RefCell::default(), watch: Arc::new(watch) }))
    }

    /// Calls `f` with what the reactor of the caller's scheduler watches. `None` if it has none and can have none: on a plain thread, or under a
    /// driver that waits for nothing but notifications.
    pub(crate) fn with_current<R>(f: impl FnOnce(&Arc<Watch>) -> R) -> io::Result<Option<R>> {
        let with = |driver: &dyn tasklet_core::driver::Driver| {
            let Some(cell) = driver.reactor() else { return Ok(None) };
            let reactor: &dyn Any = cell.get_or_attach(Reactor::make)?;
            Ok(reactor.downcast_ref::<Reactor>().map(|reactor| f(&reactor.watch)))
        };
        current::with_driver(with).unwrap_or(Ok(None))
    }

    /// Waits, and collects who is to be told.
    fn collect(&self, timeout: Option<Duration>) {
        let (poll, events) = &mut *self.poller.borrow_mut();
        let timeout = match timeout {
            Some(timeout) if !timeout.is_zero() && timeout < TICK => {
                self.watch.doze(timeout);
                Some(Duration::ZERO)
            }
            // The rest, which the poller would round up, is another wait's.
            Some(timeout) => Some(Duration::from_millis(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX))),
            None => None,
        };
        // A signal ends it early, which is allowed; there is nothing else that can fail, and the caller looks again in any case.
        if poll.poll(events, timeout).is_err() || events.is_empty() {
            return;
        }
        let mut told = self.told.borrow_mut();
        let sources = self.watch.lock();
        for event in events.iter().filter(|event| event.token() != NOTIFIED) {
            // One that has gone meanwhile is gone; one that has taken its place is told what does not concern it, and looks in vain.
            if let Some(source) = sources.get(event.token().0).and_then(Weak::upgrade) {
                told.push((source, readiness(event)));
            }
        }
    }
}

/// What an event tells. Who waits for more after the end gets to see that.
fn readiness(event: &Event) -> Ready {
    let mut ready = Ready::NOTHING;
    if event.is_readable() {
        ready = ready | Ready::READ;
    }
    if event.is_writable() {
        ready = ready | Ready::WRITE;
    }
    if event.is_read_closed() {
        ready = ready | Ready::READ | Ready::READ_ENDED;
    }
    if event.is_write_closed() {
        ready = ready | Ready::WRITE | Ready::WRITE_ENDED;
    }
    if event.is_priority() {
        ready = ready | Ready::URGENT;
    }
    if event.is_error() {
        // Whoever looks gets it. A datagram socket goes on after that.
        ready = ready | Ready::READ | Ready::WRITE;
    }
    ready
}

impl Attached for Reactor {
    fn wait(&self, timeout: Option<Duration>) -> bool {
        self.collect(timeout);
        // Who is woken may be async code, whose waker is the user's: it may use sources, and wait here for what it needs.
        let mut told = self.told.take();
        let any = !told.is_empty();
        for (source, ready) in &told {
            source.tell(*ready);
        }
        // Its memory is used again.
        told.clear();
        self.told.replace(told);
        any
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        self.watch.clone()
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.watch.registry.as_fd())
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        // Relaxed: whoever has to know has been told below, and seen that.
        self.watch.is_over.store(true, Ordering::Relaxed);
        let sources = std::mem::take(&mut *self.watch.lock());
        // Those who wait for them live elsewhere: they look, and have them watched there.
        for (_, source) in sources {
            if let Some(source) = source.upgrade() {
                source.tell(Ready::READ | Ready::WRITE);
            }
        }
    }
}

impl Watch {
    /// Watches a source from now on. What it is ready for already is told too.
    pub(crate) fn add(self: &Arc<Self>, fd: RawFd, source: Weak<Source>) -> io::Result<Registration> {
        let key = self.lock().insert(source);
        if let Err(error) = self.registry.register(&mut SourceFd(&fd), Token(key), INTEREST) {
            // Not by way of a registration, whose end would be that of another source's with this descriptor.
            drop(self.lock().try_remove(key));
            return Err(error);
        }
        Ok(Registration { watch: self.clone(), key, fd })
    }

    /// Whether its thread waits no more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Waits for events, for less than the poller could.
    fn doze(&self, timeout: Duration) {
        let limit = Timespec { tv_sec: 0, tv_nsec: timeout.subsec_nanos().into() };
        // A signal ends it early, and there is nothing else that can fail.
        let _ = rustix::event::poll(&mut [PollFd::new(&self.registry, PollFlags::IN)], Some(&limit));
    }

    fn lock(&self) -> MutexGuard<'_, Slab<Weak<Source>>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notify for Watch {
    fn notify(&self) {
        // It fails if the thread has been told very often and has not looked: then it is awake.
        let _ = self.waker.wake();
    }
}

/// A source is watched as long as this lives.
pub(crate) struct Registration {
    watch: Arc<Watch>,
    key: usize,
    fd: RawFd,
}

impl Registration {
    /// By whom.
    pub(crate) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // It fails if the descriptor was closed behind our back.
        let _ = self.watch.registry.deregister(&mut SourceFd(&self.fd));
        drop(self.watch.lock().try_remove(self.key));
    }
}
