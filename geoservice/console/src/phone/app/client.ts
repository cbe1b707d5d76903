/**
 * The customer's side of the API. Every call carries her token; what it answers is typed by the service's own OpenAPI
 * document. This folder, `app/`, is what an app needs and knows nothing of screens, maps or the demo.
 */
import createClient from "openapi-fetch";
import { fetchInTime, ok, Problem, type Schemas } from "../../lib/api";
import type { paths } from "../../lib/schema";

export { ok, Problem, type Schemas };

export type Api = ReturnType<typeof connect>;

/** Calls in her name. `onExpired` is told when the token no longer holds: get a new one and connect again. */
export function connect(token: string, onExpired: () => void) {
  const api = createClient<paths>({ baseUrl: location.origin, fetch: fetchInTime });
  api.use({
    onRequest: ({ request }) => {
      request.headers.set("Authorization", `Bearer ${token}`);
    },
    onResponse: ({ response }) => {
      if (response.status === 401) onExpired();
    },
  });
  return api;
}

/** A body without the fields that stay at their defaults; the generated types name all of them. */
export function fields<Body extends object>(given: Partial<Body>): Body {
  return given as Body;
}

/** Whose token it is. Only the service can tell whether it holds; this is for showing it. */
export function customerOf(token: string): string | undefined {
  try {
    const claims = (token.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/");
    const { sub } = JSON.parse(atob(claims)) as { sub?: unknown };
    return typeof sub === "string" ? sub : undefined;
  } catch {
    return undefined;
  }
}
