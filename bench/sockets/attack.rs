//! The client that floods: a program of its own at the lowest priority, so that it takes what the
//! server and the others leave of the machine, and no more.
//!
//! It speaks bare TCP and reads no further than an answer's first line: whatever it saves goes into
//! the next request. What became of its work is one line of JSON at the end.
#![expect(clippy::print_stdout, reason = "the report is this program's answer")]

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::Message;

use super::crowd::Cars;
use super::wire::{Dialect, Format, binary};
use crate::cpu::Cpu;

/// Not the others' address.
const FROM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);
/// Requests, or openings, under way at a time.
const HANDS: usize = 64;
/// Connections that one hand holds open: together more than the server should allow.
const HELD: usize = 100;
/// Where no connection is to be had.
const AGAIN: Duration = Duration::from_millis(5);
/// The hands stop this long after the time is over, whatever they wait for.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Flood {
    /// The same question over and over, logged in.
    Requests,
    /// The same without a login.
    Strangers,
    /// Sockets opened, and kept, with many accounts.
    Sockets,
    /// Connections whose upgrade request never ends.
    HalfOpen,
    /// Requests whose bodies never end, with many accounts.
    HalfSent,
    /// Messages on the sockets of one account.
    Frames,
    /// New accounts.
    SignUps,
    /// No flood at all: as busy a neighbour, for comparison.
    Burn,
}

impl Flood {
    pub const ALL: [Self; 7] = [
        Self::Requests,
        Self::Strangers,
        Self::Sockets,
        Self::HalfOpen,
        Self::HalfSent,
        Self::Frames,
        Self::SignUps,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Strangers => "requests without a login",
            Self::Sockets => "sockets",
            Self::HalfOpen => "half-open upgrades",
            Self::HalfSent => "half-sent bodies",
            Self::Frames => "messages",
            Self::SignUps => "sign-ups",
            Self::Burn => "nothing",
        }
    }
}

/// What to flood, and for how long.
#[derive(Args, Clone, Debug)]
pub struct Order {
    #[arg(long, value_enum)]
    flood: Flood,
    #[arg(long)]
    address: SocketAddr,
    /// A file of access tokens, one a line.
    #[arg(long)]
    tokens: PathBuf,
    #[arg(long)]
    milliseconds: u64,
}

/// What became of it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Report {
    /// Requests, connections or messages sent.
    pub sent: u64,
    /// Of them, let through.
    pub taken: u64,
    /// CPU seconds of the attacker.
    pub cpu_s: f64,
}

#[derive(Default)]
struct Tally {
    sent: AtomicU64,
    taken: AtomicU64,
}

struct Attacker {
    order: Order,
    tokens: Vec<String>,
    next: AtomicUsize,
    tally: Tally,
    until: Instant,
}

/// This program again, as the attacker; ends by itself.
pub(crate) fn start(
    flood: Flood,
    address: &str,
    tokens: &Path,
    length: Duration,
) -> anyhow::Result<Report> {
    let output = Command::new("nice")
        .args(["-n", "19"])
        .arg(std::env::current_exe()?)
        .args(["attack", "--address", address, "--tokens"])
        .arg(tokens)
        .args(["--milliseconds", &length.as_millis().to_string(), "--flood"])
        .arg(flood.to_possible_value().context("no kind is hidden")?.get_name())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("nice is missing: install coreutils")?;
    ensure!(output.status.success(), "the attacker broke down");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Where sessions share the processor evenly (the kernel's autogroups), niceness counts only within
/// one: the attacker gets a session of his own, and that the lowest priority.
fn step_back() {
    if nix::unistd::setsid().is_ok() {
        // A kernel without autogroups has no such file, and niceness is enough there.
        let _absent = std::fs::write("/proc/self/autogroup", "19");
    }
}

/// The hidden subcommand.
pub(crate) fn carry_out(order: &Order) -> anyhow::Result<()> {
    step_back();
    let length = Duration::from_millis(order.milliseconds);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let tokens = std::fs::read_to_string(&order.tokens)?;
        let attacker = Arc::new(Attacker {
            order: order.clone(),
            tokens: tokens.lines().map(str::to_owned).collect(),
            next: AtomicUsize::new(0),
            tally: Tally::default(),
            until: Instant::now() + length,
        });
        let mut hands = JoinSet::new();
        for hand in 0..HANDS {
            let attacker = Arc::clone(&attacker);
            hands.spawn(async move { attacker.work(hand).await });
        }
        sleep(length).await;
        let all = async { while hands.join_next().await.is_some() {} };
        let _some_wait = tokio::time::timeout(PATIENCE, all).await;
        let cpu_s = Cpu::of(std::process::id())?.as_secs_f64();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let tally = &attacker.tally;
        anyhow::Ok(Report { sent: count(&tally.sent), taken: count(&tally.taken), cpu_s })
    })?;
    println!("{}", serde_json::to_string(&report)?);
    runtime.shutdown_background();
    Ok(())
}

impl Attacker {
    async fn work(&self, hand: usize) {
        let mut held = VecDeque::new();
        while Instant::now() < self.until {
            let done = match self.order.flood {
                Flood::Requests => self.ask(Some(self.token(0))).await,
                Flood::Strangers => self.ask(None).await,
                Flood::Sockets => self.open(&mut held).await,
                Flood::HalfOpen => {
                    let half = "GET /ws HTTP/1.1\r\nhost: flood\r\nconnection: upgrade\r\nx-slow: ";
                    self.begin(half, &mut held).await
                }
                Flood::HalfSent => {
                    let token = self.token(self.next.fetch_add(1, Ordering::Relaxed));
                    let half = format!(
                        "POST /api/v1/devices HTTP/1.1\r\nhost: flood\r\n\
                         content-type: application/json\r\ncontent-length: 100\r\n\
                         authorization: Bearer {token}\r\n\r\n{{"
                    );
                    self.begin(&half, &mut held).await
                }
                Flood::Frames => self.talk().await,
                Flood::SignUps => self.sign_up(hand).await,
                Flood::Burn => {
                    self.burn().await;
                    Ok(())
                }
            };
            if done.is_err() {
                // At the end of its ports or of the server's patience.
                sleep(AGAIN).await;
            }
        }
    }

