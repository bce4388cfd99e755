//! The desk where news is handed in and carried out, one step at a time.
//!
//! A run takes every step that is due and says when the next one is. It may be repeated, cut off
//! anywhere, and run twice at once: each way is claimed in the database before it is taken. What
//! calls nobody outside is done in the one transaction that also ends the run, so a notice on a
//! socket costs one commit; cut off before that, it is told again under the same id.

use std::sync::Arc;

use base::{Caller, Clock, Cursor, Dice, Fault, Millis, NotificationId, Problem, limits};
use futures_util::future::join_all;
use jiff::tz::TimeZone;
use metrics::counter;
use ops::Breakers;
use rooms::{Delivery as Heard, Rooms};
use storage::{Db, Tx};
use tracing::{error, info};
use uuid::Uuid;

use crate::client::Verdict;
use crate::courier::{Couriers, Providers};
use crate::job::first_job;
use crate::model::{
    Channel, Delivery, DeliveryState, Device, Message, Notification, Preferences, Progress,
};
use crate::plan::{
    ACKNOWLEDGED_WITHIN, Attempt, LOST_AFTER, Next, Person, Settled, next, plan, settle,
};
use crate::push::{Loudness, Push};
use crate::speech::{Speech, for_sms};
use crate::store::{
    Case, Claimed, Stands, Store, Told, add_in_tx, case_in_tx, claim_in_tx, close_in_tx,
    deliveries_in_tx, settle_in_tx,
};
use crate::texts::{Text, text};
use crate::wire::{
    DeliveryView, DeviceBody, DeviceView, NoticeView, NotificationView, NotificationsPage,
    PreferencesView, notice_frame,
};

/// Steps of one run at most; a notification has fewer ways than that.
const STEPS: usize = 16;

/// Tells people things. Cheap to clone.
#[derive(Clone)]
pub struct Notify(Arc<Desk>);

struct Desk {
    store: Store,
    clock: Clock,
    dice: Dice,
    rooms: Rooms,
    couriers: Couriers,
    /// Tells this run of the program from others: numbers on sockets are its own.
    node: u64,
}

/// What the carrier reports about an SMS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmsReport {
    /// The body, decoded.
    pub form: Vec<(String, String)>,
    /// Header `X-Twilio-Signature`.
    pub signature: String,
}

impl Notify {
    pub fn new(
        db: Db,
        clock: Clock,
        dice: Dice,
        rooms: Rooms,
        breakers: &Breakers,
        providers: &Providers,
    ) -> Result<Self, Fault> {
        let couriers = Couriers::new(providers, breakers, &clock)?;
        let node = dice.next_u64();
        Ok(Self(Arc::new(Desk { store: Store { db }, clock, dice, rooms, couriers, node })))
    }

    /// Stores what is to be told, in the caller's transaction: told if and only if that commits.
    /// `None` when it was told before.
    pub async fn tell_in_tx(
        &self,
        tx: &mut Tx,
        message: &Message,
    ) -> Result<Option<NotificationId>, Fault> {
        let told = add_in_tx(tx, message, self.0.clock.now()).await?;
        if let Some(id) = told {
            let job = first_job(id, message.news.kind())?;
            events::add_in_tx(tx, &[job]).await?;
        }
        Ok(told)
    }

    /// Is there any way to a phone that has no socket open?
    pub fn can_push(&self) -> bool {
        self.0.couriers.open().push
    }

    /// Takes every step that is due. Says when the next one is, `None` when it was the last, and
    /// hands out the transaction of the last steps: they are taken once it commits.
    pub(crate) async fn deliver(&self, id: NotificationId) -> Result<(Tx, Option<Millis>), Fault> {
        let desk = &self.0;
        let mut tx = desk.store.begin().await?;
        for _ in 0..STEPS {
            let Some(mut case) = case_in_tx(&mut tx, id).await? else { return Ok((tx, None)) };
            if case.told.notification.state != Progress::Pending {
                return Ok((tx, None));
            }
            let now = desk.clock.now();
            match desk.next_in_tx(&mut tx, &mut case, now).await? {
                Next::Wait(at) => return Ok((tx, Some(at))),
                Next::Act(channel) => {
                    // Nothing is locked while others are called.
                    tx.commit().await?;
                    desk.act(&case, channel, now).await?;
                    tx = desk.store.begin().await?;
                }
                Next::Over(state) => {
                    close_in_tx(&mut tx, id, state, now).await?;
                    let kind = case.told.notification.news.kind().name();
                    counter!("smartline_notifications_total", "kind" => kind,
                        "state" => state.name())
                    .increment(1);
                    return Ok((tx, None));
                }
            }
        }
        // Others act on it at the same time: whoever comes later sees what they did.
        Ok((tx, Some(desk.clock.now() + ACKNOWLEDGED_WITHIN)))
    }

