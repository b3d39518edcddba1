//! A digital circuit: each gate is a tasklet, each wire a channel, and changes are pushed along the wires.
//!
//! Builds half adders, full adders and a ripple-carry adder of four bits, as Grant Olson's tutorial does, and looks at what a
//! channel's *preference* means for who pushes. With [`Preference::Receiver`], Stackless's default, the receiver runs at once, so
//! along a chain `send` returns when the last gate has settled. With [`Preference::Sender`], `send` returns at once. Where a signal
//! forks, only `run` tells that all is settled.
//!
//! ```text
//! cargo run --example digital_circuit
//! cargo run --no-default-features --features backend-context --example digital_circuit
//! cargo run --no-default-features --features backend-generator --example digital_circuit
//! ```

#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;

use tasklet::prelude::*;

fn main() -> ExitCode {
    let text = match demonstration() {
        Ok(text) => text,
        Err(error) => {
            eprintln!("digital_circuit: {error}");
            return ExitCode::FAILURE;
        }
    };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("digital_circuit: could not print: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn demonstration() -> Result<String, Box<dyn Error>> {
    let mut text = String::new();

    for preference in [Preference::Receiver, Preference::Sender] {
        writeln!(
            text,
            "preference {preference:?}: a row of three inverters, and a row that forks after the first one"
        )?;
        let circuit = Circuit::new(preference);
        let (row, fork) = (circuit.wire(), circuit.wire());
        let end = circuit.not(&circuit.not(&circuit.not(&row)));
        let forked = circuit.not(&fork);
        let lamps = [&end, &circuit.not(&forked), &circuit.not(&forked)].map(|wire| circuit.lamp(wire));
        circuit.settle()?;
        writeln!(text, "  at first    {}", show(&lamps))?;
        circuit.set(&row, true)?;
        circuit.set(&fork, true)?;
        writeln!(text, "  after send  {}", show(&lamps))?;
        circuit.settle()?;
        writeln!(text, "  after run   {}", show(&lamps))?;
    }

    let circuit = Circuit::new(Preference::Receiver);
    let (a, b) = (circuit.wire(), circuit.wire());
    let (sum, carry) = circuit.half_adder(&a, &b);
    let lamps = [circuit.lamp(&carry), circuit.lamp(&sum)];
    writeln!(text, "half adder")?;
    for (left, right) in [(false, false), (false, true), (true, false), (true, true)] {
        circuit.set(&a, left)?;
        circuit.set(&b, right)?;
        circuit.settle()?;
        writeln!(text, "  {} + {} = {}", u8::from(left), u8::from(right), show(&lamps))?;
    }

    let circuit = Circuit::new(Preference::Receiver);
    let [left, right] = [(); 2].map(|()| [(); 4].map(|()| circuit.wire()));
    let lamps = circuit.ripple_adder(&left, &right).map(|wire| circuit.lamp(&wire));
    writeln!(text, "ripple adder of four bits: {} tasklets", circuit.gates.get())?;
    for (x, y) in [(1, 1), (3, 5), (9, 7), (15, 15), (0, 0)] {
        let before = circuit.scheduler.switches();
        for bit in 0..4 {
            circuit.set(&left[bit], x >> bit & 1 == 1)?;
            circuit.set(&right[bit], y >> bit & 1 == 1)?;
        }
        circuit.settle()?;
        let sum: u32 = lamps.iter().enumerate().map(|(bit, lamp)| u32::from(lamp.get()) << bit).sum();
        writeln!(text, "  {x:>2} + {y:>2} = {sum:>2}   ({} switches)", circuit.scheduler.switches() - before)?;
    }
    Ok(text)
}

fn show(lamps: &[Rc<Cell<bool>>]) -> String {
    lamps.iter().map(|lamp| if lamp.get() { '1' } else { '0' }).collect()
}

/// A wire, off at first. Clones are the same wire.
#[derive(Clone)]
struct Wire(Rc<RefCell<WireState>>);

struct WireState {
    level: bool,
    /// Where changes go: a gate's channel, and the number of its input.
    sinks: Vec<(Channel<Change>, usize)>,
}

/// The input of this number has this level from now on.
#[derive(Clone, Copy)]
struct Change(usize, bool);

impl Wire {
    /// Pushes a change to all gates behind the wire; what does not change is not pushed.
    fn push(&self, level: bool) -> Result<(), Box<dyn Error>> {
        if std::mem::replace(&mut self.0.borrow_mut().level, level) == level {
            return Ok(());
        }
        // The list is cloned: whoever runs meanwhile may look at this wire.
        let sinks = self.0.borrow().sinks.clone();
        for (gate, input) in sinks {
            gate.send(Change(input, level))?;
        }
        Ok(())
    }
}

/// A scheduler, and how to put gates on it.
struct Circuit {
    scheduler: local::Scheduler,
    preference: Preference,
    gates: Cell<usize>,
}

impl Circuit {
    fn new(preference: Preference) -> Circuit {
        Circuit { scheduler: local::Scheduler::new(), preference, gates: Cell::new(0) }
    }

    fn wire(&self) -> Wire {
        Wire(Rc::new(RefCell::new(WireState { level: false, sinks: Vec::new() })))
    }

    /// What a switch does: the host pushes as any tasklet may.
    fn set(&self, wire: &Wire, level: bool) -> Result<(), Box<dyn Error>> {
        wire.push(level)
    }

    /// Runs until every gate waits for a change.
    fn settle(&self) -> Result<(), Box<dyn Error>> {
        self.scheduler.run()?;
        Ok(())
    }

    /// A tasklet that hands every change of its inputs to `react`.
    fn device<const N: usize>(&self, inputs: [&Wire; N], react: impl Fn([bool; N]) + 'static) {
        let changes = Channel::with_preference(self.preference);
        for (number, wire) in inputs.iter().enumerate() {
            wire.0.borrow_mut().sinks.push((changes.clone(), number));
        }
        self.gates.set(self.gates.get() + 1);
        self.scheduler.spawn(move || {
            let mut levels = [false; N];
            react(levels);
            for Change(input, level) in &changes {
                levels[input] = level;
                react(levels);
            }
        });
    }

    fn gate<const N: usize>(&self, inputs: [&Wire; N], logic: fn([bool; N]) -> bool) -> Wire {
        let output = self.wire();
        let wire = output.clone();
        self.device(inputs, move |levels| wire.push(logic(levels)).expect("the gates behind listen"));
        output
    }

    fn lamp(&self, wire: &Wire) -> Rc<Cell<bool>> {
        let lamp = Rc::new(Cell::new(false));
        let light = lamp.clone();
        self.device([wire], move |[level]| light.set(level));
        lamp
    }

    fn not(&self, input: &Wire) -> Wire {
        self.gate([input], |[a]| !a)
    }

    /// Sum and carry of two bits.
    fn half_adder(&self, a: &Wire, b: &Wire) -> (Wire, Wire) {
        (self.gate([a, b], |[a, b]| a != b), self.gate([a, b], |[a, b]| a && b))
    }

    /// Sum and carry of three bits.
    fn full_adder(&self, a: &Wire, b: &Wire, carry: &Wire) -> (Wire, Wire) {
        let (partial, first) = self.half_adder(a, b);
        let (sum, second) = self.half_adder(&partial, carry);
        (sum, self.gate([&first, &second], |[a, b]| a || b))
    }

    /// The five bits of a sum, lowest first.
    fn ripple_adder(&self, left: &[Wire; 4], right: &[Wire; 4]) -> [Wire; 5] {
        let mut carry = self.wire();
        let mut sums = Vec::new();
        for (a, b) in left.iter().zip(right) {
            let (sum, next) = self.full_adder(a, b, &carry);
            sums.push(sum);
            carry = next;
        }
        sums.push(carry);
        std::array::from_fn(|bit| sums[bit].clone())
    }
}
