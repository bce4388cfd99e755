//! A headless Chromium of the test's own, spoken to over the DevTools protocol.
//!
//! Owns the browser's processes and its profile; both end with [`Browser`]. A [`Page`] reads what
//! the browser says only while it waits for an answer, so nothing runs beside the test.

use std::env;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::{SinkExt, StreamExt};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// How long a test waits for something that must come; far above what it takes, so that only
/// what never comes fails.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often [`Page::wait_for`] looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const NAMES: &[&str] = &["chromium", "chromium-browser", "google-chrome"];
/// What Chromium says on its standard error when it can be spoken to.
const LISTENS: &str = "DevTools listening on ";

pub struct Browser {
    /// Leads a process group of its own.
    process: Child,
    /// `ws://127.0.0.1:<port>/devtools/browser/<id>`
    endpoint: String,
    _profile: TempDir,
}

impl Browser {
    /// A browser with an empty profile and a window of 1440 × 900.
    pub async fn start() -> Self {
        let profile = tempfile::tempdir().expect("a folder for the browser's profile");
        let mut process = Command::new(executable())
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-background-networking"])
            .args(["--remote-debugging-port=0", "--window-size=1440,900"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("Chromium starts");
        let said = process.stderr.take().expect("its standard error is piped");
        // From here on a failure ends the browser too.
        let mut browser = Self { process, endpoint: String::new(), _profile: profile };
        let listens = timeout(PATIENCE, listening(said)).await;
        browser.endpoint = listens.expect("Chromium listens in time");
        browser
    }

    /// A tab of its own on `url`, loaded with all its scripts.
    pub async fn open(&self, url: &str) -> Page {
        let mut tabs = Page::attach(&self.endpoint).await;
        let tab = tabs.call("Target.createTarget", json!({"url": "about:blank"})).await;
        let id = tab["targetId"].as_str().expect("a tab has an id");
        let (host, _) = self.endpoint.split_once("/devtools/").expect("a DevTools address");
        let mut page = Page::attach(&format!("{host}/devtools/page/{id}")).await;
        for domain in ["Page", "Runtime", "Log"] {
            page.call(&format!("{domain}.enable"), json!({})).await;
        }
        let loaded = page.call("Page.navigate", json!({"url": url})).await;
        assert!(loaded["errorText"].is_null(), "{url} can't be opened: {}", loaded["errorText"]);
        page.wait_for("document.readyState === 'complete'").await;
        page
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.process.id().cast_signed());
        // It may have ended by itself; then there is nothing to end and nothing to wait for.
        killpg(group, Signal::SIGKILL).ok();
        self.process.wait().ok();
    }
}

/// One tab.
pub struct Page {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_id: u64,
    errors: Vec<String>,
}

impl Page {
    async fn attach(endpoint: &str) -> Self {
        let (stream, _) = connect_async(endpoint).await.expect("the browser takes a connection");
        Self { stream, next_id: 0, errors: Vec::new() }
    }

    /// Waits until the expression is truthy, and answers with its value. Promises are awaited;
    /// what throws (a page that is still loading) counts as not yet.
    pub async fn wait_for(&mut self, expression: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = self.try_evaluate(expression).await;
            match seen {
                Ok(value) if is_truthy(&value) => return value,
                seen if Instant::now() > deadline => {
                    panic!("never true: {expression}; last: {seen:?}; errors: {:#?}", self.errors)
                }
                _ => sleep(LOOK_EVERY).await,
            }
        }
    }

    /// The value of the expression, awaited when it is a promise; must be JSON.
    pub async fn evaluate(&mut self, expression: &str) -> Value {
        let value = self.try_evaluate(expression).await;
        value.unwrap_or_else(|thrown| panic!("{expression} threw {thrown}"))
    }

    /// What the window shows, as PNG.
    pub async fn screenshot(&mut self) -> Vec<u8> {
        let shot = self.call("Page.captureScreenshot", json!({"format": "png"})).await;
        let text = shot["data"].as_str().expect("a screenshot has data");
        BASE64_STANDARD.decode(text).expect("DevTools sends valid base64")
    }

