//! What a stand-in does in place of its proper answer.

use std::collections::VecDeque;
use std::io;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use parking_lot::Mutex;

/// One misbehaviour.
#[derive(Clone, Debug)]
pub enum Play {
    /// Answers with this status and does nothing.
    Refuse(u16),
    /// The same, and says after how many seconds to come again.
    Busy { after_s: u32 },
    /// Does what was asked, and the answer breaks off.
    Lose,
    /// Does what was asked, and says nothing at all.
    Silence,
}

/// Misbehaviours that wait for their request.
#[derive(Default)]
pub(crate) struct Plays(Mutex<VecDeque<(String, Play)>>);

impl Plays {
    pub(crate) fn add(&self, path: &str, play: Play) {
        self.0.lock().push_back((path.to_owned(), play));
    }

    /// The first that waits for this path.
    pub(crate) fn take(&self, path: &str) -> Option<Play> {
        let mut plays = self.0.lock();
        let at = plays.iter().position(|(part, _)| path.contains(part.as_str()))?;
        plays.remove(at).map(|(_, play)| play)
    }
}

impl Play {
    /// Is the request carried out?
    pub(crate) const fn does(&self) -> bool {
        matches!(self, Self::Lose | Self::Silence)
    }

    pub(crate) async fn answer(&self) -> Response {
        match self {
            Self::Refuse(status) => status_only(*status),
            Self::Busy { after_s } => {
                let mut response = status_only(429);
                response.headers_mut().insert("retry-after", (*after_s).into());
                response
            }
            Self::Lose => {
                let broken = io::Error::other("cut");
                let body = async_stream(Err::<Vec<u8>, _>(broken));
                Response::new(body)
            }
            Self::Silence => std::future::pending().await,
        }
    }
}

fn status_only(status: u16) -> Response {
    let mut response = Response::new(Body::from("{}"));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    response
}

fn async_stream(item: Result<Vec<u8>, io::Error>) -> Body {
    Body::from_stream(futures_util::stream::iter([item]))
}
