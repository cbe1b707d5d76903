/** How far she is in the shoe story. */
import { computed, signal } from "@preact/signals";

export const STEPS = [
  ["allowed", "Say what the shop may do", "On the phone: switch on all three, and Running. Nothing is ticked for you."],
  ["looked", "Look at two pairs of running shoes", "In the shop tab. Buy neither."],
  ["waited", "Let a week pass", "On the street, with the button under the time."],
  ["pushed", "Walk past the store", "On the street: play the walk, or drag the phone along the map. The push comes on its own."],
  ["read", "Tap it, and read why you got it", "Say what you think of it, if you like."],
  ["bought", "Buy a pair", "In the shop tab."],
  ["silent", "Walk past again", "Another week later, if you like. Now there is silence, with its reason."],
] as const;

export type StoryStep = (typeof STEPS)[number][0];

const PLACE = "geoservice.phone.story";

export const done = signal<ReadonlySet<StoryStep>>(new Set(JSON.parse(sessionStorage.getItem(PLACE) ?? "[]") as StoryStep[]));

/** The first thing that she has not done yet; none at the end. */
export const next = computed(() => STEPS.find(([step]) => !done.value.has(step))?.[0]);

export function happened(step: StoryStep): void {
  if (done.peek().has(step)) return;
  done.value = new Set([...done.peek(), step]);
  sessionStorage.setItem(PLACE, JSON.stringify([...done.peek()]));
}

const pairs = new Set<string>();

/** She looked at this pair; two are the story's second step. */
export function lookedAt(pair: string): void {
  pairs.add(pair);
  if (pairs.size >= 2) happened("looked");
}

export function anew(): void {
  pairs.clear();
  sessionStorage.removeItem(PLACE);
  done.value = new Set();
}
