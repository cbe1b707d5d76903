/** Whom she looks at and why: kept in memory while the console is open, in no address and no store. */
import { signal } from "@preact/signals";
import { accessReason } from "../../lib/api";

export interface Looking {
  customerId: string;
  reason: string;
}

export const looking = signal<Looking | null>(null);

/** The header for one customer's records, if a reason was given. */
export function asked(): { headers?: { "Access-Reason": string } } {
  return looking.value ? { headers: accessReason(looking.value.reason) } : {};
}
