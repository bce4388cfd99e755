// How a driver moves between two frames. Owns the projection to the flat world (Web Mercator,
// 0 to 256 both ways, y down: Leaflet's pixels at zoom 0) and the glide from where a driver is
// drawn to where he was last heard of.

// A glide takes as long as the driver's own pause between two positions, within these bounds, so
// that one who reports every four seconds drives instead of jumping and waiting.
const GLIDE_MS = { shortest: 400, longest: 5_000 };
const TURN_MS = 450;
// A jump over this much of the world (about 3 km at the equator) isn't driven.
const LEAP = 256 * (3 / 40_075);
const FULL_TURN = Math.PI * 2;

export function project(lat, lng) {
  const sin = Math.sin((Math.max(-85, Math.min(85, lat)) * Math.PI) / 180);
  return {
    x: ((lng + 180) / 360) * 256,
    y: (0.5 - Math.log((1 + sin) / (1 - sin)) / (4 * Math.PI)) * 256,
  };
}

// Where a place of the world, drawn `scale` times as large, lies on the globe.
export function unproject(x, y, scale) {
  const north = Math.PI * (1 - (2 * y) / (256 * scale));
  return {
    lat: (Math.atan(Math.sinh(north)) * 180) / Math.PI,
    lng: (x / (256 * scale)) * 360 - 180,
  };
}

// The motion of a driver who stands.
export function placed(at, heading, now) {
  const turn = radians(heading);
  return {
    fromX: at.x, fromY: at.y, toX: at.x, toY: at.y, leftAt: now, glideMs: 1, heardAt: now,
    fromTurn: turn, toTurn: turn,
  };
}

// Sends a driver on from where he is drawn now; answers the way he has put behind him.
export function glide(driver, to, heading, now) {
  const from = { x: driver.fromX, y: driver.fromY };
  const at = { x: xAt(driver, now), y: yAt(driver, now) };
  const turned = turnAt(driver, now);
  const leap = Math.hypot(to.x - at.x, to.y - at.y) > LEAP;
  driver.glideMs = Math.min(GLIDE_MS.longest,
    Math.max(GLIDE_MS.shortest, now - driver.heardAt));
  driver.fromX = leap ? to.x : at.x;
  driver.fromY = leap ? to.y : at.y;
  driver.toX = to.x;
  driver.toY = to.y;
  driver.leftAt = now;
  driver.heardAt = now;
  driver.toTurn = radians(heading);
  driver.fromTurn = Number.isNaN(turned) ? driver.toTurn : turned;
  return from.x === at.x && from.y === at.y ? null : { from, to: at };
}

export function xAt(driver, now) {
  return driver.fromX + (driver.toX - driver.fromX) * share(driver, now);
}

export function yAt(driver, now) {
  return driver.fromY + (driver.toY - driver.fromY) * share(driver, now);
}

// Radians clockwise from north; NaN for a driver who has told no heading.
export function turnAt(driver, now) {
  const done = Math.min(1, (now - driver.leftAt) / TURN_MS);
  const way = (driver.toTurn - driver.fromTurn + Math.PI * 3) % FULL_TURN - Math.PI;
  return (driver.fromTurn + way * done + FULL_TURN) % FULL_TURN;
}

function share(driver, now) {
  return Math.min(1, (now - driver.leftAt) / driver.glideMs);
}

function radians(heading) {
  return Number.isFinite(heading) ? (heading * Math.PI) / 180 : NaN;
}
