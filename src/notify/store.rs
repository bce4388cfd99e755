//! All SQL of notifications.

mod rows;

use std::collections::HashMap;

use base::{Caller, Cursor, DeviceId, Fault, Millis, NotificationId};
use storage::{Db, Tx, Who, at, fault};
use uuid::Uuid;

use self::rows::{DeliveryRow, DeviceRow, ToldRow, WishesRow};
use crate::model::{
    Channel, Delivery, DeliveryState, Device, Language, Message, Notification, Preferences,
    Progress,
};
use crate::plan::{Settled, rule};
use crate::texts::Faces;
use crate::wire::{DeviceBody, DeviceView};

/// Language of a phone that says nothing else.
const LOCALE: &str = "ar-EG";

/// A notification with everything that its text needs.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub notification: Notification,
    pub language: Language,
    /// Name of the time zone of the person's city.
    pub zone: String,
    pub faces: Faces,
}

/// A notification with everything that its delivery needs.
pub(crate) struct Case {
    pub told: Told,
    pub phone: String,
    pub wishes: Preferences,
    pub devices: Vec<Device>,
    pub deliveries: Vec<Delivery>,
}

/// A way that is this run's to take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claimed {
    pub id: Uuid,
    pub attempts: i16,
}

/// Stores what is to be told. `None` when it was told before.
pub(crate) async fn add_in_tx(
    tx: &mut Tx,
    message: &Message,
    now: Millis,
) -> Result<Option<NotificationId>, Fault> {
    let id = NotificationId::new();
    let kind = message.news.kind();
    let own = now + rule(kind).ttl;
    let until = message.until.map_or(own, |until| until.min(own));
    let facts = serde_json::to_value(&message.news)
        .map_err(|error| Fault::internal(format!("news can't be written: {error}")))?;
    let sql = "INSERT INTO notifications
                 (id, user_id, kind, facts, about, once, created_at, expires_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
               ON CONFLICT ON CONSTRAINT told_once DO NOTHING";
    let done = sqlx::query(sql)
        .bind(id.0)
        .bind(message.to.0)
        .bind(kind.name())
        .bind(facts)
        .bind(message.about)
        .bind(&message.once)
        .bind(at(now))
        .bind(at(until))
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    Ok((done.rows_affected() == 1).then_some(id))
}

/// Everything about one notification; `None` when it, or its person, is gone.
pub(crate) async fn case_in_tx(tx: &mut Tx, id: NotificationId) -> Result<Option<Case>, Fault> {
    let Some(row) = told(tx, &[id.0]).await?.pop() else { return Ok(None) };
    let devices: Vec<DeviceRow> = sqlx::query_as(
        "SELECT id, platform, token, registered_at FROM devices WHERE user_id = $1
         ORDER BY registered_at DESC, id DESC",
    )
    .bind(row.user_id)
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    let deliveries = deliveries_in_tx(tx, id).await?;
    let (phone, wishes) = (row.phone.clone(), row.wishes()?);
    Ok(Some(Case {
        told: row.told()?,
        phone,
        wishes,
        devices: devices.into_iter().map(DeviceRow::device).collect::<Result<_, _>>()?,
        deliveries,
    }))
}

/// Takes a way for this run. `None` when another run has it, or it is not due.
pub(crate) async fn claim_in_tx(
    tx: &mut Tx,
    notification: NotificationId,
    channel: Channel,
    device: Option<DeviceId>,
    now: Millis,
) -> Result<Option<Claimed>, Fault> {
    let row: Option<(Uuid, i16)> = sqlx::query_as(
        "INSERT INTO notification_deliveries AS d
           (id, notification_id, channel, device_id, state, changed_at)
         VALUES ($1, $2, $3, $4, 'sending', $5)
         ON CONFLICT ON CONSTRAINT one_delivery_per_way DO UPDATE SET
           state = 'sending', attempts = d.attempts + 1, next_at = NULL, changed_at = $5
         WHERE d.state = 'waiting' AND d.next_at <= $5
         RETURNING d.id, d.attempts",
    )
    .bind(Uuid::now_v7())
    .bind(notification.0)
    .bind(channel.name())
    .bind(device.map(|device| device.0))
    .bind(at(now))
    .fetch_optional(tx.conn())
    .await
    .map_err(fault)?;
    Ok(row.map(|(id, attempts)| Claimed { id, attempts }))
}

/// A way as it was seen, which is to be settled only if it still stands so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stands {
    pub id: Uuid,
    pub state: DeliveryState,
    /// Not changed after this.
    pub since: Millis,
}

