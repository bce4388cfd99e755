//! Getting people ready: drivers with papers and approval, riders with a wallet.
//!
//! Owns what must be true before an account may drive or ride in this run: logged in, nothing
//! left over from a run that was cut short, its book opened. Riders are a pool: made when
//! needed, handed out and taken back.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::accounts::{Account, Entered};
use crate::api::{Ask, Failure};
use crate::stats::add;
use crate::wire::{Piasters, Role, Status, Tier, TripPage, Wallet, now_ms, rfc3339};
use crate::world::World;

/// What an empty wallet is filled with.
const TOP_UP: Piasters = Piasters(50_000);
/// Below this a rider who pays by wallet asks for more, piasters.
const WALLET_LOW: i64 = 20_000;
/// A driver who owes more than this settles, piasters: over the limit he gets no cash trips.
const DEBT_HIGH: i64 = -12_000;
const DAY_MS: i64 = 86_400_000;

/// Makes a driver who may go online.
pub async fn driver(world: &World, index: u32) -> Result<Account, Failure> {
    let mut account = world.accounts.lock().get(Role::Driver, index);
    let entered = account.enter(world).await?;
    if !account.ready {
        approve(world, &mut account).await?;
    }
    if entered == Entered::Known {
        end_leftovers(world, &mut account).await;
    }
    open_book(world, &mut account).await?;
    world.accounts.lock().keep(&account);
    Ok(account)
}

/// Has the city find drivers so, where a strategy is named.
pub async fn choose_strategy(world: &World) -> Result<(), Failure> {
    let Some(strategy) = &world.args.strategy else { return Ok(()) };
    let admin = world.admin.token(world).await?;
    let path = format!("/admin/cities/{}/dispatch", world.args.scenario.city());
    let choice = json!({"strategy": strategy, "reason": "a load test"});
    world.api.post::<Value>(Ask::post("choose a strategy", path, &admin), &choice).await?;
    Ok(())
}

/// Hands in the papers and has them approved.
pub async fn approve(world: &World, account: &mut Account) -> Result<(), Failure> {
    let token = account.token(world).await?;
    let expires = rfc3339(now_ms() + 700 * DAY_MS);
    let document = |kind: &str| {
        let number = format!("{kind}-{}", &account.phone[4..]);
        json!({"kind": kind, "number": number, "expiresAt": expires})
    };
    let (make, model) = match account.tier() {
        Tier::Economy => ("Hyundai", "Accent"),
        Tier::Comfort => ("Toyota", "Corolla"),
        Tier::Premium => ("Mercedes-Benz", "E 200"),
        Tier::Xl => ("Toyota", "Innova"),
    };
    let body = json!({
        "vehicle": {
            "type": account.tier(), "make": make, "model": model, "color": "white", "year": 2021,
            "plate": format!("LT {}", &account.phone[5..]),
        },
        "documents": [
            document("driving_licence"), document("vehicle_licence"), document("insurance"),
        ],
    });
    world.api.post::<Value>(Ask::post("profile", "/drivers/profile", &token), &body).await?;
    let admin = world.admin.token(world).await?;
    let path = format!("/admin/drivers/{}/decision", account.id);
    let decision = json!({"decision": "approve"});
    world.api.post::<Value>(Ask::post("approve", path, &admin), &decision).await?;
    account.ready = true;
    Ok(())
}

/// Ends trips that a run before this one left open.
async fn end_leftovers(world: &World, account: &mut Account) {
    let Ok(token) = account.token(world).await else { return };
    let ask = Ask::get("trips", "/trips?limit=10", &token);
    let Ok(page) = world.api.get::<TripPage>(ask).await else { return };
    for trip in page.trips.iter().filter(|trip| !trip.status.ended()) {
        let ask = |what, end: &str| Ask::post(what, format!("/trips/{}/{end}", trip.id), &token);
        // What can't be ended now is refused, counted and left.
        let _: Result<Value, _> = match (account.role, trip.status) {
            (Role::Driver, Status::Started) => {
                let body = json!({"status": "completed"});
                world.api.post(ask("trip.status", "status"), &body).await
            }
            (Role::Rider, Status::Started) => continue,
            _ => world.api.post(ask("cancel", "cancel"), &json!({"reason": "other"})).await,
        };
    }
}

async fn open_book(world: &World, account: &mut Account) -> Result<(), Failure> {
    let wallet = wallet(world, account).await?;
    account.wallet = Some(wallet.balance.0);
    world.judge.books(|books| books.open(account.id, wallet.net(account.role)));
    Ok(())
}

