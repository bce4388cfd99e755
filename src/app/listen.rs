//! The two addresses of a node: the main one for apps, the other for its operators.
//!
//! Owns the accepted connections until they become sockets. A connection costs memory whether it
//! asks for something or not, so each must ask soon, and one address holds so many and no more.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, header};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use metrics::counter;
use ops::{Counted, Crowd, Limit, Limiter, Seat, Tarpit, Tasks, Verdict};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, info, warn};

/// The first request, an upgrade too, must be there with all its headers within this.
const FIRST_REQUEST: Duration = Duration::from_secs(5);
/// Later ones may come after a rest, as clients keep connections.
const NEXT_REQUEST: Duration = Duration::from_secs(75);
/// Largest request line and headers together, bytes.
const HEADER_BYTES: usize = 64 * 1024;

/// Binds the main address; a taken port ends the start with a sentence that says what to do.
pub(crate) async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("can't listen on {address}: choose another with SMARTLINE_LISTEN"))
}

/// Who may come in.
pub(crate) struct Door {
    /// Connections that an address may hold.
    pub(crate) crowd: Crowd,
    /// Where addresses are counted.
    pub(crate) limiter: Option<Limiter>,
    /// Where those wait who are not let in.
    pub(crate) tarpit: Tarpit,
}

/// What becomes of a connection.
enum Entry {
    Welcome(Seat),
    /// His address asks too much: he is kept, unheard, and then hung up on.
    Kept(Seat),
    Full,
}

impl Door {
    fn admit(&self, address: IpAddr) -> Entry {
        let who = Counted::from(address);
        let Some(seat) = self.crowd.enter(who) else {
            refused("address_full");
            return Entry::Full;
        };
        if let Some(limiter) = &self.limiter
            && let Verdict::Waits(_) = limiter.check_here(limiter.rate(Limit::Address), who)
        {
            refused("address_busy");
            return Entry::Kept(seat);
        }
        Entry::Welcome(seat)
    }
}

/// Serves `router` until the node stops; running requests are finished first.
pub(crate) fn serve(
    tasks: &Tasks,
    name: &'static str,
    mut listener: TcpListener,
    router: Router,
    door: Door,
) {
    let (running, stopping) = (tasks.clone(), tasks.stopping());
    tasks.spawn(name, async move {
        // An accept that failed is tried again, after a pause where the node has no more files.
        while let Some((stream, peer)) =
            stopping.run_until_cancelled(Listener::accept(&mut listener)).await
        {
            let stopping = stopping.clone();
            match door.admit(peer.ip()) {
                Entry::Welcome(seat) => {
                    realtime::tune_socket(&stream);
                    let router = router.clone();
                    running.spawn("connection", async move {
                        converse(stream, peer, router, stopping).await;
                        drop(seat);
                    });
                }
                Entry::Kept(seat) => {
                    let tarpit = door.tarpit.clone();
                    running.spawn("kept connection", async move {
                        stopping.run_until_cancelled(tarpit.keep()).await;
                        drop((stream, seat));
                    });
                }
                Entry::Full => {}
            }
        }
    });
}

