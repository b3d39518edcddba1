//! Smoke.
use std::cell::RefCell;
use std::rc::Rc;
use tasklet_backend_corosensei::Corosensei;
use tasklet_channels::Channel;
use tasklet_scheduler::local;

#[test]
fn round_robin() {
    let s = local::Scheduler::<Corosensei>::new();
    let log = Rc::new(RefCell::new(Vec::new()));
    for n in ["a", "b", "c"] {
        let log = log.clone();
        s.spawn(move || {
            for i in 0..3 {
                log.borrow_mut().push(format!("{n}{i}"));
                local::schedule();
            }
        });
    }
    s.run().unwrap();
    assert_eq!(log.borrow().join(" "), "a0 b0 c0 a1 b1 c1 a2 b2 c2");
    let ch = Channel::new();
    let c2 = ch.clone();
    s.spawn(move || {
        c2.send_all(0..4).unwrap();
        c2.close();
    });
    assert_eq!(ch.iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
    let h = s.spawn_joinable(|| 5);
    assert_eq!(h.join().unwrap(), 5);
    let r = Channel::<u8>::new().recv().unwrap_err();
    println!("{r}");
    s.spawn(|| panic!("oops"));
    println!("{:?}", s.run());
    let c3 = Channel::<u8>::new();
    let dropped = Rc::new(());
    let d2 = dropped.clone();
    s.spawn(move || {
        let _d = d2;
        c3.recv().unwrap();
    });
    s.run().unwrap();
    assert_eq!(Rc::strong_count(&dropped), 2);
    println!("{:?}", s.shut_down());
    assert_eq!(Rc::strong_count(&dropped), 1);
}

#[test]
fn speed() {
    use std::time::Instant;
    let s = local::Scheduler::<Corosensei>::new();
    for _ in 0..1000 {
        s.spawn(|| {
            for _ in 0..1000 {
                local::schedule();
            }
        });
    }
    let t = Instant::now();
    s.run().unwrap();
    println!("yield {} ns", t.elapsed().as_nanos() as f64 / 1e6);
    for _ in 0..2 {
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
        let t = Instant::now();
        s.run().unwrap();
        println!("pingpong {} ns", t.elapsed().as_nanos() as f64 / 1e6);
    }
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
    let r = s.run();
    println!("ring {} ns {r:?}", t.elapsed().as_nanos() as f64 / 5e6);
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
