/** Publications of geofences: what each changed, and the way back to it. */
import { useEffect, useState } from "preact/hooks";
import { api, ok, type Schemas } from "../../lib/api";
import { ago, moment } from "../../lib/format";
import { useLoad, usePages } from "../../lib/load";
import { go, href } from "../../lib/router";
import { Confirm } from "../../lib/ui/dialog";
import { Badge, Button, Empty, Failure, Skeleton, type Tone } from "../../lib/ui/parts";
import { Back } from "../back";
import type { Drawn } from "./fence-layers";
import { boundsOf, drawable, type Fence } from "./fences";
import type { MapState } from "./state";
import { Counts, inWords } from "./upload";

type Item = Schemas["VersionItem"];
type Change = Schemas["ChangeItem"];
const CHANGES_AT_ONCE = 200;

const summaryOf = ({ summary }: Item) => ({
  created: summary.created ?? 0,
  changed: summary.changed ?? 0,
  removed: summary.removed ?? 0,
});

export function Versions() {
  const { items, error, loading, more } = usePages(
    (after, signal) => ok(api.GET("/v1/geofences/versions", { params: { query: { limit: 50, ...(after && { before: Number(after) }) } }, signal })),
    [],
  );

  return (
    <>
      <Back to={["map"]}>All geofences</Back>
      <h1>Versions</h1>
      <p class="quiet">Each publication that changed something. Open one to see what it changed, or to go back to it.</p>
      {items?.length === 0 && <Empty title="Nothing was published yet">The first upload makes version 1.</Empty>}
      <ol class="fence-list versions" aria-label="Versions, newest first">
        {items?.map((item) => (
          <li key={item.version}>
            <a href={href(["map", "versions", String(item.version)])}>
              <span class="fence-name">Version {item.version}</span>
              <span class="quiet fence-where">
                {moment(item.published_at)} · {item.actor} · {inWords(summaryOf(item))}
              </span>
            </a>
          </li>
        ))}
      </ol>
      {error !== undefined && <Failure error={error} retry={more} />}
      {loading && !items && <Skeleton lines={6} />}
      {items && more && error === undefined && (
        <Button busy={loading} onClick={more}>
          Show older ones
        </Button>
      )}
    </>
  );
}

export function Version({ state, number }: { state: MapState; number: string }) {
  const version = useLoad(
    () => ok(api.GET("/v1/geofences/versions/{id}", { params: { path: { id: number }, query: { limit: CHANGES_AT_ONCE } } })),
    [number],
  );
  const [asks, setAsks] = useState(false);
  const { data } = version;
  useDifference(state, data?.items);

  return (
    <>
      <Back to={["map", "versions"]}>Versions</Back>
      <h1>Version {number}</h1>
      {version.error !== undefined && <Failure error={version.error} retry={version.reload} />}
      {version.loading && !data && <Skeleton lines={6} />}
      {data && (
        <>
          <p class="quiet">
            Published {ago(data.published_at)}, {moment(data.published_at)}, by {data.actor}.
          </p>
          <div class="panel-actions">
            <Button icon="history" onClick={() => setAsks(true)}>
              Restore this version
            </Button>
          </div>
          <h2>What it changed</h2>
          <ol class="places">
            {data.items.map((change) => (
              <Changed key={change.geofence_id} state={state} change={change} />
            ))}
          </ol>
          {data.next && <p class="quiet">The first {CHANGES_AT_ONCE} changes are shown.</p>}
          {asks && <Restore state={state} number={number} onClose={() => setAsks(false)} />}
        </>
      )}
    </>
  );
}

const TONES: Readonly<Record<Change["change"], Tone>> = { created: "good", changed: "accent", removed: "danger" };

function Changed({ state, change }: { state: MapState; change: Change }) {
  const [before, after] = [change.before, change.after] as unknown as [Fence | null, Fence | null];
  const bounds = boundsOf([before, after].map((each) => each && drawn(each)).map((each) => each ?? undefined));
  return (
    <li>
      <div>
        <Badge tone={TONES[change.change]}>{change.change}</Badge> <strong>{(after ?? before)?.properties.name ?? change.geofence_id}</strong>
        {before && after && <Differences before={before} after={after} />}
      </div>
      {bounds && (
        <Button look="quiet" icon="place" aria-label={`Show on the map: ${change.geofence_id}`} onClick={() => state.flyTo(bounds)}>
          Show
        </Button>
      )}
    </li>
  );
}

/** Which properties differ, from what to what. */
function Differences({ before, after }: { before: Fence; after: Fence }) {
  const names = [...new Set([...Object.keys(before.properties), ...Object.keys(after.properties)])];
  const differing = names.filter((name) => text(before.properties[name]) !== text(after.properties[name]));
  const moved = text(before.geometry) !== text(after.geometry);
  return (
    <ul class="differences">
      {moved && <li>Another shape; the old one is dotted on the map</li>}
      {differing.map((name) => (
        <li key={name}>
          <code>{name}</code>: <del>{text(before.properties[name])}</del> <ins>{text(after.properties[name])}</ins>
        </li>
      ))}
    </ul>
  );
}

const text = (value: unknown): string => (value === undefined ? "none" : typeof value === "string" ? value : JSON.stringify(value));
const drawn = (fence: Fence) => drawable(fence.geometry, fence.properties.radius_m);

/** Says what would change before it asks. */
function Restore({ state, number, onClose }: { state: MapState; number: string; onClose: () => void }) {
  const restore = (dry_run: boolean) =>
    ok(api.POST("/v1/geofences/versions/{id}/restore", { params: { path: { id: number }, query: { dry_run } } }));
  const plan = useLoad(() => restore(true), [number]);
  const changes = plan.data ? plan.data.created + plan.data.changed + plan.data.removed : undefined;
  const deed = async () => {
    if (changes === undefined) throw new Error("What would change is not known yet.");
    if (changes > 0) {
      const done = await restore(false);
      await state.load();
      state.news.value = `The geofences are as in version ${number} again, as version ${done.version}: ${inWords(done)}.`;
    }
    go(["map"]);
  };
  return (
    <Confirm title={`Restore version ${number}?`} deed={changes === 0 ? "Leave it" : "Restore"} onConfirm={deed} onClose={onClose}>
      {plan.loading && <Skeleton lines={2} label="Comparing" />}
      {plan.error !== undefined && <Failure error={plan.error} />}
      {changes === 0 && <p>All geofences are as in version {number} already.</p>}
      {plan.data && changes !== 0 && (
        <>
          <p>All geofences will be as they were then, as a new version. Nothing is lost by it: what is there now stays on record.</p>
          <Counts report={plan.data} />
        </>
      )}
    </Confirm>
  );
}

function useDifference(state: MapState, changes: readonly Change[] | undefined): void {
  const map = state.map.value;
  useEffect(() => {
    if (!changes) return;
    const side = (which: "before" | "after") => changes.flatMap((change) => (change[which] ? [change[which] as unknown as Drawn] : []));
    const [before, features] = [side("before"), side("after")];
    state.overlay.value = { features, before };
    state.flyTo(boundsOf([...before, ...features].map((each) => drawable(each.geometry, each.properties?.radius_m))));
    return () => {
      state.overlay.value = undefined;
    };
  }, [changes, map]);
}

