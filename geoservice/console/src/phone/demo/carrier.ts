/**
 * Carries the phone about: each step lets the time pass that it takes, and sends where the phone is then.
 *
 * So a walk of eight minutes takes seconds, and to the service it is eight minutes: fixes come as far apart as a phone
 * in a pocket sends them, and each with the time that it is in the demo. Without a demo time is real, and each
 * step is one fix, now.
 */
import { signal } from "@preact/signals";
import { isLater } from "../app/pings";
import { readPresence, type Presence } from "../app/presence";
import { wordsOf } from "../../lib/api";
import { isStill } from "../../lib/map/map-view";
import { city, demo, locked, now, setTime, type Phone } from "../state";
import { letPass, readDecisions, type Decided } from "./service";
import { done, happened } from "./story";
import { metresBetween, walkTo, type Place, type Step } from "./walks";

/** One line of what happened. */
export interface Entry {
  readonly key: number;
  readonly at: Date;
  readonly kind: "place" | "sent" | "silence" | "ignored" | "trouble";
  readonly text: string;
  readonly detail?: string | undefined;
  /** Of the decision, for operations. */
  readonly decision?: string;
}

const GLIDE_MS = 800;
const SHOWN = 30;
/** On foot as far as this; a hand that drags further takes the bike. */
const ON_FOOT_M = 3_000;
const BIKE_MPS = 4.5;

const IGNORED: Readonly<Record<string, string>> = {
  no_location_consent: "You have not allowed the use of your location: the positions were dropped at the door, nothing was stored.",
  sensitive_place: "A sensitive place: the position was dropped at the door, nothing was stored.",
  out_of_order: "Older than what the service knows already.",
  mock: "A made-up position counts for nothing.",
};

/** Whether it believes her there; the other states are doubts. */
const isThere = ({ state }: Presence): boolean => state === "inside";

/** What the service believes, in a few words: near a store, in it, in a department. */
export function belief(presence: readonly Presence[]): string {
  const there = presence.filter(isThere).map(where);
  if (there.length > 0) return there.join(", ");
  return presence.some(({ kind }) => kind === "approach") ? "perhaps near a store" : "near no store";
}

function where({ name, geofence_id, kind }: Presence): string {
  const place = (name ?? geofence_id).replace(`${city.peek()?.retailer ?? ""} `, "");
  return kind === "approach" ? place.replace(/^Near/, "near") : `in ${place}`;
}

export class Carrier {
  readonly at = signal<Place>({ lon: 0, lat: 0 });
  readonly accuracyM = signal(10);
  readonly walking = signal(false);
  readonly presence = signal<readonly Presence[]>([]);
  readonly entries = signal<readonly Entry[]>([]);
  private readonly phone: Phone;
  private steps: (Step & { readonly shown?: boolean })[] = [];
  private after: number | undefined;
  private key = 0;
  private ignored = "";

  constructor(phone: Phone, start: Place) {
    this.phone = phone;
    this.at.value = start;
  }

  /** Goes these steps one after the other; another walk under way ends. */
  play(steps: readonly Step[]): void {
    this.stop();
    this.go(steps);
  }

  /** Goes on to a place where the hand has put the phone already. */
  follow(to: Place): void {
    const from = this.steps.at(-1) ?? this.at.peek();
    const far = metresBetween(from, to);
    const steps = far > ON_FOOT_M ? [{ ...to, seconds: far / BIKE_MPS, speedMps: BIKE_MPS }] : walkTo(from, to);
    this.at.value = to;
    this.go(steps.map((step) => ({ ...step, shown: true })));
  }

  stop(): void {
    this.steps = [];
  }

  /** Sends where the phone is, without a step. */
  here(): void {
    this.go([{ ...this.at.peek(), seconds: 30, speedMps: 0, shown: true } as Step]);
  }

  private go(steps: readonly Step[]): void {
    this.steps.push(...steps);
    locked.value = true; // it is in her pocket
    if (!this.walking.peek()) void this.run();
  }