    /// The caller's phone takes pushes from now on.
    pub async fn register(
        &self,
        caller: &Caller,
        device: &DeviceBody,
    ) -> Result<DeviceView, Fault> {
        self.0.store.device_register(caller, device, self.0.clock.now()).await
    }

    /// The caller's phone takes no more pushes.
    pub async fn unregister(&self, caller: &Caller, token: &str) -> Result<(), Fault> {
        self.0.store.device_remove(caller, token).await
    }

    pub async fn preferences(&self, caller: &Caller) -> Result<PreferencesView, Fault> {
        Ok(PreferencesView::of(&self.0.store.preferences(caller).await?))
    }

    /// Replaces all preferences.
    pub async fn save_preferences(
        &self,
        caller: &Caller,
        view: &PreferencesView,
    ) -> Result<PreferencesView, Problem> {
        let wishes: Preferences = view.parse()?;
        self.0.store.preferences_save(caller, &wishes, self.0.clock.now()).await?;
        Ok(PreferencesView::of(&wishes))
    }

    /// What the caller was told, newest first, and how far each came.
    pub async fn list(
        &self,
        caller: &Caller,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<NotificationsPage, Fault> {
        let limit = limit.clamp(1, limits::PAGE_MAX);
        // One more than asked for tells whether there is a next page.
        let mut rows = self.0.store.list(caller, after, i64::from(limit) + 1).await?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let now = self.0.clock.now();
        let notifications: Vec<NotificationView> =
            rows.iter().map(|(told, ways)| view(told, ways, now)).collect();
        let last = notifications.last().filter(|_| more);
        let next_cursor = last.map(|row| Cursor { at: row.created_at, id: row.id.0 }.to_string());
        Ok(NotificationsPage { notifications, next_cursor })
    }

    /// The carrier says what became of an SMS. Whoever can't sign like it is told that there is no
    /// such thing.
    pub async fn sms_report(&self, delivery: Uuid, report: &SmsReport) -> Result<(), Problem> {
        let desk = &self.0;
        if !desk.couriers.is_genuine(delivery, &report.form, &report.signature) {
            counter!("smartline_sms_reports_refused_total").increment(1);
            return Err(Problem::not_found());
        }
        let said = |name: &str| {
            let found = report.form.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
        };
        let state = match said("MessageStatus").as_deref() {
            Some("delivered" | "read") => DeliveryState::Delivered,
            Some("undelivered" | "failed" | "canceled") => DeliveryState::Failed,
            // On its way: that much is known now, also where our own answer got lost.
            Some(_) | None => DeliveryState::Accepted,
        };
        let (reference, code) = (said("MessageSid"), said("ErrorCode"));
        let end = Settled { state, reference, code, next_at: None };
        match desk.store.sms_ended(delivery, &end, desk.clock.now()).await? {
            true => Ok(()),
            false => Err(Problem::not_found()),
        }
    }
}

impl Desk {
    fn next(&self, case: &Case, now: Millis) -> Next {
        let told = &case.told.notification;
        let zone = zone(&case.told.zone);
        let person = Person {
            wishes: &case.wishes,
            devices: case.devices.iter().filter(|device| self.couriers.reaches(device)).count(),
            connected: self.rooms.connected(told.to),
            zone: &zone,
        };
        let plan = plan(told.news.kind(), &person, self.couriers.open(), now);
        next(&plan, &case.deliveries, told.until, now)
    }

    /// The next thing to do that is not the socket's: what is that one's is done here.
    async fn next_in_tx(&self, tx: &mut Tx, case: &mut Case, now: Millis) -> Result<Next, Fault> {
        loop {
            match self.next(case, now) {
                Next::Act(Channel::Socket) => self.socket_in_tx(tx, case, now).await?,
                next => return Ok(next),
            }
        }
    }

