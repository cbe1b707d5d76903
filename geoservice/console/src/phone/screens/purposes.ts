/** What the app calls the purposes of consent, and in which order it asks. */
import type { Consent, Purpose } from "../app/consents";

export const NAMES: Readonly<Record<Purpose, string>> = {
  location: "Use my location near stores",
  marketing_push: "Send me messages",
  personalisation: "Use what I look at and buy",
  associate_sharing: "Show my notes to associates",
  insights: "Count me in statistics",
};

/** Asked at the first start: what a message near a store needs. The others wait in the settings. */
export const FIRST: readonly Purpose[] = ["location", "marketing_push", "personalisation"];

/** Whether she allows all that a message near a store needs. */
export const allowsTheFirst = (consents: readonly Consent[]): boolean =>
  FIRST.every((purpose) => consents.some((each) => each.purpose === purpose && each.granted));
