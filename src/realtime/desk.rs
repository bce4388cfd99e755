//! Messages become calls of the flows: what each type means, and who may send it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use base::{Caller, Code, Problem, Role, TripId};
use fleet::{Fix, Seat};
use flows::{Advance, Answer, Flows, OnlineWish, Step, TripForm};
use ops::{Counted, Limit};
use rooms::codec::Position;
use rooms::{FollowError, Outlet, Topic};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use crate::answer::{self, ServerTime};
use crate::connection::Connection;
use crate::keyed::Deed;
use crate::live::Live;
use crate::message::Message;
use crate::nearby::Nearby;
use crate::session::{Desk, Taken};
use crate::wire::{
    AuthData, AuthView, BidAcceptData, LiveSubscribeData, LocationBatchData, LocationData,
    NearbySubscribeData, NoData, OfferRespondData, ResumeData, RoomView, StateView, StatusData,
    TripCancelData, TripRef, TripStatusData, TripStep, TripSubscribeData,
};

/// A command that takes longer is answered with a timeout.
const DEADLINE: Duration = Duration::from_secs(30);
/// A trip's numbers never start over.
const TRIP_EPOCH: u64 = 1;

/// Types of messages up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Location,
    LocationBatch,
    Status,
    OfferRespond,
    TripStatus,
    TripConfirm,
    TripSubscribe,
    TripUnsubscribe,
    TripRequest,
    TripCancel,
    BidAccept,
    NearbySubscribe,
    NearbyUnsubscribe,
    LiveSubscribe,
    LiveUnsubscribe,
    Auth,
    Ping,
    Resume,
}

impl Kind {
    pub(crate) const ALL: [Self; 18] = [
        Self::Location,
        Self::LocationBatch,
        Self::Status,
        Self::OfferRespond,
        Self::TripStatus,
        Self::TripConfirm,
        Self::TripSubscribe,
        Self::TripUnsubscribe,
        Self::TripRequest,
        Self::TripCancel,
        Self::BidAccept,
        Self::NearbySubscribe,
        Self::NearbyUnsubscribe,
        Self::LiveSubscribe,
        Self::LiveUnsubscribe,
        Self::Auth,
        Self::Ping,
        Self::Resume,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Location => "location",
            Self::LocationBatch => "location.batch",
            Self::Status => "status",
            Self::OfferRespond => "offer.respond",
            Self::TripStatus => "trip.status",
            Self::TripConfirm => "trip.confirm",
            Self::TripSubscribe => "trip.subscribe",
            Self::TripUnsubscribe => "trip.unsubscribe",
            Self::TripRequest => "trip.request",
            Self::TripCancel => "trip.cancel",
            Self::BidAccept => "bid.accept",
            Self::NearbySubscribe => "nearby.subscribe",
            Self::NearbyUnsubscribe => "nearby.unsubscribe",
            Self::LiveSubscribe => "live.subscribe",
            Self::LiveUnsubscribe => "live.unsubscribe",
            Self::Auth => "auth",
            Self::Ping => "ping",
            Self::Resume => "resume",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Who may send it. Whose trip it is, the flow decides.
    pub(crate) const fn roles(self) -> &'static [Role] {
        match self {
            Self::Location
            | Self::LocationBatch
            | Self::Status
            | Self::OfferRespond
            | Self::TripStatus
            | Self::TripConfirm => &[Role::Driver],
            Self::TripRequest | Self::BidAccept => &[Role::Rider],
            Self::NearbySubscribe | Self::NearbyUnsubscribe => &[Role::Rider, Role::Admin],
            Self::LiveSubscribe | Self::LiveUnsubscribe => &[Role::Admin],
            Self::TripSubscribe
            | Self::TripUnsubscribe
            | Self::TripCancel
            | Self::Auth
            | Self::Ping
            | Self::Resume => &[Role::Rider, Role::Driver, Role::Admin],
        }
    }
}

/// Types of the protocol that this server doesn't serve (yet): asking is no offence.
const UNSERVED: [&str; 1] = ["chat"];

pub(crate) struct FlowsDesk {
    flows: Flows,
    nearby: Arc<Nearby>,
    live: Arc<Live>,
}

/// One message and its sender.
pub(crate) struct Asked<'a> {
    pub(crate) socket: &'a Arc<Connection>,
    pub(crate) message: &'a Message<'a>,
    pub(crate) flows: &'a Flows,
}

