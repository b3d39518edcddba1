//! Runs a program on the local scheduler and writes its log.
//!
//! Events: `a>b` is a switch, `a3=ok` the result of the third operation (from zero) of `a`, `a.` its normal end, `Ha:E4` an error
//! that the handler saw, `c0:as-` a send by `a` on channel 0 that will block. After each operation of the main script come the
//! queue and the balances of the channels; at the end, what each tasklet is doing.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use tasklet_channels::{Channel, Direction, RecvError, SendError};
use tasklet_core::backend::Backend;
use tasklet_core::id::TaskletId;
use tasklet_core::park::ParkError;
use tasklet_core::tasklet::StackKind;
use tasklet_core::unwind::{self, Payload, is_tasklet_exit};
use tasklet_scheduler::local::{
    self, Atomic, Budget, ErrorHandler, RunError, RunOptions, RunOutcome, SwitchTrap, Tasklet, TaskletStateError,
};

use super::program::{Catch, Handler, Op, Program};
use crate::kinds;

/// Events beyond the expected ones before a program is stopped: it may have come into a loop.
const EXCESS: usize = 200;

/// What a script or another tasklet raises: the name of the error.
struct Failure(Cow<'static, str>);

impl Failure {
    fn number(n: u32) -> Failure {
        Failure(format!("E{n}").into())
    }
}

/// What a script holds; released when it ends, also by unwinding.
#[derive(Default)]
struct Guards {
    switch_trap: Option<SwitchTrap>,
    atomic: Option<Atomic>,
}

struct World {
    program: Program,
    log: RefCell<Vec<String>>,
    /// Nothing is logged any more, and scripts end.
    closing: Cell<bool>,
    channels: Vec<Channel<i64>>,
    /// One for each script.
    tasklets: Vec<Tasklet>,
    set_handler: Box<dyn Fn(Option<ErrorHandler>)>,
}

/// The log of a program.
pub fn run<B: Backend>(program: &Program, kind: StackKind) -> Vec<String> {
    let scheduler = Rc::new(kinds::local::<B>(kind).build());
    let channels = program.channels.iter().map(|spec| {
        let channel = Channel::with_preference(spec.preference);
        channel.set_schedule_all(spec.schedule_all);
        channel
    });
    let (_, others) = program.scripts.split_last().expect("a program has a main script");
    let unbound = |name: &str| scheduler.tasklet().name(name).unbound();
    let mut tasklets: Vec<Tasklet> = others.iter().map(|script| unbound(&script.name)).collect();
    tasklets.push(scheduler.main());
    let weak = Rc::downgrade(&scheduler);
    let world = Rc::new(World {
        program: program.clone(),
        log: RefCell::default(),
        closing: Cell::new(false),
        channels: channels.collect(),
        tasklets,
        set_handler: Box::new(move |handler| {
            weak.upgrade().expect("its tasklets run").set_error_handler(handler);
        }),
    });
    let this = world.clone();
    scheduler.set_schedule_hook(Some(Box::new(move |switch| {
        this.event(format!("{}>{}", this.name(switch.from), this.name(switch.to)));
    })));
    if program.observes_channels {
        let this = world.clone();
        scheduler.set_channel_hook(Some(Box::new(move |event| {
            let channel = this.channels.iter().position(|channel| channel.id() == event.channel);
            let direction = if event.direction == Direction::Send { 's' } else { 'r' };
            let blocks = if event.will_block { '-' } else { '+' };
            let channel = channel.expect("all channels are listed");
            this.event(format!("c{channel}:{}{direction}{blocks}", this.name(event.tasklet)));
        })));
    }
    world.script(program.scripts.len() - 1);
    for index in 0..world.tasklets.len() {
        world.event(format!("{}:{}", program.scripts[index].name, world.state(index)));
    }
    world.closing.set(true);
    drop(scheduler);
    world.log.take()
}

impl World {
    fn event(&self, event: String) {
        if !self.closing.get() {
            self.log.borrow_mut().push(event);
        }
    }

    fn name(&self, id: TaskletId) -> &str {
        let index = self.tasklets.iter().position(|tasklet| tasklet.id() == id);
        index.map_or("?", |index| &self.program.scripts[index].name)
    }

    fn queue(&self) -> String {
        let first = local::current();
        let mut names = vec![self.name(first.id())];
        let mut next = first.next();
        while let Some(tasklet) = next.filter(|tasklet| *tasklet != first) {
            names.push(self.name(tasklet.id()));
            next = tasklet.next();
        }
        format!("[{}]", names.join(","))
    }

    fn state(&self, index: usize) -> String {
        let tasklet = &self.tasklets[index];
        let flags = [
            ('a', tasklet.is_alive()),
            ('p', tasklet.is_paused()),
            ('b', tasklet.is_blocked()),
            ('s', tasklet.is_scheduled()),
        ];
        let letters: String = flags.iter().filter(|(_, is_set)| *is_set).map(|(letter, _)| letter).collect();
        if letters.is_empty() { "-".to_owned() } else { letters }
    }

    fn script(self: &Rc<Self>, index: usize) {
        let script = &self.program.scripts[index];
        let is_main = index + 1 == self.program.scripts.len();
        let mut guards = Guards::default();
        for (line, op) in script.ops.iter().enumerate() {
            if self.log.borrow().len() > self.program.log.len() + EXCESS {
                self.closing.set(true);
            }
            if self.closing.get() {
                return;
            }
            let outcome = catch_unwind(AssertUnwindSafe(|| self.operate(*op, &mut guards)));
            let outcome = outcome.and_then(|result| result.map_err(|failure| Box::new(failure) as Payload));
            let result = match &outcome {
                Ok(text) => text.clone(),
                Err(payload) => kind(payload),
            };
            self.event(format!("{}{line}={result}", script.name));
            if is_main {
                let balances: Vec<String> = self.channels.iter().map(|channel| channel.balance().to_string()).collect();
                self.event(format!("{}{}", self.queue(), balances.join(",")));
            }
            if let Err(payload) = outcome {
                match script.catch {
                    Catch::Nothing => unwind::raise(payload),
                    Catch::Errors if is_tasklet_exit(&payload) => unwind::raise(payload),
                    Catch::Errors | Catch::Everything => {}
                }
            }
        }
        self.event(format!("{}.", script.name));
    }

    fn operate(self: &Rc<Self>, op: Op, guards: &mut Guards) -> Result<Cow<'static, str>, Failure> {
        match op {
            Op::Schedule => local::try_schedule()?,
            Op::ScheduleRemove => local::schedule_remove()?,
            Op::Queue => return Ok(self.queue().into()),
            Op::Tick(n) => local::tick(n),
            Op::Run => return self.run(RunOptions::new()),
            Op::Budget { slice, soft, ticks } => {
                let budget = Budget::Ticks(ticks);
                let options = RunOptions::new();
                let options = if slice { options.slice(budget) } else { options.total(budget) };
                return self.run(if soft { options } else { options.hard() });
            }
            Op::Handler(handler) => (self.set_handler)(self.handler(handler)),
            Op::BlockTrap(on) => {
                local::current().set_block_trap(on);
            }
            Op::SwitchTrap(true) => {
                guards.switch_trap.get_or_insert_with(local::switch_trap);
            }
            Op::SwitchTrap(false) => guards.switch_trap = None,
            Op::Atomic(true) => {
                guards.atomic.get_or_insert_with(local::atomic);
            }
            Op::Atomic(false) => guards.atomic = None,
            Op::Send(channel, value) => self.channels[channel].send(value)?,
            Op::SendThrow(channel, n) => self.channels[channel].send_throw(Box::new(Failure::number(n)))?,
            Op::Recv(channel) => return Ok(format!("v{}", self.channels[channel].recv()?).into()),
            Op::Close(channel) => self.channels[channel].close_soft(),
            Op::Reopen(channel) => self.channels[channel].reopen(),
            Op::Prefer(channel, preference) => self.channels[channel].set_preference(preference),
            Op::ScheduleAll(channel, on) => self.channels[channel].set_schedule_all(on),
            Op::State(index) => return Ok(self.state(index).into()),
            Op::Spawn(index) => {
                self.bind(index)?;
                self.tasklets[index].insert()?;
            }
            Op::Bind(index) => self.bind(index)?,
            Op::Insert(index) => self.tasklets[index].insert()?,
            Op::Remove(index) => self.tasklets[index].remove()?,
            Op::RunTo(index) => self.tasklets[index].run()?,
            Op::Switch(index) => self.tasklets[index].switch()?,
            Op::Kill(index) => self.tasklets[index].kill()?,
            Op::KillLater(index) => self.tasklets[index].kill_later()?,
            Op::Throw(index, n) => self.tasklets[index].throw(Failure::number(n))?,
            Op::ThrowLater(index, n) => self.tasklets[index].throw_later(Failure::number(n))?,
        }
        Ok("ok".into())
    }

    fn run(&self, options: RunOptions) -> Result<Cow<'static, str>, Failure> {
        match local::run_with(options) {
            Ok(RunOutcome::Idle) => Ok("idle".into()),
            Ok(RunOutcome::Budget) => Ok("budget".into()),
            Ok(RunOutcome::Woken) => Ok("woken".into()),
            Ok(RunOutcome::Interrupted(victim)) => Ok(format!("victim:{}", self.name(victim.id())).into()),
            Ok(other) => Ok(format!("{other:?}").into()),
            Err(RunError::Tasklet(error)) => unwind::raise(error.into_payload()),
            Err(RunError::Park(error)) => Err(error.into()),
            Err(error) => Err(Failure(error.to_string().into())),
        }
    }

    /// Binds a dead tasklet to its script; the rules let nobody rebind one that is alive.
    fn bind(self: &Rc<Self>, index: usize) -> Result<(), Failure> {
        let tasklet = &self.tasklets[index];
        if tasklet.is_alive() {
            return Err(TaskletStateError::Alive.into());
        }
        let this = self.clone();
        Ok(tasklet.bind(move || this.script(index))?)
    }

    fn handler(self: &Rc<Self>, handler: Handler) -> Option<ErrorHandler> {
        if handler == Handler::None {
            return None;
        }
        let this = self.clone();
        Some(Box::new(move |id, payload| {
            this.event(format!("H{}:{}", this.name(id), kind(&payload)));
            match handler {
                Handler::Fail => Err(Box::new(Failure::number(99))),
                Handler::Eat | Handler::None => Ok(()),
            }
        }))
    }
}

