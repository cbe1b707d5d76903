/**
 * Positions on their way to the service: kept until it has them, sent in batches, oldest first.
 *
 * A 202 means durable, so what it answers to is dropped, what was rejected too: it would be rejected again. Without an
 * answer nothing is dropped; ids make sure that nothing counts twice.
 */
import { fields, ok, Problem, type Api, type Schemas } from "./client";

export type Receipt = Schemas["PingsAnswer"];

/** A position as the phone measured it; the accuracy is the 68 % radius. */
export interface Fix {
  readonly recordedAt: Date;
  readonly lon: number;
  readonly lat: number;
  readonly accuracyM: number;
  readonly speedMps?: number;
}

/** The service takes more; a phone that was offline for a day has a few hundred. */
const BATCH = 500;
/** The oldest go when a phone was offline for so long that they say nothing any more. */
const KEPT = 5_000;

interface Kept extends Fix {
  readonly id: string;
}

export class Pings {
  private waiting: Kept[] = [];
  private sending: Promise<Receipt | undefined> = Promise.resolve(undefined);
  private readonly api: Api;
  private readonly device: string;
  private readonly now: () => Date;

  constructor(api: Api, device: string, now: () => Date) {
    this.api = api;
    this.device = device;
    this.now = now;
  }

  get count(): number {
    return this.waiting.length;
  }

  add(fix: Fix): void {
    this.waiting.push({ ...fix, id: crypto.randomUUID() });
    this.waiting = this.waiting.slice(-KEPT);
  }

  /** Sends what waits, one batch after the other; throws Problem, and keeps the rest, when the service has no answer. */
  flush(): Promise<Receipt | undefined> {
    this.sending = this.sending.catch(() => undefined).then(() => this.sendAll()); // one at a time: order matters
    return this.sending;
  }

  private async sendAll(): Promise<Receipt | undefined> {
    let receipt: Receipt | undefined;
    while (this.waiting.length > 0) {
      const batch = this.waiting.slice(0, BATCH);
      receipt = await this.send(batch);
      const sent = new Set(batch.map((each) => each.id));
      this.waiting = this.waiting.filter((each) => !sent.has(each.id));
    }
    return receipt;
  }

  private async send(batch: Kept[]): Promise<Receipt> {
    return ok(
      this.api.POST("/v1/pings", {
        body: {
          device_id: this.device,
          sent_at: this.now().toISOString(),
          pings: batch.map(({ id, recordedAt, lon, lat, accuracyM, speedMps }) =>
            fields<Schemas["Fix"]>({
              type: "location",
              id,
              recorded_at: recordedAt.toISOString(),
              lon,
              lat,
              accuracy_m: accuracyM,
              ...(speedMps !== undefined && { speed_mps: speedMps }),
            }),
          ),
        },
      }),
    );
  }
}

/** Whether it is worth trying again later: the service was not reached, or asked to come back. */
export function isLater(error: unknown): boolean {
  return error instanceof Problem && (error.status === 0 || error.status === 429 || error.status >= 500);
}
