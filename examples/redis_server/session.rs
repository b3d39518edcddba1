//! One client: what it asks for, one after the other, and what it gets.
//!
//! Replies are sent when no whole request is left of what has come, so a client that sends many at a time gets the replies to them with one write; or when
//! there are many of them. A client that does not read them is waited for, with some patience, and not read from meanwhile.

use std::convert::Infallible;
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::time::Duration;

use tasklet::net::TcpStream;
use tasklet::select;

use crate::Server;
use crate::command::{self, Refusal, check_arity};
use crate::linger::linger;
use crate::pubsub::{CHANNELS, NAMES, Subscription};
use crate::resp::{Input, ProtocolError, Replies, Request};

/// Bytes of replies that are sent at the latest, though there are more requests.
const BATCH: usize = 64 << 10;
/// For a client that is sent away.
const TIME_TO_LEAVE: Duration = Duration::from_secs(1);

/// Why a connection ends.
enum End {
    /// Nothing is wrong, or nobody is left to tell.
    Quiet,
    /// The server is to end, and the client may be in the middle of saying something.
    Stopped,
    /// It has taken nothing of what it was sent for too long.
    Deaf,
    /// It has sent what nobody understands.
    Malformed(ProtocolError),
    /// It speaks HTTP.
    Browser,
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        // Only what is sent has a limit of time.
        if error.kind() == ErrorKind::TimedOut { End::Deaf } else { End::Quiet }
    }
}

impl From<ProtocolError> for End {
    fn from(error: ProtocolError) -> End {
        End::Malformed(error)
    }
}

/// Serves a client until it leaves, does what it must not, or the server is to end.
pub(crate) fn converse(server: &Server, stream: &TcpStream, peer: SocketAddr) {
    let mut input = Input::default();
    let mut client = Client { server, stream, out: Replies::default(), subscription: None };
    let Err(end) = client.serve(&mut input);
    match end {
        // What was asked before is answered; an error is that nobody reads it.
        End::Quiet => drop(client.send()),
        End::Stopped => linger(stream, TIME_TO_LEAVE.min(server.limits.grace / 2)),
        End::Deaf => eprintln!("redis_server: {peer} has taken nothing for {:?}", server.limits.patience),
        End::Browser => {
            eprintln!("redis_server: {peer} speaks HTTP: a page may have sent it here, so it is not listened to")
        }
        End::Malformed(error) => {
            client.out.error(&format!("ERR {error}"));
            if client.send().is_ok() {
                linger(stream, TIME_TO_LEAVE);
            }
        }
    }
}

/// What a client has besides its input.
struct Client<'s> {
    server: &'s Server,
    stream: &'s TcpStream,
    out: Replies,
    /// Once it has listened to a channel.
    subscription: Option<Subscription<'s>>,
}

impl<'s> Client<'s> {
    fn serve(&mut self, input: &mut Input) -> Result<Infallible, End> {
        let stopping = &self.server.stopping;
        self.stream.set_nodelay(true)?;
        self.stream.set_write_timeout(Some(self.server.limits.patience))?;
        loop {
            while let Some(request) = input.next()? {
                self.answer(request)?;
                if self.out.len() >= BATCH {
                    self.send()?;
                }
            }
            self.send()?;
            if stopping.is_cancelled() {
                return Err(End::Stopped);
            }
            self.wait()?;
            // Here alone the end of the server ends a wait: what has come before is answered.
            if stopping.run(|| input.fill(self.stream))? == 0 {
                return Err(End::Quiet);
            }
        }
    }

    /// Sends what has come for a client that listens, until it says something itself.
    fn wait(&mut self) -> Result<(), End> {
        while let Some(subscription) = self.subscription.as_ref().filter(|subscription| subscription.count() > 0) {
            let first = select! {
                recv(subscription.messages()) -> message => message.expect("the queue has a sender here"),
                arm(self.stream.readable_arm()) -> ready => return Ok(ready?),
                cancelled(self.server.stopping) -> () => return Err(End::Quiet),
            };
            subscription.taken(&first);
            self.out.raw(&first);
            self.deliver()?;
            self.send()?;
        }
        Ok(())
    }

    /// The messages that are there now. Those that come meanwhile are left: they might come faster than they are sent.
    fn deliver(&mut self) -> io::Result<()> {
        let there = self.subscription.as_ref().map_or(0, |subscription| subscription.messages().len());
        for _ in 0..there {
            let Some(message) = self.subscription.as_ref().and_then(Subscription::next) else { break };
            self.out.raw(&message);
            if self.out.len() >= BATCH {
                self.send()?;
            }
        }
        Ok(())
    }

