//! The sockets of this node as `app` wires them.

use std::io;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use base::{Caller, Dice, Problem};
use flows::Flows;
use ops::{Counted, Crowd, Limit, Rate, Seat, Tasks, Verdict, client_address};
use rooms::Rooms;
use tokio::runtime::Handle;

use crate::cores::Cores;
use crate::desk::FlowsDesk;
use crate::hub::Hub;
use crate::limits::MessageRate;
use crate::live::{self, Live};
use crate::nearby::{self, Nearby};
use crate::session::Desk;

/// What a deployment chooses.
#[derive(Clone, Debug)]
pub struct Config {
    /// Pages of other hosts that may open sockets, as `https://host[:port]`; a page of this host
    /// may always.
    pub origins: Vec<String>,
    /// Off for load tests and demos.
    pub rate_limits: bool,
    /// Sockets that one address may hold while limits are on.
    pub sockets_per_address: usize,
    /// How many proxies in front are ours: that many entries of `X-Forwarded-For` are believed.
    pub trusted_proxies: usize,
    /// How many messages a socket may send while limits are on.
    pub rate: MessageRate,
    /// Threads on which sockets live; `None`: one for every two cores, the rest is the house's.
    pub threads: Option<NonZeroUsize>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            rate_limits: true,
            sockets_per_address: 1000,
            trusted_proxies: 0,
            rate: MessageRate::default(),
            threads: None,
        }
    }
}

struct Inner {
    flows: Flows,
    tasks: Tasks,
    hub: Arc<Hub>,
    desk: Arc<dyn Desk>,
    origins: Vec<String>,
    trusted_proxies: usize,
    crowd: Crowd,
    cores: Cores,
}

/// Every socket of this node. Cheap to clone.
#[derive(Clone)]
pub struct Realtime(Arc<Inner>);

impl Realtime {
    /// Starts the sockets' timer and the ticks of the maps.
    pub fn start(flows: Flows, tasks: &Tasks, config: Config) -> io::Result<Self> {
        let cores = Cores::start(config.threads)?;
        let rate = if config.rate_limits { config.rate } else { MessageRate::Off };
        let tokens = flows.identity.tokens().clone();
        let revoked = Box::new(move |session| tokens.is_revoked(session));
        let hub = Arc::new(Hub::new(flows.clock.clone(), Dice::system(), rate, revoked));
        let time = Arc::clone(&hub).keep_time(flows.rooms.clone(), tasks.stopping());
        tasks.spawn("sockets' timer", time);
        let nearby = Arc::new(Nearby::default());
        let tick = nearby::keep_telling(Arc::clone(&nearby), flows.clone(), tasks.stopping());
        tasks.spawn("nearby maps", tick);
        let live = Arc::new(Live::default());
        let tick = live::keep_showing(Arc::clone(&live), flows.clone(), tasks.stopping());
        tasks.spawn("live cities", tick);
        let desk: Arc<dyn Desk> = Arc::new(FlowsDesk::new(flows.clone(), nearby, live));
        let crowd = Crowd::new(config.rate_limits.then_some(config.sockets_per_address));
        let (tasks, origins) = (tasks.clone(), config.origins);
        let trusted_proxies = config.trusted_proxies;
        let inner = Inner { flows, tasks, hub, desk, origins, trusted_proxies, crowd, cores };
        Ok(Self(Arc::new(inner)))
    }

    /// Sockets on this node.
    pub fn sockets(&self) -> usize {
        self.0.hub.count()
    }

    /// Tells every client to reconnect, each at its own moment, closes the sockets (1012) after
    /// what was begun, and refuses new ones. Returns when all are gone, at most after `within`.
    pub async fn drain(&self, within: Duration) {
        self.0.hub.send_all_away();
        self.0.hub.empty(within).await;
    }

    pub(crate) fn verify(&self, bearer: &str) -> Result<Caller, Problem> {
        self.0.flows.identity.verify(bearer)
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.0.hub
    }

    pub(crate) fn rooms(&self) -> &Rooms {
        &self.0.flows.rooms
    }

    pub(crate) fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    /// Where the next socket is to live.
    pub(crate) fn core(&self) -> &Handle {
        self.0.cores.next()
    }

    pub(crate) fn desk(&self) -> Arc<dyn Desk> {
        Arc::clone(&self.0.desk)
    }

    pub(crate) fn origins(&self) -> &[String] {
        &self.0.origins
    }

    /// Does this account open sockets no faster than it may?
    pub(crate) async fn ask_for_socket(&self, caller: &Caller) -> (Rate, Verdict) {
        let limiter = &self.0.flows.limiter;
        let rate = *limiter.rate(Limit::Socket);
        (rate, limiter.check(&rate, Counted::User(caller.user)).await)
    }

    /// A place for a socket from this address, while it holds fewer than it may.
    pub(crate) fn seat<'a>(
        &self,
        peer: IpAddr,
        forwarded: impl DoubleEndedIterator<Item = &'a str>,
    ) -> Option<Seat> {
        self.0.crowd.enter(client_address(peer, forwarded, self.0.trusted_proxies).into())
    }
}
