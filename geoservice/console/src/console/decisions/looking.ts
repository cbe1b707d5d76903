/** Whom she looks at and why: kept in memory until she signs out, in no address and no store. */
import { effect, signal } from "@preact/signals";
import { accessReason } from "../../lib/api";
import { session } from "../../lib/session";

export interface Looking {
  customerId: string;
  reason: string;
}

export const looking = signal<Looking | null>(null);

// The next one who signs in here says why for herself.
effect(() => {
  if (session.value === null) looking.value = null;
});

/** The header for one customer's records, if a reason was given. */
export function asked(): { headers?: { "Access-Reason": string } } {
  return looking.value ? { headers: accessReason(looking.value.reason) } : {};
}