    async fn act(&self, case: &Case, channel: Channel, now: Millis) -> Result<(), Fault> {
        for lost in case.deliveries.iter().filter(|way| way.channel == channel) {
            if lost.state == DeliveryState::Sending && lost.changed_at + LOST_AFTER <= now {
                let verdict = Verdict::Lost { code: "LOST".to_owned() };
                let end = self.settled(case, channel, lost.attempts, &verdict, now);
                self.store.settle(Stands::of(lost), &end, now).await?;
            }
        }
        match channel {
            // Done already, in the transaction of the run.
            Channel::Socket => Ok(()),
            Channel::Push => self.pushes(case, now).await,
            Channel::Sms => {
                let sms = for_sms(&words(&case.told, now).body);
                let send = async |way: Claimed| self.couriers.sms(&case.phone, &sms, way.id).await;
                self.send(case, channel, None, now, send).await.map(drop)
            }
            Channel::Email => {
                let Some(to) = &case.wishes.email else { return Ok(()) };
                let letter = words(&case.told, now);
                let send = async |way: Claimed| self.couriers.email(to, &letter, way.id).await;
                self.send(case, channel, None, now, send).await.map(drop)
            }
        }
    }

    /// Puts a notice on the person's sockets, or sees whether one of them has it. `case` says
    /// afterwards how it stands.
    async fn socket_in_tx(&self, tx: &mut Tx, case: &mut Case, now: Millis) -> Result<(), Fault> {
        let (id, to) = (case.told.notification.id, case.told.notification.to);
        let begun = case.deliveries.iter().find(|way| way.channel == Channel::Socket);
        let (way, end) = if let Some(way) = begun {
            let heard = self.number(way).map(|seq| self.rooms.delivery(to, seq));
            let (state, code) = match heard {
                Some(Heard::Acknowledged) => (DeliveryState::Delivered, None),
                _ => (DeliveryState::Failed, Some("NOT_ACKNOWLEDGED".to_owned())),
            };
            (Stands::of(way), Settled { state, reference: None, code, next_at: None })
        } else {
            // Whoever is at it at the same time waits here for the other's commit.
            let Some(way) = claim_in_tx(tx, id, Channel::Socket, None, now).await? else {
                case.deliveries = deliveries_in_tx(tx, id).await?;
                return Ok(());
            };
            let reference = Some(format!("{:x}:{}", self.node, self.notice(case, now)));
            let next_at = Some(now + ACKNOWLEDGED_WITHIN);
            let end = Settled { state: DeliveryState::Waiting, reference, code: None, next_at };
            (Stands::claimed(way.id, now), end)
        };
        let settled = settle_in_tx(tx, way, &end, now).await?;
        case.deliveries.retain(|other| other.id != way.id);
        case.deliveries.extend(settled);
        Ok(())
    }

    /// Puts the notice on the person's sockets; its number there.
    fn notice(&self, case: &Case, now: Millis) -> u64 {
        let told = &case.told.notification;
        let Text { title, body } = words(&case.told, now);
        let kind = told.news.kind().name();
        let (about, expires_at) = (told.about, told.until);
        let notice = NoticeView { id: told.id, kind, title, body, about, expires_at };
        let room = format!("user:{}", told.to);
        self.rooms.tell_user(told.to, |epoch, seq| notice_frame(room, epoch, seq, &notice))
    }

    /// The number of a notice, when this run of the program gave it out.
    fn number(&self, way: &Delivery) -> Option<u64> {
        let (node, seq) = way.reference.as_deref()?.split_once(':')?;
        seq.parse().ok().filter(|_| node == format!("{:x}", self.node))
    }

    async fn pushes(&self, case: &Case, now: Millis) -> Result<(), Fault> {
        let text = words(&case.told, now);
        let reached = case.devices.iter().filter(|device| self.couriers.reaches(device));
        // All at once: a slow service holds up one device, not those after it.
        let sent = join_all(reached.map(|device| self.push(case, device, &text, now))).await;
        sent.into_iter().collect::<Result<(), Fault>>()?;
        self.give_up_gone(case, now).await
    }

