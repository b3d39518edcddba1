//! The commands that are not about a connection: what each does, and how many arguments it has. Texts of errors are those of redis.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::time::Duration;

use tasklet::time::now;

use crate::Server;
use crate::resp::{Replies, Request, number};
use crate::store::{Condition, ExpiryCondition, Value};

/// Bytes of one reply. What would be longer is refused: it would have to be kept for a client that may be slow.
const REPLY: usize = 16 << 20;

/// Why a command has done nothing. A line that begins with the kind of error.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) Cow<'static, str>);

impl Refusal {
    pub(crate) const WRONG_TYPE: Refusal =
        Refusal(Cow::Borrowed("WRONGTYPE Operation against a key holding the wrong kind of value"));
    const SYNTAX: Refusal = Refusal(Cow::Borrowed("ERR syntax error"));
    const NOT_AN_INTEGER: Refusal = Refusal(Cow::Borrowed("ERR value is not an integer or out of range"));
    const OVERFLOW: Refusal = Refusal(Cow::Borrowed("ERR increment or decrement would overflow"));

    fn expire_time(command: &str) -> Refusal {
        Refusal(format!("ERR invalid expire time in '{command}' command").into())
    }
}

/// Replies once, or refuses without a reply.
type Handler = fn(&Server, Request<'_>, &mut Replies) -> Result<(), Refusal>;

/// Name; how many arguments with the name, at least so many if negative; what it does. Those first that are asked for most.
const COMMANDS: &[(&str, i32, Handler)] = &[
    ("get", 2, get),
    ("set", -3, set),
    ("incr", 2, incr),
    ("lpush", -3, lpush),
    ("lrange", 4, lrange),
    ("del", -2, del),
    ("exists", -2, exists),
    ("expire", -3, |server, request, out| expire(server, request, out, 1000)),
    ("pexpire", -3, |server, request, out| expire(server, request, out, 1)),
    ("ttl", 2, |server, request, out| time_left(server, request, out, 1000)),
    ("pttl", 2, |server, request, out| time_left(server, request, out, 1)),
    ("publish", 3, publish),
    ("ping", -1, ping),
    ("echo", 2, echo),
    ("select", 2, select),
    ("info", -1, info),
    ("config", -2, config),
    ("command", -1, command),
    ("client", -2, client),
    ("hello", -1, hello),
];

/// Does what a request asks for, and replies.
pub(crate) fn execute(server: &Server, request: Request<'_>, out: &mut Replies) {
    let name = request.name();
    let done = match COMMANDS.iter().find(|(other, ..)| name.eq_ignore_ascii_case(other.as_bytes())) {
        Some((name, arity, run)) => check_arity(name, *arity, request).and_then(|()| run(server, request, out)),
        None => Err(unknown(request)),
    };
    if let Err(Refusal(why)) = done {
        out.error(&why);
    }
}

/// Whether a request has as many arguments as its command, which has at least so many if the number is negative.
pub(crate) fn check_arity(name: &str, arity: i32, request: Request<'_>) -> Result<(), Refusal> {
    let count = i32::try_from(request.len()).unwrap_or(i32::MAX);
    if if arity < 0 { count >= -arity } else { count == arity } {
        return Ok(());
    }
    Err(Refusal(format!("ERR wrong number of arguments for '{name}' command").into()))
}

fn unknown(request: Request<'_>) -> Refusal {
    let mut arguments = String::new();
    for argument in request.rest(1) {
        if arguments.len() >= 128 {
            break;
        }
        arguments += &format!("'{}' ", shown(argument, 128 - arguments.len()));
    }
    let name = shown(request.name(), 128);
    Refusal(format!("ERR unknown command '{name}', with args beginning with: {arguments}").into())
}

/// Some of what a client has sent, fit for a line of a reply.
fn shown(bytes: &[u8], length: usize) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(length)]);
    text.replace(['\r', '\n'], " ")
}

fn integer(text: &[u8]) -> Result<i64, Refusal> {
    number(text).ok_or(Refusal::NOT_AN_INTEGER)
}

/// The point in time that is so many units of so many milliseconds away, in the past if that is negative. None if it cannot be counted.
fn in_units(count: i64, milliseconds: i64) -> Option<Duration> {
    let distance = count.checked_mul(milliseconds)?;
    let time = Duration::from_millis(distance.unsigned_abs());
    if distance < 0 {
        // All of the past is the same.
        return Some(now().saturating_sub(time));
    }
    now().checked_add(time).filter(|at| i64::try_from(at.as_millis()).is_ok())
}

fn get(server: &Server, request: Request<'_>, out: &mut Replies) -> Result<(), Refusal> {
    match server.store.lock().text(request.get(1))? {
        Some(text) => out.bulk(text),
        None => out.null(),
    }
    Ok(())
}

