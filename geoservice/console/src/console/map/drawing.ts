/** Drawing and moving shapes on the map, with terra-draw; it is loaded when somebody first draws. */
import type { Polygon, Position } from "geojson";
import type { MapLibre } from "../../lib/map/map-view";
import { boundsOf, circleRing, distanceM, isSimple, middleOf, rounded, type Shape } from "./fences";

const CIRCLE_CORNERS = 64;

export interface Drawing {
  /** Lets the user draw a new shape; the one that was there goes when the new one is finished. */
  readonly begin: (what: "circle" | "polygon") => void;
  /** Shows a shape to be moved and reshaped. */
  readonly put: (shape: Shape | undefined) => void;
  readonly end: () => void;
}

/** Starts drawing on a map; `onShape` is told every shape that was finished. */
export async function startDrawing(map: MapLibre, colour: string, onShape: (shape: Shape) => void): Promise<Drawing> {
  const [terra, { TerraDrawMapLibreGLAdapter }] = await Promise.all([
    import("terra-draw"),
    import("terra-draw-maplibre-gl-adapter"),
  ]);
  const hex = colour as `#${string}`;
  const fill = { fillColor: hex, fillOpacity: 0.2, outlineColor: hex, outlineWidth: 3 };
  const corners = { draggable: true, midpoints: true, deletable: true } as const;
  const draw = new terra.TerraDraw({
    adapter: new TerraDrawMapLibreGLAdapter({ map, prefixId: "drawing", coordinatePrecision: 7 }),
    modes: [
      new terra.TerraDrawCircleMode({ styles: fill, segments: CIRCLE_CORNERS }),
      new terra.TerraDrawPolygonMode({
        styles: { ...fill, closingPointColor: hex, closingPointWidth: 7, closingPointOutlineColor: "#ffffff" },
      }),
      new terra.TerraDrawSelectMode({
        allowManualDeselection: false,
        flags: {
          circle: { feature: { draggable: true, coordinates: { resizable: "center-fixed" } } },
          polygon: { feature: { draggable: true, coordinates: corners } },
        },
        styles: {
          selectedPolygonColor: hex,
          selectedPolygonFillOpacity: 0.2,
          selectedPolygonOutlineColor: hex,
          selectedPolygonOutlineWidth: 3,
          selectionPointColor: "#ffffff",
          selectionPointOutlineColor: hex,
          // A circle is dragged by four of its corners; all of them would hide it.
          selectionPointWidth: ({ properties }) => (isHandle(properties) ? 6 : 0),
          selectionPointOutlineWidth: ({ properties }) => (isHandle(properties) ? 2 : 0),
          midPointColor: hex,
          midPointOutlineColor: "#ffffff",
          midPointWidth: 4,
          midPointOutlineWidth: 1,
        },
      }),
    ],
  });
  function isHandle({ selectionPointFeatureId, index }: Record<string, unknown>): boolean {
    const of = draw.getSnapshotFeature(selectionPointFeatureId as string);
    return of?.properties.mode !== "circle" || Number(index) % (CIRCLE_CORNERS / 4) === 0;
  }
  draw.start();
  draw.setMode("select");

  draw.on("finish", (id, { action }) => {
    const feature = draw.getSnapshotFeature(id);
    if (feature?.geometry.type !== "Polygon") return;
    if (action === "draw") {
      const others = draw.getSnapshot().filter((each) => each.id !== id && each.properties.mode !== "select");
      draw.removeFeatures(others.flatMap((each) => (each.id === undefined ? [] : [each.id])));
      draw.setMode("select");
      draw.selectFeature(id);
    }
    onShape(shapeFrom(feature.geometry, feature.properties.mode === "circle"));
  });

  return {
    begin: (what) => draw.setMode(what),
    put: (shape) => {
      draw.setMode("select");
      draw.clear();
      const feature = shape && asFeature(shape);
      if (!feature) return;
      const [added] = draw.addFeatures([feature]);
      if (added?.valid && added.id !== undefined) draw.selectFeature(added.id);
    },
    end: () => draw.stop(),
  };
}

function shapeFrom(geometry: Polygon, isCircle: boolean): Shape {
  const ring = geometry.coordinates[0] ?? [];
  if (!isCircle) {
    return { is: "area", geometry: { type: "Polygon", coordinates: [ring.map((position) => position.map(rounded))] } };
  }
  const centre = middleOf(boundsOf([geometry]) ?? [0, 0, 0, 0]).map(rounded);
  return { is: "circle", centre, radiusM: Math.max(1, Math.round(distanceM(centre, ring[0] as Position))) };
}

function asFeature(shape: Shape) {
  if (shape.is === "circle") {
    return {
      type: "Feature" as const,
      geometry: { type: "Polygon" as const, coordinates: [circleRing(shape.centre, shape.radiusM, CIRCLE_CORNERS)] },
      properties: { mode: "circle", radiusKilometers: shape.radiusM / 1000 },
    };
  }
  if (!isSimple(shape.geometry)) return undefined;
  const coordinates = shape.geometry.coordinates.map((ring) => ring.map((position) => position.slice(0, 2).map(rounded)));
  return { type: "Feature" as const, geometry: { type: "Polygon" as const, coordinates }, properties: { mode: "polygon" } };
}
