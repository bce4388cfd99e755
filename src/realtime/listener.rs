//! What a socket needs from TCP.

use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tracing::debug;

/// Unacknowledged data older than this ends the connection: a phone that lost its network is gone.
const USER_TIMEOUT: Duration = Duration::from_secs(15);
/// Small, so that a slow reader's positions wait where the newest replaces the older.
const SEND_BUFFER: usize = 64 * 1024;

/// Sets a freshly accepted connection up for sockets: no Nagle, bounded waiting, small buffer.
/// Failing leaves the connection usable.
pub fn tune_socket(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let tuned = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_user_timeout(Some(USER_TIMEOUT)))
        .and_then(|()| socket.set_send_buffer_size(SEND_BUFFER));
    if let Err(error) = tuned {
        debug!(%error, "a connection could not be tuned");
    }
}
