/** What only a demo has: phones to hand out, the pushes of a stand-in for Firebase, and a time that can be moved. */
import type { FeatureCollection } from "geojson";
import type { Push } from "../app/messages";
import { Problem } from "../../lib/api";
import { serverEvents } from "../../lib/server-events";

export interface Handout {
  readonly customer_id: string;
  readonly token: string;
  readonly push_token: string;
}

export interface Item {
  readonly id: string;
  readonly name: string;
  readonly category: string;
  readonly topic: string;
  readonly price: number;
  readonly text: string;
}

export interface Store {
  readonly id: string;
  readonly name: string;
  readonly lat: number;
  readonly lon: number;
  readonly opening_hours: string | null;
  readonly is_open: boolean;
  readonly changes_at: string | null;
}

export interface City {
  readonly retailer: string;
  readonly topics: Readonly<Record<string, string>>;
  readonly items: readonly Item[];
  readonly stores: readonly Store[];
  readonly geofences: FeatureCollection;
}

/** A decision about her, in her words where there are any. */
export interface Decided {
  readonly id: string;
  readonly at: string;
  readonly campaign: string;
  readonly outcome: "send" | "defer" | "suppress";
  readonly geofence: string;
  readonly reason?: string;
  readonly sentence?: string;
}

export interface Moment {
  readonly now: string;
  readonly timezone: string;
}

async function call<Answer>(path: string, token = "", body?: unknown): Promise<Answer> {
  const response = await fetch(path, {
    method: body === undefined ? "GET" : "POST",
    headers: { ...(token && { Authorization: `Bearer ${token}` }), ...(body !== undefined && { "Content-Type": "application/json" }) },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  }).catch(() => {
    throw new Problem(0, { code: "unreachable", title: "No answer", detail: "The demo does not answer. Is it still running?" });
  });
  const answer: unknown = await response.json().catch(() => ({}));
  if (!response.ok) throw new Problem(response.status, answer as Record<string, unknown>);
  return answer as Answer;
}

export const handOut = (customer?: string) => call<Handout>("/demo/phones", "", customer === undefined ? {} : { customer_id: customer });
export const readCity = () => call<City>("/demo/city");
export const readTime = () => call<Moment>("/demo/time");
export const letPass = (token: string, seconds: number) => call<Moment>("/demo/time", token, { forward_s: seconds });
export const untilOpen = (token: string, store: string) => call<Moment>("/demo/time", token, { opening_of: store });
export const readDecisions = (token: string, after: number) =>
  call<{ items: Decided[]; after: number }>(`/demo/decisions?after=${after}`, token);

interface Arrived {
  readonly number: number;
  readonly message_id: string;
  readonly title: string;
  readonly body: string;
}

export interface Listener {
  readonly onPush: (push: Push) => void;
  readonly onTime: (moment: Moment) => void;
  readonly onConnected: (connected: boolean) => void;
  /** The demo was started again, and knows her no more. */
  readonly onForgotten: () => void;
}

const PLACE = "geoservice.phone.pushes";
const AGAIN_MS = 1000;

/** Listens as the operating system does for Firebase, until told to stop; what came meanwhile comes when it is back. */
export async function listen(token: string, listener: Listener, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      const after = sessionStorage.getItem(PLACE);
      const response = await fetch(`/demo/stream${after === null ? "" : `?after=${after}`}`, {
        headers: { Authorization: `Bearer ${token}` },
        signal,
      });
      if (response.status === 401) return listener.onForgotten();
      if (!response.ok || response.body === null) throw new Error(String(response.status));
      listener.onConnected(true);
      for await (const { event, data } of serverEvents(response.body)) {
        if (event === "time") listener.onTime(JSON.parse(data) as Moment);
        if (event === "push") {
          const push = JSON.parse(data) as Arrived;
          sessionStorage.setItem(PLACE, String(push.number));
          listener.onPush({ messageId: push.message_id, title: push.title, body: push.body });
        }
      }
    } catch {
      // Not there, or gone: try again below.
    }
    if (signal.aborted) return;
    listener.onConnected(false);
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

export function forgetPushes(): void {
  sessionStorage.removeItem(PLACE);
}
