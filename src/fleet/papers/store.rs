//! SQL of onboarding: profiles and decisions, as the caller, so that the database checks him too.

use base::{Caller, CityId, Cursor, DriverId, Fault, Millis};
use identity::{Audit, AuditObject};
use serde_json::json;
use sqlx::FromRow;
use storage::{Db, Tx, Who, at, breaks, fault, millis};
use uuid::Uuid;

use crate::model::DriverStatus;
use crate::store::{status_of, tier_of};
use crate::wire::{DocumentView, DriverView, Profile, VehicleBody};

/// What became of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Saved {
    Done,
    Suspended,
    PlateTaken,
}

/// Is a driver kept from every offer for fraud?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barred {
    Yes,
    No,
}

/// Keeps a driver from offers, or no longer; nothing happens to who has no profile. Follow it by
/// [`crate::Fleet::reload_facts`] once it is committed.
pub async fn bar_in_tx(tx: &mut Tx, driver: DriverId, barred: Barred) -> Result<(), Fault> {
    sqlx::query("UPDATE drivers SET fraud_flag = $2 WHERE id = $1")
        .bind(driver.0)
        .bind(barred == Barred::Yes)
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    Ok(())
}

/// A document that runs out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiring {
    pub driver: DriverId,
    pub kind: String,
    pub at: Millis,
}

/// Saves vehicle and documents, all or nothing; the driver is pending from then on.
pub(crate) async fn save(
    db: &Db,
    caller: &Caller,
    profile: &Profile,
    now: Millis,
) -> Result<Saved, Fault> {
    let mut tx = db.begin(&Who::Caller(*caller)).await?;
    let driver = caller.user.0;
    let status: String = sqlx::query_scalar(
        "INSERT INTO drivers AS d (id, created_at) VALUES ($1, $2)
         ON CONFLICT (id) DO UPDATE SET
           status = CASE d.status WHEN 'suspended' THEN d.status ELSE 'pending' END
         RETURNING status",
    )
    .bind(driver)
    .bind(at(now))
    .fetch_one(tx.conn())
    .await
    .map_err(fault)?;
    if status_of(&status)? == DriverStatus::Suspended {
        return Ok(Saved::Suspended);
    }
    if let Err(error) = save_vehicle(&mut tx, driver, &profile.vehicle).await {
        return match breaks(&error, "one_vehicle_per_plate") {
            true => Ok(Saved::PlateTaken),
            false => Err(fault(error)),
        };
    }
    save_documents(&mut tx, driver, &profile.documents).await.map_err(fault)?;
    tx.commit().await?;
    Ok(Saved::Done)
}

async fn save_vehicle(tx: &mut Tx, driver: Uuid, vehicle: &VehicleBody) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO vehicles (driver_id, tier, make, model, plate, color, year)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (driver_id) DO UPDATE SET
           tier = excluded.tier, make = excluded.make, model = excluded.model,
           plate = excluded.plate, color = excluded.color, year = excluded.year",
    )
    .bind(driver)
    .bind(vehicle.tier.name())
    .bind(&vehicle.make)
    .bind(&vehicle.model)
    .bind(&vehicle.plate)
    .bind(&vehicle.color)
    .bind(vehicle.year)
    .execute(tx.conn())
    .await
    .map(drop)
}

