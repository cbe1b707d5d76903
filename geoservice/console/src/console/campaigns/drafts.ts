/** What was changed and not saved yet, by campaign: it outlives a look at other pages, and signing in again. */
import type { Spec } from "./spec";

export interface Draft {
  readonly spec: Spec;
  /** The id that was typed for a new one. */
  readonly id: string | undefined;
  /** The version that it began with; a new one has none. */
  readonly version: number | undefined;
}

const drafts = new Map<string, Draft>();

addEventListener("beforeunload", (event) => {
  if (drafts.size > 0) event.preventDefault();
});

export const draftOf = (id: string): Draft | undefined => drafts.get(id);

export function keepDraft(id: string, draft: Draft | undefined): void {
  if (draft) drafts.set(id, draft);
  else drafts.delete(id);
}
