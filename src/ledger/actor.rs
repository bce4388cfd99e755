//! The batching writer: postings of many callers in one commit.
//!
//! Owns the door for postings that stand alone: deposits, tips, refunds, steps of withdrawals.
//! Whoever moves something else in the same transaction posts there, by `post_in_tx`.
//!
//! Guarantees:
//! - a caller is answered once, after the commit: posted, refused, failed, or unknown;
//! - a refused journal costs its neighbours nothing;
//! - a commit whose answer got lost is read back by key, never guessed;
//! - what was taken is posted even when its caller is gone: he learns by asking again.

use std::sync::Arc;
use std::time::Duration;

use base::{Fault, JournalId};
use metrics::{counter, histogram};
use ops::Tasks;
use storage::Db;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tracing::{error, warn};

use crate::model::{Journal, PostError, Posted};
use crate::store;

/// Journals that wait; when there are more, callers wait to put theirs down.
const QUEUE: usize = 4096;
/// Journals of one commit at most: what a single slow one may hold up.
const BATCH: usize = 100;
/// From so many on they share a transaction. Fewer are faster one by one.
const ENOUGH: usize = 4;
/// Batches on their way at the same time: while one is forced to disk the database works on the
/// other.
const FLIGHTS: usize = 2;
/// A journal that waited longer than this is not begun any more.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a lost commit is looked up before its callers are told that nobody knows.
const LOOKS: u32 = 5;
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The door to the ledger for postings that stand alone. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    inbox: mpsc::Sender<Item>,
}

/// A journal that wants to be posted.
struct Item {
    /// Its own from the beginning: found in the ledger after a lost answer, it was us.
    id: JournalId,
    journal: Journal,
    give_up: Instant,
    reply: oneshot::Sender<Result<Posted, PostError>>,
}

impl Ledger {
    pub fn start(db: Db, tasks: &Tasks) -> Self {
        let (inbox, taken) = mpsc::channel(QUEUE);
        let flights = Arc::new(Semaphore::new(FLIGHTS));
        let writer = Writer { desk: Desk { db }, inbox: taken, tasks: tasks.clone(), flights };
        tasks.spawn_vital("ledger.writer", writer.run());
        Self { inbox }
    }

    /// Posts a journal in a transaction of its own or of others. After [`Fault::Unknown`] only
    /// another call with the same journal tells whether it stands; it posts once in any case.
    pub async fn post(&self, journal: Journal) -> Result<Posted, PostError> {
        let (reply, answer) = oneshot::channel();
        let give_up = Instant::now() + PATIENCE;
        let item = Item { id: JournalId::new(), journal, give_up, reply };
        match tokio::time::timeout_at(give_up, self.inbox.send(item)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(Fault::unavailable("the node stops").into()),
            Err(_) => return Err(late().into()),
        }
        answer.await.unwrap_or_else(|_| {
            Err(Fault::Unknown("the ledger's writer ended in the middle".to_owned()).into())
        })
    }
}

fn late() -> Fault {
    Fault::unavailable("the posting waited too long for its turn")
}

/// Collects journals into batches and has them written.
struct Writer {
    desk: Desk,
    inbox: mpsc::Receiver<Item>,
    tasks: Tasks,
    /// Turns of batches on their way.
    flights: Arc<Semaphore>,
}

impl Writer {
    /// Runs until the node stops; what was taken by then is still posted.
    async fn run(mut self) {
        let stopping = self.tasks.stopping();
        loop {
            let first = tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                first = self.inbox.recv() => first,
            };
            let Some(first) = first else { return };
            self.fly(first).await;
        }
        self.inbox.close();
        while let Some(first) = self.inbox.recv().await {
            self.fly(first).await;
        }
    }

    /// Has a batch written. While others are on their way more company comes by itself.
    async fn fly(&mut self, first: Item) {
        let turn = Arc::clone(&self.flights).acquire_owned().await;
        let mut items = vec![first];
        while items.len() < BATCH {
            let Ok(item) = self.inbox.try_recv() else { break };
            items.push(item);
        }
        let desk = self.desk.clone();
        self.tasks.spawn("ledger.batch", async move {
            desk.serve(items).await;
            drop(turn);
        });
    }
}

/// Writes one batch.
#[derive(Clone)]
struct Desk {
    db: Db,
}

