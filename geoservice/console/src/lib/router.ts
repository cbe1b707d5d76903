/** Addresses after the #: #/map/fence-id?kind=store. What stands there reaches no server, log or Referer. */
import { signal } from "@preact/signals";

export interface Place {
  readonly page: string;
  readonly path: readonly string[];
  readonly query: URLSearchParams;
}

function read(): Place {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
  const [page = "", ...rest] = path.split("/").filter(Boolean).map(decode);
  return { page, path: rest, query: new URLSearchParams(query) };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export const place = signal(read());
addEventListener("hashchange", () => {
  place.value = read();
});

type Query = Record<string, string | undefined>;

/** The address of a place: href(["map", id], { kind: "store" }). */
export function href(path: readonly string[], query: Query = {}): string {
  const given = Object.entries(query).filter((entry): entry is [string, string] => Boolean(entry[1]));
  const text = new URLSearchParams(given).toString();
  return `#/${path.map(encodeURIComponent).join("/")}${text && `?${text}`}`;
}

export function go(path: readonly string[], query: Query = {}, how: "push" | "replace" = "push"): void {
  const address = href(path, query);
  if (how === "push") {
    location.hash = address;
  } else {
    history.replaceState(null, "", address);
    place.value = read();
  }
}
