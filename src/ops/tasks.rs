//! The task supervisor: the only door to `tokio::spawn`.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use metrics::counter;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

/// Starts tasks and ends them together, on the runtime where it was made: whoever asks, from
/// whatever thread, the work is the house's. Cheap to clone.
#[derive(Clone)]
pub struct Tasks {
    home: Handle,
    tracker: TaskTracker,
    stopping: CancellationToken,
    /// A task without which the node is of no use ended by itself.
    broken: Arc<AtomicBool>,
}

/// How a stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Every task ended by itself.
    Clean,
    /// This many were still running when the time was up.
    Late(usize),
}

impl Tasks {
    /// Within a runtime.
    #[expect(clippy::new_without_default, reason = "it needs a runtime around it")]
    pub fn new() -> Self {
        Self {
            home: Handle::current(),
            tracker: TaskTracker::new(),
            stopping: CancellationToken::new(),
            broken: Arc::default(),
        }
    }

    /// Runs `work` until it ends by itself; it must watch [`Tasks::stopping`] wherever it waits.
    /// A panic is logged with the task's name and counted, and ends that task only.
    pub fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.spawn_on(&self.home, name, work);
    }

    /// Like [`Tasks::spawn`], on another runtime.
    pub fn spawn_on(
        &self,
        runtime: &Handle,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        self.tracker.spawn_on(guarded(name, work), runtime);
    }

    /// Like [`Tasks::spawn`], for work without which the node must not go on: when it ends before
    /// the node stops, by a panic or otherwise, the node stops: whoever runs it starts it again.
    pub fn spawn_vital(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let tasks = self.clone();
        self.spawn(name, async move {
            let ended = AssertUnwindSafe(work).catch_unwind().await;
            if !tasks.stopping.is_cancelled() {
                error!(task = name, "a vital task ended: the node stops");
                tasks.broken.store(true, Ordering::SeqCst);
                tasks.stopping.cancel();
            }
            if let Err(panic) = ended {
                resume_unwind(panic);
            }
        });
    }

    /// Did the node stop because something vital ended?
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }

    /// Cancelled when the node stops.
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Tells every task to end and waits for them, at most `within`.
    pub async fn stop(&self, within: Duration) -> Stopped {
        self.stopping.cancel();
        self.tracker.close();
        if tokio::time::timeout(within, self.tracker.wait()).await.is_ok() {
            return Stopped::Clean;
        }
        let left = self.tracker.len();
        warn!(left, "tasks still running when the drain's time was up");
        Stopped::Late(left)
    }
}

async fn guarded(name: &'static str, work: impl Future<Output = ()>) {
    if let Err(panic) = AssertUnwindSafe(work).catch_unwind().await {
        counter!("smartline_task_panics_total", "task" => name).increment(1);
        error!(task = name, "task panicked: {}", panic_text(&*panic));
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_its_own_task_only() {
        let tasks = Tasks::new();
        let (done, heard) = tokio::sync::oneshot::channel();
        tasks.spawn("breaks", async { panic!("on purpose") });
        tasks.spawn("works", async move {
            done.send(()).ok();
        });
        heard.await.expect("the other task goes on");
        assert_eq!(tasks.stop(Duration::from_secs(5)).await, Stopped::Clean);
    }

    #[tokio::test]
    async fn a_vital_task_that_ends_stops_the_node() {
        let tasks = Tasks::new();
        tasks.spawn_vital("vital", async { panic!("on purpose") });
        tasks.stopping().cancelled().await;
        assert!(tasks.is_broken());

        let tasks = Tasks::new();
        tasks.spawn_vital("vital", tasks.stopping().cancelled_owned());
        tasks.stop(Duration::from_secs(5)).await;
        assert!(!tasks.is_broken(), "ending with the node is no failure");
    }

    #[tokio::test]
    async fn work_runs_at_home_whoever_asks_for_it() {
        let tasks = Tasks::new();
        let (tell, told) = tokio::sync::oneshot::channel();
        let asked = tasks.clone();
        let elsewhere = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async move {
                asked.spawn("work", async move {
                    tell.send(Handle::current().id()).ok();
                });
            });
        });
        elsewhere.join().unwrap();
        assert_eq!(told.await.unwrap(), Handle::current().id());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_will_not_end_is_reported() {
        let tasks = Tasks::new();
        tasks.spawn("deaf", std::future::pending());
        assert_eq!(tasks.stop(Duration::from_secs(1)).await, Stopped::Late(1));
    }
}