pub async fn wallet(world: &World, account: &mut Account) -> Result<Wallet, Failure> {
    let token = account.token(world).await?;
    world.api.get(Ask::get("wallet", "/wallet", &token)).await
}

/// Puts money into an account, by the admin's hand.
async fn top_up(world: &World, owner: Uuid, amount: Piasters) -> Result<(), Failure> {
    let admin = world.admin.token(world).await?;
    let (path, key) = (format!("/admin/wallets/{owner}/adjust"), Uuid::new_v4());
    let body = json!({"amount": amount, "reason": "load test"});
    let mut answer = Err(Failure::TimedOut);
    // The key makes it safe to ask again when the answer was lost.
    for _ in 0..3 {
        let ask = Ask::post("adjust", path.clone(), &admin).with_key(key);
        answer = world.api.post::<Value>(ask, &body).await;
        if !matches!(&answer, Err(failure) if failure.passes()) {
            break;
        }
    }
    let (low, high) = match &answer {
        Ok(_) => (amount.0, amount.0),
        Err(failure) if failure.passes() => (0, amount.0),
        Err(_) => (0, 0),
    };
    world.judge.books(|books| books.post(owner, low, high));
    answer?;
    add(&world.stats.totals.top_ups);
    Ok(())
}

/// Settles a driver's debt when it comes near the limit.
pub async fn settle_debt(world: &World, account: &mut Account) -> Result<(), Failure> {
    let owes = wallet(world, account).await?.net(account.role);
    if owes < DEBT_HIGH {
        top_up(world, account.id, Piasters(-owes)).await?;
    }
    Ok(())
}

/// Riders, one trip after another.
pub struct Riders {
    idle: Mutex<VecDeque<Account>>,
    made: AtomicU32,
    most: u32,
}

impl Riders {
    pub fn new(most: u32) -> Self {
        Self { idle: Mutex::default(), made: AtomicU32::new(0), most }
    }

    /// A rider who is free, an old one if there is one.
    pub async fn take(&self, world: &World) -> Option<Account> {
        let waiting = self.idle.lock().pop_front();
        match waiting {
            Some(account) => Some(account),
            None => self.make(world).await,
        }
    }

    /// Makes riders ahead of need, until there are `ahead` who never rode.
    pub async fn prepare(&self, world: &World, ahead: u32) {
        while self.made.load(Ordering::Relaxed) < ahead.min(self.most) {
            if let Some(account) = self.make(world).await {
                self.give_back(account);
            }
        }
    }

    pub fn give_back(&self, account: Account) {
        self.idle.lock().push_back(account);
    }

    /// Everybody who is free, for the last look at their wallets.
    pub fn all(&self) -> Vec<Account> {
        self.idle.lock().drain(..).collect()
    }

    async fn make(&self, world: &World) -> Option<Account> {
        let free = |made: u32| (made < self.most).then_some(made + 1);
        let index = self.made.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok()?;
        match rider(world, index).await {
            Ok(account) => {
                world.stats.gauges.riders_made.fetch_add(1, Ordering::Relaxed);
                Some(account)
            }
            Err(failure) => {
                world.mention(&format!("rider {index}"), &failure);
                None
            }
        }
    }
}

async fn rider(world: &World, index: u32) -> Result<Account, Failure> {
    let mut account = world.accounts.lock().get(Role::Rider, index);
    if account.enter(world).await? == Entered::Known {
        end_leftovers(world, &mut account).await;
    }
    open_book(world, &mut account).await?;
    world.accounts.lock().keep(&account);
    Ok(account)
}

/// Tops up the wallet of a rider who owes for an earlier trip.
pub async fn pay_due(world: &World, account: &mut Account) -> Result<(), Failure> {
    top_up(world, account.id, TOP_UP).await?;
    // How much of it the due took is seen when the wallet is asked next.
    let wallet = wallet(world, account).await?;
    account.wallet = Some(wallet.balance.0);
    Ok(())
}

/// Whether this rider pays from his wallet: the same riders in every run.
pub fn pays_by_wallet(world: &World, index: u32) -> bool {
    // Multiples of the golden ratio are spread evenly over the unit interval.
    (f64::from(index) * 0.618_033_988_75).fract() < world.args.wallet_share
}

/// Fills a wallet that is nearly empty.
pub async fn fill_wallet(world: &World, account: &mut Account) -> Result<(), Failure> {
    if account.wallet.is_some_and(|wallet| wallet < WALLET_LOW) {
        top_up(world, account.id, TOP_UP).await?;
        account.wallet = account.wallet.map(|wallet| wallet + TOP_UP.0);
    }
    Ok(())
}
