/** One geofence in words, and what can be done with it. */
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { api, ok } from "../../lib/api";
import { counted, duration, metres, moment, words } from "../../lib/format";
import { go, href } from "../../lib/router";
import { Confirm } from "../../lib/ui/dialog";
import { Icon } from "../../lib/ui/icon";
import { Button } from "../../lib/ui/parts";
import { Back } from "../back";
import { type Fence, KINDS } from "./fences";
import type { MapState } from "./state";
import { Swatch } from "./swatch";

const TOLD = new Set(["id", "name", "kind", "store_id", "radius_m", "tags", "dwell_s", "valid_from", "valid_until", "beacons"]);

export function FenceDetails({ state, fence }: { state: MapState; fence: Fence }) {
  const [asks, setAsks] = useState(false);
  const { properties } = fence;
  const remove = async () => {
    await ok(api.DELETE("/v1/geofences/{id}", { params: { path: { id: fence.id } } }));
    await state.load();
    state.news.value = `${properties.name} was removed. Versions has the way back.`;
    go(["map"]);
  };
  return (
    <>
      <Back to={["map"]}>All geofences</Back>
      <header>
        <h1>{properties.name}</h1>
        <p class="quiet">
          <Swatch kind={properties.kind} /> {KINDS[properties.kind].label}: {KINDS[properties.kind].says}
        </p>
      </header>
      <dl class="facts">
        <Fact name="Store">{properties.store_id ? state.storeName(properties.store_id) : "None"}</Fact>
        <Fact name="Shape">{shapeInWords(fence)}</Fact>
        <Fact name="Id">
          <code>{fence.id}</code>
        </Fact>
        {properties.tags && properties.tags.length > 0 && <Fact name="Tags">{properties.tags.join(", ")}</Fact>}
        {properties.dwell_s !== undefined && <Fact name="Counts as a stay after">{duration(properties.dwell_s)}</Fact>}
        {properties.beacons && properties.beacons.length > 0 && <Fact name="Beacons">{counted(properties.beacons.length, "beacon")}</Fact>}
        {properties.valid_from && <Fact name="From">{moment(properties.valid_from)}</Fact>}
        {properties.valid_until && <Fact name="Until">{moment(properties.valid_until)}</Fact>}
        {Object.entries(properties)
          .filter(([name]) => !TOLD.has(name))
          .map(([name, value]) => (
            <Fact name={words(name)} key={name}>
              {typeof value === "string" ? value : JSON.stringify(value)}
            </Fact>
          ))}
      </dl>
      <div class="panel-actions">
        <a class="button" href={href(["map", "fence", fence.id, "edit"])}>
          <Icon name="edit" /> Edit
        </a>
        <Button look="danger" icon="trash" onClick={() => setAsks(true)}>
          Remove
        </Button>
      </div>
      {asks && (
        <Confirm title={`Remove ${properties.name}?`} deed="Remove" danger onConfirm={remove} onClose={() => setAsks(false)}>
          <p>Whoever is inside is inside no more, without a message. Campaigns that name it fall silent. An earlier version can be restored.</p>
        </Confirm>
      )}
    </>
  );
}

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function shapeInWords({ geometry, properties }: Fence): string {
  if (geometry.type === "Point") return `Circle of ${metres(properties.radius_m ?? 0)}`;
  if (geometry.type === "MultiPolygon") return counted(geometry.coordinates.length, "area");
  if (geometry.type === "Polygon") {
    const [outer = [], ...holes] = geometry.coordinates;
    const corners = counted(Math.max(0, outer.length - 1), "corner");
    return holes.length ? `Area with ${corners} and ${counted(holes.length, "hole")}` : `Area with ${corners}`;
  }
  return geometry.type;
}
