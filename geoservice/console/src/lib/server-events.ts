/** Server-sent events over fetch, as the HTML standard has them: an EventSource cannot send a key. */

export interface ServerEvent {
  readonly event: string;
  readonly id: string | undefined;
  readonly data: string;
}

/** Services say at least every 15 s that they are there; a line that is silent for longer is dead, and nobody told. */
const SILENT_MS = 45_000;

/** Gives each event with data until the line ends; throws when it breaks or falls silent. */
export async function* serverEvents(body: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<ServerEvent> {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await withinSilence(reader.read());
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const event = parsed(block);
        if (event) yield event;
      }
    }
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}

async function withinSilence<Piece>(piece: Promise<Piece>): Promise<Piece> {
  let timer = 0;
  const silence = new Promise<never>((_, reject) => {
    timer = window.setTimeout(() => reject(new Error("The line fell silent.")), SILENT_MS);
  });
  return Promise.race([piece, silence]).finally(() => clearTimeout(timer));
}

function parsed(block: string): ServerEvent | undefined {
  const lines = block.split("\n");
  const all = (name: string) => lines.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2));
  const data = all("data");
  return data.length > 0 ? { event: all("event").at(-1) ?? "message", id: all("id").at(-1), data: data.join("\n") } : undefined;
}
