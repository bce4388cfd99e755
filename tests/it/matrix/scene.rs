//! The scene that a row is played in: a trip with its people, and those who have no part in it.

use serde_json::{Value, json};

use crate::harness::{CAIRO, Person, Server, Socket, far_from, next_phone, online_driver};

/// The columns of the table.
pub const CALLERS: [&str; 9] = [
    "nobody",
    "partner",
    "other_rider",
    "suspended",
    "other_driver",
    "asked",
    "driver",
    "rider",
    "admin",
];

/// Who asks, by what he shows.
pub enum Caller {
    Nobody,
    Partner { key: String },
    Person(Person),
}

impl Caller {
    /// An idempotency key of his own.
    pub fn key(&self) -> String {
        match self {
            Self::Nobody => "nobodys".to_owned(),
            Self::Partner { key } => key[..8].to_owned(),
            Self::Person(person) => person.id.clone(),
        }
    }

    /// Header and value; nobody has none.
    pub fn shows(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Nobody => None,
            Self::Partner { key } => Some(("x-api-key", key.clone())),
            Self::Person(person) => Some(("authorization", format!("Bearer {}", person.token))),
        }
    }
}

/// Scenes are played side by side: they lie farther apart than a driver is searched, so that none
/// plays in another.
const APART_M: f64 = 11_000.0;
/// The city is a circle, so many steps of that length wide to each side.
const STEPS: i32 = 7;

/// As many places as lie in the city, each the same way from its neighbours.
fn place(number: u32) -> (f64, f64) {
    let steps = (-STEPS..=STEPS).flat_map(|north| (-STEPS..=STEPS).map(move |east| (north, east)));
    let number = usize::try_from(number).expect("a row of the table");
    let mut inside = steps.filter(|(north, east)| north * north + east * east <= STEPS * STEPS);
    let (north, east) = inside.nth(number).expect("the city has room for every row");
    let (lat, lng) = far_from(CAIRO, APART_M * f64::from(north));
    (lat, lng + APART_M * f64::from(east) / 111_195.0 / lat.to_radians().cos())
}

pub struct Scene {
    pub trip: String,
    at: (f64, f64),
    /// In the order of [`CALLERS`]; nobody first.
    pub callers: Vec<Caller>,
}

impl Scene {
    /// A trip that its driver has accepted, at a place of its own.
    pub async fn new(server: &Server, number: u32) -> Self {
        let at = place(number);
        let admin = Person::admin(server).await;
        let [suspended, other_driver] =
            [Person::driver(server).await, Person::driver(server).await];
        for driver in [&suspended, &other_driver] {
            driver.approve(&admin, "economy").await;
        }
        let path = format!("/admin/drivers/{}/decision", suspended.id);
        admin.post(&path, json!({"decision": "suspend", "reason": "complaints"})).await.data();
        let asked = online_driver(server, &admin, at).await;
        let driver = online_driver(server, &admin, at).await;
        let (rider, other_rider) = (Person::rider(server).await, Person::rider(server).await);
        let mut wheels = Vec::new();
        for driver in [&asked, &driver] {
            wheels.push(Socket::listen(server, driver).await);
        }
        let reply = rider.request_trip(at).await;
        let trip = reply.data()["tripId"].as_str().expect("an id").to_owned();
        for (wheel, action) in wheels.iter_mut().zip(["decline", "accept"]) {
            wheel.next("offer").await;
            wheel.ok("offer.respond", json!({"tripId": trip, "action": action})).await;
        }
        let scopes = json!(["location:nearby", "pricing:estimate"]);
        let made = json!({"name": "Nile Hotels", "scopes": scopes});
        let made = admin.post("/admin/api-keys", made).await;
        let key = made.data()["key"].as_str().expect("a key").to_owned();
        let people = [other_rider, suspended, other_driver, asked, driver, rider, admin];
        let callers = [Caller::Nobody, Caller::Partner { key }];
        let callers = callers.into_iter().chain(people.map(Caller::Person)).collect();
        Self { trip, at, callers }
    }

    fn person(&self, name: &str) -> &Person {
        let column = CALLERS.iter().position(|caller| *caller == name).expect("a column");
        match &self.callers[column] {
            Caller::Person(person) => person,
            Caller::Nobody | Caller::Partner { .. } => panic!("{name} has no account"),
        }
    }

    /// `text` with its braces filled in, as `caller` would.
    pub fn fill(&self, text: &str, caller: &Caller) -> String {
        let (rider, driver) = (self.person("rider"), self.person("driver"));
        let own = |part: fn(&Person) -> &str| match caller {
            Caller::Person(person) => part(person).to_owned(),
            Caller::Nobody | Caller::Partner { .. } => "nobodys".to_owned(),
        };
        let words = [
            ("{trip}", self.trip.clone()),
            ("{rider}", rider.id.clone()),
            ("{driver}", driver.id.clone()),
            ("{phone}", rider.phone.clone()),
            ("{new_phone}", next_phone()),
            ("{lat}", format!("{:.6}", self.at.0)),
            ("{lng}", format!("{:.6}", self.at.1)),
            ("{plate}", own(|person| &person.phone[5..])),
            ("{token}", own(|person| &person.token)),
            ("{city}", "2".to_owned()),
            ("{now}", jiff::Timestamp::now().to_string()),
            ("{city}", "1".to_owned()),
            ("{nothing}", "0190b8a0-0000-7000-8000-00000000dead".to_owned()),
        ];
        words.iter().fold(text.to_owned(), |made, (word, value)| made.replace(word, value))
    }

    /// The body of a row for `caller`; `None` where nothing is said.
    pub fn body(&self, text: &str, caller: &Caller) -> Option<Value> {
        let filled = self.fill(text, caller);
        (!filled.is_empty()).then(|| {
            serde_json::from_str(&filled).unwrap_or_else(|error| panic!("{error}: {filled}"))
        })
    }
}
