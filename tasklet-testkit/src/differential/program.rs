//! The language of the programs: scripts of one operation per line, and the log that is expected of them.

use std::fmt;

use tasklet_channels::Preference;

/// A program and its expected log.
#[derive(Clone, Debug)]
pub struct Program {
    /// Theme and seed.
    pub name: String,
    /// What each channel begins with.
    pub channels: Vec<ChannelSpec>,
    /// Whether channel operations are events.
    pub observes_channels: bool,
    /// One for each tasklet; the main one's is the last.
    pub scripts: Vec<Script>,
    /// The events, in order.
    pub log: Vec<String>,
}

/// What a channel begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelSpec {
    /// Its preference.
    pub preference: Preference,
    /// Its `schedule_all`.
    pub schedule_all: bool,
}

/// What a tasklet does.
#[derive(Clone, Debug)]
pub struct Script {
    /// The tasklet's name; the main one is `m`.
    pub name: String,
    /// What it does with errors.
    pub catch: Catch,
    /// One operation per line.
    pub ops: Vec<Op>,
}

/// What a script does with an error of one of its operations, after it has logged it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Catch {
    /// Lets it escape: the tasklet ends with it.
    Nothing,
    /// Goes on, unless it is killed.
    Errors,
    /// Goes on, even if it is killed.
    Everything,
}

/// An operation. Tasklets and channels are indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are named after what they call")]
pub enum Op {
    Schedule,
    ScheduleRemove,
    /// Logs the queue.
    Queue,
    Tick(u64),
    Run,
    Budget {
        slice: bool,
        soft: bool,
        ticks: u64,
    },
    Handler(Handler),
    BlockTrap(bool),
    SwitchTrap(bool),
    Atomic(bool),
    Send(usize, i64),
    SendThrow(usize, u32),
    Recv(usize),
    Close(usize),
    Reopen(usize),
    Prefer(usize, Preference),
    ScheduleAll(usize, bool),
    /// Logs which of alive, paused, blocked and scheduled it is.
    State(usize),
    /// Binds it to its script and inserts it, if it is dead.
    Spawn(usize),
    /// Binds it to its script, if it is dead.
    Bind(usize),
    Insert(usize),
    Remove(usize),
    RunTo(usize),
    Switch(usize),
    Kill(usize),
    KillLater(usize),
    Throw(usize, u32),
    ThrowLater(usize, u32),
}

/// What the error handler does, after it has logged the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handler {
    /// There is none.
    None,
    /// Consumes the error.
    Eat,
    /// Fails with another one.
    Fail,
}

/// A line that is not in the language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    line: usize,
    text: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: '{}' is not understood", self.line, self.text)
    }
}

impl std::error::Error for ParseError {}

/// Reads the programs of one file.
///
/// # Errors
///
/// The first line that is not in the language.
pub fn parse(text: &str) -> Result<Vec<Program>, ParseError> {
    let mut programs = Vec::new();
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty()).peekable();
    while let Some((number, line)) = lines.next() {
        let name = line.strip_prefix("program ").ok_or_else(|| error(number, line))?;
        let mut source = Vec::new();
        while let Some(line) = lines.next_if(|(_, line)| !line.starts_with("program ")) {
            source.push(line);
        }
        programs.push(program(name, &source)?);
    }
    Ok(programs)
}

fn error(number: usize, line: &str) -> ParseError {
    ParseError { line: number + 1, text: line.to_owned() }
}

