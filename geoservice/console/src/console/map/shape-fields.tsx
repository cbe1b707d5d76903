/** A shape in numbers, for who cannot or will not draw it. */
import type { Geometry } from "geojson";
import { useState } from "preact/hooks";
import { Field } from "../../lib/ui/parts";
import { isSimple, type Shape } from "./fences";

export function CircleFields({ shape, onChange }: { shape: Extract<Shape, { is: "circle" }>; onChange: (shape: Shape) => void }) {
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
export function AreaField({ geometry, onChange }: { geometry: Geometry; onChange: (shape: Shape) => void }) {
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