impl FlowsDesk {
    pub(crate) const fn new(flows: Flows, nearby: Arc<Nearby>, live: Arc<Live>) -> Self {
        Self { flows, nearby, live }
    }
}

impl Desk for FlowsDesk {
    fn heard(&self, socket: &Connection) {
        if let Ok(seat) = self.seat(socket) {
            self.flows.fleet.heard(seat);
        }
    }

    fn position(&self, socket: &Connection, position: &Position) -> Result<(), Problem> {
        self.flows.report_position(self.seat(socket)?, &fix(position))
    }

    fn message(&self, socket: &Arc<Connection>, message: &Message<'_>) -> Taken {
        let Some(kind) = Kind::parse(&message.kind) else {
            let unknown = Problem::new(Code::UnknownType, "this type of message is not known here");
            return match UNSERVED.contains(&&*message.kind) {
                true => Taken::Refused(unknown),
                false => Taken::Malformed(unknown),
            };
        };
        if !kind.roles().contains(&socket.role()) {
            return Taken::Refused(forbidden());
        }
        let asked = Asked { socket, message, flows: &self.flows };
        self.take(kind, &asked).unwrap_or_else(Taken::Malformed)
    }
}

impl FlowsDesk {
    fn seat<'a>(&self, socket: &'a Connection) -> Result<&'a Seat, Problem> {
        if socket.role() != Role::Driver {
            return Err(forbidden());
        }
        socket.seat(|| self.flows.seat(socket.user().as_driver()))
    }

    /// An error here means that the message itself is wrong.
    fn take(&self, kind: Kind, asked: &Asked<'_>) -> Result<Taken, Problem> {
        match kind {
            Kind::Location => self.location(asked),
            Kind::LocationBatch => self.location_batch(asked),
            Kind::Status => self.status(asked),
            Kind::OfferRespond => self.offer_respond(asked),
            Kind::TripStatus => self.trip_status(asked),
            Kind::TripConfirm => self.trip_confirm(asked),
            Kind::TripSubscribe => {
                let data: TripSubscribeData = asked.message.data()?;
                Ok(self.follow(asked, data.trip_id, data.after_seq))
            }
            Kind::TripUnsubscribe => {
                let data: TripRef = asked.message.data()?;
                let (rooms, socket) = (self.flows.rooms.clone(), asked.socket.id());
                Ok(asked.in_turn(move || rooms.leave(Topic::Trip(data.trip_id), socket)))
            }
            Kind::TripRequest => self.trip_request(asked),
            Kind::TripCancel => self.trip_cancel(asked),
            Kind::BidAccept => self.bid_accept(asked),
            Kind::NearbySubscribe => self.nearby_subscribe(asked),
            Kind::NearbyUnsubscribe => {
                let NoData {} = asked.message.data()?;
                let (rooms, socket) = (self.flows.rooms.clone(), Arc::clone(asked.socket));
                Ok(asked.in_turn(move || {
                    rooms.leave_cells(socket.id());
                    socket.forget_cells();
                }))
            }
            Kind::LiveSubscribe => self.live_subscribe(asked),
            Kind::LiveUnsubscribe => {
                let NoData {} = asked.message.data()?;
                let (rooms, socket) = (self.flows.rooms.clone(), asked.socket.id());
                let live = Arc::clone(&self.live);
                Ok(asked.in_turn(move || live.leave(&rooms, socket)))
            }
            Kind::Auth => self.auth(asked),
            Kind::Ping => {
                let now = ServerTime::now(&self.flows.clock);
                asked.socket.reply(answer::push("pong", &now));
                Ok(asked.done(now))
            }
            Kind::Resume => self.resume(asked),
        }
    }

    fn location(&self, asked: &Asked<'_>) -> Result<Taken, Problem> {
        let position = Position::try_from(asked.message.data::<LocationData>()?)?;
        let seat = self.seat(asked.socket);
        Ok(match seat.and_then(|seat| self.flows.report_position(seat, &fix(&position))) {
            Ok(()) if asked.message.id.is_none() => Taken::Done,
            Ok(()) => asked.done(ServerTime::now(&self.flows.clock)),
            Err(problem) => Taken::Refused(problem),
        })
    }

    fn location_batch(&self, asked: &Asked<'_>) -> Result<Taken, Problem> {
        let positions = asked.message.data::<LocationBatchData>()?.positions()?;
        let fixes: Vec<Fix> = positions.iter().map(fix).collect();
        Ok(match self.seat(asked.socket) {
            Ok(seat) => asked.done(self.flows.report_batch(seat, &fixes)),
            Err(problem) => Taken::Refused(problem),
        })
    }

    fn status(&self, asked: &Asked<'_>) -> Result<Taken, Problem> {
        let data: StatusData = asked.message.data()?;
        let timestamp = self.flows.clock.now();
        let at = data.at()?.map(|at| Fix {
            at,
            heading: None,
            speed_kmh: None,
            accuracy_m: None,
            timestamp,
        });
        let wish = if data.is_online { OnlineWish::Online } else { OnlineWish::Offline };
        let (flows, driver) = (self.flows.clone(), asked.socket.user().as_driver());
        Ok(asked.later(async move {
            let state = flows.set_online(driver, wish, at).await?;
            Ok(StateView { state })
        }))
    }

    fn offer_respond(&self, asked: &Asked<'_>) -> Result<Taken, Problem> {
        let data: OfferRespondData = asked.message.data()?;
        let answer = Answer::of(data.action, data.price)?;
        let (flows, driver) = (self.flows.clone(), asked.socket.user().as_driver());
        let deed = Deed::to_trip(data.trip_id, "driver-response");
        asked.later_once(deed, Some(Limit::DriverResponse), move |once| async move {
            flows.answer_offer(driver, data.trip_id, answer, once).await
        })
    }

    fn trip_status(&self, asked: &Asked<'_>) -> Result<Taken, Problem> {
        let data: TripStatusData = asked.message.data()?;
        let step = match data.status {
            TripStep::Arrived => Step::Arrived,
            TripStep::Started => Step::Started,
            TripStep::Completed => Step::Completed,
        };
        let (flows, caller) = (self.flows.clone(), asked.socket.caller());
        let deed = Deed::to_trip(data.trip_id, "status");
        asked.later_once(deed, Some(Limit::TripStatus), move |once| async move {
            let advance = Advance { step, pin: data.pin, cash: data.cash_collected };
            let driver = caller.user.as_driver();
            let trip = flows.advance_trip(driver, data.trip_id, advance, once).await?;
            Ok(flows.view(&caller, &trip))
        })
    }

    fn trip_confirm(&self, asked: &Asked<'_>) -> Result<Taken, Problem> {
        let data: TripRef = asked.message.data()?;
        let (flows, caller) = (self.flows.clone(), asked.socket.caller());
        let deed = Deed::to_trip(data.trip_id, "confirm");
        asked.later_once(deed, Some(Limit::TripStatus), move |once| async move {
            let trip = flows.confirm_trip(caller.user.as_driver(), data.trip_id, once).await?;
            Ok(flows.view(&caller, &trip))
        })
    }

    fn trip_request(&self, asked: &Asked<'_>) -> Result<Taken, Problem> {
        let request = asked.message.data::<TripForm>()?.request()?;
        let (flows, caller) = (self.flows.clone(), asked.socket.caller());
        let deed = Deed::creates("/trips/request");
        asked.later_once(deed, Some(Limit::TripRequest), move |once| async move {
            flows.request_trip(&caller, request, once).await
        })
    }

    fn trip_cancel(&self, asked: &Asked<'_>) -> Result<Taken, Problem> {
        let data: TripCancelData = asked.message.data()?;
        let (flows, caller) = (self.flows.clone(), asked.socket.caller());
        asked.later_once(Deed::to_trip(data.trip_id, "cancel"), None, move |once| async move {
            let trip = flows.cancel_trip(&caller, data.trip_id, data.reason, once).await?;
            Ok(flows.view(&caller, &trip))
        })
    }

    fn bid_accept(&self, asked: &Asked<'_>) -> Result<Taken, Problem> {
        let data: BidAcceptData = asked.message.data()?;
        let (flows, caller) = (self.flows.clone(), asked.socket.caller());
        let deed = Deed::to_trip(data.trip_id, &format!("offers/{}/accept", data.offer_id));
        asked.later_once(deed, Some(Limit::BidPick), move |once| async move {
            let BidAcceptData { trip_id, offer_id, price } = data;
            let trip = flows.pick_bid(&caller, trip_id, offer_id, price, once).await?;
            Ok(flows.view(&caller, &trip))
        })
    }

    fn nearby_subscribe(&self, asked: &Asked<'_>) -> Result<Taken, Problem> {
        let map = asked.message.data::<NearbySubscribeData>()?.asked()?;
        let (flows, nearby) = (self.flows.clone(), Arc::clone(&self.nearby));
        let socket = Arc::clone(asked.socket);
        Ok(asked.watch(asked.admitted(Limit::Nearby), move |outlet, id| {
            socket.forget_cells();
            let acknowledge = |view| answer::ack(id, view);
            nearby.join(&flows.rooms, &flows.fleet, outlet, &map, acknowledge)
        }))
    }

    fn live_subscribe(&self, asked: &Asked<'_>) -> Result<Taken, Problem> {
        let data: LiveSubscribeData = asked.message.data()?;
        let city = match self.flows.watched_city(data.city) {
            Ok(city) => city.id,
            Err(problem) => return Ok(Taken::Refused(problem)),
        };
        let (flows, live) = (self.flows.clone(), Arc::clone(&self.live));
        let (noting, caller) = (self.flows.clone(), asked.socket.caller());
        let noted = async move { noting.note_watch(&caller, city).await };
        Ok(asked.watch(noted, move |outlet, id| {
            live.join(&flows.rooms, &flows, outlet, city, |view| answer::ack(id, view))
        }))
    }

    fn auth(&self, asked: &Asked<'_>) -> Result<Taken, Problem> {
        let data: AuthData = asked.message.data()?;
        let socket = asked.socket;
        let fresh = match self.flows.identity.verify(&data.token) {
            Ok(fresh) => fresh,
            Err(problem) => return Ok(Taken::Refused(problem)),
        };
        if fresh.user != socket.user() || fresh.role != socket.role() {
            return Ok(Taken::Refused(forbidden()));
        }
        socket.renew(fresh);
        Ok(asked.done(AuthView { expires_at: fresh.expires }))
    }

    fn resume(&self, asked: &Asked<'_>) -> Result<Taken, Problem> {
        let data: ResumeData = asked.message.data()?;
        let wrong = || Problem::field("room", "invalid", "trip:<id> or your own user:<id>");
        let topic = Topic::parse(&data.room).ok_or_else(wrong)?;
        match topic {
            Topic::Trip(trip) => {
                // Numbers of another epoch say nothing: a snapshot answers.
                let known = data.epoch.is_none_or(|epoch| epoch == TRIP_EPOCH);
                Ok(self.follow(asked, trip, data.after_seq.filter(|_| known)))
            }
            Topic::User(user) if user == asked.socket.user() => {
                asked.socket.take_hold();
                let mark = data.epoch.zip(data.after_seq);
                let followed = self.flows.rooms.resume(&asked.outlet(), mark);
                let followed = followed.ok_or_else(wrong)?;
                let room = data.room;
                Ok(asked.done(RoomView { room, epoch: followed.epoch, seq: followed.seq }))
            }
            Topic::User(_) | Topic::Cell(..) | Topic::Live(_) => {
                Ok(Taken::Refused(Problem::not_found()))
            }
        }
    }

    fn follow(&self, asked: &Asked<'_>, trip: TripId, after: Option<u64>) -> Taken {
        let (flows, outlet, caller) = (self.flows.clone(), asked.outlet(), asked.socket.caller());
        asked.later(async move { follow(&flows, &outlet, caller, trip, after).await })
    }
}