fn program(name: &str, lines: &[(usize, &str)]) -> Result<Program, ParseError> {
    let names: Vec<&str> =
        lines.iter().filter_map(|(_, line)| line.strip_prefix("script ")?.split(' ').next()).collect();
    let mut program = Program {
        name: name.to_owned(),
        channels: Vec::new(),
        observes_channels: false,
        scripts: Vec::new(),
        log: Vec::new(),
    };
    let mut lines = lines.iter().copied();
    for (number, line) in lines.by_ref() {
        let words: Vec<&str> = line.split(' ').collect();
        let parsed = match words[..] {
            ["log"] => break,
            ["channels", ref specs @ ..] => specs.iter().try_for_each(|text| {
                program.channels.push(channel(text)?);
                Some(())
            }),
            ["observe", "channels"] => {
                program.observes_channels = true;
                Some(())
            }
            ["script", name, mode] => catch(mode).map(|catch| {
                program.scripts.push(Script { name: name.to_owned(), catch, ops: Vec::new() });
            }),
            _ => op(&words, &names).and_then(|op| {
                program.scripts.last_mut()?.ops.push(op);
                Some(())
            }),
        };
        parsed.ok_or_else(|| error(number, line))?;
    }
    program.log = lines.flat_map(|(_, line)| line.split(' ')).map(str::to_owned).collect();
    Ok(program)
}

fn channel(text: &str) -> Option<ChannelSpec> {
    let (number, schedule_all) = match text.strip_suffix('+') {
        Some(number) => (number, true),
        None => (text, false),
    };
    Some(ChannelSpec { preference: preference(number)?, schedule_all })
}

fn preference(text: &str) -> Option<Preference> {
    match text {
        "-1" => Some(Preference::Receiver),
        "0" => Some(Preference::Neither),
        "1" => Some(Preference::Sender),
        _ => None,
    }
}

fn catch(text: &str) -> Option<Catch> {
    match text {
        "escape" => Some(Catch::Nothing),
        "catch" => Some(Catch::Errors),
        "catchall" => Some(Catch::Everything),
        _ => None,
    }
}

fn switch(text: &str) -> Option<bool> {
    match text {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

fn op(words: &[&str], names: &[&str]) -> Option<Op> {
    let channel = |text: &str| text.parse::<usize>().ok();
    let tasklet = |text: &str| names.iter().position(|name| *name == text);
    Some(match *words {
        ["schedule"] => Op::Schedule,
        ["schedule_remove"] => Op::ScheduleRemove,
        ["queue"] => Op::Queue,
        ["tick", n] => Op::Tick(n.parse().ok()?),
        ["run"] => Op::Run,
        ["budget", scope, kind, n] => {
            Op::Budget { slice: scope == "slice", soft: kind == "soft", ticks: n.parse().ok()? }
        }
        ["handler", "none"] => Op::Handler(Handler::None),
        ["handler", "eat"] => Op::Handler(Handler::Eat),
        ["handler", "fail"] => Op::Handler(Handler::Fail),
        ["block_trap", on] => Op::BlockTrap(switch(on)?),
        ["switch_trap", on] => Op::SwitchTrap(switch(on)?),
        ["atomic", on] => Op::Atomic(switch(on)?),
        ["send", c, v] => Op::Send(channel(c)?, v.parse().ok()?),
        ["send_throw", c, n] => Op::SendThrow(channel(c)?, n.parse().ok()?),
        ["recv", c] => Op::Recv(channel(c)?),
        ["close", c] => Op::Close(channel(c)?),
        ["reopen", c] => Op::Reopen(channel(c)?),
        ["prefer", c, p] => Op::Prefer(channel(c)?, preference(p)?),
        ["schedule_all", c, on] => Op::ScheduleAll(channel(c)?, switch(on)?),
        ["state", t] => Op::State(tasklet(t)?),
        ["spawn", t] => Op::Spawn(tasklet(t)?),
        ["bind", t] => Op::Bind(tasklet(t)?),
        ["insert", t] => Op::Insert(tasklet(t)?),
        ["remove", t] => Op::Remove(tasklet(t)?),
        ["run_to", t] => Op::RunTo(tasklet(t)?),
        ["switch", t] => Op::Switch(tasklet(t)?),
        ["kill", t] => Op::Kill(tasklet(t)?),
        ["kill_later", t] => Op::KillLater(tasklet(t)?),
        ["throw", t, n] => Op::Throw(tasklet(t)?, n.parse().ok()?),
        ["throw_later", t, n] => Op::ThrowLater(tasklet(t)?, n.parse().ok()?),
        _ => return None,
    })
}
