/** Geofences as the pages handle them: features, their kinds, and a little geometry. Pure. */
import type { Feature, Geometry, Polygon, Position } from "geojson";

export type Kind = "approach" | "store" | "department" | "sensitive";

export interface FenceProperties {
  id: string;
  name: string;
  kind: Kind;
  store_id?: string;
  radius_m?: number;
  tags?: string[];
  dwell_s?: number;
  valid_from?: string;
  valid_until?: string;
  beacons?: unknown[];
  [other: string]: unknown;
}

export type Fence = Feature<Geometry, FenceProperties> & { id: string };

/** In the order in which they are drawn, from below. */
export const KINDS: Readonly<Record<Kind, { label: string; many: string; says: string }>> = {
  approach: { label: "Approach", many: "Approach", says: "The streets around a store." },
  sensitive: { label: "Sensitive", many: "Sensitive", says: "A place that is never tracked: nothing from there is stored." },
  store: { label: "Store", many: "Stores", says: "The store itself." },
  department: { label: "Department", many: "Departments", says: "A part of a store." },
};
export const KIND_NAMES = Object.keys(KINDS) as Kind[];

export type Bounds = [west: number, south: number, east: number, north: number];

const EARTH_RADIUS_M = 6_371_008.8;
const METRES_A_DEGREE = (EARTH_RADIUS_M * Math.PI) / 180;

/** A circle as a ring of positions, on a sphere: for drawing; the service measures it as a circle. */
export function circleRing([lon, lat]: Position, radiusM: number, corners = 48): Position[] {
  const angle = radiusM / EARTH_RADIUS_M;
  const phi = radians(lat ?? 0);
  const ring = Array.from({ length: corners }, (_, i) => {
    const bearing = (2 * Math.PI * i) / corners;
    const sine = Math.sin(phi) * Math.cos(angle) + Math.cos(phi) * Math.sin(angle) * Math.cos(bearing);
    const east = Math.atan2(Math.sin(bearing) * Math.sin(angle) * Math.cos(phi), Math.cos(angle) - Math.sin(phi) * sine);
    return [(lon ?? 0) + degrees(east), degrees(Math.asin(sine))].map(rounded);
  });
  return [...ring, ring[0] as Position];
}

/** Seven decimals are a centimetre; more is noise of drawing. */
export const rounded = (degree: number): number => Math.round(degree * 1e7) / 1e7;
const radians = (degree: number): number => (degree * Math.PI) / 180;
const degrees = (radian: number): number => (radian * 180) / Math.PI;

/** Metres between two positions that are near each other. */
export function distanceM([lonA, latA]: Position, [lonB, latB]: Position): number {
  const east = ((lonB ?? 0) - (lonA ?? 0)) * Math.cos(radians(((latA ?? 0) + (latB ?? 0)) / 2));
  return Math.hypot(east, (latB ?? 0) - (latA ?? 0)) * METRES_A_DEGREE;
}

/** What is drawn for a geometry: circles become polygons, and what is broken is left out as far as it is broken. */
export function drawable(geometry: Geometry | null | undefined, radiusM?: unknown): Geometry | undefined {
  if (!geometry || !("coordinates" in geometry)) return undefined;
  if (geometry.type === "Point") {
    if (!isPosition(geometry.coordinates)) return undefined;
    const radius = Number(radiusM);
    if (!(radius > 0 && radius <= 40_000)) return geometry;
    return { type: "Polygon", coordinates: [circleRing(geometry.coordinates, radius)] };
  }
  if (geometry.type === "Polygon") {
    const rings = cleanRings(geometry.coordinates);
    return rings.length ? { type: "Polygon", coordinates: rings } : undefined;
  }
  if (geometry.type === "MultiPolygon" && Array.isArray(geometry.coordinates)) {
    const parts = geometry.coordinates.map(cleanRings).filter((rings) => rings.length);
    return parts.length ? { type: "MultiPolygon", coordinates: parts } : undefined;
  }
  return undefined;
}

function cleanRings(rings: unknown): Position[][] {
  if (!Array.isArray(rings)) return [];
  return rings
    .map((ring) => (Array.isArray(ring) ? ring.filter(isPosition).map(([lon, lat]) => [lon as number, lat as number]) : []))
    .filter((ring) => ring.length >= 3)
    .map((ring) => {
      const [first, last] = [ring[0] as Position, ring.at(-1) as Position];
      return first[0] === last[0] && first[1] === last[1] ? ring : [...ring, first];
    });
}

export function isPosition(value: unknown): value is Position {
  if (!Array.isArray(value) || value.length < 2) return false;
  const [lon, lat] = value as unknown[];
  return typeof lon === "number" && typeof lat === "number" && Math.abs(lon) <= 180 && Math.abs(lat) <= 90;
}

/** The box around geometries; undefined when there is nothing in it. */
export function boundsOf(geometries: Iterable<Geometry | undefined>): Bounds | undefined {
  let [west, south, east, north] = [Infinity, Infinity, -Infinity, -Infinity];
  const take = (value: unknown): void => {
    if (isPosition(value)) {
      west = Math.min(west, value[0] as number);
      east = Math.max(east, value[0] as number);
      south = Math.min(south, value[1] as number);
      north = Math.max(north, value[1] as number);
    } else if (Array.isArray(value)) {
      value.forEach(take);
    }
  };
  for (const geometry of geometries) if (geometry && "coordinates" in geometry) take(geometry.coordinates);
  return west <= east ? [west, south, east, north] : undefined;
}

export function middleOf([west, south, east, north]: Bounds): Position {
  return [(west + east) / 2, (south + north) / 2];
}

/** How large a box is, to tell which of several shapes under the pointer is the smallest. */
export const sizeOf = ([west, south, east, north]: Bounds): number => (east - west) * (north - south);

// Shapes that can be drawn and edited ---------------------------------------------------------------------------------

export type Shape =
  | { readonly is: "circle"; readonly centre: Position; readonly radiusM: number }
  | { readonly is: "area"; readonly geometry: Geometry };

export function shapeOf(fence: Pick<Fence, "geometry" | "properties">): Shape {
  return fence.geometry.type === "Point"
    ? { is: "circle", centre: fence.geometry.coordinates, radiusM: Number(fence.properties.radius_m) }
    : { is: "area", geometry: fence.geometry };
}

export function geometryOf(shape: Shape): Geometry {
  return shape.is === "circle" ? { type: "Point", coordinates: shape.centre.map(rounded) } : shape.geometry;
}

/** Whether corners can be dragged: one outline without holes. */
export function isSimple(geometry: Geometry): geometry is Polygon {
  return geometry.type === "Polygon" && geometry.coordinates.length === 1;
}

/** Whether a fence has these words in its name, id, store or tags. */
export function matches(fence: Fence, storeName: string, search: string): boolean {
  const { id, name, tags = [], store_id = "" } = fence.properties;
  const text = [id, name, store_id, storeName, ...tags].join(" ").toLocaleLowerCase();
  return search.toLocaleLowerCase().split(/\s+/).every((word) => text.includes(word));
}