impl Stands {
    pub(crate) const fn of(way: &Delivery) -> Self {
        Self { id: way.id, state: way.state, since: way.changed_at }
    }

    /// A way that was claimed at `since`.
    pub(crate) const fn claimed(id: Uuid, since: Millis) -> Self {
        Self { id, state: DeliveryState::Sending, since }
    }
}

/// Writes down what became of a way. The way as it is then; `None` when it stood otherwise by now:
/// what others reported meanwhile stands.
pub(crate) async fn settle_in_tx(
    tx: &mut Tx,
    way: Stands,
    end: &Settled,
    now: Millis,
) -> Result<Option<Delivery>, Fault> {
    let row: Option<DeliveryRow> = sqlx::query_as(
        "UPDATE notification_deliveries SET state = $2, reference = coalesce($3, reference),
           code = $4, next_at = $5, changed_at = $6
         WHERE id = $1 AND state = $7 AND changed_at <= $8
         RETURNING id, notification_id, channel, device_id, state, attempts, reference, code,
           next_at, changed_at",
    )
    .bind(way.id)
    .bind(end.state.name())
    .bind(&end.reference)
    .bind(&end.code)
    .bind(end.next_at.map(at))
    .bind(at(now))
    .bind(way.state.name())
    .bind(at(way.since))
    .fetch_optional(tx.conn())
    .await
    .map_err(fault)?;
    row.map(DeliveryRow::delivery).transpose()
}

/// The ways that were begun.
pub(crate) async fn deliveries_in_tx(
    tx: &mut Tx,
    id: NotificationId,
) -> Result<Vec<Delivery>, Fault> {
    Ok(deliveries(tx, &[id.0]).await?.remove(&id).unwrap_or_default())
}

/// The notification has come as far as it will.
pub(crate) async fn close_in_tx(
    tx: &mut Tx,
    id: NotificationId,
    state: Progress,
    now: Millis,
) -> Result<(), Fault> {
    sqlx::query("UPDATE notifications SET state = $2, ended_at = $3 WHERE id = $1")
        .bind(id.0)
        .bind(state.name())
        .bind(at(now))
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    Ok(())
}

pub(crate) struct Store {
    pub db: Db,
}

impl Store {
    /// A transaction of the program's own.
    pub(crate) async fn begin(&self) -> Result<Tx, Fault> {
        self.db.begin(&Who::System).await
    }

    /// As [`claim_in_tx`], before a provider is called.
    pub(crate) async fn claim(
        &self,
        notification: NotificationId,
        channel: Channel,
        device: Option<DeviceId>,
        now: Millis,
    ) -> Result<Option<Claimed>, Fault> {
        let mut tx = self.begin().await?;
        let claimed = claim_in_tx(&mut tx, notification, channel, device, now).await?;
        tx.commit().await?;
        Ok(claimed)
    }

    /// As [`settle_in_tx`], after a provider was called.
    pub(crate) async fn settle(
        &self,
        way: Stands,
        end: &Settled,
        now: Millis,
    ) -> Result<(), Fault> {
        let mut tx = self.begin().await?;
        settle_in_tx(&mut tx, way, end, now).await?;
        tx.commit().await
    }

