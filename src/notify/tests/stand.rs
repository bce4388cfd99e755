//! A desk with a database, stand-ins for every provider, and people.

use std::sync::Arc;
use std::time::Duration;

use base::{Caller, Clock, Dice, Millis, NotificationId, Role, SessionId, UserId};
use ops::Breakers;
use parking_lot::Mutex;
use rooms::{Format, Item, Lanes, Outlet, Pushed, Rooms};
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::Executor;
use storage::{Db, Who, testing};
use uuid::Uuid;

use super::standins::{APNS_KEY, FCM_KEY, Post, StandIn};
use crate::model::{Message, News};
use crate::wire::{DeviceBody, PreferencesView};
use crate::{ApnsConfig, FcmConfig, MailConfig, Notify, Platform, Providers, Sender, TwilioConfig};

/// Thursday noon in Cairo.
pub(super) const NOW: Millis = Millis(1_796_292_000_000);
pub(super) const MONA: UserId = UserId::from_u128(0x11);
pub(super) const OMAR: UserId = UserId::from_u128(0x12);
pub(super) const TRIP: Uuid = Uuid::from_u128(0x41);
pub(super) const HEX: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

pub(super) fn fcm_config(url: &str) -> FcmConfig {
    let account = json!({
        "project_id": "test-project",
        "private_key_id": "test-key",
        "private_key": FCM_KEY,
        "client_email": "push@test-project.iam.gserviceaccount.com",
        "token_uri": format!("{url}/token"),
    });
    FcmConfig { account: SecretString::from(account.to_string()), url: url.to_owned() }
}

pub(super) fn apns_config(url: &str) -> ApnsConfig {
    ApnsConfig {
        key: SecretString::from(APNS_KEY),
        key_id: "ABC123DEFG".to_owned(),
        team_id: "DEF123GHIJ".to_owned(),
        topic: "com.example.smartline".to_owned(),
        url: url.to_owned(),
    }
}

pub(super) fn twilio_config(url: &str) -> TwilioConfig {
    TwilioConfig {
        account_sid: "AC00".to_owned(),
        auth_token: SecretString::from("12345"),
        from: Sender::Number("+15550001111".to_owned()),
        url: url.to_owned(),
        public_url: Some("https://api.example.com".to_owned()),
    }
}

pub(super) struct Stand {
    pub db: Db,
    pub clock: Clock,
    pub rooms: Rooms,
    pub notify: Notify,
    pub fcm: StandIn,
    pub apns: StandIn,
    pub twilio: StandIn,
    pub post: Post,
}

impl Stand {
    /// Mona rides with Ali; Omar is another rider. Time stands still.
    pub(super) async fn new() -> Self {
        Self::at(Clock::manual(NOW)).await
    }

    pub(super) async fn at(clock: Clock) -> Self {
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let db = testing::database().await;
        testing::owner(&db).await.execute(include_str!("people.sql")).await.unwrap();
        let (fcm, apns) = (StandIn::fcm().await, StandIn::apns().await);
        let (twilio, post) = (StandIn::twilio().await, Post::start().await);
        let rooms = Rooms::new(&Dice::seeded(1));
        let url = SecretString::from(post.url.clone());
        let providers = Providers {
            fcm: Some(fcm_config(&fcm.url)),
            apns: Some(apns_config(&apns.url)),
            twilio: Some(twilio_config(&twilio.url)),
            mail: Some(MailConfig { url, from: "SmartLine <r@example.com>".to_owned() }),
        };
        let notify = desk(&db, &clock, &rooms, &providers);
        Self { db, clock, rooms, notify, fcm, apns, twilio, post }
    }

    /// The program after a restart: the same database and providers, no sockets.
    pub(super) fn restarted(&self) -> Notify {
        let providers = Providers { fcm: Some(fcm_config(&self.fcm.url)), ..Providers::default() };
        desk(&self.db, &self.clock, &Rooms::new(&Dice::seeded(2)), &providers)
    }

    pub(super) async fn tell(&self, to: UserId, news: News) -> NotificationId {
        let once = format!("test:{}", news.kind());
        let told = self.tell_once(to, news, &once).await;
        told.expect("it was not told before")
    }

