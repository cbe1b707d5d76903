/** A kind of geofence in small, as the map draws it: its colour, and its outline or hatching. */
import { KINDS, type Kind } from "./fences";

const DASHES: Readonly<Record<Kind, string>> = { approach: "3 2", store: "", department: "1.2 1.6", sensitive: "5 1.6" };

export function Swatch({ kind }: { kind: Kind }) {
  return (
    <svg class={`swatch swatch-${kind}`} viewBox="0 0 16 16" role="img" aria-label={KINDS[kind].label}>
      <rect x="1.5" y="1.5" width="13" height="13" rx="3" stroke-dasharray={DASHES[kind]} />
      {kind === "sensitive" && <path d="M3 10 10 3M4 13.5 13.5 4M8.5 14 14 8.5" />}
    </svg>
  );
}
