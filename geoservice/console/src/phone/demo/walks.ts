/** How a phone moves: ways as steps of a walk, each with the time that it takes. Metres, seconds, degrees. */

export interface Place {
  readonly lon: number;
  readonly lat: number;
}

export interface Step extends Place {
  /** Since the step before. */
  readonly seconds: number;
  readonly speedMps: number;
}

export const WALK_MPS = 1.4;
/** A fix each so often, as a phone in a pocket measures; two that are closer than 30 s are one witness. */
const EVERY_S = 50;
const BIKE_MPS = 4.5;
/** Who starts further away than this takes the bike there first. */
const WALKABLE_M = 1_200;
/** The service resumes a visit within ten minutes: a new walk begins after more. */
const BETWEEN_S = 15 * 60;
const METRES_PER_DEGREE = 111_320;
/** Where a walk to a store begins, east and north of it: a few minutes away, and near no other. */
export const START_M = [250, 345] as const;

export function metresBetween(a: Place, b: Place): number {
  const east = (b.lon - a.lon) * METRES_PER_DEGREE * Math.cos((a.lat * Math.PI) / 180);
  const north = (b.lat - a.lat) * METRES_PER_DEGREE;
  return Math.hypot(east, north);
}

export function moved(from: Place, eastM: number, northM: number): Place {
  return {
    lon: from.lon + eastM / (METRES_PER_DEGREE * Math.cos((from.lat * Math.PI) / 180)),
    lat: from.lat + northM / METRES_PER_DEGREE,
  };
}

/** A straight way on foot, a fix each 50 s; the start is not part of it. */
export function walkTo(from: Place, to: Place): Step[] {
  const far = metresBetween(from, to);
  const count = Math.max(1, Math.round(far / (WALK_MPS * EVERY_S)));
  const seconds = Math.max(far / WALK_MPS / count, 30);
  return Array.from({ length: count }, (_, index) => {
    const share = (index + 1) / count;
    return {
      lon: from.lon + (to.lon - from.lon) * share,
      lat: from.lat + (to.lat - from.lat) * share,
      seconds,
      speedMps: far / count / seconds,
    };
  });
}

/** Standing about, within a few metres. */
export function stay(at: Place, minutes: number): Step[] {
  return Array.from({ length: minutes * 2 }, (_, index) => ({
    ...moved(at, index % 2 ? 3 : -3, index % 3 ? 2 : -2),
    seconds: 30,
    speedMps: 0.1,
  }));
}

/** To where a walk to `store` begins: here, if that is a walk away; else there, some time later. */
function begin(here: Place, store: Place): { readonly from: Place; readonly steps: Step[] } {
  const far = metresBetween(here, store);
  if (far > 350 && far <= WALKABLE_M) return { from: here, steps: [] };
  const from = moved(store, ...START_M);
  const seconds = Math.max(BETWEEN_S, metresBetween(here, from) / BIKE_MPS);
  return { from, steps: [{ ...from, seconds, speedMps: 0 }] };
}

export type Way = "past" | "into" | "away";

/** A prepared walk from here: past the store and on, into it for eight minutes, or away from it. */
export function prepared(way: Way, here: Place, store: Place): Step[] {
  if (way === "away") {
    const south = here.lat < store.lat ? -1 : 1;
    return walkTo(here, moved(store, 60, south * 600));
  }
  const { from, steps } = begin(here, store);
  if (way === "into") return [...steps, ...walkTo(from, store), ...stay(store, 8)];
  const beside = moved(store, 80, 0);
  const on = { lon: beside.lon + (store.lon - from.lon) * 0.95, lat: beside.lat + (store.lat - from.lat) * 0.95 };
  return [...steps, ...walkTo(from, beside), ...walkTo(beside, on)];
}