fn set(server: &Server, request: Request<'_>, out: &mut Replies) -> Result<(), Refusal> {
    let (mut expires, mut condition) = (None, Condition::Always);
    let mut options = request.rest(3);
    while let Some(option) = options.next() {
        let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
        if is("nx") && condition == Condition::Always {
            condition = Condition::IfMissing;
        } else if is("xx") && condition == Condition::Always {
            condition = Condition::IfThere;
        } else if (is("ex") || is("px")) && expires.is_none() {
            let count = integer(options.next().ok_or(Refusal::SYNTAX)?)?;
            let at = in_units(count, if is("ex") { 1000 } else { 1 }).filter(|_| count > 0);
            expires = Some(at.ok_or_else(|| Refusal::expire_time("set"))?);
        } else {
            return Err(Refusal::SYNTAX);
        }
    }
    if server.store.set(request.get(1), Value::Text(request.get(2).into()), expires, condition) {
        out.simple("OK");
    } else {
        out.null();
    }
    Ok(())
}

fn incr(server: &Server, request: Request<'_>, out: &mut Replies) -> Result<(), Refusal> {
    let mut keys = server.store.lock();
    let value = match keys.text(request.get(1))? {
        Some(text) => {
            let value = integer(text)?.checked_add(1).ok_or(Refusal::OVERFLOW)?;
            // When it expires stays.
            *text = value.to_string().into_bytes().into();
            value
        }
        None => {
            keys.set(request.get(1), Value::Text(Box::from(*b"1")));
            1
        }
    };
    out.integer(value);
    Ok(())
}

fn lpush(server: &Server, request: Request<'_>, out: &mut Replies) -> Result<(), Refusal> {
    let mut keys = server.store.lock();
    let elements = request.rest(2).map(Box::from);
    let length = match keys.list(request.get(1))? {
        Some(list) => {
            elements.for_each(|element| list.push_front(element));
            list.len()
        }
        None => {
            let list: VecDeque<Box<[u8]>> = elements.rev().collect();
            let length = list.len();
            keys.set(request.get(1), Value::List(list));
            length
        }
    };
    out.integer(i64::try_from(length).expect("it is in memory"));
    Ok(())
}

fn lrange(server: &Server, request: Request<'_>, out: &mut Replies) -> Result<(), Refusal> {
    let (first, last) = (integer(request.get(2))?, integer(request.get(3))?);
    let mut keys = server.store.lock();
    let Some(list) = keys.list(request.get(1))? else {
        out.array(0);
        return Ok(());
    };
    // Negative ones count from the end.
    let length = i64::try_from(list.len()).expect("it is in memory");
    let place = |at: i64| if at < 0 { at.saturating_add(length).max(0) } else { at.min(length) };
    let end = if last < -length { 0 } else { place(last).saturating_add(1).min(length) };
    let range = place(first)..end.max(place(first));
    let range = usize::try_from(range.start).expect("not negative")..usize::try_from(range.end).expect("nor this");
    if list.range(range.clone()).map(|element| element.len() + 16).sum::<usize>() > REPLY {
        return Err(Refusal(format!("ERR the reply would be longer than {REPLY} bytes: ask for less").into()));
    }
    out.array(range.len());
    list.range(range).for_each(|element| out.bulk(element));
    Ok(())
}

fn del(server: &Server, request: Request<'_>, out: &mut Replies) -> Result<(), Refusal> {
    let mut keys = server.store.lock();
    let removed = request.rest(1).filter(|key| keys.remove(key)).count();
    out.integer(i64::try_from(removed).expect("it is small"));
    Ok(())
}

fn exists(server: &Server, request: Request<'_>, out: &mut Replies) -> Result<(), Refusal> {
    let mut keys = server.store.lock();
    let found = request.rest(1).filter(|key| keys.get(key).is_some()).count();
    out.integer(i64::try_from(found).expect("it is small"));
    Ok(())
}

fn expire(server: &Server, request: Request<'_>, out: &mut Replies, unit: i64) -> Result<(), Refusal> {
    let condition = expiry_condition(request)?;
    let at = in_units(integer(request.get(2))?, unit)
        .ok_or_else(|| Refusal::expire_time(&String::from_utf8_lossy(request.name()).to_ascii_lowercase()))?;
    out.integer(i64::from(server.store.expire(request.get(1), at, condition)));
    Ok(())
}

/// NX, XX, GT and LT, behind the time.
fn expiry_condition(request: Request<'_>) -> Result<ExpiryCondition, Refusal> {
    let (mut nx, mut xx, mut gt, mut lt) = (false, false, false, false);
    for option in request.rest(3) {
        match option.to_ascii_lowercase().as_slice() {
            b"nx" => nx = true,
            b"xx" => xx = true,
            b"gt" => gt = true,
            b"lt" => lt = true,
            _ => return Err(Refusal(format!("ERR Unsupported option {}", shown(option, 128)).into())),
        }
    }
    if nx && (xx || gt || lt) {
        return Err(Refusal("ERR NX and XX, GT or LT options at the same time are not compatible".into()));
    }
    let order = match (gt, lt) {
        (true, true) => return Err(Refusal("ERR GT and LT options at the same time are not compatible".into())),
        (true, false) => Some(Ordering::Greater),
        (false, true) => Some(Ordering::Less),
        (false, false) => None,
    };
    Ok(ExpiryCondition { expires: (nx || xx).then_some(xx), order })
}

