/** The service's API, typed by its own OpenAPI document. `await ok(api.GET("/v1/stores"))` gives data or throws Problem. */
import createClient, { type Middleware } from "openapi-fetch";
import type { components, paths } from "./schema";
import { session, signOutRevoked } from "./session";

export type Schemas = components["schemas"];
export type ErrorPlace = Schemas["ErrorPlace"];

/** An answer that is no good one, or none at all (status 0). `message` is a sentence to show. */
export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  readonly title: string;
  readonly errors: readonly ErrorPlace[];
  /** All that the problem document says, for codes that bring more. */
  readonly document: Readonly<Record<string, unknown>>;

  constructor(status: number, document: Readonly<Record<string, unknown>>) {
    super(typeof document.detail === "string" ? document.detail : `The service answered with ${status}.`);
    this.name = "Problem";
    this.status = status;
    this.code = typeof document.code === "string" ? document.code : "unknown";
    this.title = typeof document.title === "string" ? document.title : "Something went wrong";
    this.errors = Array.isArray(document.errors) ? (document.errors as ErrorPlace[]) : [];
    this.document = document;
  }
}

/** Nobody waits longer for an answer; the service itself gives up sooner on all but the largest files. */
const SLOWEST_MS = 120_000;

const TOO_SLOW = {
  code: "too_slow",
  title: "No answer in time",
  detail: "The service did not answer within two minutes. It may have done what was asked: look before you try again.",
};

const UNREACHABLE = {
  code: "unreachable",
  title: "No answer",
  detail: "The service does not answer. Check your connection; what you see may be out of date.",
};

const signed: Middleware = {
  onRequest: ({ request }) => {
    const key = session.value?.key;
    if (key !== undefined && !request.headers.has("Authorization")) request.headers.set("Authorization", `Bearer ${key}`);
  },
  onResponse: ({ request, response }) => {
    const key = session.value?.key;
    const ours = key !== undefined && request.headers.get("Authorization") === `Bearer ${key}`;
    if (ours && response.status === 401) signOutRevoked();
  },
};

/** As fetch, but not for ever. */
export function fetchInTime(request: Request): Promise<Response> {
  return fetch(request, { signal: AbortSignal.any([request.signal, AbortSignal.timeout(SLOWEST_MS)]) });
}

export const api = createClient<paths>({ baseUrl: location.origin, fetch: fetchInTime });
api.use(signed);

type Answer<Data> = Promise<{ data?: Data; error?: unknown; response: Response }>;

/** Gives the data of a good answer; throws Problem otherwise. */
export async function ok<Data>(answer: Answer<Data>): Promise<Data> {
  const { data, error, response } = await answer.catch((failure: unknown) => {
    if (failure instanceof DOMException && failure.name === "AbortError") throw failure;
    throw new Problem(0, failure instanceof DOMException && failure.name === "TimeoutError" ? TOO_SLOW : UNREACHABLE);
  });
  if (response.ok) return data as Data;
  throw new Problem(response.status, typeof error === "object" && error !== null ? (error as Record<string, unknown>) : {});
}

/** Whether a path leads to a place or into it. */
export function isAt(path: string, place: string): boolean {
  return path === place || path.startsWith(`${place}.`) || path.startsWith(`${place}[`);
}

/** What is wrong at a place or inside it. */
export function wrongAt(errors: readonly ErrorPlace[], place: string): string | undefined {
  const found = errors.filter(({ path }) => isAt(path, place));
  return found.length > 0 ? found.map(({ message }) => message).join("; ") : undefined;
}

/** The header by which one customer's records are asked for; put on record. Headers hold bytes: this is the text's UTF-8. */
export function accessReason(reason: string): { "Access-Reason": string } {
  const bytes = new TextEncoder().encode(reason.trim().replace(/\s+/g, " "));
  return { "Access-Reason": Array.from(bytes, (byte) => String.fromCharCode(byte)).join("") };
}

/** Turns whatever was thrown into words. */
export function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