async fn save_documents(tx: &mut Tx, driver: Uuid, documents: &[DocumentView]) -> sqlx::Result<()> {
    let kinds: Vec<&str> = documents.iter().map(|document| &*document.kind).collect();
    let numbers: Vec<&str> = documents.iter().map(|document| &*document.number).collect();
    let until: Vec<jiff_sqlx::Timestamp> =
        documents.iter().map(|document| at(document.expires_at)).collect();
    sqlx::query("DELETE FROM driver_documents WHERE driver_id = $1 AND kind <> ALL($2)")
        .bind(driver)
        .bind(&kinds)
        .execute(tx.conn())
        .await?;
    sqlx::query(
        "INSERT INTO driver_documents (driver_id, kind, number, expires_at)
         SELECT $1, * FROM unnest($2::text[], $3::text[], $4::timestamptz[])
         ON CONFLICT ON CONSTRAINT one_document_per_kind DO UPDATE SET
           number = excluded.number, expires_at = excluded.expires_at",
    )
    .bind(driver)
    .bind(&kinds)
    .bind(&numbers)
    .bind(until)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// A driver's papers, when the caller may see them.
pub(crate) async fn profile(
    db: &Db,
    caller: &Caller,
    driver: DriverId,
) -> Result<Option<DriverView>, Fault> {
    let mut tx = db.begin(&Who::Caller(*caller)).await?;
    let mut found = views(&mut tx, &[driver.0]).await?;
    tx.commit().await?;
    Ok(found.pop())
}

/// Drivers who wait for a decision, oldest first.
pub(crate) async fn pending(
    db: &Db,
    admin: &Caller,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Vec<DriverView>, Fault> {
    let mut tx = db.begin(&Who::Caller(*admin)).await?;
    let (since, id) = after.map_or((Millis(0), Uuid::nil()), |last| (last.at, last.id));
    // The cursor carries milliseconds, so that is what it is compared with.
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "SELECT id FROM drivers WHERE status = 'pending'
           AND (date_trunc('milliseconds', created_at), id) > ($1, $2)
         ORDER BY created_at, id LIMIT $3",
    )
    .bind(at(since))
    .bind(id)
    .bind(i64::from(limit))
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    let found = views(&mut tx, &ids).await?;
    let shown = found.iter().map(|view| Audit::by(admin, "driver.read", driver_object(view.id)));
    identity::audit_in_tx(&mut tx, &shown.collect::<Vec<_>>()).await?;
    tx.commit().await?;
    Ok(found)
}

/// Writes a decision down, and who decided; false when there is no such driver.
pub(crate) async fn decide(
    db: &Db,
    admin: &Caller,
    driver: DriverId,
    status: DriverStatus,
    reason: Option<&str>,
    now: Millis,
) -> Result<bool, Fault> {
    let mut tx = db.begin(&Who::Caller(*admin)).await?;
    let done = sqlx::query(
        "UPDATE drivers SET status = $2, status_reason = $3, decided_at = $4, decided_by = $5
         WHERE id = $1",
    )
    .bind(driver.0)
    .bind(status.name())
    .bind(reason)
    .bind(at(now))
    .bind(admin.user.0)
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    let details = json!({ "status": status.name(), "reason": reason });
    let record = Audit::by(admin, "driver.decide", driver_object(driver)).with(details);
    identity::audit_in_tx(&mut tx, &[record]).await?;
    tx.commit().await?;
    Ok(true)
}

fn driver_object(driver: DriverId) -> AuditObject {
    AuditObject::new("driver", driver)
}

/// Documents of approved drivers that run out after `from` and not after `to`, soonest first.
pub(crate) async fn expiring(db: &Db, from: Millis, to: Millis) -> Result<Vec<Expiring>, Fault> {
    let mut tx = db.begin(&Who::System).await?;
    let rows: Vec<(Uuid, String, jiff_sqlx::Timestamp)> = sqlx::query_as(
        "SELECT f.driver_id, f.kind, f.expires_at FROM driver_documents f
         JOIN drivers d ON d.id = f.driver_id AND d.status = 'approved'
         WHERE f.expires_at > $1 AND f.expires_at <= $2
         ORDER BY f.expires_at, f.driver_id, f.kind",
    )
    .bind(at(from))
    .bind(at(to))
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    let expiring = |(driver, kind, at)| Expiring { driver: DriverId(driver), kind, at: millis(at) };
    Ok(rows.into_iter().map(expiring).collect())
}

#[derive(FromRow)]
struct ViewRow {
    id: Uuid,
    name: String,
    status: String,
    status_reason: Option<String>,
    city_id: i16,
    created_at: jiff_sqlx::Timestamp,
    decided_at: Option<jiff_sqlx::Timestamp>,
    tier: Option<String>,
    make: Option<String>,
    model: Option<String>,
    plate: Option<String>,
    color: Option<String>,
    year: Option<i16>,
    kinds: Vec<String>,
    numbers: Vec<String>,
    until: Vec<jiff_sqlx::Timestamp>,
}

async fn views(tx: &mut Tx, ids: &[Uuid]) -> Result<Vec<DriverView>, Fault> {
    let rows: Vec<ViewRow> = sqlx::query_as(
        "SELECT d.id, u.name, d.status, d.status_reason, d.city_id, d.created_at, d.decided_at,
                v.tier, v.make, v.model, v.plate, v.color, v.year,
                coalesce(f.kinds, '{}') AS kinds, coalesce(f.numbers, '{}') AS numbers,
                coalesce(f.until, '{}') AS until
         FROM drivers d
         JOIN users u ON u.id = d.id
         LEFT JOIN vehicles v ON v.driver_id = d.id
         LEFT JOIN LATERAL (
           SELECT array_agg(kind ORDER BY kind) AS kinds,
                  array_agg(number ORDER BY kind) AS numbers,
                  array_agg(expires_at ORDER BY kind) AS until
           FROM driver_documents WHERE driver_id = d.id
         ) f ON true
         WHERE d.id = ANY($1)
         ORDER BY d.created_at, d.id",
    )
    .bind(ids)
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    rows.into_iter().map(ViewRow::view).collect()
}

impl ViewRow {
    fn view(self) -> Result<DriverView, Fault> {
        let documents = self.kinds.into_iter().zip(self.numbers).zip(self.until);
        let vehicle = match (self.tier, self.make, self.model, self.plate, self.color, self.year) {
            (Some(tier), Some(make), Some(model), Some(plate), Some(color), Some(year)) => {
                let tier = tier_of(&tier)?;
                Some(VehicleBody { tier, make, model, plate, color, year })
            }
            _ => None,
        };
        Ok(DriverView {
            id: DriverId(self.id),
            name: self.name,
            status: status_of(&self.status)?,
            status_reason: self.status_reason,
            city_id: CityId(self.city_id),
            vehicle,
            documents: documents
                .map(|((kind, number), until)| DocumentView {
                    kind,
                    number,
                    expires_at: millis(until),
                })
                .collect(),
            created_at: millis(self.created_at),
            decided_at: self.decided_at.map(millis),
        })
    }
}
