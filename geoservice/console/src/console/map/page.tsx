/** The map of geofences: a panel beside it lists, shows, edits, uploads, and goes back. */
import { useSignalEffect } from "@preact/signals";
import { Marker } from "maplibre-gl";
import type { ComponentChildren } from "preact";
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { MapView, type MapLibre } from "../../lib/map/map-view";
import { go, href } from "../../lib/router";
import { Icon } from "../../lib/ui/icon";
import { Empty, Failure, Notice, Skeleton } from "../../lib/ui/parts";
import { Back } from "../back";
import type { PageProps } from "../pages";
import { FenceDetails } from "./details";
import { EditFence, FenceForm } from "./form";
import { addFenceLayers, fenceAt, outline, select, show, showStores } from "./fence-layers";
import { type Bounds, boundsOf, type Fence } from "./fences";
import { FenceList } from "./list";
import "./map.css";
import { boundsOfFence, createMapState, type MapState, type Mark } from "./state";
import { Upload } from "./upload";
import { Version, Versions } from "./versions";

const HAMBURG: Bounds = [9.93, 53.535, 10.05, 53.595];

export default function MapPage({ path, query }: PageProps) {
  const state = useMemo(createMapState, []);
  const [file, setFile] = useState<File>();
  useEffect(() => {
    void state.load();
  }, []);

  const take = useCallback((dropped: File) => {
    setFile(dropped);
    go(["map", "upload"]);
  }, []);

  const panel = useRef<HTMLDivElement>(null);
  const address = path.join("/");
  useEffect(() => panel.current?.scrollTo(0, 0), [address]);

  return (
    <DropTarget onFile={take}>
      <div class="map-panel" ref={panel}>
        <Panel state={state} path={path} query={query} file={file} onFile={setFile} />
      </div>
      <div class="map-stage">
        {state.fences.value || state.error.value !== undefined ? (
          <FenceMap state={state} selected={path[0] === "fence" ? path[1] : undefined} idle={path.length === 0 || path[0] === "fence"} />
        ) : (
          <div class="map-view" />
        )}
      </div>
    </DropTarget>
  );
}

interface PanelProps extends PageProps {
  state: MapState;
  file: File | undefined;
  onFile: (file: File | undefined) => void;
}

function Panel({ state, path, file, onFile }: PanelProps) {
  const [mode, id, deed] = path;
  const fences = state.fences.value;
  if (state.error.value !== undefined && !fences) {
    return (
      <>
        <h1>Map</h1>
        <Failure error={state.error.value} retry={() => void state.load()} />
      </>
    );
  }
  if (!fences) {
    return (
      <>
        <h1>Map</h1>
        <Skeleton lines={9} label="Loading geofences" />
      </>
    );
  }
  if (mode === "upload") return <Upload state={state} file={file} onFile={onFile} />;
  if (mode === "versions") return id ? <Version state={state} number={id} key={id} /> : <Versions />;
  if (mode === "new") return <FenceForm state={state} key="new" />;
  if (mode === "fence" && id) {
    const fence = fences.find((each) => each.id === id);
    if (!fence) return <Gone id={id} />;
    return deed === "edit" ? <EditFence state={state} id={id} key={id} /> : <FenceDetails state={state} fence={fence} key={id} />;
  }
  return <Overview state={state} fences={fences} />;
}

function Overview({ state, fences }: { state: MapState; fences: readonly Fence[] }) {
  const news = state.news.value;
  useEffect(
    () => () => {
      state.news.value = "";
    },
    [],
  );
  return (
    <>
      <header class="panel-head">
        <h1>Map</h1>
        <a class="button button-quiet" href={href(["map", "versions"])}>
          <Icon name="history" /> Versions
        </a>
      </header>
      <div class="panel-actions">
        <a class="button button-accent" href={href(["map", "upload"])}>
          <Icon name="upload" /> Upload
        </a>
        <a class="button" href={href(["map", "new"])}>
          <Icon name="plus" /> Draw
        </a>
      </div>
      {news && <Notice tone="good">{news}</Notice>}
      {state.error.value !== undefined && <Failure error={state.error.value} retry={() => void state.load()} />}
      {fences.length === 0 ? (
        <Empty title="No geofences yet">
          Drop a GeoJSON or CSV file onto the map, or draw the first one: the streets around a store make a good beginning.
        </Empty>
      ) : (
        <FenceList state={state} />
      )}
    </>
  );
}

