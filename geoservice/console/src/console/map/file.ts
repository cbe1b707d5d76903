/** A file on its way to be published: its text, its features for the map, and where in it an error lies. Pure but for reading. */
import type { Geometry, Position } from "geojson";
import type { ErrorPlace } from "../../lib/api";
import type { Drawn } from "./fence-layers";
import { type Bounds, boundsOf, drawable, isPosition, middleOf } from "./fences";

export const LARGEST_BYTES = 256 * 1024 * 1024;

export interface UploadFile {
  readonly name: string;
  readonly text: string;
  readonly type: "text/csv" | "application/geo+json";
  /** As they stand in the file, whatever is wrong with them; a table's lines by the number of the line. */
  readonly features: ReadonlyMap<number, Drawn>;
}

export async function readUpload(file: File): Promise<UploadFile> {
  if (file.size > LARGEST_BYTES) throw new Error(`${file.name} is larger than 256 MiB; publish it in parts.`);
  const text = await file.text();
  const isTable = /\.(csv|tsv|txt)$/i.test(file.name) || !/^\s*[{[]/.test(text.slice(0, 1000).replace(/^\ufeff/, ""));
  if (isTable) return { name: file.name, text, type: "text/csv", features: featuresOfTable(text) };
  const common = { name: file.name, text, type: "application/geo+json" } as const;
  try {
    return { ...common, features: featuresOfGeoJson(JSON.parse(text)) };
  } catch {
    return { ...common, features: new Map() }; // the service says in which line it breaks
  }
}

function featuresOfGeoJson(document: unknown): ReadonlyMap<number, Drawn> {
  const collection = document as { type?: unknown; features?: unknown };
  const list = collection?.type === "Feature" ? [collection] : collection?.features;
  return new Map(Array.isArray(list) ? list.map((feature, index) => [index, (feature ?? {}) as Drawn]) : []);
}

// Tables: only as far as the map needs them; the service reads them in earnest ---------------------------------------------

const LAT = ["lat", "latitude"];
const LON = ["lon", "lng", "long", "longitude"];
const RADIUS = ["radius_m", "radius", "radius_meters", "radius_metres"];

function featuresOfTable(text: string): ReadonlyMap<number, Drawn> {
  const [head = "", ...lines] = text.replace(/^\ufeff/, "").split(/\r?\n/);
  const separator = [";", "\t", "|", ","].find((each) => head.includes(each)) ?? ",";
  const columns = cells(head, separator).map((name) => name.toLowerCase());
  const at = (names: string[]) => columns.findIndex((name) => names.includes(name));
  const [lat, lon, radius, kind] = [at(LAT), at(LON), at(RADIUS), at(["kind"])];
  const found = new Map<number, Drawn>();
  lines.forEach((line, index) => {
    const row = cells(line, separator);
    const number = (column: number) => Number((row[column] ?? "").replace(separator === ";" ? "," : "\0", ".") || NaN);
    const geometry: Geometry = { type: "Point", coordinates: [number(lon), number(lat)] };
    if (isPosition(geometry.coordinates)) {
      found.set(index + 2, { geometry, properties: { radius_m: number(radius), kind: row[kind] } });
    }
  });
  return found;
}

function cells(line: string, separator: string): string[] {
  const found: string[] = [];
  let cell = "";
  let quoted = false;
  for (const sign of line) {
    if (sign === '"') quoted = !quoted;
    else if (sign === separator && !quoted) {
      found.push(cell.trim());
      cell = "";
    } else cell += sign;
  }
  return [...found, cell.trim()];
}

// Where an error lies --------------------------------------------------------------------------------------------------

export interface Located extends ErrorPlace {
  /** The place that the error means, as exactly as it says. */
  readonly mark?: Position;
  /** The box to look at. */
  readonly bounds?: Bounds;
}

/** Finds the place of an error: the position that its path or its sentence names, else the middle of its feature. */
export function locate(file: UploadFile, error: ErrorPlace): Located {
  const feature = file.features.get(featureNumber(error.path));
  const drawn = feature && drawable(feature.geometry, feature.properties?.radius_m);
  const around = drawn && boundsOf([drawn]);
  const mark = positionIn(error.message) ?? (feature && positionAt(feature, error.path)) ?? (around && middleOf(around));
  const bounds = around ?? (mark && boundsOf([{ type: "Point", coordinates: mark }]));
  return { ...error, ...(mark && { mark }), ...(bounds && { bounds }) };
}

function featureNumber(path: string): number {
  const found = /^features\[(\d+)\]|^line (\d+)/.exec(path);
  return Number(found?.[1] ?? found?.[2] ?? (path.startsWith("geometry") || path.startsWith("properties") ? 0 : NaN));
}

/** Follows geometry.coordinates[0][12] into the feature: the position there, or the first one below it. */
function positionAt(feature: Drawn, path: string): Position | undefined {
  const steps = /geometry\.coordinates((?:\[\d+\])+)/.exec(path)?.[1];
  if (steps === undefined || !feature.geometry || !("coordinates" in feature.geometry)) return undefined;
  let value: unknown = feature.geometry.coordinates;
  for (const [, index] of steps.matchAll(/\[(\d+)\]/g)) {
    const next: unknown = Array.isArray(value) ? value[Number(index)] : undefined;
    if (!Array.isArray(next)) break; // the path went on into a position
    value = next;
  }
  while (Array.isArray(value) && !isPosition(value)) value = value[0];
  return isPosition(value) ? value : undefined;
}

/** Self-intersections are told in the sentence: "... at lon lat 9.99 53.55." */
function positionIn(message: string): Position | undefined {
  const found = /lon lat (-?[\d.]+?) (-?[\d.]+?)\.?(?=\s|$)/.exec(message);
  const position = found && [Number(found[1]), Number(found[2])];
  return isPosition(position) ? position : undefined;
}
