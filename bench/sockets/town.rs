//! SmartLine as its own process, and the people who use it, made over its public doors.
//!
//! Accounts outlive a restart of the server, so that every scenario gets a fresh process without
//! paying for passwords again.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use base::Millis;
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;

use super::process::{Process, Says};
use crate::cpu::Cpu;
use crate::postgres;

const PASSWORD: &str = "tahrir99";
const ADMIN: &str = "01055555555";
/// Accounts that are made at the same time; the server hashes two passwords at once.
const AT_ONCE: usize = 4;
/// Tokens live for 15 minutes; older ones are renewed before a scenario.
const FRESH: Duration = Duration::from_secs(300);

/// Whether the server counts what it is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limits {
    On,
    Off,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Driver,
    Rider,
}

/// Somebody who is logged in.
#[derive(Clone)]
pub(crate) struct Person {
    pub id: String,
    pub token: String,
    refresh: String,
    since: Instant,
}

/// An answer of REST.
pub(crate) struct Reply {
    pub status: u16,
    pub body: Value,
}

/// The doors of REST.
#[derive(Clone)]
pub(crate) struct Api {
    http: Client,
    base: String,
}

/// The server and everybody in it.
pub(crate) struct Town {
    server: Process,
    /// `127.0.0.1:PORT`.
    pub address: String,
    pub api: Api,
    admin: Person,
    drivers: Vec<Person>,
    riders: Vec<Person>,
    /// Removed after the server is gone.
    home: TempDir,
}

impl Reply {
    /// `data` of a success.
    pub fn data(mut self) -> anyhow::Result<Value> {
        if !(200..300).contains(&self.status) {
            bail!("SmartLine answered {} {}", self.status, self.body);
        }
        Ok(self.body["data"].take())
    }
}

impl Api {
    fn new(address: &str) -> anyhow::Result<Self> {
        let http = Client::builder().tcp_nodelay(true).timeout(Duration::from_secs(30)).build()?;
        Ok(Self { http, base: format!("http://{address}/api/v1") })
    }

    pub async fn post(&self, path: &str, token: &str, body: &Value) -> anyhow::Result<Reply> {
        let request = self.http.post(format!("{}{path}", self.base)).json(body);
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        answer(request).await.with_context(|| format!("POST {path}"))
    }

    /// What must be there.
    pub async fn get(&self, path: &str, token: &str) -> anyhow::Result<Value> {
        let request = self.http.get(format!("{}{path}", self.base)).bearer_auth(token);
        let reply = answer(request).await.and_then(Reply::data);
        reply.with_context(|| format!("GET {path}"))
    }

    /// For what must succeed.
    pub async fn must(&self, path: &str, token: &str, body: &Value) -> anyhow::Result<Value> {
        let reply = self.post(path, token, body).await?;
        reply.data().with_context(|| format!("POST {path}"))
    }

    async fn enter(&self, path: &str, body: &Value) -> anyhow::Result<Person> {
        let data = self.must(path, "", body).await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (token, refresh) = (text(&data["token"]), text(&data["refreshToken"]));
        Ok(Person { id: text(&data["user"]["id"]), token, refresh, since: Instant::now() })
    }

    async fn sign_up(&self, role: Role, number: usize) -> anyhow::Result<Person> {
        let (prefix, role) = match role {
            Role::Driver => ("010", "driver"),
            Role::Rider => ("011", "rider"),
        };
        let phone = format!("{prefix}{number:08}");
        let body = json!({"phone": phone, "password": PASSWORD, "name": "Bench", "role": role});
        self.enter("/auth/signup", &body).await
    }

    /// Hands in papers and is approved.
    async fn approve(&self, driver: &Person, admin: &str, number: usize) -> anyhow::Result<()> {
        let paper =
            |kind: &str| json!({"kind": kind, "number": "1", "expiresAt": "2099-01-01T00:00:00Z"});
        let profile = json!({
            "vehicle": {"type": "economy", "make": "Lada", "model": "2107", "color": "white",
                "plate": format!("B {number}"), "year": 2019},
            "documents": [paper("driving_licence"), paper("vehicle_licence"), paper("insurance")],
        });
        self.must("/drivers/profile", &driver.token, &profile).await?;
        let path = format!("/admin/drivers/{}/decision", driver.id);
        self.must(&path, admin, &json!({"decision": "approve"})).await?;
        Ok(())
    }

    async fn renew(&self, person: &mut Person) -> anyhow::Result<()> {
        if person.since.elapsed() < FRESH {
            return Ok(());
        }
        let body = json!({"refreshToken": person.refresh});
        let fresh = self.enter("/auth/refresh", &body).await?;
        let id = std::mem::take(&mut person.id);
        *person = Person { id, ..fresh };
        Ok(())
    }
}

async fn answer(request: RequestBuilder) -> anyhow::Result<Reply> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let bytes = response.bytes().await?;
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Ok(Reply { status, body })
}

impl Town {
    /// A server on an empty database, with one operator.
    pub async fn found() -> anyhow::Result<Self> {
        let home = tempfile::Builder::new().prefix("smartline-bench-").tempdir()?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let serve = || serve(home.path(), &address, Limits::Off, None);
        let server = tokio::task::block_in_place(serve)?;
        tokio::task::block_in_place(|| create_admin(home.path()))?;
        let api = Api::new(&address)?;
        let login = json!({"phone": ADMIN, "password": PASSWORD});
        let admin = api.enter("/auth/login", &login).await?;
        Ok(Self { server, address, api, admin, drivers: Vec::new(), riders: Vec::new(), home })
    }

