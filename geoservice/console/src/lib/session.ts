/** Who is signed in: an API key, kept for this browser tab's session only. */
import { signal } from "@preact/signals";

export type Role = "ops" | "server" | "support" | "officer";

export interface Session {
  readonly key: string;
  /** What the key is called in the audit log. */
  readonly name: string;
  readonly roles: readonly Role[];
}

const PLACE = "geoservice.key";

/** null: nobody. undefined: not known yet, a kept key is being checked. */
export const session = signal<Session | null | undefined>(undefined);
/** Why the last session ended, for the sign-in page. */
export const ended = signal("");

export function keptKey(): string | null {
  return sessionStorage.getItem(PLACE);
}

export function keep(signedIn: Session): void {
  sessionStorage.setItem(PLACE, signedIn.key);
  ended.value = "";
  session.value = signedIn;
}

export function signOut(why = ""): void {
  sessionStorage.removeItem(PLACE);
  ended.value = why;
  session.value = null;
}

/** After an answer of 401: what was typed and not saved waits in the page for whoever signs in again. */
export function signOutRevoked(): void {
  signOut("Your API key no longer holds: it was revoked. Sign in with another one.");
}

export function holds(...roles: Role[]): boolean {
  return session.value?.roles.some((role) => roles.includes(role)) ?? false;
}
