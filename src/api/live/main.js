// The live page: puts session, line, city, map and panel together. Owns the page's one state,
// `data-live` of the root ("connecting", "live", "lost" or "login"), and the loop that draws.

import { get, Refused } from "./api.js";
import { Canvas } from "./canvas.js";
import { Card } from "./card.js";
import { City } from "./city.js";
import { Drawing } from "./draw.js";
import { Ground } from "./ground.js";
import { askForLogin } from "./login.js";
import { Panel } from "./panel.js";
import { pick } from "./pick.js";
import { Session } from "./session.js";
import { Line } from "./socket.js";
import { Trails } from "./trails.js";
import { around, View } from "./view.js";

const RETRY_MS = 3_000;
// With fewer drivers than this, the map opens on the whole city instead of on them.
const CROWD = 4;

const stage = document.getElementById("map");
const view = new View(stage);
const moving = new Canvas(stage, "moving");
const still = new Canvas(stage, "still");
const panel = new Panel();
const card = new Card();
const trails = new Trails();
const ground = new Ground();
const drawing = new Drawing(trails);
const session = new Session();
const line = new Line(session);
const city = new City((driver, from, to) => trails.add(driver, from, to, performance.now()));
// The city whose picture should open on where its drivers are, until that is known.
let opening = null;

function state(now) {
  document.documentElement.dataset.live = now;
  panel.state(now);
}

function open() {
  const code = location.hash.slice(1);
  // A code is spent by its first use: it has no place in the history or in a screenshot.
  history.replaceState(null, "", location.pathname + location.search);
  signIn(code);
}

async function signIn(code) {
  state("connecting");
  try {
    if (await session.resume(code)) await enter();
    else login("");
  } catch (error) {
    if (error instanceof Refused && !error.passing) login(error.message);
    else later(error, () => signIn(code));
  }
}

function login(reason) {
  line.close();
  city.forget();
  card.select(null);
  state("login");
  askForLogin(reason, async (phone, password) => {
    await session.logIn(phone, password);
    enter();
  });
}

// Loads the city that the address names, or the server's first, and follows it.
async function enter() {
  const wanted = new URLSearchParams(location.search).get("city");
  state("connecting");
  try {
    const query = wanted === null ? "" : `?city=${encodeURIComponent(wanted)}`;
    show(await get(`/live/map${query}`, await session.token()));
  } catch (error) {
    if (!(error instanceof Refused) || error.passing) later(error, enter);
    else if (error.status === 404 && wanted !== null) forgetWanted();
    else login(error.message);
  }
}

// The address names a city that isn't there (any more).
function forgetWanted() {
  history.replaceState(null, "", location.pathname);
  enter();
}

function later(error, what) {
  panel.notice(error.message);
  setTimeout(what, RETRY_MS);
}

function show(map) {
  city.forget();
  trails.forget();
  card.select(null);
  ground.set(map.city, map.zones);
  panel.city(map, ground.kinds);
  const zones = map.zones.features.filter(({ properties }) => properties.kind === "zone");
  opening = zones.length > 0 ? null : map.city;
  view.fit(zones.length > 0 ? corners(zones) : around(map.city.center, map.city.radius));
  line.follow(map.city.id);
}

function corners(features) {
  const points = features.flatMap(({ geometry }) => geometry.coordinates.flat(Infinity));
  const lngs = points.filter((_, at) => at % 2 === 0);
  const lats = points.filter((_, at) => at % 2 === 1);
  const least = (list) => list.reduce((a, b) => Math.min(a, b));
  const most = (list) => list.reduce((a, b) => Math.max(a, b));
  return [{ lat: least(lats), lng: least(lngs) }, { lat: most(lats), lng: most(lngs) }];
}

// A city known only by its circle opens on where most of its drivers are.
function openOnDrivers() {
  const drivers = [...city.drivers.values()];
  if (!opening || drivers.length < CROWD) return;
  opening = null;
  const inner = (list) => {
    const sorted = list.toSorted((a, b) => a - b);
    const cut = Math.floor(sorted.length * 0.02);
    return [sorted[cut], sorted.at(-1 - cut)];
  };
  const [south, north] = inner(drivers.map(({ lat }) => lat));
  const [west, east] = inner(drivers.map(({ lng }) => lng));
  view.fit([{ lat: south, lng: west }, { lat: north, lng: east }]);
}

function loop() {
  requestAnimationFrame(loop);
  // Not the frame's own time: that may lie before the message that was just applied.
  const now = performance.now();
  const at = view.at(now);
  const { size } = view;
  const seen = { city, layers: panel.layers, selected: card.selected(city) };
  drawing.draw(moving.clear(size), at, size, seen, now);
  drawGround(at, size);
}

let drawn = "";

// What lies still is drawn again only when the map was moved or the window changed.
function drawGround(at, size) {
  const now = [at.scale, at.x, at.y, size.width, size.height, ground.version, devicePixelRatio]
    .join();
  if (now === drawn) return;
  drawn = now;
  ground.draw(still.clear(size), at, size);
}

line.addEventListener("state", ({ detail }) => state(detail));
line.addEventListener("refused", ({ detail }) => panel.notice(detail.message));
line.addEventListener("update", ({ detail }) => {
  const now = performance.now();
  city.apply(detail, now);
  panel.numbers(city, now);
  card.show(city, now);
  openOnDrivers();
});
session.addEventListener("end", ({ detail }) => login(detail));
panel.addEventListener("signout", () => session.end());
panel.addEventListener("city", ({ detail }) => {
  history.replaceState(null, "", `${location.pathname}?city=${encodeURIComponent(detail)}`);
  enter();
});
panel.addEventListener("show", ({ detail }) => {
  card.select({ tripId: detail.tripId });
  card.show(city, performance.now());
  view.show(detail.pickup);
});
// Another link was opened in this tab.
addEventListener("hashchange", () => location.reload());
view.on("moveend", () => trails.moved());
view.on("click", ({ containerPoint }) => {
  const now = performance.now();
  const seen = { city, layers: panel.layers };
  card.select(pick(containerPoint, view.at(now), seen, now));
  card.show(city, now);
});

// Read by tests; nothing on the page depends on it.
window.smartlineLive = Object.freeze({
  drivers: () => city.drivers.size,
  trips: () => city.trips.size,
  requests: () => city.requests.size,
  frames: () => city.frames,
  epoch: () => line.subscriptions,
  counters: () => structuredClone(city.counters),
});

loop();
open();