    /// What the carrier says became of an SMS, which may be all that is known of it. Says whether
    /// there is such a one.
    pub(crate) async fn sms_ended(
        &self,
        id: Uuid,
        end: &Settled,
        now: Millis,
    ) -> Result<bool, Fault> {
        let mut tx = self.db.begin(&Who::System).await?;
        // Reports overtake each other: delivered is the last word, and failed stays.
        let told: Option<Uuid> = sqlx::query_scalar(
            "UPDATE notification_deliveries SET
               state = CASE WHEN state IN ('delivered', 'failed') THEN state ELSE $2 END,
               code = CASE WHEN state IN ('delivered', 'failed') THEN code ELSE $3 END,
               next_at = NULL, reference = coalesce($4, reference), changed_at = $5
             WHERE id = $1 AND channel = 'sms' RETURNING notification_id",
        )
        .bind(id)
        .bind(end.state.name())
        .bind(&end.code)
        .bind(&end.reference)
        .bind(at(now))
        .fetch_optional(tx.conn())
        .await
        .map_err(fault)?;
        let Some(told) = told else { return Ok(false) };
        sqlx::query(
            "UPDATE notifications n SET state = CASE d.state
                 WHEN 'delivered' THEN 'delivered' WHEN 'failed' THEN 'failed' ELSE 'sent' END
             FROM notification_deliveries d
             WHERE n.id = $1 AND d.id = $2 AND n.state IN ('sent', 'unknown')",
        )
        .bind(told)
        .bind(id)
        .execute(tx.conn())
        .await
        .map_err(fault)?;
        tx.commit().await?;
        Ok(true)
    }

    pub(crate) async fn device_register(
        &self,
        caller: &Caller,
        device: &DeviceBody,
        now: Millis,
    ) -> Result<DeviceView, Fault> {
        let mut tx = self.db.begin(&Who::Caller(*caller)).await?;
        let locale = device.locale.as_deref().unwrap_or(LOCALE);
        let id: Uuid = sqlx::query_scalar("SELECT device_register($1, $2, $3, $4, $5)")
            .bind(DeviceId::new().0)
            .bind(device.platform.name())
            .bind(&device.token)
            .bind(locale)
            .bind(at(now))
            .fetch_one(tx.conn())
            .await
            .map_err(fault)?;
        tx.commit().await?;
        let (id, locale) = (DeviceId(id), locale.to_owned());
        Ok(DeviceView { id, platform: device.platform, locale, registered_at: now })
    }

    /// Forgets a phone of the caller's; one that isn't there is forgotten already.
    pub(crate) async fn device_remove(&self, caller: &Caller, token: &str) -> Result<(), Fault> {
        let mut tx = self.db.begin(&Who::Caller(*caller)).await?;
        sqlx::query("DELETE FROM devices WHERE token = $1")
            .bind(token)
            .execute(tx.conn())
            .await
            .map_err(fault)?;
        tx.commit().await
    }

    /// Forgets a token that its service no longer knows, unless it was registered again since.
    pub(crate) async fn device_dead(
        &self,
        device: &Device,
        since: Option<Millis>,
    ) -> Result<(), Fault> {
        let mut tx = self.db.begin(&Who::System).await?;
        let sql = "DELETE FROM devices WHERE id = $1 AND token = $2 AND registered_at <= $3";
        sqlx::query(sql)
            .bind(device.id.0)
            .bind(&device.token)
            .bind(at(since.unwrap_or(device.registered_at)))
            .execute(tx.conn())
            .await
            .map_err(fault)?;
        tx.commit().await
    }

    pub(crate) async fn preferences(&self, caller: &Caller) -> Result<Preferences, Fault> {
        let mut tx = self.db.begin(&Who::Caller(*caller)).await?;
        let row: Option<WishesRow> = sqlx::query_as(
            "SELECT language, email, quiet_from, quiet_to, muted FROM notification_preferences
             WHERE user_id = $1",
        )
        .bind(caller.user.0)
        .fetch_optional(tx.conn())
        .await
        .map_err(fault)?;
        row.map_or_else(|| Ok(Preferences::default()), WishesRow::wishes)
    }

