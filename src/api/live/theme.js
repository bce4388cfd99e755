// The colours and sizes the canvases share with the style sheet. Owns nothing: `live.css` names
// every colour once, as a custom property of the root.

export const STATES = ["cooldown", "available", "busy", "offered"];

const root = getComputedStyle(document.documentElement);
const colour = (name) => root.getPropertyValue(`--${name}`).trim();

export const COLOUR = Object.fromEntries(
  [
    ...STATES, "waiting", "pickup", "ride", "served", "water", "land", "coast", "grid", "label",
    "text", "restricted", "airport", "surge", "service",
  ].map((name) => [name, colour(name)]),
);

export const FONT = root.getPropertyValue("--font").trim();
export const CALM = matchMedia("(prefers-reduced-motion: reduce)").matches;
