/**
 * The map's own style, light and dark: paper, and a sketch of Hamburg around the sample retailer's stores.
 *
 * The sketch is schematic: the main streets and waters, drawn by hand as people remember them, good for telling the
 * stores apart and for nothing else. Letters are drawn from the browser's fonts; nothing is fetched from anywhere.
 */
import type { StyleSpecification } from "maplibre-gl";
import sketch from "./hamburg-sketch.geojson?url";

const SKETCH_IS = "Schematic sketch, drawn by hand";

export interface Palette {
  readonly paper: string;
  readonly water: string;
  readonly park: string;
  readonly road: string;
  readonly street: string;
  readonly casing: string;
  readonly label: string;
  readonly waterLabel: string;
  readonly halo: string;
}

export const LIGHT: Palette = {
  paper: "#f3f2ee",
  water: "#c3d9e4",
  park: "#dbe8d2",
  road: "#ffffff",
  street: "#ffffff",
  casing: "#d9d6ce",
  label: "#535b60",
  waterLabel: "#3f6a80",
  halo: "#f3f2ee",
};

export const DARK: Palette = {
  paper: "#151c21",
  water: "#1c3442",
  park: "#1a2a20",
  road: "#323e47",
  street: "#2b353d",
  casing: "#0f1519",
  label: "#a5b1ba",
  waterLabel: "#7fa9be",
  halo: "#151c21",
};

const FONTS = ["Noto Sans", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif"];

/** Widths that grow with the zoom: metres would make streets vanish from above. */
function wide(atCity: number, atStreet: number): ["interpolate", ["exponential", number], ["zoom"], ...number[]] {
  return ["interpolate", ["exponential", 1.6], ["zoom"], 10, atCity, 17, atStreet];
}

export function ownStyle(palette: Palette): StyleSpecification {
  const line = { "line-cap": "round", "line-join": "round" } as const;
  const is = (...kinds: string[]) => ["in", ["get", "kind"], ["literal", kinds]] as ["in", unknown, unknown] as never;
  const halo = { "text-halo-color": palette.halo, "text-halo-width": 1.4 };
  return {
    version: 8,
    sources: { sketch: { type: "geojson", data: new URL(sketch, location.href).href, attribution: SKETCH_IS } },
    layers: [
      { id: "paper", type: "background", paint: { "background-color": palette.paper } },
      { id: "parks", type: "fill", source: "sketch", filter: is("park"), paint: { "fill-color": palette.park } },
      { id: "waters", type: "fill", source: "sketch", filter: is("water"), paint: { "fill-color": palette.water } },
      {
        id: "rivers",
        type: "line",
        source: "sketch",
        filter: is("river", "canal"),
        layout: line,
        paint: {
          "line-color": palette.water,
          "line-width": [
            "interpolate",
            ["exponential", 1.6],
            ["zoom"],
            10,
            ["match", ["get", "kind"], "river", 2.5, 0.8],
            17,
            ["match", ["get", "kind"], "river", 70, 24],
          ],
        },
      },
      {
        id: "casings",
        type: "line",
        source: "sketch",
        filter: is("road", "street"),
        minzoom: 11,
        layout: line,
        paint: { "line-color": palette.casing, "line-width": wide(1.6, 22) },
      },
      {
        id: "streets",
        type: "line",
        source: "sketch",
        filter: is("street"),
        minzoom: 11,
        layout: line,
        paint: { "line-color": palette.street, "line-width": wide(0.8, 16) },
      },
      {
        id: "roads",
        type: "line",
        source: "sketch",
        filter: is("road"),
        layout: line,
        paint: { "line-color": palette.road, "line-width": wide(1.4, 20) },
      },
      {
        id: "street-names",
        type: "symbol",
        source: "sketch",
        filter: is("road", "street"),
        minzoom: 13.5,
        layout: {
          "symbol-placement": "line",
          "text-field": ["get", "name"],
          "text-font": FONTS,
          "text-size": ["interpolate", ["linear"], ["zoom"], 13.5, 10.5, 17, 14],
        },
        paint: { "text-color": palette.label, ...halo },
      },
      {
        id: "water-names",
        type: "symbol",
        source: "sketch",
        filter: is("water", "river"),
        minzoom: 11,
        layout: { "text-field": ["get", "name"], "text-font": FONTS, "text-size": 12 },
        paint: { "text-color": palette.waterLabel, "text-halo-color": palette.water, "text-halo-width": 1 },
      },
      {
        id: "place-names",
        type: "symbol",
        source: "sketch",
        filter: is("place"),
        maxzoom: 16,
        layout: {
          "text-field": ["get", "name"],
          "text-font": FONTS,
          "text-size": ["interpolate", ["linear"], ["zoom"], 10, 11, 15, 15],
          "text-letter-spacing": 0.06,
        },
        paint: { "text-color": palette.label, ...halo },
      },
    ],
  };
}
