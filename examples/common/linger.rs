//! How a server takes leave of a client that is to hear its last words.

use std::io::Read;
use std::net::Shutdown;
use std::time::Duration;

use tasklet::net::TcpStream;
use tasklet::time::now;

/// Lets a client take what was sent last, and go, for so long at most. What comes until then is thrown away: to close a socket while there is something to
/// read would make a reset of the end, which may overtake what was sent.
pub(crate) fn linger(mut stream: &TcpStream, limit: Duration) {
    let until = now() + limit;
    let mut rest = [0; 4096];
    // An error is that the client has gone.
    let _ = stream.shutdown(Shutdown::Write);
    while let Some(left) = until.checked_sub(now()).filter(|left| !left.is_zero()) {
        if stream.set_read_timeout(Some(left)).is_err() || !matches!(stream.read(&mut rest), Ok(1..)) {
            return;
        }
    }
}
