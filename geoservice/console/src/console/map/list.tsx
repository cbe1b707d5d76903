/** Search, kinds, and the list of what is found; the map shows the same. */
import { useEffect, useState } from "preact/hooks";
import { counted } from "../../lib/format";
import { href } from "../../lib/router";
import { Button } from "../../lib/ui/parts";
import { type Fence, type Kind, KIND_NAMES, KINDS } from "./fences";
import type { MapState } from "./state";
import { Swatch } from "./swatch";

const AT_ONCE = 100;
const TYPING_PAUSE_MS = 150;

export function FenceList({ state }: { state: MapState }) {
  const [typed, setTyped] = useState(state.search.value);
  const [most, setMost] = useState(AT_ONCE);
  const found = state.found.value;

  useEffect(() => {
    const later = setTimeout(() => {
      state.search.value = typed;
      setMost(AT_ONCE);
    }, TYPING_PAUSE_MS);
    return () => clearTimeout(later);
  }, [typed]);

  const toggle = (kind: Kind) => {
    const kinds = new Set(state.kinds.value);
    if (!kinds.delete(kind)) kinds.add(kind);
    state.kinds.value = kinds;
  };

  return (
    <>
      <div class="fence-search">
        <label class="visually-hidden" for="fence-search">
          Search geofences
        </label>
        <input
          id="fence-search"
          type="search"
          placeholder="Name, store, id or tag"
          value={typed}
          onInput={(event) => setTyped(event.currentTarget.value)}
        />
      </div>
      <div class="kinds" role="group" aria-label="Kinds that are shown">
        {KIND_NAMES.map((kind) => (
          <button
            key={kind}
            type="button"
            class="kind"
            aria-pressed={state.kinds.value.has(kind)}
            title={KINDS[kind].says}
            onClick={() => toggle(kind)}
          >
            <Swatch kind={kind} /> {KINDS[kind].many}
          </button>
        ))}
      </div>
      <p class="quiet" role="status">
        {counted(found.length, "geofence")}
      </p>
      <ul class="fence-list" aria-label="Geofences">
        {found.slice(0, most).map((fence) => (
          <li key={fence.id}>
            <a href={href(["map", "fence", fence.id])}>
              <Swatch kind={fence.properties.kind} />
              <span class="fence-name">{fence.properties.name}</span>
              <span class="quiet fence-where">
                {KINDS[fence.properties.kind].label}
                {storeBeside(state, fence)}
              </span>
            </a>
          </li>
        ))}
      </ul>
      {found.length > most && (
        <Button onClick={() => setMost(most + AT_ONCE)}>Show {Math.min(AT_ONCE, found.length - most)} more</Button>
      )}
    </>
  );
}

/** Its store, unless its own name has said it already. */
function storeBeside(state: MapState, { properties: { name, store_id } }: Fence): string {
  const store = state.storeName(store_id);
  return store && !name.includes(store) ? ` · ${store}` : "";
}