    pub(crate) async fn preferences_save(
        &self,
        caller: &Caller,
        wishes: &Preferences,
        now: Millis,
    ) -> Result<(), Fault> {
        let mut tx = self.db.begin(&Who::Caller(*caller)).await?;
        let muted: Vec<String> =
            wishes.muted.iter().map(|(group, channel)| format!("{group}:{channel}")).collect();
        let minute = |minute: u16| i16::try_from(minute).unwrap_or_default();
        sqlx::query(
            "INSERT INTO notification_preferences
               (user_id, language, email, quiet_from, quiet_to, muted, changed_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (user_id) DO UPDATE SET language = excluded.language,
               email = excluded.email, quiet_from = excluded.quiet_from,
               quiet_to = excluded.quiet_to, muted = excluded.muted,
               changed_at = excluded.changed_at",
        )
        .bind(caller.user.0)
        .bind(wishes.language.map(Language::name))
        .bind(&wishes.email)
        .bind(wishes.quiet.map(|quiet| minute(quiet.from)))
        .bind(wishes.quiet.map(|quiet| minute(quiet.to)))
        .bind(muted)
        .bind(at(now))
        .execute(tx.conn())
        .await
        .map_err(fault)?;
        tx.commit().await
    }

    /// What the caller was told, newest first, at most `limit`.
    pub(crate) async fn list(
        &self,
        caller: &Caller,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<(Told, Vec<Delivery>)>, Fault> {
        let mut tx = self.db.begin(&Who::Caller(*caller)).await?;
        // The cursor carries milliseconds, so that is what it is compared with.
        let ids: Vec<Uuid> = sqlx::query_scalar(
            "SELECT id FROM notifications WHERE user_id = $1
               AND ($2::timestamptz IS NULL
                 OR (date_trunc('milliseconds', created_at), id) < ($2, $3))
             ORDER BY created_at DESC, id DESC LIMIT $4",
        )
        .bind(caller.user.0)
        .bind(after.map(|cursor| at(cursor.at)))
        .bind(after.map(|cursor| cursor.id))
        .bind(limit)
        .fetch_all(tx.conn())
        .await
        .map_err(fault)?;
        drop(tx);
        // The driver's name is in a row that the rider may not read; that he drove was told.
        let mut tx = self.db.begin(&Who::System).await?;
        let mut ways = deliveries(&mut tx, &ids).await?;
        let rows = told(&mut tx, &ids).await?;
        rows.into_iter()
            .map(|row| {
                let told = row.told()?;
                let ways = ways.remove(&told.notification.id).unwrap_or_default();
                Ok((told, ways))
            })
            .collect()
    }
}

/// Newest first. People who are gone are told nothing.
async fn told(tx: &mut Tx, ids: &[Uuid]) -> Result<Vec<ToldRow>, Fault> {
    sqlx::query_as(
        "SELECT n.id, n.user_id, n.facts, n.about, n.state, n.created_at, n.expires_at, u.phone,
                p.language, p.email, p.quiet_from, p.quiet_to, p.muted,
                (SELECT v.locale FROM devices v WHERE v.user_id = u.id
                 ORDER BY v.registered_at DESC, v.id DESC LIMIT 1) AS locale,
                c.time_zone, w.name AS driver, car.plate,
                concat_ws(' ', car.color, car.make, car.model) AS car
         FROM notifications n
         JOIN users u ON u.id = n.user_id AND u.deleted_at IS NULL
         LEFT JOIN notification_preferences p ON p.user_id = u.id
         LEFT JOIN trips t ON t.id = n.about
         LEFT JOIN users w ON w.id = t.driver_id
         LEFT JOIN vehicles car ON car.driver_id = t.driver_id
         LEFT JOIN drivers own ON own.id = u.id
         JOIN cities c ON c.id = coalesce(t.city_id, own.city_id,
           (SELECT r.city_id FROM trips r WHERE r.rider_id = u.id
            ORDER BY r.created_at DESC, r.id DESC LIMIT 1),
           (SELECT min(id) FROM cities))
         WHERE n.id = ANY($1)
         ORDER BY n.created_at DESC, n.id DESC",
    )
    .bind(ids)
    .fetch_all(tx.conn())
    .await
    .map_err(fault)
}

async fn deliveries(
    tx: &mut Tx,
    ids: &[Uuid],
) -> Result<HashMap<NotificationId, Vec<Delivery>>, Fault> {
    let rows: Vec<DeliveryRow> = sqlx::query_as(
        "SELECT id, notification_id, channel, device_id, state, attempts, reference, code,
                next_at, changed_at
         FROM notification_deliveries WHERE notification_id = ANY($1) ORDER BY id",
    )
    .bind(ids)
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    let mut found: HashMap<NotificationId, Vec<Delivery>> = HashMap::new();
    for row in rows {
        found.entry(NotificationId(row.notification_id)).or_default().push(row.delivery()?);
    }
    Ok(found)
}
