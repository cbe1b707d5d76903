/** Numbers, times and names for people: in English, as all words of the pages are, and as the reader writes English. */

export const LANGUAGE = /^en\b/i.test(navigator.language) ? navigator.language : "en-GB";

const whole = new Intl.NumberFormat(LANGUAGE);
const short = new Intl.NumberFormat(LANGUAGE, { notation: "compact", maximumFractionDigits: 1 });
const dayAndTime = new Intl.DateTimeFormat(LANGUAGE, { dateStyle: "medium", timeStyle: "short" });
const timeOnly = new Intl.DateTimeFormat(LANGUAGE, { timeStyle: "medium" });
const dayOnly = new Intl.DateTimeFormat(LANGUAGE, { day: "numeric", month: "short", timeZone: "UTC" });
const languages = new Intl.DisplayNames(LANGUAGE, { type: "language" });
const apart = new Intl.RelativeTimeFormat(LANGUAGE, { numeric: "auto" });

export const count = (value: number): string => whole.format(value);
export const compact = (value: number): string => short.format(value);
export const moment = (instant: string | number | Date): string => dayAndTime.format(new Date(instant));
export const timeOfDay = (instant: string | number | Date): string => timeOnly.format(new Date(instant));

/** A calendar day such as 2026-03-11, in no time zone. */
export const calendarDay = (day: string): string => dayOnly.format(new Date(day));

/** "1 geofence", "2 geofences". */
export function counted(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

const UNITS: readonly [Intl.RelativeTimeFormatUnit, number][] = [
  ["year", 31_557_600],
  ["month", 2_629_800],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

/** "3 hours ago", "in 2 days". */
export function ago(instant: string | number | Date, now: number = Date.now()): string {
  const seconds = (new Date(instant).getTime() - now) / 1000;
  const [unit, size] = UNITS.find(([, each]) => Math.abs(seconds) >= each) ?? (["second", 1] as const);
  return apart.format(Math.round(seconds / size), unit);
}

/** "de-CH" -> "Swiss High German"; a tag that is none stays as it is. */
export function languageName(tag: string): string {
  try {
    return languages.of(tag) ?? tag;
  } catch {
    return tag;
  }
}

const SPANS: readonly [string, number][] = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
];

/** 7200 -> "2 hours". */
export function duration(seconds: number): string {
  const [unit, size] = SPANS.find(([, each]) => seconds >= each && seconds % each === 0) ?? ["second", 1];
  return counted(seconds / size, unit);
}

/** Metres as "150 m" or "2.4 km". */
export function metres(value: number): string {
  return value < 1000 ? `${Math.round(value)} m` : `${whole.format(Math.round(value / 100) / 10)} km`;
}

/** snake_case as words: "in_store" -> "In store". */
export function words(code: string): string {
  const text = code.replace(/[_-]+/g, " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}
