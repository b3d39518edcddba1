//! Servers in tokio; HTTP by hyper.

use std::convert::Infallible;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::runtime;
use crate::Result;
use crate::process::resident;
use crate::subject::Setting;
use crate::workloads::load::http::BODY;
use crate::workloads::load::{self, Meeting, ROOM, against, hold};

pub(super) fn echo(setting: &Setting) -> Result<Vec<f64>> {
    load::echo(setting, |meeting| {
        let runtime = runtime(setting.workers)?;
        runtime.block_on(runtime.spawn(accept(meeting.clone(), |stream| tokio::spawn(echoes(stream)))))?
    })
}

pub(super) fn http(setting: &Setting) -> Result<Vec<f64>> {
    load::http(setting, |meeting| {
        let runtime = runtime(setting.workers)?;
        runtime.block_on(runtime.spawn(accept(meeting.clone(), |stream| tokio::spawn(talks(stream)))))?
    })
}

/// Serves each connection with a task until the meeting is over and all have ended.
async fn accept(meeting: Arc<Meeting>, serve: impl Fn(TcpStream) -> JoinHandle<Result<()>>) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    meeting.is_at(listener.local_addr()?);
    let mut tasks = Vec::new();
    loop {
        let (stream, _) = listener.accept().await?;
        if meeting.is_over() {
            break;
        }
        tasks.push(serve(stream));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}

async fn echoes(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut room = [0; ROOM];
    loop {
        match stream.read(&mut room).await {
            Ok(0) | Err(_) => return Ok(()),
            Ok(got) => drop(stream.write_all(&room[..got]).await),
        }
    }
}

async fn talks(stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let answer = |_: Request<Incoming>| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(BODY.as_bytes()))))
    };
    // Reset, when the client goes with a request on the way.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
    Ok(())
}

/// Bytes of a connection on which nothing comes, beside the kernel's.
pub(super) fn idle_sockets(setting: &Setting) -> Result<Vec<f64>> {
    hold::raise_limit()?;
    let connections = setting.n;
    let (measured, is_measured) = mpsc::channel();
    let client = move |addr| hold::elsewhere(addr, connections, &is_measured);
    let ((), bytes) = against(setting, client, |meeting| {
        let meeting = meeting.clone();
        let serve = async move {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            meeting.is_at(listener.local_addr()?);
            let mut all = vec![tokio::spawn(echoes(listener.accept().await?.0))];
            tokio::time::sleep(SETTLED).await;
            let before = resident()?;
            all.reserve(usize::try_from(connections)?);
            for _ in 1..connections {
                all.push(tokio::spawn(echoes(listener.accept().await?.0)));
            }
            tokio::time::sleep(SETTLED).await;
            let bytes = resident()? - before;
            measured.send(())?;
            // The last visitor is the one that ends the meeting.
            listener.accept().await?;
            for connection in all {
                connection.await??;
            }
            Result::Ok(bytes as f64 / (connections - 1) as f64)
        };
        let runtime = runtime(setting.workers)?;
        runtime.block_on(runtime.spawn(serve))?
    })?;
    Ok(vec![bytes])
}

/// Who was woken, waits again.
const SETTLED: Duration = Duration::from_millis(100);
