/** A map in a page: the own style or the configured one, zoom buttons, a scale; anew when the colour scheme changes. */
import {
  AttributionControl,
  type LngLatBoundsLike,
  Map as MapLibre,
  NavigationControl,
  ScaleControl,
  setWorkerUrl,
} from "maplibre-gl";
import workerUrl from "maplibre-gl/dist/maplibre-gl-worker.mjs?url";
import "maplibre-gl/dist/maplibre-gl.css";
import { useEffect, useRef, useState } from "preact/hooks";
import { api, ok } from "../api";
import { dark } from "../scheme";
import { Notice } from "../ui/parts";
import "./map-view.css";
import { DARK, LIGHT, ownStyle, type Palette } from "./style";

setWorkerUrl(workerUrl); // a file of ours: the Content-Security-Policy allows no worker from a blob

export type { MapLibre, Palette };

/** Whether moves of the map are to be seen. */
export const isStill = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

let settings: Promise<{ map_style_url: string | null }> | undefined;

/** What the service says to its pages, asked once. */
function pagesSettings(): Promise<{ map_style_url: string | null }> {
  settings ??= ok(api.GET("/pages.json")).catch((error: unknown) => {
    settings = undefined;
    throw error;
  });
  return settings;
}

export interface MapViewProps {
  /** What is on it, for who does not see it. */
  label: string;
  /** Where it begins: [[west, south], [east, north]]. */
  bounds: LngLatBoundsLike;
  /** Called with each map that is ready to draw on; what it returns is called before that map goes. */
  onMap: (map: MapLibre, isDark: boolean) => (() => void) | void;
  class?: string;
}

export function MapView({ label, bounds, onMap, class: className = "" }: MapViewProps) {
  const container = useRef<HTMLDivElement>(null);
  const view = useRef<{ center: [number, number]; zoom: number }>(undefined);
  const latest = useRef(onMap);
  latest.current = onMap;
  const [error, setError] = useState("");
  const isDark = dark.value;

  useEffect(() => {
    let gone = false;
    let end = () => {};
    pagesSettings().then(
      ({ map_style_url }) => {
        if (!gone && container.current) end = start(container.current, map_style_url);
      },
      () => setError("The map’s settings did not come; load the page again."),
    );

    function start(element: HTMLDivElement, styleUrl: string | null): () => void {
      let leave: (() => void) | void;
      let map: MapLibre;
      try {
        map = new MapLibre({
          container: element,
          style: styleUrl ?? ownStyle(isDark ? DARK : LIGHT),
          ...(view.current ?? { bounds, fitBoundsOptions: { padding: 40 } }),
          attributionControl: false,
          dragRotate: false,
          pitchWithRotate: false,
          touchPitch: false,
          fadeDuration: isStill() ? 0 : 200,
          locale: { "Map.Title": label },
        });
      } catch {
        setError("This browser cannot draw the map: it needs WebGL 2. Everything else on this page works without it.");
        return () => {};
      }
      map.touchZoomRotate.disableRotation();
      map.addControl(new NavigationControl({ showCompass: false }), "top-right");
      map.addControl(new ScaleControl(), "bottom-right");
      map.addControl(new AttributionControl({ compact: false }), "bottom-right");
      map.once("load", () => {
        leave = latest.current(map, isDark);
        map.once("idle", () => element.parentElement?.setAttribute("data-drawn", "")); // for tests and measures
      });
      map.on("error", ({ error: failure }) => {
        if (styleUrl && !map.isStyleLoaded()) setError(`The map style did not load: ${failure.message}`);
      });
      return () => {
        const { lng, lat } = map.getCenter();
        view.current = { center: [lng, lat], zoom: map.getZoom() };
        leave?.();
        map.remove();
      };
    }

    return () => {
      gone = true;
      end();
    };
  }, [isDark]);

  return (
    <div class={`map-view ${className}`}>
      <div class="map-canvas" ref={container} />
      {error && (
        <div class="map-error">
          <Notice tone="warning">{error}</Notice>
        </div>
      )}
    </div>
  );
}