fn kind(payload: &Payload) -> Cow<'static, str> {
    if is_tasklet_exit(payload) {
        "exit".into()
    } else if let Some(failure) = payload.downcast_ref::<Failure>() {
        failure.0.clone()
    } else {
        format!("panic:{}", unwind::message(payload).replace(' ', "_")).into()
    }
}

impl From<ParkError> for Failure {
    fn from(error: ParkError) -> Failure {
        Failure(match error {
            ParkError::BlockTrapped => "block_trap".into(),
            ParkError::SwitchTrapped => "switch_trap".into(),
            ParkError::Deadlock => "deadlock".into(),
            ParkError::MainDeserted(_) => "deserted".into(),
            other => format!("{other:?}").into(),
        })
    }
}

impl From<TaskletStateError> for Failure {
    fn from(error: TaskletStateError) -> Failure {
        Failure(match error {
            TaskletStateError::Blocked => "blocked".into(),
            TaskletStateError::Dead => "dead".into(),
            TaskletStateError::Alive => "alive".into(),
            TaskletStateError::Current => "current".into(),
            TaskletStateError::Park(error) => return error.into(),
            other => format!("{other:?}").into(),
        })
    }
}

impl<T> From<SendError<T>> for Failure {
    fn from(error: SendError<T>) -> Failure {
        error.park_error().map_or(Failure("closed".into()), Failure::from)
    }
}

impl From<RecvError> for Failure {
    fn from(error: RecvError) -> Failure {
        error.park_error().map_or(Failure("closed".into()), Failure::from)
    }
}
