/** What happens, as the service tells it. Goes on after the last event when the line breaks. */
import { Problem, type Schemas } from "../../lib/api";
import { serverEvents } from "../../lib/server-events";
import { session, signOutRevoked } from "../../lib/session";

export type Item = Schemas["LiveNews"]["items"][number];
export type Line = "connecting" | "open" | "broken";

const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 10_000;

interface Watcher {
  onItems: (items: readonly Item[]) => void;
  onSkipped: () => void;
  onLine: (line: Line) => void;
}

/** Watches until the signal aborts; throws Problem where it would be refused for ever. */
export async function watch(watcher: Watcher, abort: AbortSignal): Promise<void> {
  let last: string | undefined;
  let wait = FIRST_RETRY_MS;
  while (!abort.aborted) {
    try {
      const response = await fetch("/v1/live", {
        headers: { Authorization: `Bearer ${session.value?.key ?? ""}`, ...(last && { "Last-Event-ID": last }) },
        signal: abort,
        cache: "no-store",
      });
      if (response.status === 401) return signOutRevoked();
      if (response.status === 403) throw new Problem(403, (await response.json()) as Record<string, unknown>);
      if (response.status === 422) last = undefined; // of another database: begin anew
      if (!response.ok || response.body === null) throw new Error(`status ${response.status}`);
      watcher.onLine("open");
      wait = FIRST_RETRY_MS;
      for await (const { id, data } of serverEvents(response.body)) {
        last = id ?? last;
        const news = JSON.parse(data) as Schemas["LiveNews"];
        if (news.skipped) watcher.onSkipped();
        if (news.items.length > 0) watcher.onItems(news.items);
      }
    } catch (error) {
      if (abort.aborted) return;
      if (error instanceof Problem) throw error;
    }
    watcher.onLine("broken");
    await sleep(wait, abort);
    wait = Math.min(wait * 2, LONGEST_RETRY_MS);
  }
}

function sleep(ms: number, abort: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    abort.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

