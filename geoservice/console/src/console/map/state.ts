/** What the parts of the map page share: the catalogue, what is looked for, what lies on the map, and the map itself. */
import { computed, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import type { Position } from "geojson";
import { api, ok, type Schemas } from "../../lib/api";
import { isStill, type MapLibre } from "../../lib/map/map-view";
import { type Drawn, outline } from "./fence-layers";
import { type Bounds, boundsOf, type Fence, type Kind, KIND_NAMES, matches } from "./fences";

export type Store = Schemas["StoreAnswer"];

export interface Mark {
  readonly number: number;
  readonly at: Position;
}

/** What is shown over the fences: a file that is being checked, or a version. */
export interface Overlay {
  readonly features: readonly Drawn[];
  /** As they were before, outlined only. */
  readonly before?: readonly Drawn[];
  /** Places with the numbers that the list beside the map gives them. */
  readonly marks?: readonly Mark[];
}

export interface MapState {
  readonly fences: Signal<readonly Fence[] | undefined>;
  readonly stores: Signal<readonly Store[]>;
  readonly error: Signal<unknown>;
  readonly kinds: Signal<ReadonlySet<Kind>>;
  readonly search: Signal<string>;
  /** Those of the kinds and words that are looked for, by name. */
  readonly found: ReadonlySignal<readonly Fence[]>;
  /** The id of a fence that is not drawn, since it is being changed. */
  readonly hidden: Signal<string | undefined>;
  readonly overlay: Signal<Overlay | undefined>;
  readonly map: Signal<MapLibre | undefined>;
  /** Words to show once above the list, such as what was just published. */
  readonly news: Signal<string>;
  readonly load: () => Promise<void>;
  readonly storeName: (id: string | undefined) => string;
  readonly flyTo: (bounds: Bounds | undefined) => void;
}

export function createMapState(): MapState {
  const fences = signal<readonly Fence[] | undefined>(undefined);
  const stores = signal<readonly Store[]>([]);
  const error = signal<unknown>(undefined);
  const kinds = signal<ReadonlySet<Kind>>(new Set(KIND_NAMES));
  const search = signal("");
  const map = signal<MapLibre | undefined>(undefined);
  const names = computed(() => new Map(stores.value.map(({ id, name }) => [id, name])));
  const storeName = (id: string | undefined) => (id === undefined ? "" : (names.value.get(id) ?? id));
  const sorted = computed(() =>
    [...(fences.value ?? [])].sort((a, b) => order.compare(a.properties.name, b.properties.name)),
  );

  return {
    fences,
    stores,
    error,
    kinds,
    search,
    map,
    hidden: signal(undefined),
    overlay: signal(undefined),
    news: signal(""),
    found: computed(() => {
      const words = search.value.trim();
      return sorted.value.filter(
        (fence) =>
          kinds.value.has(fence.properties.kind) && (!words || matches(fence, storeName(fence.properties.store_id), words)),
      );
    }),
    storeName,
    load: async () => {
      try {
        const [collection, { items }] = await Promise.all([ok(api.GET("/v1/geofences")), ok(api.GET("/v1/stores"))]);
        stores.value = items;
        fences.value = collection.features as unknown as Fence[]; // the document leaves their properties open
        error.value = undefined;
      } catch (failure) {
        error.value = failure;
      }
    },
    flyTo: (bounds) => {
      if (!bounds) return;
      const [west, south, east, north] = bounds;
      map.value?.fitBounds([west, south, east, north], { padding: 60, maxZoom: 17.5, animate: !isStill(), duration: 600 });
    },
  };
}

const order = new Intl.Collator(undefined, { numeric: true });

/** The box around a fence. */
export function boundsOfFence(fence: Pick<Fence, "geometry" | "properties">): Bounds | undefined {
  return boundsOf([outline(fence)]);
}
