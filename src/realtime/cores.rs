//! Where sockets live: a few threads, each with a runtime of its own.
//!
//! A message costs its read and its writes and little else, so that handing its task from thread to
//! thread, as a shared runtime does, was a fifth of it (docs/decisions/0006). A socket stays on the
//! thread it was given to; what it asks for still runs wherever its room lives.

use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The threads end when this is dropped.
pub(crate) struct Cores {
    runtimes: Vec<Handle>,
    next: AtomicUsize,
    _running: Vec<oneshot::Sender<()>>,
}

impl Cores {
    /// So many threads; by default one for every two cores this process may use.
    pub(crate) fn start(threads: Option<NonZeroUsize>) -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.map_or(cores.div_ceil(2), usize::from);
        let (mut runtimes, mut running) = (Vec::new(), Vec::new());
        for thread in 0..threads {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let (run, ended) = oneshot::channel();
            runtimes.push(runtime.handle().clone());
            running.push(run);
            let name = format!("sockets {thread}");
            // Nothing is ever sent: it ends when its other half is dropped.
            let live = move || drop(runtime.block_on(ended));
            thread::Builder::new().name(name).spawn(live)?;
        }
        Ok(Self { runtimes, next: AtomicUsize::new(0), _running: running })
    }

    /// For the next socket, in turn.
    pub(crate) fn next(&self) -> &Handle {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        &self.runtimes[turn % self.runtimes.len()]
    }
}
