//! The floor: bare tokio-tungstenite servers that turn 32 bytes into 48, nothing else.
//!
//! One answers on the same socket (`/`). The other passes on to a second socket (`/out/N` hears
//! what comes on `/in/N`), which is what a relay has to do at least: the second socket is cold.
//! A third hears of commits: what PostgreSQL notifies as `N text` goes to every `/out/N`.
#![expect(clippy::print_stdout, reason = "the address is this program's answer")]

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::Context;
use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

use super::process::{Process, Says};
use super::wire::{self, Socket};
use crate::postgres;

/// Where PostgreSQL tells of commits.
pub(crate) const CHANNEL: &str = "rival";

type Out = Arc<Mutex<SplitSink<Socket, Message>>>;
/// Two may hear the same.
type Outs = Arc<Mutex<HashMap<String, Vec<Out>>>>;

/// The hidden subcommand: serves until it is ended.
pub(crate) fn serve(threads: usize, database: Option<&Path>) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("ready {}", listener.local_addr()?);
        let outs = Outs::default();
        if let Some(home) = database {
            let pool = PgPoolOptions::new().connect_with(postgres::login(home)).await?;
            let mut news = PgListener::connect_with(&pool).await?;
            news.listen(CHANNEL).await?;
            let outs = Arc::clone(&outs);
            tokio::spawn(async move {
                while let Ok(note) = news.recv().await {
                    // A listener that went away is no matter.
                    let _gone = pass_on(note.payload(), &outs).await;
                }
            });
        }
        loop {
            let (stream, _) = listener.accept().await?;
            let outs = Arc::clone(&outs);
            tokio::spawn(async move {
                // A client that goes away is no matter.
                let _gone = attend(stream, outs).await;
            });
        }
    })
}

async fn attend(stream: TcpStream, outs: Outs) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut path = String::new();
    #[expect(clippy::result_large_err, reason = "the shape is tungstenite's")]
    let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        request.uri().path().clone_into(&mut path);
        Ok(response)
    };
    let socket = accept_hdr_async_with_config(stream, look, Some(wire::config())).await?;
    if let Some(name) = path.strip_prefix("/out/") {
        let (out, mut signs) = socket.split();
        outs.lock().await.entry(name.to_owned()).or_default().push(Arc::new(Mutex::new(out)));
        while signs.next().await.is_some() {}
        return Ok(());
    }
    if let Some(name) = path.strip_prefix("/in/") {
        let out = outs.lock().await.get(name).and_then(|outs| outs.first().cloned());
        return relay(socket, &out.context("its other end comes first")?).await;
    }
    echo(socket).await
}

async fn echo(mut socket: Socket) -> anyhow::Result<()> {
    while let Some(message) = socket.next().await {
        if let Message::Binary(up) = message? {
            socket.send(down(&up)).await?;
        }
    }
    Ok(())
}

async fn relay(mut socket: Socket, out: &Out) -> anyhow::Result<()> {
    while let Some(message) = socket.next().await {
        if let Message::Binary(up) = message? {
            out.lock().await.send(down(&up)).await?;
        }
    }
    Ok(())
}

async fn pass_on(note: &str, outs: &Outs) -> anyhow::Result<()> {
    let (name, text) = note.split_once(' ').context("a name comes first")?;
    let outs = outs.lock().await.get(name).cloned().unwrap_or_default();
    for out in outs {
        out.lock().await.send(Message::text(text)).await?;
    }
    Ok(())
}

fn down(up: &[u8]) -> Message {
    let mut down = Vec::with_capacity(wire::DOWN_BYTES);
    down.extend_from_slice(&[0; wire::DOWN_BYTES - wire::UP_BYTES]);
    down.extend_from_slice(up);
    Message::Binary(down.into())
}

/// This program again, as a bare server; where it listens.
pub(crate) fn start(threads: usize, database: Option<&Path>) -> anyhow::Result<(Process, String)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["echo", "--threads", &threads.to_string()]);
    if let Some(home) = database {
        command.arg("--database").arg(home);
    }
    let (process, line) = Process::start(&mut command, Says::Out, "ready")?;
    let address = line.split_whitespace().nth(1).context("it names its address")?;
    Ok((process, address.to_owned()))
}
