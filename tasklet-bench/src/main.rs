//! quick
use std::time::Instant;
use tasklet_backend_corosensei::Corosensei as B;
use tasklet_core::{handle::Local, operation::On};
type Channel<T> = tasklet_channels::ChannelBy<T, Local<On<B>>>;
use tasklet_scheduler::local;
fn main() {
    let which = std::env::args().nth(1).unwrap_or_default();
    let s = local::Scheduler::<B>::new();
    let all = which.is_empty();
    if all || which == "yield" {
        for _ in 0..3 {
            let n: usize = std::env::args().nth(2).map_or(1000, |n| n.parse().unwrap());
            for _ in 0..n {
                s.spawn(move || {
                    for _ in 0..10_000_000 / n {
                        local::schedule_by::<On<B>>();
                    }
                });
            }
            let t = Instant::now();
            s.run().unwrap();
            println!("yield {} ns", t.elapsed().as_nanos() as f64 / 1e7);
        }
    }
    if all || which == "pingpong" {
        for _ in 0..3 {
            let (a, b) = (Channel::new(), Channel::new());
            let (a2, b2) = (a.clone(), b.clone());
            s.spawn(move || {
                for i in 0..1_000_000u64 {
                    a.send(i).unwrap();
                    b.recv().unwrap();
                }
            });
            s.spawn(move || {
                for i in 0..1_000_000u64 {
                    a2.recv().unwrap();
                    b2.send(i).unwrap();
                }
            });
            let n = s.switches();
            let t = Instant::now();
            s.run().unwrap();
            println!("pingpong {} ns {} switches", t.elapsed().as_nanos() as f64 / 1e6, s.switches() - n);
        }
    }
    if all || which == "ring" {
        for _ in 0..3 {
            let chans: Vec<_> = (0..503).map(|_| Channel::<u64>::new()).collect();
            for i in 0..503 {
                let (r, n) = (chans[i].clone(), chans[(i + 1) % 503].clone());
                s.spawn(move || {
                    if i == 0 {
                        n.send(0).unwrap();
                    }
                    loop {
                        let v = r.recv().unwrap();
                        if v >= 5_000_000 {
                            if v < 5_000_502 {
                                n.send(v + 1).unwrap();
                            }
                            return;
                        }
                        n.send(v + 1).unwrap();
                    }
                });
            }
            let t = Instant::now();
            let _ = s.run();
            println!("ring {} ns", t.elapsed().as_nanos() as f64 / 5e6);
        }
    }
    if all || which == "spawn_join" {
        for _ in 0..3 {
            let t = Instant::now();
            for _ in 0..100 {
                let hs: Vec<_> = (0..10_000).map(|_| s.spawn_joinable(|| ())).collect();
                for h in hs {
                    h.join().unwrap();
                }
            }
            println!("spawn_join {} ns", t.elapsed().as_nanos() as f64 / 1e6);
        }
    }
}
