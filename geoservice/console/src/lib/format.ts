/** Numbers, times and sizes for people, in the browser's language. */

const whole = new Intl.NumberFormat();
const short = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const dayAndTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const timeOnly = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const apart = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });

export const count = (value: number): string => whole.format(value);
export const compact = (value: number): string => short.format(value);
export const moment = (instant: string | number | Date): string => dayAndTime.format(new Date(instant));
export const timeOfDay = (instant: string | number | Date): string => timeOnly.format(new Date(instant));

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

/** Metres as "150 m" or "2.4 km". */
export function metres(value: number): string {
  return value < 1000 ? `${Math.round(value)} m` : `${whole.format(Math.round(value / 100) / 10)} km`;
}

/** snake_case as words: "in_store" -> "In store". */
export function words(code: string): string {
  const text = code.replace(/[_-]+/g, " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}