  private async run(): Promise<void> {
    this.walking.value = true;
    this.ignored = "";
    try {
      if (this.after === undefined) await this.catchUp();
      for (let step = this.steps.shift(); step; step = this.steps.shift()) {
        if (!step.shown) await this.glide(step);
        if (demo.value) setTime(await letPass(this.phone.token, step.seconds));
        await this.send(step);
        await this.look();
      }
    } catch (error) {
      this.steps = [];
      this.note({ kind: "trouble", text: wordsOf(error) });
    }
    this.walking.value = false;
  }

  private async send(step: Step): Promise<void> {
    const { pings } = this.phone;
    const { lon, lat, speedMps } = step;
    pings.add({ recordedAt: now(), lon, lat, accuracyM: this.accuracyM.peek(), ...(demo.value && { speedMps }) });
    try {
      const receipt = await pings.flush();
      const reason = receipt?.ignored.at(-1)?.reason ?? "";
      if (reason && reason !== this.ignored) {
        this.note({ kind: "ignored", text: IGNORED[reason] ?? reason });
        if (done.peek().has("bought")) happened("silent");
      }
      this.ignored = reason;
    } catch (error) {
      if (!isLater(error)) throw error;
      this.note({ kind: "trouble", text: `No connection: ${pings.count} positions wait on the phone.` });
    }
  }

  /** Looks what the service believes and decided. */
  async look(): Promise<void> {
    const before = new Set(this.presence.peek().filter(isThere).map(where));
    const presence = await readPresence(this.phone.api, this.phone.device);
    this.presence.value = presence;
    for (const place of presence.filter(isThere).map(where)) {
      if (!before.has(place)) this.note({ kind: "place", text: `The service believes you ${place}.` });
    }
    if (!demo.value) return;
    const { items, after } = await readDecisions(this.phone.token, this.after ?? 0);
    this.after = after;
    this.tell(items);
  }

  /** What was decided before this page was opened is no news. */
  private async catchUp(): Promise<void> {
    this.after = 0;
    if (!demo.value) return;
    for (let more = true; more; ) {
      const { items, after } = await readDecisions(this.phone.token, this.after);
      this.after = after;
      more = items.length > 0;
    }
  }

  private tell(decided: readonly Decided[]): void {
    const news = decided.filter(isNews);
    for (const each of news.length > 0 ? news : onceEach(decided)) {
      const sent = each.outcome !== "suppress";
      this.note({
        kind: sent ? "sent" : "silence",
        text: sent ? `A message goes out: ${each.campaign}.` : (each.sentence ?? `Silence: ${each.reason ?? ""}.`),
        detail: sent ? undefined : each.campaign,
        decision: each.id,
      });
      if (!sent && done.peek().has("bought")) happened("silent");
    }
  }

  private note(entry: Omit<Entry, "key" | "at">): void {
    this.entries.value = [{ ...entry, key: ++this.key, at: now() }, ...this.entries.peek()].slice(0, SHOWN);
  }

  /** Moves the phone on the map from here to there. */
  private async glide(to: Place): Promise<void> {
    const from = this.at.peek();
    const started = performance.now();
    while (!isStill()) {
      const share = Math.min((performance.now() - started) / GLIDE_MS, 1);
      this.at.value = { lon: from.lon + (to.lon - from.lon) * share, lat: from.lat + (to.lat - from.lat) * share };
      if (share === 1) return;
      await new Promise((resolve) => requestAnimationFrame(resolve));
    }
    this.at.value = { lon: to.lon, lat: to.lat };
  }
}

/** Campaigns about other things than hers are silent all the time: that is no news, unless there is no other. */
const NO_NEWS: ReadonlySet<string> = new Set(["context_not_met", "topic_off"]);
const isNews = ({ reason }: Decided): boolean => !NO_NEWS.has(reason ?? "");

/** One of each reason. */
function onceEach(decided: readonly Decided[]): readonly Decided[] {
  return [...new Map(decided.map((each) => [each.reason, each])).values()];
}
