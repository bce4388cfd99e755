//! Sagas: forwards from where they stood, backwards where a step can't be done.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use storage::Who;

use super::*;

static JOB: Kind = Kind {
    name: "errand",
    queue: Queue::Payments,
    priority: Priority::Critical,
    version: 1,
    attempts: 3,
    on_dead: OnDead::ByHand,
};
static ERRAND: SagaKind = SagaKind { job: &JOB, steps: &["pay", "print", "post"] };

/// What happens at a step, by how often any step was begun.
type Plan = fn(usize, usize) -> Result<(), Failure>;

/// Writes a row for every step and every undoing.
struct Errand {
    db: Db,
    plan: Plan,
    begun: AtomicUsize,
}

impl Errand {
    async fn write(&self, what: String) -> Result<Stepped, Failure> {
        let mut tx = self.db.begin(&Who::System).await?;
        sqlx::query("INSERT INTO effects VALUES ($1)")
            .bind(what)
            .execute(tx.conn())
            .await
            .map_err(storage::fault)?;
        Ok(Stepped::within(tx))
    }
}

impl Saga for Errand {
    fn kind(&self) -> &'static SagaKind {
        &ERRAND
    }

    fn step<'a>(&'a self, step: usize, _: Uuid, state: &'a Value) -> Stepping<'a> {
        Box::pin(async move {
            (self.plan)(step, self.begun.fetch_add(1, Ordering::SeqCst))?;
            let seen = state["seen"].as_u64().unwrap_or(0) + 1;
            Ok(self.write(format!("+{step}")).await?.remember(json!({"seen": seen})))
        })
    }

    fn undo<'a>(&'a self, step: usize, _: Uuid, _: &'a Value) -> Stepping<'a> {
        Box::pin(async move { self.write(format!("-{step}")).await })
    }
}

async fn effects(plan: Plan) -> (Stand, String) {
    let stand = Stand::new().await;
    stand
        .run(
            "CREATE TABLE effects (what text, no int GENERATED ALWAYS AS IDENTITY); \
             GRANT ALL ON effects TO smartline_app",
        )
        .await;
    let errand = Errand { db: stand.db.clone(), plan, begun: AtomicUsize::new(0) };
    let runner = SagaRunner::new(stand.db.clone(), Arc::new(errand));
    let handlers = Handlers::default().on(&JOB, Arc::new(runner));
    stand.add(&[SagaRunner::job(&ERRAND, uuid(1), json!({})).unwrap()]).await;
    let _tasks = stand.work_on(handlers, quick());
    stand.until("SELECT count(*) FROM jobs", 0).await;
    let mut conn = stand.owner().await;
    let written: Vec<String> = sqlx::query_scalar("SELECT what FROM effects ORDER BY no")
        .fetch_all(&mut conn)
        .await
        .unwrap();
    (stand, written.join(" "))
}

#[tokio::test]
async fn a_saga_goes_on_where_it_stood() {
    let (stand, written) = effects(|_, begun| match begun {
        1 | 3 => Err(Failure::Again { why: "away".to_owned(), after: Some(Default::default()) }),
        _ => Ok(()),
    })
    .await;
    assert_eq!(written, "+0 +1 +2");
    assert_eq!(stand.count("SELECT (state->>'seen')::bigint FROM sagas").await, 3);
    assert_eq!(stand.count("SELECT count(*) FROM sagas WHERE status = 'done'").await, 1);
}

#[tokio::test]
async fn a_step_that_can_not_be_done_takes_the_others_back() {
    let (stand, written) = effects(|step, _| match step {
        2 => Err(Failure::never("no paper")),
        _ => Ok(()),
    })
    .await;
    assert_eq!(written, "+0 +1 -1 -0");
    assert_eq!(stand.count("SELECT count(*) FROM sagas WHERE status = 'undone'").await, 1);
    let letter =
        "SELECT count(*) FROM dead_letters WHERE errors #>> '{0,error}' = 'post: no paper'";
    assert_eq!(stand.count(letter).await, 1);
}

#[tokio::test]
async fn a_step_that_fails_for_the_last_time_takes_the_others_back() {
    let (_, written) = effects(|step, _| match step {
        1 => Err(Failure::Again { why: "away".to_owned(), after: Some(Default::default()) }),
        _ => Ok(()),
    })
    .await;
    assert_eq!(written, "+0 -0");
}