    fn send(&mut self) -> io::Result<()> {
        let bytes = self.out.take();
        let mut stream = self.stream;
        let sent = if bytes.is_empty() { Ok(()) } else { stream.write_all(&bytes) };
        self.out.reuse(bytes);
        sent
    }

    /// Does what is about the connection itself, and leaves the rest to [`command`].
    fn answer(&mut self, request: Request<'_>) -> Result<(), End> {
        let is = |name: &str| request.name().eq_ignore_ascii_case(name.as_bytes());
        let listens = self.subscription.as_ref().is_some_and(|subscription| subscription.count() > 0);
        if is("subscribe") {
            if let Err(Refusal(why)) = self.subscribe(request) {
                self.out.error(&why);
            }
        } else if is("unsubscribe") {
            self.unsubscribe(request)?;
        } else if is("reset") {
            match check_arity("reset", 1, request) {
                Ok(()) => self.reset()?,
                Err(Refusal(why)) => self.out.error(&why),
            }
        } else if is("quit") {
            self.out.simple("OK");
            return Err(End::Quiet);
        } else if is("post") || is("host:") {
            // Any page can have a browser send lines here, of which some are commands. Redis takes these words for that too.
            return Err(End::Browser);
        } else if !listens {
            command::execute(self.server, request, &mut self.out);
        } else if is("ping") {
            // Among messages, a reply has to look like one.
            self.out.array(2);
            self.out.bulk(b"pong");
            self.out.bulk(request.rest(1).next().unwrap_or_default());
        } else {
            let name = String::from_utf8_lossy(&request.name()[..request.name().len().min(128)]).to_ascii_lowercase();
            let name = name.replace(['\r', '\n'], " ");
            self.out.error(&format!(
                "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
            ));
        }
        Ok(())
    }

    fn subscribe(&mut self, request: Request<'_>) -> Result<(), Refusal> {
        check_arity("subscribe", -2, request)?;
        let subscription = self.subscription.as_ref();
        let held = subscription.into_iter().flat_map(Subscription::channels).map(|name| name.len());
        let is_new = |channel: &&[u8]| !subscription.is_some_and(|subscription| subscription.has(channel));
        let asked = request.rest(1).filter(is_new).map(<[u8]>::len);
        let (count, bytes) = held.chain(asked).fold((0, 0), |(count, bytes), length| (count + 1, bytes + length));
        if count > CHANNELS {
            return Err(Refusal(format!("ERR a client can listen to {CHANNELS} channels at most").into()));
        }
        if bytes > NAMES {
            let why = format!("ERR the names of the channels of a client can have {NAMES} bytes at most");
            return Err(Refusal(why.into()));
        }
        let hub = &self.server.hub;
        let stream = self.stream;
        for channel in request.rest(1) {
            let subscription = match &mut self.subscription {
                Some(subscription) => subscription,
                None => {
                    let stream = stream.try_clone().map_err(|error| Refusal(format!("ERR {error}").into()))?;
                    self.subscription.insert(Subscription::new(hub, stream))
                }
            };
            subscription.add(channel);
            confirm(&mut self.out, "subscribe", Some(channel), subscription.count());
        }
        Ok(())
    }

    /// Leaves all channels, which is all that there is to be reset.
    fn reset(&mut self) -> io::Result<()> {
        if let Some(subscription) = &mut self.subscription {
            subscription.clear();
        }
        self.deliver()?;
        self.out.simple("RESET");
        Ok(())
    }

    /// From the channels that are named, or from all.
    fn unsubscribe(&mut self, request: Request<'_>) -> io::Result<()> {
        let named: Vec<Box<[u8]>> = match &self.subscription {
            Some(subscription) if request.len() == 1 => {
                subscription.channels().map(|name| Box::from(&**name)).collect()
            }
            _ => request.rest(1).map(Box::from).collect(),
        };
        if named.is_empty() {
            confirm(&mut self.out, "unsubscribe", None, 0);
        }
        for channel in &named {
            if let Some(subscription) = &mut self.subscription {
                subscription.remove(channel);
            }
            // After it was told so, a client gets no message any more.
            self.deliver()?;
            let count = self.subscription.as_ref().map_or(0, Subscription::count);
            confirm(&mut self.out, "unsubscribe", Some(channel), count);
        }
        Ok(())
    }
}

/// Says what a client listens to from now on.
fn confirm(out: &mut Replies, what: &str, channel: Option<&[u8]>, count: usize) {
    out.array(3);
    out.bulk(what.as_bytes());
    match channel {
        Some(channel) => out.bulk(channel),
        None => out.null(),
    }
    out.integer(i64::try_from(count).expect("it is small"));
}