    /// The same town behind a fresh process. Everybody's token is good for some minutes.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.renew_tokens().await?;
        self.restart_with(Limits::Off)
    }

    /// The same with everybody's token as it is.
    pub fn restart_with(&mut self, limits: Limits) -> anyhow::Result<()> {
        tokio::task::block_in_place(|| {
            self.server.end()?;
            self.server = serve(self.home.path(), &self.address, limits, None)?;
            anyhow::Ok(())
        })?;
        self.api = Api::new(&self.address)?;
        Ok(())
    }

    /// The same with a city's roads.
    pub async fn restart_on(&mut self, roads: &Path) -> anyhow::Result<()> {
        self.renew_tokens().await?;
        tokio::task::block_in_place(|| {
            self.server.end()?;
            self.server = serve(self.home.path(), &self.address, Limits::Off, Some(roads))?;
            anyhow::Ok(())
        })?;
        self.api = Api::new(&self.address)?;
        Ok(())
    }

    pub async fn renew_tokens(&mut self) -> anyhow::Result<()> {
        let api = &self.api;
        let people = self.drivers.iter_mut().chain(&mut self.riders).chain([&mut self.admin]);
        let renewed = people.map(|person| api.renew(person));
        stream::iter(renewed).buffer_unordered(AT_ONCE * 2).try_collect::<()>().await
    }

    /// As many approved drivers, old ones first.
    pub async fn drivers(&mut self, count: usize) -> anyhow::Result<Vec<Person>> {
        let (api, admin) = (&self.api, self.admin.token.as_str());
        let made = (self.drivers.len()..count).map(|number| async move {
            let driver = api.sign_up(Role::Driver, number).await?;
            api.approve(&driver, admin, number).await?;
            anyhow::Ok(driver)
        });
        let made: Vec<_> = stream::iter(made).buffered(AT_ONCE).try_collect().await?;
        self.drivers.extend(made);
        Ok(self.drivers[..count].to_vec())
    }

    /// As many riders, old ones first.
    pub async fn riders(&mut self, count: usize) -> anyhow::Result<Vec<Person>> {
        let api = &self.api;
        let made = (self.riders.len()..count).map(|number| api.sign_up(Role::Rider, number));
        let made: Vec<_> = stream::iter(made).buffered(AT_ONCE).try_collect().await?;
        self.riders.extend(made);
        Ok(self.riders[..count].to_vec())
    }

    /// Puts money into a driver's account, so that commissions never stop him.
    pub async fn fund(&self, driver: &Person) -> anyhow::Result<()> {
        let path = format!("/admin/wallets/{}/adjust", driver.id);
        let body = json!({"amount": 9000, "reason": "benchmark"});
        self.api.must(&path, &self.admin.token, &body).await?;
        Ok(())
    }

    /// How the owner of the town's database reaches it.
    pub fn database(&self) -> PgConnectOptions {
        postgres::login(self.home.path())
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// What PostgreSQL has used so far, apart from the server.
    pub fn database_cpu(&self) -> anyhow::Result<Duration> {
        let all = Cpu::tree(self.pid())?;
        Ok(all.saturating_sub(Cpu::of(self.pid())?))
    }
}

fn serve(
    home: &Path,
    address: &str,
    limits: Limits,
    roads: Option<&Path>,
) -> anyhow::Result<Process> {
    let mut command = Command::new(binary()?);
    command.arg("serve");
    if let Some(roads) = roads {
        command.arg("--roads").arg(roads);
    }
    command
        .env("SMARTLINE_DATA_DIR", home)
        .env("SMARTLINE_LISTEN", address)
        .env("SMARTLINE_OPS_LISTEN", "127.0.0.1:0")
        .env("SMARTLINE_RATE_LIMITS", if limits == Limits::On { "on" } else { "off" })
        // One operator funds every driver.
        .env("SMARTLINE_ADMIN_ALONE", "100000")
        .env("SMARTLINE_ADMIN_ALONE_PER_DAY", "1000000000")
        .env("SMARTLINE_COOLDOWN_S", "1");
    Ok(Process::start(&mut command, Says::Error, "ready at")?.0)
}

fn create_admin(home: &Path) -> anyhow::Result<()> {
    use std::io::Write;
    let mut child = Command::new(binary()?)
        .args(["admin", "--data-dir"])
        .arg(home)
        .args(["create", "--phone", ADMIN, "--name", "Bench"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let mut input = child.stdin.take().context("a pipe was asked for")?;
    writeln!(input, "{PASSWORD}")?;
    drop(input);
    ensure!(child.wait()?.success(), "the admin could not be made");
    Ok(())
}

/// The server beside this program.
pub(crate) fn binary() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("smartline");
    let how = "the server is missing: cargo build --release -p app";
    ensure!(program.exists(), "{how} (looked for {})", program.display());
    Ok(program)
}

/// Now, as REST wants it.
pub(crate) fn timestamp() -> Value {
    json!(Millis(now_ms()))
}

/// Milliseconds since 1970 by this machine's clock.
pub(crate) fn now_ms() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
