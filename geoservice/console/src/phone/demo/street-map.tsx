/** The map with the phone on it: drag it, or move it with the arrow keys; around it, how exactly it knows its place. */
import { effect } from "@preact/signals";
import type { Feature, FeatureCollection, Polygon } from "geojson";
import { type GeoJSONSource, Marker } from "maplibre-gl";
import { isStill, MapView, type MapLibre } from "../../lib/map/map-view";
import type { Carrier } from "./carrier";
import { metresBetween, moved, WALK_MPS, type Place } from "./walks";

/** So far apart two fixes are two witnesses, on foot. */
const STRIDE_M = 30 * WALK_MPS;
const CORNERS = 64;
const EDGE_PX = 60;

export interface StreetMapProps {
  readonly carrier: Carrier;
  readonly fences: FeatureCollection;
  readonly around: Place;
}

export function StreetMap({ carrier, fences, around }: StreetMapProps) {
  const southWest = moved(around, -430, -400);
  const northEast = moved(around, 430, 430);
  return (
    <MapView
      class="street-map"
      label="Map: the phone and the stores"
      bounds={[
        [southWest.lon, southWest.lat],
        [northEast.lon, northEast.lat],
      ]}
      onMap={(map, isDark) => draw(map, isDark, carrier, fences)}
    />
  );
}

function draw(map: MapLibre, isDark: boolean, carrier: Carrier, fences: FeatureCollection): () => void {
  const ink = isDark ? "#83d6d6" : "#085a61";
  const accent = isDark ? "#5fc5c6" : "#0a6c74";
  map.addSource("fences", { type: "geojson", data: asAreas(fences) });
  map.addSource("accuracy", { type: "geojson", data: disc(carrier.at.peek(), carrier.accuracyM.peek()) });
  const is = (kind: string) => ["==", ["get", "kind"], kind] as never;
  map.addLayer({ id: "near", type: "fill", source: "fences", filter: is("approach"), paint: { "fill-color": accent, "fill-opacity": 0.12 } });
  map.addLayer({
    id: "near-edge",
    type: "line",
    source: "fences",
    filter: is("approach"),
    paint: { "line-color": accent, "line-width": 1.5, "line-dasharray": [3, 2] },
  });
  map.addLayer({ id: "stores", type: "fill", source: "fences", filter: is("store"), paint: { "fill-color": accent, "fill-opacity": 0.55 } });
  map.addLayer({
    id: "store-names",
    type: "symbol",
    source: "fences",
    filter: is("store"),
    layout: {
      "text-field": ["get", "name"],
      "text-font": ["Noto Sans", "Segoe UI", "Roboto", "Arial", "sans-serif"],
      "text-size": 13,
      "text-offset": [0, 2.2],
      "text-max-width": 9,
    },
    paint: { "text-color": ink, "text-halo-color": isDark ? "#10161b" : "#ffffff", "text-halo-width": 1.6 },
  });
  map.addLayer({ id: "accuracy", type: "fill", source: "accuracy", paint: { "fill-color": "#3276d8", "fill-opacity": 0.18 } });
  map.addLayer({ id: "accuracy-edge", type: "line", source: "accuracy", paint: { "line-color": "#3276d8", "line-width": 1 } });

  const marker = new Marker({ element: handle(carrier), draggable: true }).setLngLat(lngLat(carrier.at.peek())).addTo(map);
  let dragged: Place | undefined;
  marker.on("dragstart", () => {
    carrier.stop();
    dragged = carrier.at.peek();
  });
  marker.on("drag", () => {
    const to = place(marker);
    if (dragged && metresBetween(dragged, to) >= STRIDE_M) {
      dragged = to;
      carrier.follow(to);
    }
  });
  marker.on("dragend", () => {
    dragged = undefined;
    carrier.follow(place(marker));
  });
  const end = effect(() => {
    const at = carrier.at.value;
    map.getSource<GeoJSONSource>("accuracy")?.setData(disc(at, carrier.accuracyM.value));
    if (dragged) return;
    marker.setLngLat(lngLat(at));
    keepInSight(map, at);
  });
  return () => {
    end();
    marker.remove();
  };
}

/** The phone on the map, as a button: arrow keys carry it. */
function handle(carrier: Carrier): HTMLElement {
  const element = document.createElement("button");
  element.type = "button";
  element.className = "marker";
  element.setAttribute("aria-label", "Your phone. Arrow keys carry it 42 metres; drag it anywhere.");
  const strides: Readonly<Record<string, readonly [number, number]>> = {
    ArrowUp: [0, 1],
    ArrowDown: [0, -1],
    ArrowLeft: [-1, 0],
    ArrowRight: [1, 0],
  };
  element.addEventListener("keydown", (event) => {
    const stride = strides[event.key];
    if (!stride) return;
    event.preventDefault();
    event.stopPropagation(); // else the map moves, too
    carrier.follow(moved(carrier.at.peek(), stride[0] * STRIDE_M, stride[1] * STRIDE_M));
  });
  return element;
}

const lngLat = ({ lon, lat }: Place): [number, number] => [lon, lat];
const place = (marker: Marker): Place => ({ lon: marker.getLngLat().lng, lat: marker.getLngLat().lat });

function keepInSight(map: MapLibre, at: Place): void {
  const { x, y } = map.project(lngLat(at));
  const { clientWidth, clientHeight } = map.getContainer();
  const inside = x > EDGE_PX && y > EDGE_PX && x < clientWidth - EDGE_PX && y < clientHeight - EDGE_PX;
  if (!inside && !map.isMoving()) map.easeTo({ center: lngLat(at), duration: isStill() ? 0 : 600 });
}

/** Points with a radius become discs, so that all can be filled alike. */
function asAreas(fences: FeatureCollection): FeatureCollection {
  const features = fences.features.map((feature) => {
    const radiusM = Number(feature.properties?.radius_m);
    if (feature.geometry.type !== "Point" || !(radiusM > 0)) return feature;
    const [lon = 0, lat = 0] = feature.geometry.coordinates;
    return { ...disc({ lon, lat }, radiusM), properties: feature.properties };
  });
  return { type: "FeatureCollection", features };
}

function disc(around: Place, radiusM: number): Feature<Polygon> {
  const ring = Array.from({ length: CORNERS + 1 }, (_, corner) => {
    const angle = (corner / CORNERS) * 2 * Math.PI;
    return lngLat(moved(around, radiusM * Math.cos(angle), radiusM * Math.sin(angle)));
  });
  return { type: "Feature", properties: {}, geometry: { type: "Polygon", coordinates: [ring] } };
}
