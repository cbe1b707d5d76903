/** Geofences on the map: each kind by its colour and, for who sees no colours, by its outline or hatching. */
import type { Feature, FeatureCollection, Geometry } from "geojson";
import type { ExpressionSpecification, GeoJSONSource, LayerSpecification } from "maplibre-gl";
import type { MapLibre } from "../../lib/map/map-view";
import { boundsOf, drawable, type Fence, type Kind, KIND_NAMES, middleOf, sizeOf } from "./fences";
import type { Store } from "./state";

type Colours = Readonly<Record<Kind | "before" | "halo" | "ink", string>>;

export const LIGHT: Colours = {
  approach: "#0a6c74",
  store: "#3b48b5",
  department: "#8a5a00",
  sensitive: "#b3261e",
  before: "#5a6670",
  halo: "#ffffff",
  ink: "#18222b",
};
export const DARK: Colours = {
  approach: "#5fc5c6",
  store: "#a4adff",
  department: "#f1bd5d",
  sensitive: "#ff8a80",
  before: "#a7b4bf",
  halo: "#10161b",
  ink: "#e7ecf0",
};

const OUTLINE: Readonly<Record<Kind, { dash?: number[]; width: number; fill: number }>> = {
  approach: { dash: [3, 2], width: 1.75, fill: 0.1 },
  store: { width: 2, fill: 0.24 },
  department: { dash: [1, 1.5], width: 2, fill: 0.16 },
  sensitive: { dash: [6, 2], width: 2, fill: 0.1 },
};
const SELECTED = ["boolean", ["feature-state", "selected"], false] as ExpressionSpecification;
const EMPTY: FeatureCollection = { type: "FeatureCollection", features: [] };
const OUTLINES_FROM_ZOOM = 11;
const SHAPES = KIND_NAMES.map((kind) => `fence-fill-${kind}`);

/** Adds sources and layers; they are empty until they are shown something. */
export function addFenceLayers(map: MapLibre, isDark: boolean): void {
  const colours = isDark ? DARK : LIGHT;
  map.addImage("hatching", hatching(colours.sensitive), { pixelRatio: 2 });
  for (const name of ["fences", "fence-points", "overlay", "before", "stores"]) {
    map.addSource(name, { type: "geojson", data: EMPTY, ...(name === "fences" && { promoteId: "id" }) });
  }
  for (const kind of KIND_NAMES) fenceLayers("fences", kind, colours).forEach((layer) => map.addLayer(layer));
  map.addLayer(pointLayer(colours));
  storeLayers(colours).forEach((layer) => map.addLayer(layer));
  map.addLayer({
    id: "before-line",
    type: "line",
    source: "before",
    paint: { "line-color": colours.before, "line-width": 2, "line-dasharray": [1, 2] },
  });
  for (const kind of KIND_NAMES) fenceLayers("overlay", kind, colours).forEach((layer) => map.addLayer(layer));
}

function fenceLayers(source: "fences" | "overlay", kind: Kind, colours: Colours): LayerSpecification[] {
  const { dash, width, fill } = OUTLINE[kind];
  const prefix = source === "fences" ? "fence" : source;
  const common = { source, filter: ["==", ["get", "kind"], kind] as ExpressionSpecification };
  const opacity: ExpressionSpecification = ["case", SELECTED, fill + 0.14, fill];
  return [
    {
      id: `${prefix}-fill-${kind}`,
      type: "fill",
      ...common,
      paint: { "fill-color": colours[kind], "fill-opacity": source === "fences" ? opacity : fill + 0.1 },
    },
    ...(kind === "sensitive"
      ? [{ id: `${prefix}-hatching`, type: "fill", ...common, paint: { "fill-pattern": "hatching" } } as const]
      : []),
    {
      id: `${prefix}-line-${kind}`,
      type: "line",
      ...common,
      ...(source === "fences" && { minzoom: OUTLINES_FROM_ZOOM - 1 }),
      layout: { "line-join": "round" },
      paint: {
        "line-color": colours[kind],
        "line-width": source === "fences" ? ["case", SELECTED, width + 2, width] : width + 1,
        ...(dash && { "line-dasharray": dash }),
      },
    },
  ];
}

