//! A crate that needs tokio, in a program of tasklets: a runtime of tokio's runs beside ours, and tasklets hand futures over to it.
//!
//! A service is written in tokio, as a library from elsewhere might be: here it looks prices up, at a server of its own. A tasklet for each customer asks it, by handing
//! a future over and waiting for its end, which parks the tasklet alone. A price that is not known is an error, one that makes the service panic is that future's
//! panic, and one that takes too long is given up: the tasklet's time limit aborts the task.
//!
//! ```text
//! cargo run --example beside_tokio
//! ```

#![forbid(unsafe_code)]

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use tasklet::{block_on, run, spawn, timeout};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};
use tokio::task::AbortHandle;

/// For how long a customer waits, unless it is in a hurry.
const PATIENCE: Duration = Duration::from_secs(30);
/// And if it is.
const HURRY: Duration = Duration::from_millis(50);

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    // One thread is enough for it: it waits most of the time. It runs until it is dropped.
    let tokio = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let theirs = tokio.handle().clone();
    run(|| {
        let server = hand_over(&theirs, serve())??;
        let wanted =
            [("apple", PATIENCE), ("pear", PATIENCE), ("stone", PATIENCE), ("brick", PATIENCE), ("cloud", HURRY)];
        let customers = wanted.map(|(thing, limit)| {
            let theirs = theirs.clone();
            (thing, limit, spawn(move || timeout(limit, || hand_over(&theirs, price(server, thing)))))
        });
        for (thing, limit, customer) in customers {
            match customer.join().map_err(|error| error.to_string())? {
                Ok(Ok(Ok(price))) => println!("{thing}: {price}"),
                Ok(Ok(Err(error))) => println!("{thing}: {error}"),
                Ok(Err(error)) => println!("{thing}: {error}"),
                Err(_) => println!("{thing}: no answer within {limit:?}"),
            }
        }
        Ok(())
    })
}

/// Has tokio run a future, and waits for its end. If the wait ends earlier, by a kill or a time limit, so does the future.
fn hand_over<T: Send + 'static>(
    theirs: &Handle,
    future: impl Future<Output = T> + Send + 'static,
) -> Result<T, tokio::task::JoinError> {
    let task = theirs.spawn(future);
    let _aborts = Aborts(task.abort_handle());
    block_on(task)
}

/// A task that has ended is not aborted any more.
struct Aborts(AbortHandle);

impl Drop for Aborts {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The service's server: where it listens.
async fn serve() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut thing = String::new();
                client.read_to_string(&mut thing).await?;
                let price = match thing.as_str() {
                    "apple" => "3",
                    "pear" => "4",
                    "brick" => "heavy",
                    // Nobody ever answers.
                    "cloud" => std::future::pending().await,
                    _ => "",
                };
                client.write_all(price.as_bytes()).await
            });
        }
    });
    Ok(addr)
}

/// The service's client.
async fn price(server: SocketAddr, thing: &'static str) -> Result<u32, Box<dyn Error + Send + Sync>> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(thing.as_bytes()).await?;
    stream.shutdown().await?;
    let mut price = String::new();
    stream.read_to_string(&mut price).await?;
    if price.is_empty() {
        return Err("nobody sells that".into());
    }
    // A mistake of the library's.
    Ok(price.parse().expect("prices are numbers"))
}