/// One connection, until it ends or becomes a socket.
async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    stopping: CancellationToken,
) {
    let (begun, sent_away) = (CancellationToken::new(), CancellationToken::new());
    let (first, last) = (begun.clone(), sent_away.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        first.cancel();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let (answer, last) = (router.clone().oneshot(request), last.clone());
        async move {
            let response = answer.await;
            if response.as_ref().is_ok_and(says_close) {
                last.cancel();
            }
            response
        }
    });
    let builder = builder();
    let mut talk = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let mut patience = pin!(tokio::time::sleep(FIRST_REQUEST));
    let (mut has_begun, mut leaving) = (false, false);
    loop {
        tokio::select! {
            biased;
            ended = talk.as_mut() => {
                if let Err(error) = ended {
                    debug!(%error, %peer, "a connection broke off");
                }
                return;
            }
            () = begun.cancelled(), if !has_begun => has_begun = true,
            () = patience.as_mut(), if !has_begun => return refused("silent"),
            () = stopping.cancelled(), if !leaving => {
                leaving = true;
                talk.as_mut().graceful_shutdown();
            }
            () = sent_away.cancelled(), if !leaving => {
                leaving = true;
                talk.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Also of HTTP/2, which says it in its own way.
fn says_close(response: &Response<Body>) -> bool {
    response.headers().get(header::CONNECTION).is_some_and(|value| value == "close")
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(NEXT_REQUEST)
        .max_buf_size(HEADER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(NEXT_REQUEST)
        .max_header_list_size(HEADER_BYTES as u32)
        .enable_connect_protocol();
    builder
}

fn refused(reason: &'static str) {
    counter!("smartline_connections_refused_total", "reason" => reason).increment(1);
}

/// Serves metrics and health to operators. A taken port is worth a warning, no more: several nodes
/// may share a machine, and the city must run.
pub(crate) async fn serve_operators(tasks: &Tasks, address: SocketAddr, router: Router) {
    match TcpListener::bind(address).await {
        Ok(listener) => {
            info!(%address, "metrics at http://{address}/metrics");
            let crowd = Crowd::new(None);
            let door = Door { crowd, limiter: None, tarpit: Tarpit::default() };
            serve(tasks, "operators' address", listener, router, door);
        }
        Err(error) => warn!(%error, %address, "no metrics address: the port is taken"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn server(most: Option<usize>) -> (SocketAddr, Tasks) {
        server_that_counts(most, None).await
    }

    async fn server_that_counts(
        most: Option<usize>,
        limiter: Option<Limiter>,
    ) -> (SocketAddr, Tasks) {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let hello = axum::routing::get(async || "hello");
        let tasks = Tasks::new();
        let router = Router::new().route("/", hello);
        let door = Door { crowd: Crowd::new(most), limiter, tarpit: Tarpit::default() };
        serve(&tasks, "test", listener, router, door);
        (address, tasks)
    }

    /// What comes back until the other side closes.
    async fn told(mut stream: TcpStream, request: &[u8]) -> String {
        let mut answer = Vec::new();
        // A connection that is closed on us may break off while we write or read.
        stream.write_all(request).await.ok();
        stream.read_to_end(&mut answer).await.ok();
        String::from_utf8_lossy(&answer).into_owned()
    }

    const WHOLE: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

    /// Time flies here whenever nothing else happens.
    #[tokio::test(start_paused = true)]
    async fn who_does_not_say_what_he_wants_is_hung_up_on() {
        let (address, _tasks) = server(None).await;
        for part in [&b""[..], b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
            let stream = TcpStream::connect(address).await.expect("connects");
            assert!(!told(stream, part).await.contains("200"), "{part:?}");
        }
    }

    #[tokio::test]
    async fn an_address_holds_so_many_connections_and_no_more() {
        let (address, _tasks) = server(Some(2)).await;
        let connect = async || TcpStream::connect(address).await.expect("connects");
        let (one, other) = (connect().await, connect().await);
        assert_eq!(told(connect().await, WHOLE).await, "");
        assert!(told(one, WHOLE).await.ends_with("hello"));
        assert!(told(other, WHOLE).await.ends_with("hello"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_connects_too_often_is_kept_and_then_hung_up_on() {
        let rates = "address=1/60".parse().expect("rates");
        let clock = base::Clock::manual(base::Millis(1_700_000_000_000));
        let limiter = Limiter::new(ops::RateLimits::On, rates, clock, None);
        let (address, _tasks) = server_that_counts(None, Some(limiter)).await;
        let connect = async || TcpStream::connect(address).await.expect("connects");
        assert!(told(connect().await, WHOLE).await.ends_with("hello"));
        let begun = tokio::time::Instant::now();
        assert_eq!(told(connect().await, WHOLE).await, "");
        assert!(!begun.elapsed().is_zero(), "he waits before he can come again");
    }

    #[tokio::test]
    async fn headers_have_a_largest_size() {
        let (address, _tasks) = server(None).await;
        let stream = TcpStream::connect(address).await.expect("connects");
        let request =
            format!("GET / HTTP/1.1\r\nHost: x\r\nX-Big: {}\r\n\r\n", "x".repeat(100_000));
        let answer = told(stream, request.as_bytes()).await;
        assert!(!answer.contains("hello"), "{answer}");
    }

    #[tokio::test]
    async fn a_stop_ends_the_connections_at_rest() {
        let (address, tasks) = server(None).await;
        let mut stream = TcpStream::connect(address).await.expect("connects");
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("writes");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(tasks.stop(Duration::from_secs(10)).await, ops::Stopped::Clean);
    }
}
