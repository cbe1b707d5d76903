/** A geofence as a form: drawn on the map, or typed in; both are the same shape. */
import { useEffect, useRef, useState } from "preact/hooks";
import { api, isAt, ok, Problem, wordsOf, wrongAt } from "../../lib/api";
import { counted } from "../../lib/format";
import { idFrom } from "../../lib/ids";
import { useLoad } from "../../lib/load";
import { go, href } from "../../lib/router";
import { dark } from "../../lib/scheme";
import { Icon } from "../../lib/ui/icon";
import { Confirm } from "../../lib/ui/dialog";
import { Button, Failure, Field, Notice, Skeleton } from "../../lib/ui/parts";
import { Back } from "../back";
import { type Drawing, startDrawing } from "./drawing";
import { DARK, LIGHT } from "./fence-layers";
import { type Fence, geometryOf, type Kind, KIND_NAMES, KINDS, type Shape, shapeOf } from "./fences";
import { AreaField, CircleFields } from "./shape-fields";
import { boundsOfFence, type MapState } from "./state";

const NEW_RADIUS_M = 150;

/** Begins with the geofence as it is now, not as it was when the list was loaded. */
export function EditFence({ state, id }: { state: MapState; id: string }) {
  const { data, error, reload } = useLoad(
    async (signal) => {
      const asked = api.GET("/v1/geofences/{id}", { params: { path: { id } }, signal });
      const fence = (await ok(asked)) as unknown as Fence;
      return { fence, etag: (await asked).response.headers.get("ETag") ?? "*" };
    },
    [id],
  );
  if (data) return <FenceForm state={state} fence={data.fence} etag={data.etag} />;
  return (
    <>
      <Back to={["map", "fence", id]}>Back</Back>
      <h1>Edit</h1>
      {error === undefined ? <Skeleton lines={8} label="Loading the geofence" /> : <Failure error={error} retry={reload} />}
    </>
  );
}

interface FenceFormProps {
  state: MapState;
  /** What is there already; nothing for a new one. */
  fence?: Fence;
  etag?: string;
}

export function FenceForm({ state, fence, etag }: FenceFormProps) {
  const given = fence?.properties;
  const [name, setName] = useState(given?.name ?? "");
  const [kind, setKind] = useState<Kind>(given?.kind ?? "approach");
  const [storeId, setStoreId] = useState(given?.store_id ?? "");
  const [tags, setTags] = useState((given?.tags ?? []).join(", "));
  const [shape, setShape] = useState<Shape | undefined>(fence && shapeOf(fence));
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const drawing = useDrawing(state, shape, setShape, setError);
  const id = fence?.id ?? idFrom([storeId || name, kind].filter(Boolean).join("-"));
  const wrong = (place: string) => wrongAt(error instanceof Problem ? error.errors : [], place);
  const wrongShape = [wrong("geometry"), wrong("properties.radius_m")].filter(Boolean).join(" ");
  const [overtaken, setOvertaken] = useState(false);

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
    setBusy(true);
    setError(undefined);
    try {
      await publish(shape, etag === undefined ? { "If-None-Match": "*" } : { "If-Match": etag });
    } catch (failure) {
      const isOther = failure instanceof Problem && failure.status === 412;
      if (isOther && fence) setOvertaken(true);
      else if (isOther) setError(new Error(`There is a geofence ${id} already: choose another name or kind, or edit that one.`));
      else setError(ofFeature(failure));
    }
    setBusy(false);
  };

  const publish = async (what: Shape, seen: { "If-Match"?: string; "If-None-Match"?: string }) => {
    const body = bodyOf(id, what, { given, name, kind, storeId, tags }) as never;
    const report = await ok(api.PUT("/v1/geofences/{id}", { params: { path: { id }, header: seen }, body }));
    await state.load();
    state.news.value = saidOf(report, name);
    go(["map"]);
  };

  return (
    <form class="panel-form" onSubmit={save} noValidate>
      {fence ? <Back to={["map", "fence", fence.id]}>Back</Back> : <Back to={["map"]}>All geofences</Back>}
      <h1>{fence ? `Edit ${given?.name}` : "New geofence"}</h1>
      <Field
        label="Store"
        hint="Its opening hours count, and messages can name it."
        error={wrong("properties.store_id")}
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
        error={wrong("properties.kind")}
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
        error={wrong("properties.name")}
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
        {wrongShape && (
          <p class="field-error">
            <Icon name="alert" /> {wrongShape}
          </p>
        )}
      </fieldset>
      <Field
        label="Tags"
        hint="Words by which campaigns pick fences, separated by commas."
        error={wrong("properties.tags")}
        control={(ties) => <input {...ties} value={tags} autocomplete="off" onInput={(event) => setTags(event.currentTarget.value)} />}
      />
      {!fence && (storeId || name.trim()) && (
        <p class="quiet">
          Its id will be <code>{id}</code>.
        </p>
      )}
      {error !== undefined && (error instanceof Problem ? <Failure error={elsewhere(error)} /> : <Notice tone="danger">{wordsOf(error)}</Notice>)}
      <div class="panel-actions">
        <Button type="submit" look="accent" busy={busy}>
          Publish
        </Button>
        <a class="button" href={href(fence ? ["map", "fence", fence.id] : ["map"])}>
          Cancel
        </a>
      </div>
      {overtaken && shape && (
        <Confirm
          title="Somebody else has changed it meanwhile"
          deed="Publish mine over it"
          danger
          onConfirm={() => publish(shape, {})}
          onClose={() => setOvertaken(false)}
        >
          <p>Publishing replaces what they changed; Versions has the way back.</p>
        </Confirm>
      )}
    </form>
  );
}

/** Places that have a field here, which shows what is wrong with them. */
const SHOWN = ["properties.store_id", "properties.kind", "properties.name", "properties.tags", "properties.radius_m", "geometry"];

/** The same refusal with places as they are within the feature. */
function ofFeature(error: unknown): unknown {
  if (!(error instanceof Problem)) return error;
  const errors = error.errors.map((each) => ({ ...each, path: each.path.replace(/^features\[0\]\./, "") }));
  return new Problem(error.status, { ...error.document, errors });
}

/** What no field shows. */
function elsewhere(problem: Problem): Problem {
  return new Problem(problem.status, { ...problem.document, errors: problem.errors.filter(({ path }) => !SHOWN.some((place) => isAt(path, place))) });
}

const HELP = {
  none: "Draw on the map, or choose a store above for a circle around it.",
  circle: "Click its middle on the map, then click where it should end.",
  polygon: "Click each corner on the map; click the first one again to close it. Escape begins anew.",
  done: "Drag it, its corners or its edge on the map, or type numbers here.",
} as const;

// The shape on the map ------------------------------------------------------------------------------------------------

function useDrawing(state: MapState, shape: Shape | undefined, onShape: (shape: Shape) => void, onFailure: (failure: unknown) => void) {
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
    }, onFailure);
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
