/** A geofence as a form: drawn on the map, or typed in; both are the same shape. */
import type { Geometry } from "geojson";
import { useEffect, useRef, useState } from "preact/hooks";
import { api, ok, Problem } from "../../lib/api";
import { counted } from "../../lib/format";
import { dark } from "../../lib/map/map-view";
import { go, href } from "../../lib/router";
import { Button, Failure, Field, Notice } from "../../lib/ui/parts";
import { Back } from "./back";
import { type Drawing, startDrawing } from "./drawing";
import { DARK, LIGHT } from "./fence-layers";
import { type Fence, geometryOf, idFrom, isSimple, type Kind, KIND_NAMES, KINDS, type Shape, shapeOf } from "./fences";
import { boundsOfFence, type MapState } from "./state";

const NEW_RADIUS_M = 150;

export function FenceForm({ state, fence }: { state: MapState; fence?: Fence }) {
  const given = fence?.properties;
  const [name, setName] = useState(given?.name ?? "");
  const [kind, setKind] = useState<Kind>(given?.kind ?? "approach");
  const [storeId, setStoreId] = useState(given?.store_id ?? "");
  const [tags, setTags] = useState((given?.tags ?? []).join(", "));
  const [shape, setShape] = useState<Shape | undefined>(fence && shapeOf(fence));
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const drawing = useDrawing(state, shape, setShape);
  const id = fence?.id ?? idFrom([storeId || name, kind].filter(Boolean).join("-"));
  const taken = !fence && Boolean(state.fences.value?.some((each) => each.id === id));

  // While its shape is being changed, the fence as it is stays out of the way.
  useEffect(() => {
    state.hidden.value = fence?.id;
    return () => {
      state.hidden.value = undefined;
    };
  }, []);

  const chooseStore = (chosen: string) => {
    setStoreId(chosen);
    const store = state.stores.value.find((each) => each.id === chosen);
    if (!store || fence) return;
    if (!name || state.stores.value.some((each) => name.endsWith(each.name))) setName(`${kind === "approach" ? "Near " : ""}${store.name}`);
    if (!shape) {
      const circle: Shape = { is: "circle", centre: [store.lon, store.lat], radiusM: NEW_RADIUS_M };
      setShape(circle);
      drawing.put(circle);
      state.flyTo(boundsOfFence(featureOf(circle)));
    }
  };

  const change = (next: Shape) => {
    setShape(next);
    drawing.put(next);
  };

  const save = async (event: SubmitEvent) => {
    event.preventDefault();
    if (!shape) return setError(new Error("Draw its shape on the map first, or choose a store for a circle around it."));
    if (!name.trim()) return setError(new Error("Give it a name."));
    if (taken) return setError(new Error(`There is a geofence ${id} already: choose another name or kind, or edit that one.`));
    setBusy(true);
    setError(undefined);
    try {
      const report = await ok(
        api.PUT("/v1/geofences/{id}", { params: { path: { id } }, body: bodyOf(id, shape, { given, name, kind, storeId, tags }) as never }),
      );
      await state.load();
      state.news.value = saidOf(report, name);
      go(["map"]);
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };

  return (
    <form class="panel-form" onSubmit={save} noValidate>
      {fence ? <Back to={["map", "fence", fence.id]}>Back</Back> : <Back />}
      <h1>{fence ? `Edit ${given?.name}` : "New geofence"}</h1>
      <Field
        label="Store"
        hint="Its opening hours count, and messages can name it."
        control={(ties) => (
          <select {...ties} value={storeId} onChange={(event) => chooseStore(event.currentTarget.value)}>
            <option value="">None</option>
            {state.stores.value.map((store) => (
              <option value={store.id} key={store.id}>
                {store.name}
              </option>
            ))}
          </select>
        )}
      />
      <Field
        label="Kind"
        hint={KINDS[kind].says}
        control={(ties) => (
          <select {...ties} value={kind} onChange={(event) => setKind(event.currentTarget.value as Kind)}>
            {KIND_NAMES.map((each) => (
              <option value={each} key={each}>
                {KINDS[each].label}
              </option>
            ))}
          </select>
        )}
      />
      <Field
        label="Name"
        control={(ties) => (
          <input {...ties} value={name} maxLength={200} autocomplete="off" onInput={(event) => setName(event.currentTarget.value)} />
        )}
      />
      <fieldset class="shape">
        <legend>Shape</legend>
        <div class="panel-actions">
          <Button icon="circle" aria-pressed={drawing.drawing === "circle"} busy={!drawing.ready} onClick={() => drawing.begin("circle")}>
            Circle
          </Button>
          <Button icon="polygon" aria-pressed={drawing.drawing === "polygon"} busy={!drawing.ready} onClick={() => drawing.begin("polygon")}>
            Area
          </Button>
        </div>
        <p class="field-hint" role="status">
          {HELP[drawing.drawing ?? (shape ? "done" : "none")]}
        </p>
        {shape?.is === "circle" && <CircleFields shape={shape} onChange={change} />}
        {shape?.is === "area" && <AreaField key={String(drawing.turn)} geometry={shape.geometry} onChange={change} />}
      </fieldset>
      <Field
        label="Tags"
        hint="Words by which campaigns pick fences, parted by commas."
        control={(ties) => <input {...ties} value={tags} autocomplete="off" onInput={(event) => setTags(event.currentTarget.value)} />}
      />
      {!fence && id && (
        <p class="quiet">
          Its id will be <code>{id}</code>.
        </p>
      )}
      {error !== undefined && (error instanceof Problem ? <Failure error={error} /> : <Notice tone="danger">{(error as Error).message}</Notice>)}
      <div class="panel-actions">
        <Button type="submit" look="accent" busy={busy}>
          Publish
        </Button>
        <a class="button" href={href(fence ? ["map", "fence", fence.id] : ["map"])}>
          Cancel
        </a>
      </div>
    </form>
  );
}

const HELP = {
  none: "Draw on the map, or choose a store above for a circle around it.",
  circle: "Click its middle on the map, then click where it should end.",
  polygon: "Click each corner on the map; click the first one again to close it. Escape begins anew.",
  done: "Drag it, its corners or its edge on the map, or type numbers here.",
} as const;

// The shape on the map ------------------------------------------------------------------------------------------------

function useDrawing(state: MapState, shape: Shape | undefined, onShape: (shape: Shape) => void) {
  const [drawing, setDrawing] = useState<"circle" | "polygon">();
  const [ready, setReady] = useState(false);
  const [turn, setTurn] = useState(0);
  const tool = useRef<Drawing>(undefined);
  const latest = useRef(shape);
  latest.current = shape;
  const map = state.map.value;

  useEffect(() => {
    if (!map) return;
    let gone = false;
    const colour = (dark.value ? DARK : LIGHT).store;
    void startDrawing(map, colour, (drawn) => {
      onShape(drawn);
      setDrawing(undefined);
      setTurn((before) => before + 1);
    }).then((started) => {
      if (gone) return started.end();
      tool.current = started;
      started.put(latest.current);
      setReady(true);
    });
    return () => {
      gone = true;
      tool.current?.end();
      tool.current = undefined;
      setReady(false);
    };
  }, [map]);

  return {
    ready,
    drawing,
    /** Counts what was drawn: fields that are typed in begin anew with each. */
    turn,
    begin: (what: "circle" | "polygon") => {
      tool.current?.begin(what);
      setDrawing(what);
    },
    put: (next: Shape) => tool.current?.put(next),
  };
}

function CircleFields({ shape, onChange }: { shape: Extract<Shape, { is: "circle" }>; onChange: (shape: Shape) => void }) {
  const [lon = 0, lat = 0] = shape.centre;
  const number = (label: string, value: number, least: number, most: number, step: number, set: (value: number) => Shape) => (
    <Field
      label={label}
      control={(ties) => (
        <input
          {...ties}
          type="number"
          value={value}
          min={least}
          max={most}
          step={step}
          onChange={(event) => {
            const typed = event.currentTarget.valueAsNumber;
            if (typed >= least && typed <= most) onChange(set(typed));
          }}
        />
      )}
    />
  );
  return (
    <div class="numbers">
      {number("Radius (m)", shape.radiusM, 1, 40_000, 1, (radiusM) => ({ ...shape, radiusM }))}
      {number("Latitude", lat, -90, 90, 0.0001, (value) => ({ ...shape, centre: [lon, value] }))}
      {number("Longitude", lon, -180, 180, 0.0001, (value) => ({ ...shape, centre: [value, lat] }))}
    </div>
  );
}

/** The outline as text: a corner a line. Areas with holes or several parts are shown as the GeoJSON that they are. */
function AreaField({ geometry, onChange }: { geometry: Geometry; onChange: (shape: Shape) => void }) {
  const simple = isSimple(geometry);
  const [text, setText] = useState(() =>
    simple ? (geometry.coordinates[0] ?? []).slice(0, -1).map(([lon, lat]) => `${lat}, ${lon}`).join("\n") : JSON.stringify(geometry),
  );
  const [wrong, setWrong] = useState("");
  const read = () => {
    try {
      onChange({ is: "area", geometry: simple ? cornersFrom(text) : (JSON.parse(text) as Geometry) });
      setWrong("");
    } catch (failure) {
      setWrong(failure instanceof SyntaxError ? "This is no GeoJSON geometry." : (failure as Error).message);
    }
  };
  return (
    <Field
      label={simple ? "Corners" : "Geometry"}
      hint={simple ? "Latitude and longitude of one corner a line." : "GeoJSON: several parts, or holes, cannot be dragged here."}
      error={wrong}
      control={(ties) => (
        <textarea {...ties} rows={5} spellcheck={false} value={text} onInput={(event) => setText(event.currentTarget.value)} onChange={read} />
      )}
    />
  );
}

function cornersFrom(text: string): Geometry {
  const ring = text
    .split("\n")
    .filter((line) => line.trim())
    .map((line, index) => {
      const [lat, lon, ...rest] = line.split(/[,;\s]+/).filter(Boolean).map(Number);
      if (lat === undefined || lon === undefined || rest.length || !(Math.abs(lat) <= 90 && Math.abs(lon) <= 180)) {
        throw new Error(`Line ${index + 1} is no pair of latitude and longitude, such as 53.5511, 9.9980.`);
      }
      return [lon, lat];
    });
  if (ring.length < 3) throw new Error("An area has at least three corners.");
  return { type: "Polygon", coordinates: [[...ring, ring[0] as number[]]] };
}

// Saving --------------------------------------------------------------------------------------------------------------

interface Fields {
  given: Fence["properties"] | undefined;
  name: string;
  kind: Kind;
  storeId: string;
  tags: string;
}

/** The feature to publish; what the form does not ask for stays as it was. */
function bodyOf(id: string, shape: Shape, { given, name, kind, storeId, tags }: Fields) {
  const { radius_m: _radius, store_id: _store, tags: _tags, ...kept } = given ?? {};
  const words = tags.split(",").map((tag) => tag.trim()).filter(Boolean);
  return {
    ...featureOf(shape),
    id,
    properties: {
      ...kept,
      id,
      name: name.trim(),
      kind,
      ...(shape.is === "circle" && { radius_m: shape.radiusM }),
      ...(storeId && { store_id: storeId }),
      ...(words.length && { tags: words }),
    },
  };
}

function featureOf(shape: Shape) {
  const radius = shape.is === "circle" ? { radius_m: shape.radiusM } : {};
  return { type: "Feature" as const, geometry: geometryOf(shape), properties: radius as Fence["properties"] };
}

function saidOf(report: { version: number; changed: number; created: number; warnings: readonly { message: string }[] }, name: string): string {
  const done = report.created + report.changed ? `${name} is live, as version ${report.version}.` : `Nothing about ${name} had changed.`;
  const warned = report.warnings.map(({ message }) => message);
  return warned.length ? `${done} ${counted(warned.length, "warning")}: ${warned.join(" ")}` : done;
}
