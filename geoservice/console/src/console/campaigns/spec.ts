/** A campaign as its JSON: the form shows parts of it, and leaves everything else as it is. */
import type { Schemas } from "../../lib/api";

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };
export type Spec = { [key: string]: Json };
export type Campaign = Schemas["CampaignAnswer"];
export type State = Campaign["state"];

/** Stands in an address for the campaign that is not there yet; no id has a plus sign. */
export const NEW = "+new";

const NOT_OF_THE_BODY = ["id", "version", "live_since", "paused_because", "at"];

/** The body that PUT takes, from what GET gives. */
export function bodyOf(answer: object): Spec {
  const entries = Object.entries(answer as Spec).filter(([key]) => !NOT_OF_THE_BODY.includes(key));
  return Object.fromEntries(entries);
}

/** For openapi-fetch, whose types do not know that what has a default may be left out. */
export function asBody(spec: Spec): Schemas["CampaignSpec"] {
  return spec as unknown as Schemas["CampaignSpec"];
}

export const FRESH_INTEREST: Spec = {
  category: "",
  events: ["product_viewed", "wishlisted"],
  min_count: 2,
  within_days: 14,
  not_purchased: true,
};

export const FRESH: Spec = {
  name: "",
  topic: "",
  state: "draft",
  trigger: { on: "enter", geofence_kind: "store" },
  uses: ["browse"],
  context: { interest: FRESH_INTEREST },
  content: { title: "", body: "" },
};

function isObject(value: Json | undefined): value is Spec {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What stands at a path such as ["content", "title"]. */
export function at(spec: Spec, path: readonly string[]): Json | undefined {
  return path.reduce<Json | undefined>((value, key) => (isObject(value) ? value[key] : undefined), spec);
}

/** A copy with another value at a path; undefined takes it out, and with it what becomes empty around it. */
export function put(spec: Spec, path: readonly string[], value: Json | undefined): Spec {
  const [key, ...rest] = path;
  if (key === undefined) return spec;
  const copy = { ...spec };
  const below = isObject(copy[key]) ? copy[key] : {};
  const next = rest.length > 0 ? put(below, rest, value) : value;
  if (next === undefined || (rest.length > 0 && isObject(next) && Object.keys(next).length === 0)) delete copy[key];
  else copy[key] = next;
  return copy;
}

/** "content.languages.de.title" as the service writes places. */
export function placeOf(path: readonly string[]): string {
  return path.join(".");
}

/** The one interest that the form can show; undefined when the condition is of another form, null when there is none. */
export function interestOf(spec: Spec): Spec | null | undefined {
  const context = spec.context;
  if (context === undefined || (isObject(context) && Object.keys(context).length === 0)) return null;
  if (!isObject(context) || Object.keys(context).length !== 1 || !isObject(context.interest)) return undefined;
  return context.interest;
}

export function texts(value: Json | undefined): string[] {
  return Array.isArray(value) ? value.filter((each): each is string => typeof each === "string") : [];
}

export const TRIGGERS = {
  enter: "comes into",
  dwell: "stays in",
  exit: "leaves",
  crossed: "passes through",
} as const;

export const KINDS = {
  approach: "the surroundings of a store",
  store: "a store",
  department: "a department",
} as const;

/** "when she comes into a store". */
export function triggerInWords(spec: { trigger: Campaign["trigger"] }): string {
  const { on, geofence_kind, geofence_ids, store_ids, tags } = spec.trigger;
  const named = [...(geofence_ids ?? []), ...(store_ids ?? []), ...(tags ?? [])];
  const kind = KINDS[geofence_kind as keyof typeof KINDS] ?? "any geofence";
  const where = named.length > 0 ? named.slice(0, 2).join(", ") + (named.length > 2 ? ` and ${named.length - 2} more` : "") : kind;
  return `when she ${TRIGGERS[on]} ${where}`;
}

export const STATES: Record<State, { tone: "good" | "accent" | "neutral" | "warning"; says: string }> = {
  live: { tone: "good", says: "It speaks to everybody whom it fits." },
  test: { tone: "accent", says: "It speaks to its test customers only." },
  draft: { tone: "neutral", says: "It speaks to nobody and leaves no record." },
  paused: { tone: "warning", says: "It speaks to nobody; what it would have done is put on record." },
};
