/** What the page knows: who she is, what the phone shows, where it is. Screens read it, and the parts below change it. */
import { computed, signal } from "@preact/signals";
import { api as anybody, ok } from "../lib/api";
import { LANGUAGE } from "../lib/format";
import { connect, customerOf, Problem, type Api } from "./app/client";
import { readConsents, readNotice, type Notice } from "./app/consents";
import { deviceId, register } from "./app/device";
import { readMessages, tell, type Message, type Push } from "./app/messages";
import { Pings } from "./app/pings";
import { allowsTheFirst } from "./screens/purposes";
import { anew, happened } from "./demo/story";
import { forgetPushes, handOut, listen, readCity, readTime, type City, type Moment } from "./demo/service";

/** A phone that is signed in. */
export interface Phone {
  readonly customer: string;
  readonly device: string;
  readonly token: string;
  readonly api: Api;
  readonly pings: Pings;
  readonly notice: Notice;
}

/** In a narrow window: which of the two is in front. */
export const view = signal<"phone" | "street">("phone");

export type Tab = "shop" | "inbox" | "settings";

export const demo = signal(false);
export const phone = signal<Phone | undefined>();
/** Why the page cannot go on, if it cannot. */
export const broken = signal<unknown>(undefined);
export const signedOut = signal<string | undefined>(undefined);
export const city = signal<City | undefined>();
export const connected = signal(true);

export const tab = signal<Tab>("shop");
export const opened = signal<string | undefined>();
/** Whether she has answered the first questions. */
export const asked = signal(true);
export const locked = signal(false);
export const messages = signal<readonly Message[] | undefined>();
/** Pushes that the phone shows and nobody has touched yet, newest first. */
export const notifications = signal<readonly Push[]>([]);
/** What is waiting to be read: the badge of the inbox. */
export const unread = computed(
  () => messages.value?.filter((each) => !each.timeline.some(({ what }) => what === "opened" || what === "dismissed")).length ?? 0,
);

// The time ---------------------------------------------------------------------------------------------------------

/** How far the service's time is ahead of this machine's: nothing, but in a demo. */
const aheadMs = signal(0);
export const timezone = signal(Intl.DateTimeFormat().resolvedOptions().timeZone);
/** Ticks, so that clocks on the page go on. */
export const tick = signal(0);
setInterval(() => (tick.value += 1), 1000);

export const now = (): Date => new Date(Date.now() + aheadMs.peek());

export function setTime(moment: Moment): void {
  aheadMs.value = new Date(moment.now).getTime() - Date.now();
  timezone.value = moment.timezone;
  tick.value += 1;
}

/** A moment on her clock: inTime({ hour: "2-digit" ... }). */
export function onHerClock(instant: Date | string, how: Intl.DateTimeFormatOptions): string {
  return new Intl.DateTimeFormat("en-GB", { timeZone: timezone.value, ...how }).format(new Date(instant));
}

// Signing in -------------------------------------------------------------------------------------------------------

const TOKEN = "geoservice.phone.token";
let listening = new AbortController();

/** Finds out where it runs, and goes on with the phone that this tab had. */
export async function begin(): Promise<void> {
  try {
    demo.value = (await ok(anybody.GET("/pages.json"))).demo;
    if (demo.value) {
      const [moment, sample] = await Promise.all([readTime(), readCity()]);
      setTime(moment);
      city.value = sample;
    }
    const kept = sessionStorage.getItem(TOKEN);
    if (kept !== null && (await goOn(kept))) return;
    if (demo.value) await startOver();
    else signedOut.value = "";
  } catch (error) {
    broken.value = error;
  }
}

/** Whether the token that was kept still holds; a demo that was started again knows nobody. */
async function goOn(token: string): Promise<boolean> {
  try {
    await signIn(token);
    return true;
  } catch (error) {
    if (error instanceof Problem && error.status === 401) return false;
    throw error;
  }
}

/** A demo hands out a phone to whoever comes; somebody new unless named. */
export async function startOver(customer?: string): Promise<void> {
  forgetPushes();
  anew();
  const handout = await handOut(customer);
  await signIn(handout.token, handout.push_token);
}

export async function signIn(token: string, pushToken?: string): Promise<void> {
  const customer = customerOf(token);
  if (customer === undefined) throw new Error("This is no customer’s token: paste all of it.");
  listening.abort();
  listening = new AbortController();
  const device = deviceId();
  const api = connect(token, () => expired(token));
  const [notice, consents] = await Promise.all([readNotice(api), readConsents(api)]);
  sessionStorage.setItem(TOKEN, token);
  if (pushToken !== undefined) await register(api, device, pushToken, timezone.value, LANGUAGE);
  messages.value = undefined;
  notifications.value = [];
  opened.value = undefined;
  tab.value = "shop";
  locked.value = false;
  asked.value = consents.some((each) => each.recorded_at);
  if (allowsTheFirst(consents)) happened("allowed");
  signedOut.value = undefined;
  phone.value = { customer, device, token, api, notice, pings: new Pings(api, device, now) };
  if (demo.value) {
    const onConnected = (yes: boolean) => (connected.value = yes);
    const listener = { onPush: receive, onTime: setTime, onConnected, onForgotten: () => expired(token) };
    void listen(token, listener, listening.signal);
  }
  await refreshMessages();
}

function expired(token: string): void {
  if (phone.peek()?.token === token) signOut("Your token no longer holds.");
}

export function signOut(why = ""): void {
  listening.abort();
  sessionStorage.removeItem(TOKEN);
  phone.value = undefined;
  if (demo.value) startOver().catch((error: unknown) => (broken.value = error));
  else signedOut.value = why;
}

// Messages ---------------------------------------------------------------------------------------------------------

export async function refreshMessages(): Promise<void> {
  const hers = phone.peek();
  if (hers) messages.value = await readMessages(hers.api);
}

/** A push has come: the phone shows it, and says that it did. */
function receive(push: Push): void {
  const hers = phone.peek();
  if (!hers || notifications.peek().some((each) => each.messageId === push.messageId)) return;
  notifications.value = [push, ...notifications.peek()];
  happened("pushed");
  tell(hers.api, push.messageId, "delivered", now()).then(refreshMessages, () => undefined);
}

/** She tapped a notification, or opened a message in the list. */
export async function open(messageId: string): Promise<void> {
  notifications.value = notifications.peek().filter((each) => each.messageId !== messageId);
  locked.value = false;
  view.value = "phone";
  tab.value = "inbox";
  opened.value = messageId;
  const hers = phone.peek();
  if (hers) await tell(hers.api, messageId, "opened", now()).then(refreshMessages, () => undefined);
}

/** She wiped a notification away. */
export async function dismiss(messageId: string): Promise<void> {
  notifications.value = notifications.peek().filter((each) => each.messageId !== messageId);
  const hers = phone.peek();
  if (hers) await tell(hers.api, messageId, "dismissed", now()).then(refreshMessages, () => undefined);
}