/// -1 if the key does not expire, -2 if there is none.
fn time_left(server: &Server, request: Request<'_>, out: &mut Replies, unit: u128) -> Result<(), Refusal> {
    let left = match server.store.lock().expires(request.get(1)) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => {
            let left = at.saturating_sub(now()).as_millis();
            // As redis rounds.
            i64::try_from((left + unit / 2) / unit).unwrap_or(i64::MAX)
        }
    };
    out.integer(left);
    Ok(())
}

fn publish(server: &Server, request: Request<'_>, out: &mut Replies) -> Result<(), Refusal> {
    let reached = server.hub.publish(request.get(1), request.get(2));
    out.integer(i64::try_from(reached).expect("it is small"));
    Ok(())
}

fn ping(_: &Server, request: Request<'_>, out: &mut Replies) -> Result<(), Refusal> {
    match request.len() {
        1 => out.simple("PONG"),
        2 => out.bulk(request.get(1)),
        _ => return check_arity("ping", 2, request),
    }
    Ok(())
}

fn echo(_: &Server, request: Request<'_>, out: &mut Replies) -> Result<(), Refusal> {
    out.bulk(request.get(1));
    Ok(())
}

fn select(_: &Server, request: Request<'_>, out: &mut Replies) -> Result<(), Refusal> {
    // There is one database.
    if integer(request.get(1))? != 0 {
        return Err(Refusal("ERR DB index is out of range".into()));
    }
    out.simple("OK");
    Ok(())
}

fn info(server: &Server, _: Request<'_>, out: &mut Replies) -> Result<(), Refusal> {
    let (keys, expires) = server.store.lock().count();
    let keyspace = if keys == 0 { String::new() } else { format!("db0:keys={keys},expires={expires},avg_ttl=0\r\n") };
    let text = format!(
        "# Server\r\nredis_version:{}\r\nredis_mode:standalone\r\nprocess_id:{}\r\n\r\n# Stats\r\npubsub_channels:{}\r\n\r\n# Keyspace\r\n{keyspace}",
        env!("CARGO_PKG_VERSION"),
        std::process::id(),
        server.hub.channels(),
    );
    out.bulk(text.as_bytes());
    Ok(())
}

/// Settings that clients ask for before they do anything. None can be changed.
fn config(_: &Server, request: Request<'_>, out: &mut Replies) -> Result<(), Refusal> {
    if !request.get(1).eq_ignore_ascii_case(b"get") || request.len() < 3 {
        return Err(Refusal("ERR CONFIG can be asked for settings only: CONFIG GET name".into()));
    }
    let settings = [("save", ""), ("appendonly", "no"), ("databases", "1")];
    let is_asked_for = |name: &str| request.rest(2).any(|asked| asked.eq_ignore_ascii_case(name.as_bytes()));
    let found = settings.iter().filter(|(name, _)| is_asked_for(name));
    out.array(2 * found.clone().count());
    for (name, value) in found {
        out.bulk(name.as_bytes());
        out.bulk(value.as_bytes());
    }
    Ok(())
}

/// redis-cli asks for documentation of the commands, and does without.
fn command(_: &Server, request: Request<'_>, out: &mut Replies) -> Result<(), Refusal> {
    if request.len() == 2 && request.get(1).eq_ignore_ascii_case(b"count") {
        out.integer(i64::try_from(COMMANDS.len()).expect("it is small"));
    } else {
        out.array(0);
    }
    Ok(())
}

/// Libraries say who they are. Nobody is interested.
fn client(_: &Server, request: Request<'_>, out: &mut Replies) -> Result<(), Refusal> {
    if ["setname", "setinfo"].iter().any(|name| request.get(1).eq_ignore_ascii_case(name.as_bytes())) {
        out.simple("OK");
        return Ok(());
    }
    Err(Refusal(format!("ERR unknown subcommand '{}'", shown(request.get(1), 128)).into()))
}

fn hello(_: &Server, request: Request<'_>, out: &mut Replies) -> Result<(), Refusal> {
    // Whoever wants version 3 goes on with 2 when it is told so.
    if request.len() > 1 && request.get(1) != b"2" {
        return Err(Refusal("NOPROTO unsupported protocol version".into()));
    }
    if request.len() > 2 {
        return Err(Refusal::SYNTAX);
    }
    out.array(8);
    for (name, value) in [("server", "redis"), ("version", env!("CARGO_PKG_VERSION")), ("mode", "standalone")] {
        out.bulk(name.as_bytes());
        out.bulk(value.as_bytes());
    }
    out.bulk(b"proto");
    out.integer(2);
    Ok(())
}