async fn follow(
    flows: &Flows,
    outlet: &Arc<dyn Outlet>,
    caller: Caller,
    trip: TripId,
    after: Option<u64>,
) -> Result<RoomView, Problem> {
    let topic = Topic::Trip(trip);
    let newest = flows.follow_trip(&caller, trip).await?.version;
    // A number that was never given out is a mistake or of another life: start over.
    let after = after.filter(|seq| i64::try_from(*seq).is_ok_and(|seq| seq <= newest.into()));
    let followed = flows.rooms.follow(topic, after, outlet, &flows.replay(caller)).await?;
    // Meanwhile a driver may have lost the trip, or it ended: the room's list was cleaned too soon.
    match flows.followed(&caller, trip).await {
        Err(problem) => {
            flows.rooms.leave(topic, outlet.id());
            return Err(problem);
        }
        Ok(trip) if trip.is_over() => {
            flows.rooms.end(topic, u64::try_from(trip.version).unwrap_or(0));
        }
        Ok(_) => {}
    }
    Ok(RoomView { room: topic.to_string(), epoch: TRIP_EPOCH, seq: followed.seq })
}

impl Asked<'_> {
    fn outlet(&self) -> Arc<dyn Outlet> {
        Arc::clone(self.socket) as _
    }

    /// Takes from the same bucket as the route of the same meaning.
    pub(crate) fn admitted(
        &self,
        limit: Limit,
    ) -> impl Future<Output = Result<(), Problem>> + Send + use<> {
        let (limiter, user) = (self.flows.limiter.clone(), self.socket.user());
        async move { limiter.admit(limit, Counted::User(user)).await }
    }

    /// Acknowledges at once.
    fn done<T: Serialize>(&self, data: T) -> Taken {
        if let Some(ack) = answer::ack(self.message.id, data) {
            self.socket.reply(ack);
        }
        Taken::Done
    }

    /// Acknowledges or refuses when `work` is through.
    pub(crate) fn later<T: Serialize>(
        &self,
        work: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Taken {
        let (socket, id) = (Arc::clone(self.socket), self.message.id.map(RawValue::to_owned));
        self.away(async move {
            let result = tokio::time::timeout(DEADLINE, work).await.unwrap_or_else(|_| {
                Err(Problem::new(Code::Timeout, "this took too long; ask how it stands"))
            });
            match result {
                Ok(data) => {
                    if let Some(ack) = answer::ack(id.as_deref(), data) {
                        socket.reply(ack);
                    }
                }
                Err(problem) => socket.reply(answer::refusal(id.as_deref(), &problem)),
            }
        })
    }

    /// Joins a picture once `first` is done; `join` acknowledges by itself, so that it comes before
    /// the picture.
    fn watch(
        &self,
        first: impl Future<Output = Result<(), Problem>> + Send + 'static,
        join: impl FnOnce(&Arc<dyn Outlet>, Option<&RawValue>) -> Result<(), FollowError>
        + Send
        + 'static,
    ) -> Taken {
        let (socket, outlet) = (Arc::clone(self.socket), self.outlet());
        let id = self.message.id.map(RawValue::to_owned);
        self.away(async move {
            let joined = match first.await {
                Ok(()) => join(&outlet, id.as_deref()).map_err(Problem::from),
                Err(problem) => Err(problem),
            };
            if let Err(problem) = joined {
                socket.reply(answer::refusal(id.as_deref(), &problem));
            }
        })
    }

    /// Done when the commands before it are: one that follows must not be overtaken by leaving.
    fn in_turn(&self, act: impl FnOnce() + Send + 'static) -> Taken {
        self.later(async move {
            act();
            Ok(NoView {})
        })
    }

    /// Work that takes a while is the house's: the thread here belongs to many sockets.
    fn away(&self, work: impl Future<Output = ()> + Send + 'static) -> Taken {
        let (done, over) = oneshot::channel();
        let (tasks, rooms) = (self.flows.tasks.clone(), self.flows.rooms.clone());
        let socket = self.socket.id();
        Taken::Later(Box::pin(async move {
            tasks.spawn("command", async move {
                work.await;
                // Nobody waits any more: the socket left its rooms, and must not be in new ones.
                if done.send(()).is_err() {
                    rooms.gone(socket);
                }
            });
            // An error means that it broke off, which is logged where it happened.
            over.await.ok();
        }))
    }
}

/// An empty object: there is nothing to say but that it is done.
#[derive(Serialize)]
struct NoView {}

fn forbidden() -> Problem {
    Problem::new(Code::Forbidden, "your role may not do this")
}

fn fix(position: &Position) -> Fix {
    let Position { at, heading, speed_kmh, accuracy_m, timestamp } = *position;
    Fix { at, heading, speed_kmh, accuracy_m, timestamp }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_by_their_names_and_know_their_roles() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.name()), Some(kind));
            assert!(!UNSERVED.contains(&kind.name()));
        }
        assert_eq!(Kind::parse("bid"), None);
        let check = |kind: Kind, rider: bool, driver: bool, admin: bool| {
            let may = |role| kind.roles().contains(&role);
            let found = (may(Role::Rider), may(Role::Driver), may(Role::Admin));
            assert_eq!(found, (rider, driver, admin), "{kind:?}");
        };
        check(Kind::Location, false, true, false);
        check(Kind::OfferRespond, false, true, false);
        check(Kind::TripRequest, true, false, false);
        check(Kind::BidAccept, true, false, false);
        check(Kind::NearbySubscribe, true, false, true);
        check(Kind::LiveSubscribe, false, false, true);
        check(Kind::TripSubscribe, true, true, true);
    }
}