    async fn push(
        &self,
        case: &Case,
        device: &Device,
        text: &Text,
        now: Millis,
    ) -> Result<(), Fault> {
        let told = &case.told.notification;
        let collapse = told.collapse();
        let send = async |way: Claimed| {
            let push = Push {
                token: &device.token,
                text,
                kind: told.news.kind(),
                notification: told.id,
                delivery: way.id,
                about: told.about,
                collapse: &collapse,
                until: told.until,
                loudness: Loudness::of(told.news.kind()),
            };
            self.couriers.push(device.service(), &push).await
        };
        let verdict = self.send(case, Channel::Push, Some(device), now, send).await?;
        if let Some(Verdict::Dead { since, .. }) = verdict {
            info!(device.id = %device.id, "a push token is dead, the device is forgotten");
            self.store.device_dead(device, since).await?;
        }
        Ok(())
    }

    /// Devices that left while a push to them waited are waited for no more.
    async fn give_up_gone(&self, case: &Case, now: Millis) -> Result<(), Fault> {
        let here = |way: &&Delivery| {
            let device = case.devices.iter().find(|device| Some(device.id) == way.device);
            device.is_some_and(|device| self.couriers.reaches(device))
        };
        let waiting = case
            .deliveries
            .iter()
            .filter(|way| way.channel == Channel::Push && way.state == DeliveryState::Waiting);
        for way in waiting.filter(|way| !here(way)) {
            let (state, code) = (DeliveryState::Failed, Some("DEVICE_GONE".to_owned()));
            let end = Settled { state, reference: None, code, next_at: None };
            self.store.settle(Stands::of(way), &end, now).await?;
        }
        Ok(())
    }

    /// Claims a way, takes it, and writes down what came of it. `None` when it isn't ours to take.
    async fn send(
        &self,
        case: &Case,
        channel: Channel,
        device: Option<&Device>,
        now: Millis,
        carry: impl AsyncFnOnce(Claimed) -> Verdict,
    ) -> Result<Option<Verdict>, Fault> {
        let told: &Notification = &case.told.notification;
        let claimed = self.store.claim(told.id, channel, device.map(|d| d.id), now).await?;
        let Some(way) = claimed else { return Ok(None) };
        let verdict = carry(way).await;
        if let Verdict::Alert { code } = &verdict {
            counter!("smartline_notify_alerts_total", "channel" => channel.name()).increment(1);
            error!(channel = channel.name(), code, "a provider refuses our credentials");
        }
        // The call took its time.
        let now = self.clock.now();
        let end = self.settled(case, channel, way.attempts, &verdict, now);
        counter!("smartline_notify_attempts_total", "channel" => channel.name(),
            "state" => end.state.name())
        .increment(1);
        self.store.settle(Stands::claimed(way.id, now), &end, now).await?;
        Ok(Some(verdict))
    }

    fn settled(
        &self,
        case: &Case,
        channel: Channel,
        attempts: i16,
        verdict: &Verdict,
        now: Millis,
    ) -> Settled {
        let told = &case.told.notification;
        let attempt = Attempt {
            kind: told.news.kind(),
            channel,
            attempts,
            created_at: told.created_at,
            until: told.until,
        };
        settle(&attempt, verdict, now, self.dice.unit())
    }
}

/// A zone nobody knows is read as UTC: a text with a wrong hour is better than none.
fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or(TimeZone::UTC)
}

fn words(told: &Told, now: Millis) -> Text {
    let zone = zone(&told.zone);
    let speech = Speech { language: told.language, zone: &zone };
    text(&told.notification.news, &told.faces, &speech, now)
}

fn view(told: &Told, ways: &[Delivery], now: Millis) -> NotificationView {
    let notification = &told.notification;
    let Text { title, body } = words(told, now);
    let way = |way: &Delivery| DeliveryView {
        channel: way.channel,
        status: way.state,
        attempts: way.attempts,
        code: way.code.clone(),
        at: way.changed_at,
    };
    NotificationView {
        id: notification.id,
        kind: notification.news.kind().name(),
        title,
        body,
        about: notification.about,
        status: notification.state,
        created_at: notification.created_at,
        deliveries: ways.iter().map(way).collect(),
    }
}