    /// What went wrong on the page so far, each with its source: `exception`, `console`, or the
    /// browser's own (`network` for an answer ≥ 400 or none, `security` for a broken policy, …).
    pub async fn errors(&mut self) -> &[String] {
        // The browser tells in order: what came before the answer has been read with it.
        self.evaluate("0").await;
        &self.errors
    }

    /// `Err` with the text of what was thrown.
    async fn try_evaluate(&mut self, expression: &str) -> Result<Value, String> {
        let ask = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let mut answer = self.ask("Runtime.evaluate", ask).await?;
        match answer.get("exceptionDetails") {
            Some(details) => Err(thrown(details)),
            None => Ok(answer["result"]["value"].take()),
        }
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        let answer = self.ask(method, params).await;
        answer.unwrap_or_else(|error| panic!("{method} was refused: {error}"))
    }

    async fn ask(&mut self, method: &str, params: Value) -> Result<Value, String> {
        self.next_id += 1;
        let id = self.next_id;
        let text = json!({"id": id, "method": method, "params": params}).to_string();
        self.stream.send(Message::text(text)).await.expect("the browser hears");
        let answer = timeout(PATIENCE, self.answer(id)).await;
        let mut answer = answer.unwrap_or_else(|_| panic!("no answer to {method} {params}"));
        match answer.get("error") {
            Some(error) => Err(error.to_string()),
            None => Ok(answer["result"].take()),
        }
    }

    async fn answer(&mut self, id: u64) -> Value {
        loop {
            let message = self.stream.next().await.expect("the tab stays open");
            let Message::Text(text) = message.expect("the browser answers") else { continue };
            let frame: Value = serde_json::from_str(&text).expect("DevTools speaks JSON");
            if frame["id"] == id {
                return frame;
            }
            self.errors.extend(error_in(&frame));
        }
    }
}

/// The error an event of the browser tells of, if it does.
fn error_in(event: &Value) -> Option<String> {
    let params = &event["params"];
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => {
            Some(format!("exception: {}", thrown(&params["exceptionDetails"])))
        }
        "Runtime.consoleAPICalled" if params["type"] == "error" => {
            let words = params["args"].as_array()?.iter().map(text_of);
            Some(format!("console: {}", words.collect::<Vec<_>>().join(" ")))
        }
        "Log.entryAdded" if params["entry"]["level"] == "error" => {
            let part = |name: &str| params["entry"][name].as_str().unwrap_or_default();
            Some(format!("{}: {} {}", part("source"), part("text"), part("url")))
        }
        _ => None,
    }
}

fn thrown(details: &Value) -> String {
    let exception = &details["exception"];
    if exception.is_null() { details["text"].to_string() } else { text_of(exception) }
}

/// A remote object as a person would want to read it.
fn text_of(object: &Value) -> String {
    let described = object["description"].as_str().or(object["value"].as_str());
    described.map_or_else(|| object["value"].to_string(), str::to_owned)
}

/// As JavaScript sees it; an object or a list is always true.
fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

fn executable() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = NAMES.iter().find_map(|name| {
        env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
    });
    found.unwrap_or_else(|| {
        panic!("no browser found ({}): install the Debian package `chromium`", NAMES.join(", "))
    })
}

/// The address the browser can be spoken to at. Goes on reading what it says, so that the browser
/// never waits for a full pipe.
async fn listening(stderr: ChildStderr) -> String {
    let (tell, told) = oneshot::channel();
    thread::spawn(move || {
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let mut before = Vec::new();
        let address = lines.by_ref().find_map(|line| {
            let address = line.strip_prefix(LISTENS).map(str::to_owned);
            before.push(line);
            address
        });
        tell.send(address.ok_or(before)).ok();
        lines.for_each(drop);
    });
    let address = told.await.expect("the reader answers before it ends");
    address.unwrap_or_else(|said| panic!("Chromium ended at once: {}", said.join("\n")))
}