    pub(super) async fn tell_once(
        &self,
        to: UserId,
        news: News,
        once: &str,
    ) -> Option<NotificationId> {
        let message = Message { to, news, about: Some(TRIP), once: once.to_owned(), until: None };
        let mut tx = self.db.begin(&Who::System).await.unwrap();
        let told = self.notify.tell_in_tx(&mut tx, &message).await.unwrap();
        tx.commit().await.unwrap();
        told
    }

    pub(super) async fn deliver(&self, id: NotificationId) -> Option<Millis> {
        deliver(&self.notify, id).await
    }

    /// Runs it whenever something is due, until nothing is any more.
    pub(super) async fn carry(&self, id: NotificationId) {
        while let Some(next) = self.deliver(id).await {
            self.clock.advance(next.after(self.clock.now()));
        }
    }

    pub(super) async fn phone(&self, user: UserId, platform: Platform, token: &str) {
        let locale = Some("en-GB".to_owned());
        let body = DeviceBody { platform, token: token.to_owned(), locale };
        self.notify.register(&caller(user), &body).await.unwrap();
    }

    pub(super) async fn wishes(&self, user: UserId, wishes: Value) {
        let view: PreferencesView = serde_json::from_value(wishes).unwrap();
        self.notify.save_preferences(&caller(user), &view).await.unwrap();
    }

    /// How far the person's newest came: `sent: socket failed NOT_ACKNOWLEDGED, push accepted`.
    pub(super) async fn came(&self, user: UserId) -> String {
        let page = self.notify.list(&caller(user), None, 1).await.unwrap();
        let row = &page.notifications[0];
        let way = |way: &crate::DeliveryView| {
            let code = way.code.as_deref().map(|code| format!(" {code}")).unwrap_or_default();
            format!("{} {}{code}", way.channel, way.status)
        };
        let ways: Vec<String> = row.deliveries.iter().map(way).collect();
        format!("{}: {}", row.status, ways.join(", "))
    }

    pub(super) async fn tokens(&self, user: UserId) -> Vec<String> {
        let sql = "SELECT token FROM devices WHERE user_id = $1 ORDER BY token";
        let mut owner = testing::owner(&self.db).await;
        sqlx::query_scalar(sql).bind(user.0).fetch_all(&mut owner).await.unwrap()
    }

    pub(super) fn socket(&self, user: UserId) -> Arc<Socket> {
        let socket = Arc::new(Socket(user, Mutex::default()));
        let outlet: Arc<dyn Outlet> = Arc::clone(&socket) as _;
        self.rooms.attach(&outlet);
        self.rooms.release(&outlet);
        socket
    }
}

fn desk(db: &Db, clock: &Clock, rooms: &Rooms, providers: &Providers) -> Notify {
    let breakers = Breakers::new(clock.clone());
    let dice = Dice::system();
    Notify::new(db.clone(), clock.clone(), dice, rooms.clone(), &breakers, providers).unwrap()
}

pub(super) fn caller(user: UserId) -> Caller {
    let expires = NOW + Duration::from_secs(900);
    Caller { user, role: Role::Rider, session: SessionId::from_u128(1), expires }
}

/// A socket that keeps what it is sent until the test reads it.
pub(super) struct Socket(UserId, Mutex<Lanes>);

impl Outlet for Socket {
    fn id(&self) -> u64 {
        7
    }

    fn user(&self) -> UserId {
        self.0
    }

    fn format(&self) -> Format {
        Format::Json
    }

    fn push(&self, item: Item) -> Pushed {
        self.1.lock().put(item, Format::Json)
    }

    fn turn(&self) {}
}

impl Socket {
    pub(super) fn read(&self) -> Vec<Value> {
        let mut lanes = self.1.lock();
        let bodies = std::iter::from_fn(|| lanes.take());
        bodies.map(|body| serde_json::from_slice(body.bytes()).unwrap()).collect()
    }
}

/// One run; when the next one is due.
pub(super) async fn deliver(notify: &Notify, id: NotificationId) -> Option<Millis> {
    let (tx, next) = notify.deliver(id).await.unwrap();
    tx.commit().await.unwrap();
    next
}
