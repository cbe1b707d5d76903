/** Server-sent events over fetch: an EventSource cannot send a key. Goes on after the last event when the line breaks. */
import type { Schemas } from "../../lib/api";
import { session, signOut } from "../../lib/session";

export type Item = Schemas["LiveNews"]["items"][number];
export type Line = "connecting" | "open" | "broken";

const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 10_000;

export interface Watcher {
  onItems: (items: readonly Item[]) => void;
  onSkipped: () => void;
  onLine: (line: Line) => void;
}

/** Watches until the signal aborts. */
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
      if (response.status === 401) return signOut("Your API key no longer holds: it was revoked. Sign in with another one.");
      if (response.status === 422) last = undefined; // of another database: begin anew
      if (!response.ok || response.body === null) throw new Error(`status ${response.status}`);
      watcher.onLine("open");
      wait = FIRST_RETRY_MS;
      for await (const event of events(response.body)) {
        last = event.id ?? last;
        if (event.data === undefined) continue;
        const news = JSON.parse(event.data) as Schemas["LiveNews"];
        if (news.skipped) watcher.onSkipped();
        if (news.items.length > 0) watcher.onItems(news.items);
      }
    } catch {
      if (abort.aborted) return;
    }
    watcher.onLine("broken");
    await sleep(wait, abort);
    wait = Math.min(wait * 2, LONGEST_RETRY_MS);
  }
}

interface ServerEvent {
  id?: string;
  data?: string;
}

async function* events(body: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<ServerEvent> {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) yield parsed(block);
  }
}

function parsed(block: string): ServerEvent {
  const event: ServerEvent = {};
  for (const line of block.split("\n")) {
    if (line.startsWith("id: ")) event.id = line.slice(4);
    else if (line.startsWith("data: ")) event.data = (event.data ?? "") + line.slice(6);
  }
  return event;
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