/// Journals that share a transaction, and what became of it so far.
struct Part {
    items: Vec<Item>,
    tries: u32,
    /// A commit's answer got lost: they may stand already.
    in_doubt: bool,
}

/// How a transaction ended that did not fail before its commit.
enum Ended {
    Committed(Vec<Result<Posted, PostError>>),
    Lost(Fault),
}

impl Desk {
    async fn serve(&self, items: Vec<Item>) {
        let now = Instant::now();
        let (items, too_late): (Vec<_>, Vec<_>) =
            items.into_iter().partition(|item| item.give_up > now);
        for item in too_late {
            item.reply.send(Err(late().into())).ok();
        }
        histogram!("smartline_ledger_batch_items").record(items.len() as f64);
        let part = |items| Part { items, tries: 0, in_doubt: false };
        let mut parts: Vec<Part> = if items.len() >= ENOUGH {
            vec![part(items)]
        } else {
            items.into_iter().rev().map(|item| part(vec![item])).collect()
        };
        while let Some(part) = parts.pop() {
            let begun = Instant::now();
            let ended = self.commit(&part.items).await;
            histogram!("smartline_ledger_batch_seconds").record(begun.elapsed().as_secs_f64());
            self.conclude(&mut parts, part, ended).await;
        }
    }

    /// Answers what is certain and puts back what has to be tried again.
    async fn conclude(&self, parts: &mut Vec<Part>, part: Part, ended: Result<Ended, Fault>) {
        let (fault, in_doubt) = match ended {
            Ok(Ended::Committed(answers)) => return answer(part.items, answers),
            Ok(Ended::Lost(fault)) => (fault, true),
            Err(fault) => (fault, part.in_doubt),
        };
        let Part { mut items, tries, .. } = part;
        match (&fault, in_doubt) {
            // Posted again under the same ids: what stands is answered from there, and whoever
            // still commits it is waited for. Nothing is guessed.
            (_, true) if tries < LOOKS => {
                counter!("smartline_ledger_lost_commits_total").increment(1);
                warn!(%fault, "a commit of the ledger is read back");
                tokio::time::sleep(LOOK_AGAIN).await;
                parts.push(Part { items, tries: tries + 1, in_doubt });
            }
            (_, true) => fail(items, &Fault::Unknown(fault.to_string())),
            // Another transaction was in the way, or the server is going: once more, then 503.
            (Fault::Unavailable(_), false) if tries == 0 => {
                parts.push(Part { items, tries: 1, in_doubt });
            }
            // One of them is a bug of ours; the others are not to suffer from it.
            (Fault::Internal(_), false) if items.len() > 1 => {
                counter!("smartline_ledger_splits_total").increment(1);
                let right = items.split_off(items.len() / 2);
                parts.push(Part { items: right, tries, in_doubt });
                parts.push(Part { items, tries, in_doubt });
            }
            (Fault::Unavailable(_) | Fault::Unknown(_) | Fault::Internal(_), false) => {
                error!(%fault, "postings failed");
                fail(items, &fault);
            }
        }
    }

    /// One transaction for all of them. An error means that nothing was stored.
    async fn commit(&self, items: &[Item]) -> Result<Ended, Fault> {
        let mut tx = self.db.begin_writer().await?;
        let answers = if let [item] = items {
            match store::post_as_in_tx(&mut tx, item.id, &item.journal).await {
                Err(PostError::Fault(fault)) => return Err(fault),
                // The refusal ended the transaction.
                Err(refused) => return Ok(Ended::Committed(vec![Err(refused)])),
                Ok(posted) => vec![Ok(posted)],
            }
        } else {
            let named: Vec<_> = items.iter().map(|item| (item.id, &item.journal)).collect();
            store::post_batch_as_in_tx(&mut tx, &named).await?
        };
        match tx.commit().await {
            Ok(()) => Ok(Ended::Committed(answers)),
            Err(fault @ Fault::Unknown(_)) => Ok(Ended::Lost(fault)),
            Err(fault) => Err(fault),
        }
    }
}

fn answer(items: Vec<Item>, answers: Vec<Result<Posted, PostError>>) {
    for (item, answer) in items.into_iter().zip(answers) {
        item.reply.send(answer).ok();
    }
}

fn fail(items: Vec<Item>, fault: &Fault) {
    for item in items {
        item.reply.send(Err(fault.clone().into())).ok();
    }
}
