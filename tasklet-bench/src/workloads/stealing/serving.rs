//! Servers: what comes on a connection is answered by a tasklet of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tasklet_core::backend::Backend;
use tasklet_io::net::{TcpListener, TcpStream};
use tasklet_scheduler::stealing;

use super::{countdown, join, wait_for, within};
use crate::Result;
use crate::process::resident;
use crate::subject::Setting;
use crate::workloads::load::answers::{Answer, Echo, all};
use crate::workloads::load::http::Talk;
use crate::workloads::load::{self, Meeting, against, hold, storm};

/// Sends back what it is sent.
pub(super) fn echo<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    load::echo(setting, |meeting| within::<B, _>(setting, || accept(meeting, answers::<Echo>)))
}

/// Answers HTTP.
pub(super) fn http<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    load::http(setting, |meeting| within::<B, _>(setting, || accept(meeting, answers::<Talk>)))
}

/// Serves each connection with `serve` until the meeting is over and all have ended.
fn accept(meeting: &Meeting, serve: fn(&TcpStream) -> Result<()>) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    meeting.is_at(listener.local_addr()?);
    let mut connections = Vec::new();
    loop {
        let (stream, _) = listener.accept()?;
        if meeting.is_over() {
            break;
        }
        connections.push(stealing::spawn(move || serve(&stream)));
    }
    connections.into_iter().try_for_each(|connection| join(connection)?)
}

fn answers<A: Answer>(stream: &TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    all::<A>(stream)
}

/// Bytes of a connection on which nothing comes, beside the kernel's.
pub(super) fn idle_sockets<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    hold::raise_limit()?;
    let connections = setting.n;
    let (measured, is_measured) = mpsc::channel();
    let client = move |addr| hold::elsewhere(addr, connections, &is_measured);
    let ((), bytes) = against(setting, client, |meeting| {
        within::<B, _>(setting, || {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            meeting.is_at(listener.local_addr()?);
            // What is made once is not theirs.
            let (first, _) = listener.accept()?;
            let first = stealing::spawn(move || answers::<Echo>(&first));
            stealing::sleep(SETTLED);
            let before = resident()?;
            let begun = countdown(connections - 1);
            let mut held = Vec::with_capacity(usize::try_from(connections)?);
            for _ in 1..connections {
                let (stream, _) = listener.accept()?;
                let begun = begun.clone();
                held.push(stealing::spawn(move || {
                    begun.down();
                    answers::<Echo>(&stream)
                }));
            }
            wait_for(&begun)?;
            stealing::sleep(SETTLED);
            let bytes = resident()? - before;
            measured.send(())?;
            // The last visitor is the one that ends the meeting.
            listener.accept()?;
            held.into_iter().chain([first]).try_for_each(|connection| join(connection)?)?;
            Ok(bytes as f64 / (connections - 1) as f64)
        })
    })?;
    Ok(vec![bytes])
}

/// Who was woken, waits again.
const SETTLED: Duration = Duration::from_millis(100);

/// Connections in each second and the share of the busiest worker's, with one listener and with one for each worker.
pub(super) fn accept_storm<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    let mut figures = storm_on::<B>(setting, 1)?;
    figures.extend(storm_on::<B>(setting, setting.workers)?);
    Ok(figures)
}

fn storm_on<B: Backend>(setting: &Setting, listeners: usize) -> Result<Vec<f64>> {
    let connections = setting.n;
    let client = move |addr| storm::drive(addr, connections);
    let served: Arc<[AtomicU64]> = (0..setting.workers).map(|_| AtomicU64::new(0)).collect();
    let (rate, ()) = against(setting, client, |meeting| {
        within::<B, _>(setting, || {
            let first = TcpListener::bind_reuse_port("127.0.0.1:0")?;
            let addr = first.local_addr()?;
            let mut listening = vec![first];
            for _ in 1..listeners {
                listening.push(TcpListener::bind_reuse_port(addr)?);
            }
            let mut acceptors = Vec::new();
            for (worker, listener) in listening.iter().enumerate() {
                let (listener, served) = (listener.try_clone()?, served.clone());
                acceptors.push(stealing::spawn_on(worker, move || accept_and_count(&listener, &served))?);
            }
            meeting.is_at(addr);
            while !meeting.is_over() {
                stealing::sleep(Duration::from_millis(1));
            }
            listening.iter().for_each(|listener| listener.close());
            acceptors.into_iter().try_for_each(join)
        })
    })?;
    let counts = served.iter().map(|count| count.load(Ordering::Relaxed));
    let (busiest, all) = (counts.clone().max().unwrap_or(0), counts.sum::<u64>());
    Ok(vec![rate, 100.0 * busiest as f64 / all as f64])
}

/// Serves each connection, and counts it to the worker that begins to; until the listener is closed.
fn accept_and_count(listener: &TcpListener, served: &Arc<[AtomicU64]>) {
    while let Ok((stream, _)) = listener.accept() {
        let served = served.clone();
        stealing::spawn(move || {
            if let Some(worker) = stealing::worker_index() {
                served[worker].fetch_add(1, Ordering::Relaxed);
            }
            drop(answers::<Echo>(&stream));
        });
    }
}