/** From far above a fence is smaller than a pixel: a dot stands for it. */
function pointLayer(colours: Colours): LayerSpecification {
  const byKind = KIND_NAMES.flatMap((kind) => [kind, colours[kind]]);
  return {
    id: "fence-points",
    type: "circle",
    source: "fence-points",
    maxzoom: OUTLINES_FROM_ZOOM,
    paint: {
      "circle-radius": ["interpolate", ["linear"], ["zoom"], 5, 1.5, OUTLINES_FROM_ZOOM, 3.5],
      "circle-color": ["match", ["get", "kind"], ...byKind, colours.store] as unknown as ExpressionSpecification,
      "circle-opacity": 0.8,
    },
  };
}

function storeLayers(colours: Colours): LayerSpecification[] {
  return [
    {
      id: "store-points",
      type: "circle",
      source: "stores",
      paint: {
        "circle-radius": ["interpolate", ["linear"], ["zoom"], 9, 3.5, 15, 6],
        "circle-color": colours.ink,
        "circle-stroke-color": colours.halo,
        "circle-stroke-width": 2,
      },
    },
    {
      id: "store-names",
      type: "symbol",
      source: "stores",
      minzoom: 11.5,
      layout: {
        "text-field": ["get", "name"],
        "text-font": ["Noto Sans", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif"],
        "text-size": 12,
        "text-anchor": "top",
        "text-offset": [0, 0.8],
        "text-max-width": 9,
        "text-optional": true,
      },
      paint: { "text-color": colours.ink, "text-halo-color": colours.halo, "text-halo-width": 1.5 },
    },
  ];
}

/** Diagonal stripes on a tile of 16 pixels. */
function hatching(colour: string): ImageData {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 16;
  const draw = canvas.getContext("2d");
  if (!draw) return new ImageData(16, 16);
  draw.strokeStyle = colour;
  draw.lineWidth = 2;
  draw.globalAlpha = 0.7;
  for (const from of [-16, 0, 16]) {
    draw.moveTo(from, 16);
    draw.lineTo(from + 16, 0);
  }
  draw.stroke();
  return draw.getImageData(0, 0, 16, 16);
}

// What is shown -------------------------------------------------------------------------------------------------------

export interface Drawn {
  readonly geometry: Geometry | null | undefined;
  readonly properties?: Readonly<Record<string, unknown>> | null;
}

export function show(map: MapLibre, source: "fences" | "overlay" | "before", features: Iterable<Drawn>): void {
  const shapes = drawn(features);
  map.getSource<GeoJSONSource>(source)?.setData({ type: "FeatureCollection", features: shapes });
  if (source === "fences") {
    const points = shapes.map((shape): Feature => ({ ...shape, geometry: { type: "Point", coordinates: shape.properties?.middle } }));
    map.getSource<GeoJSONSource>("fence-points")?.setData({ type: "FeatureCollection", features: points });
  }
}

export function showStores(map: MapLibre, stores: readonly Store[]): void {
  const features = stores.map(
    ({ id, name, lat, lon }): Feature => ({
      type: "Feature",
      geometry: { type: "Point", coordinates: [lon, lat] },
      properties: { id, name },
    }),
  );
  map.getSource<GeoJSONSource>("stores")?.setData({ type: "FeatureCollection", features });
}

function drawn(features: Iterable<Drawn>): Feature[] {
  const all: Feature[] = [];
  for (const { geometry, properties } of features) {
    const shape = drawable(geometry, properties?.radius_m);
    if (!shape) continue;
    const kind = KIND_NAMES.find((each) => each === properties?.kind) ?? "store"; // as the service reads it
    const bounds = boundsOf([shape]) ?? [0, 0, 0, 0];
    const told = { id: properties?.id, kind, size: sizeOf(bounds), middle: middleOf(bounds) };
    all.push({ type: "Feature", geometry: shape, properties: told });
  }
  return all;
}

/** The id of the smallest fence under a point of the screen. */
export function fenceAt(map: MapLibre, point: { x: number; y: number }): string | undefined {
  const near: [[number, number], [number, number]] = [
    [point.x - 3, point.y - 3],
    [point.x + 3, point.y + 3],
  ];
  const found = map.queryRenderedFeatures(near, { layers: SHAPES });
  found.sort((a, b) => Number(a.properties.size) - Number(b.properties.size));
  return found[0]?.properties.id as string | undefined;
}

export function select(map: MapLibre, id: string | undefined): void {
  map.removeFeatureState({ source: "fences" });
  if (id !== undefined) map.setFeatureState({ source: "fences", id }, { selected: true });
}

/** A fence as it is drawn. */
export function outline(fence: Pick<Fence, "geometry" | "properties">): Geometry | undefined {
  return drawable(fence.geometry, fence.properties.radius_m);
}