    fn token(&self, place: usize) -> &str {
        &self.tokens[place % self.tokens.len()]
    }

    fn count(&self, taken: bool) {
        self.tally.sent.fetch_add(1, Ordering::Relaxed);
        self.tally.taken.fetch_add(u64::from(taken), Ordering::Relaxed);
    }

    async fn connect(&self) -> anyhow::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((FROM, 0).into())?;
        let stream = socket.connect(self.order.address).await?;
        stream.set_nodelay(true)?;
        // Its port is free again at once.
        stream.set_zero_linger()?;
        Ok(stream)
    }

    /// Asks on one connection until it is closed.
    async fn ask(&self, token: Option<&str>) -> anyhow::Result<()> {
        let head = "GET /api/v1/location/nearby?lat=30.05&lng=31.25 HTTP/1.1\r\nhost: flood\r\n";
        let login = token.map(|token| format!("authorization: Bearer {token}\r\n"));
        let request = format!("{head}{}\r\n", login.unwrap_or_default());
        self.repeat(|| request.clone()).await
    }

    async fn sign_up(&self, hand: usize) -> anyhow::Result<()> {
        self.repeat(|| {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let body = format!(
                r#"{{"phone":"012{:08}","password":"tahrir99","name":"F","role":"rider"}}"#,
                (std::process::id() as usize * 100_000 + number) % 100_000_000
            );
            let head = "POST /api/v1/auth/signup HTTP/1.1\r\nhost: flood\r\n";
            let length = body.len();
            format!(
                "{head}content-type: application/json\r\nx-hand: {hand}\r\n\
                 content-length: {length}\r\n\r\n{body}"
            )
        })
        .await
    }

    async fn repeat(&self, request: impl Fn() -> String) -> anyhow::Result<()> {
        let Ok(mut stream) = self.connect().await else {
            self.count(false);
            anyhow::bail!("no connection");
        };
        let mut answer = [0; 4096];
        while Instant::now() < self.until {
            stream.write_all(request().as_bytes()).await?;
            // An answer is smaller than this and comes in one piece, or nearly always so.
            let read = stream.read(&mut answer).await.unwrap_or(0);
            self.count(answer[..read].starts_with(b"HTTP/1.1 2"));
            if read == 0 {
                break;
            }
        }
        Ok(())
    }

    async fn open(&self, held: &mut VecDeque<TcpStream>) -> anyhow::Result<()> {
        let token = self.token(self.next.fetch_add(1, Ordering::Relaxed));
        let request = format!(
            "GET /ws HTTP/1.1\r\nhost: flood\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             authorization: Bearer {token}\r\n\r\n"
        );
        let mut answer = [0; 1024];
        let opened = async {
            let mut stream = self.connect().await?;
            stream.write_all(request.as_bytes()).await?;
            let read = stream.read(&mut answer).await?;
            anyhow::Ok((stream, read))
        };
        let opened = opened.await;
        let taken = opened.as_ref().is_ok_and(|(_, n)| answer[..*n].starts_with(b"HTTP/1.1 101"));
        self.count(taken);
        keep(held, opened?.0, taken);
        Ok(())
    }

    /// Says half of what it has to say, and keeps the connection.
    async fn begin(&self, half: &str, held: &mut VecDeque<TcpStream>) -> anyhow::Result<()> {
        let begun = async {
            let mut stream = self.connect().await?;
            stream.write_all(half.as_bytes()).await?;
            anyhow::Ok(stream)
        };
        let begun = begun.await;
        self.count(begun.is_ok());
        keep(held, begun?, true);
        Ok(())
    }

    /// Positions on one socket, answers read and dropped, until it is closed.
    async fn talk(&self) -> anyhow::Result<()> {
        let opened = async {
            let (address, token) = (self.order.address.to_string(), self.token(0));
            let stream = self.connect().await?;
            Dialect::SmartLine.open_on(stream, &address, token, Format::Binary).await
        };
        let (mut up, mut down) = opened.await?.split();
        let frame = binary(Cars::new(1, 1).spot(0, 0), 1_700_000_000_000);
        let frame = tokio_tungstenite::tungstenite::Bytes::copy_from_slice(&frame);
        let talk = async {
            while Instant::now() < self.until {
                // One flush for some of them.
                for _ in 0..32 {
                    up.feed(Message::Binary(frame.clone())).await?;
                    self.count(false);
                }
                up.flush().await?;
            }
            anyhow::Ok(())
        };
        let hear = async { while let Some(Ok(_)) = down.next().await {} };
        tokio::select! {
            talked = talk => talked,
            () = hear => Ok(()),
        }
    }

    async fn burn(&self) {
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_millis(1) {
            std::hint::spin_loop();
        }
        tokio::task::yield_now().await;
    }
}

/// Holds on to what was taken; the oldest goes.
fn keep(held: &mut VecDeque<TcpStream>, stream: TcpStream, taken: bool) {
    if taken {
        held.push_back(stream);
    }
    if held.len() > HELD {
        held.pop_front();
    }
}
