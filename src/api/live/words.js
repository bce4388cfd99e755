// How the page says things: numbers, durations, states. Owns every word that isn't in the HTML.

const NUMBER = new Intl.NumberFormat("en");

export const DRIVER_STATE = {
  available: "Available", offered: "Looking at an offer", busy: "Busy with a trip",
  cooldown: "Resting",
};
export const TRIP_STATUS = {
  accepted: "Driver on the way", arrived: "Driver at the pickup", started: "On the ride",
};
export const AREA = {
  service_area: "Service area", restricted: "Restricted area", airport_pickup: "Airport pickup",
  surge_zone: "Surge zone",
};
export const LINE_STATE = {
  connecting: "Connecting", live: "Live", lost: "Reconnecting", login: "Signed out",
};

export function count(n) {
  return Number.isFinite(n) ? NUMBER.format(n) : "–";
}

// 0:42, 12:05, 1:02:05
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const whole = Math.floor(seconds);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n) => String(n).padStart(2, "0");
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

export function place({ lat, lng }) {
  return `${lat.toFixed(5)}, ${lng.toFixed(5)}`;
}
