//! One client: how a WebSocket is waited for beside other things.
//!
//! A [`WebSocket`] is one object, which reads and writes, and keeps what it has of a frame whose rest is on its way. To read from a socket that waits would
//! keep its owner until a whole message is there, and a client that sends half a frame would not hear from others. So the owner waits in a select for
//! the *socket* to be readable, and the WebSocket's reads do not wait ([`Socket`]): it takes what has come, once, and says `WouldBlock` when that
//! was no whole message. It is asked for messages until it says so before anything is waited for, since one read may bring several, and of those that it
//! has the socket knows nothing any more.

use std::io::ErrorKind;
use std::sync::Arc;

use tasklet::channel::{BroadcastError, tick};
use tasklet::net::TcpStream;
use tasklet::select;
use tasklet::time::now;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use crate::socket::Socket;
use crate::{Room, breaks_a_line};

/// Bytes of a message, and of the frames that it comes in.
const MESSAGE: usize = 4096;

/// Why a conversation ends.
enum End {
    /// The client is told.
    Close(CloseCode, &'static str),
    /// It takes nothing, so it cannot be told.
    Deaf,
    /// Nobody is left to be told.
    Gone,
}

impl From<Error> for End {
    fn from(error: Error) -> End {
        match error {
            Error::Capacity(_) => End::Close(CloseCode::Size, "a message has 4096 bytes at most"),
            Error::Protocol(_) => End::Close(CloseCode::Protocol, "this is not how WebSockets talk"),
            Error::Utf8(_) => End::Close(CloseCode::Invalid, "text is UTF-8"),
            // Only what is sent has a limit of time.
            Error::Io(error) if error.kind() == ErrorKind::TimedOut => End::Deaf,
            _ => End::Gone,
        }
    }
}

/// Talks until the client goes, or has to. `rest` is what has come after its request.
pub(crate) fn talk(stream: &TcpStream, rest: Vec<u8>, name: &str, room: &Room) {
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE)).max_frame_size(Some(MESSAGE));
    let Ok(socket) = stream.try_clone() else { return };
    let mut client = WebSocket::from_partially_read(Socket::new(socket), rest, Role::Server, Some(config));
    match converse(&mut client, stream, name, room) {
        End::Close(code, reason) => {
            // Says why, and waits a little for the client's end. An error is that the client has gone first, or does not want to know.
            if client.close(Some(CloseFrame { code, reason: reason.into() })).is_ok() {
                room.linger(stream);
            }
        }
        End::Deaf => eprintln!("ws_chat: {name} has taken nothing for {:?}", room.limits.patience),
        End::Gone => {}
    }
    // An error is that nobody is there.
    let _ = room.said.send(format!("* {name} has gone"));
}

fn converse(client: &mut WebSocket<Socket>, stream: &TcpStream, name: &str, room: &Room) -> End {
    // From here on it hears what is said, its own coming first.
    let said = room.said.subscribe();
    let _ = room.said.send(format!("* {name} has come"));
    let pings = tick(room.limits.ping);
    let mut heard_at = now();
    loop {
        // All that has come; a ping is answered by this, a close too.
        loop {
            // It writes too, what a ping is answered with.
            match client.read() {
                Ok(message) => {
                    heard_at = now();
                    match message {
                        Message::Text(text) => drop(room.said.send(format!("{name}: {}", line(&text)))),
                        Message::Binary(_) => return End::Close(CloseCode::Unsupported, "only text is said here"),
                        _ => {}
                    }
                }
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return error.into(),
            }
        }
        let message = select! {
            arm(stream.readable_arm()) -> ready => {
                if ready.is_err() {
                    return End::Gone;
                }
                client.get_mut().is_readable();
                continue;
            },
            recv(said) -> text => match heard(text) {
                Some(message) => message,
                None => return End::Gone,
            },
            recv(pings) -> _ => {
                // Half a message does not count: who trickles is not there.
                if now() - heard_at >= room.limits.ping.saturating_mul(2) {
                    return End::Close(CloseCode::Policy, "nothing has come for too long");
                }
                Message::Ping("".into())
            },
            cancelled(room.stopping) -> () => {
                // It hears what was said before; not of those who are told before it and go.
                let mut left = said.len();
                while left > 0 {
                    let next = said.try_recv();
                    // A gap is told before what comes after it, and is none of these.
                    left -= usize::from(next.is_ok());
                    let Some(message) = heard(next) else { break };
                    if let Err(error) = client.send(message) {
                        return error.into();
                    }
                }
                return End::Close(CloseCode::Away, "the server ends");
            },
        };
        if let Err(error) = client.send(message) {
            return error.into();
        }
    }
}

/// A text as one line: a line of its own could look like another's, or the server's.
fn line(text: &str) -> String {
    text.replace(breaks_a_line, " ")
}

/// What a client is sent of what was said. None when there is nothing.
fn heard(text: Result<Arc<String>, BroadcastError>) -> Option<Message> {
    match text {
        Ok(text) => Some(Message::text(text.as_str())),
        Err(error) => error.lagged().map(|missed| Message::text(format!("* you have missed {missed} messages"))),
    }
}
