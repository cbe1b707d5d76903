/** The facts of a check for people: names and values in words, coordinates never (there are none). */
import { count, duration, moment, words } from "../../lib/format";

export interface Fact {
  name: string;
  value: string;
}

const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d/;
const SECONDS = /_s$/;

export function factsInWords(facts: object): Fact[] {
  return Object.entries(facts).flatMap(([name, value]) => written(name, value as unknown));
}

function written(name: string, value: unknown): Fact[] {
  if (value === null || value === undefined) return [{ name: words(name), value: "not on record" }];
  if (isPlain(value)) {
    // What belongs together stands together: one line for the thing, its parts after one another.
    const parts = Object.entries(value).map(([part, each]) => `${words(part).toLowerCase()} ${inWords(part, each)}`);
    return [{ name: words(name), value: parts.join(" · ") || "none" }];
  }
  return [{ name: words(name.replace(SECONDS, "")), value: inWords(name, value) }];
}

function inWords(name: string, value: unknown): string {
  if (value === null || value === undefined) return "not on record";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return SECONDS.test(name) ? duration(value) : Number.isInteger(value) ? count(value) : String(value);
  if (typeof value === "string") return INSTANT.test(value) ? moment(value) : value;
  if (Array.isArray(value)) return value.length === 0 ? "none" : value.map((each) => inWords(name, each)).join("; ");
  return Object.entries(value)
    .map(([part, each]) => `${words(part).toLowerCase()} ${inWords(part, each)}`)
    .join(", ");
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