function Gone({ id }: { id: string }) {
  return (
    <>
      <Back to={["map"]}>All geofences</Back>
      <h1>Not there</h1>
      <p>
        There is no geofence <code>{id}</code>; it may have been removed.
      </p>
    </>
  );
}

// The map -------------------------------------------------------------------------------------------------------------

interface FenceMapProps {
  state: MapState;
  selected: string | undefined;
  /** Whether a click on a fence opens it; not while something else is being done on the map. */
  idle: boolean;
}

function FenceMap({ state, selected, idle }: FenceMapProps) {
  const bounds = useMemo(() => wholeBounds(state), []);
  const clicks = useMemo(() => ({ idle }), []);
  clicks.idle = idle;

  const onMap = useCallback((map: MapLibre, isDark: boolean) => {
    addFenceLayers(map, isDark);
    map.on("click", (event) => {
      const id = clicks.idle ? fenceAt(map, event.point) : undefined;
      if (id !== undefined) go(["map", "fence", id]);
    });
    let frame = 0;
    map.on("mousemove", ({ point, originalEvent }) => {
      if (!clicks.idle || originalEvent.buttons) return; // while it is dragged, looking would cost frames
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(() => {
        if (!map.isMoving()) map.getCanvas().style.cursor = fenceAt(map, point) === undefined ? "" : "pointer";
      });
    });
    state.map.value = map;
    return () => {
      cancelAnimationFrame(frame);
      state.map.value = undefined;
    };
  }, []);

  useSignalEffect(() => {
    const map = state.map.value;
    const hidden = state.hidden.value;
    const found = state.found.value;
    if (map) show(map, "fences", hidden === undefined ? found : found.filter(({ id }) => id !== hidden));
  });
  useSignalEffect(() => {
    const map = state.map.value;
    if (map) showStores(map, state.stores.value);
  });
  useSignalEffect(() => {
    const map = state.map.value;
    if (!map) return;
    const overlay = state.overlay.value;
    show(map, "overlay", overlay?.features ?? []);
    show(map, "before", overlay?.before ?? []);
    const pins = (overlay?.marks ?? []).map((mark) => pin(mark).addTo(map));
    return () => pins.forEach((each) => each.remove());
  });

  const map = state.map.value;
  useEffect(() => {
    if (!map) return;
    select(map, selected);
    const fence = state.fences.peek()?.find((each) => each.id === selected);
    if (fence) state.flyTo(boundsOfFence(fence));
  }, [map, selected]);

  return (
    <MapView
      label="Map of geofences. The list beside it has the same geofences in words."
      bounds={bounds}
      onMap={onMap}
    />
  );
}

/** A numbered pin; whatever it means stands in the list under the same number. */
function pin({ number, at: [lon = 0, lat = 0] }: Mark): Marker {
  const element = document.createElement("div");
  element.className = "map-mark";
  element.textContent = String(number);
  const marker = new Marker({ element, anchor: "bottom" }).setLngLat([lon, lat]);
  element.removeAttribute("tabindex");
  element.removeAttribute("role");
  element.removeAttribute("aria-label");
  element.setAttribute("aria-hidden", "true");
  return marker;
}

function wholeBounds(state: MapState): Bounds {
  const stores = state.stores.value.map(({ lon, lat }) => ({ type: "Point" as const, coordinates: [lon, lat] }));
  return boundsOf([...stores, ...(state.fences.value ?? []).map(outline)]) ?? HAMBURG;
}

/** Takes a file that is dropped anywhere on the page: beside the map, the browser would open it in place of the console. */
function DropTarget({ onFile, children }: { onFile: (file: File) => void; children: ComponentChildren }) {
  const [over, setOver] = useState(false);
  return (
    <div
      class="map-page"
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={(event) => {
        if (!event.currentTarget.contains(event.relatedTarget as Node | null)) setOver(false);
      }}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        const file = event.dataTransfer?.files[0];
        if (file) onFile(file);
      }}
    >
      {children}
      {over && (
        <div class="map-drop">
          <Icon name="upload" /> Drop the file to check it. Nothing is published yet.
        </div>
      )}
    </div>
  );
}

