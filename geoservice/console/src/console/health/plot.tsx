/** One plot over the last minutes, on uPlot; the newest figures stand in words above it. */
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { timeOfDay } from "../../lib/format";
import { dark } from "../../lib/scheme";
import { Card } from "../../lib/ui/parts";

export interface Series {
  name: string;
  values: readonly (number | null)[];
}

export interface PlotProps {
  title: string;
  /** What the numbers are, in words: "a second", "milliseconds". */
  unit: string;
  /** Seconds since 1970. */
  times: readonly number[];
  series: readonly Series[];
  written: (value: number) => string;
  /** What the scale reaches at least, so that a quiet service does not look like a busy one. */
  least: number;
  /** Where it should stay below; drawn as a line. */
  limit?: number;
}

/** So much time is shown from the first look on. */
const AT_FIRST_S = 120;

const HEIGHT = 150;
/** In the order of the series; each is held apart from its surface by 3:1, and by its dashes from the others. */
const INKS = ["--accent", "--shade-2", "--shade-1", "--shade-3", "--shade-4", "--shade-others"] as const;
const DASHES: readonly number[][] = [[], [6, 3], [2, 3], [8, 3, 2, 3], [4, 2], [1, 2]];

export function Plot({ title, unit, times, series, written, least, limit }: PlotProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const scheme = dark.value;
  const names = series.map(({ name }) => name).join("\n");

  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const ink = (name: string) => getComputedStyle(element).getPropertyValue(name).trim();
    const axis = { stroke: ink("--ink-quiet"), grid: { stroke: ink("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
    const made = new uPlot(
      {
        width: element.clientWidth,
        height: HEIGHT,
        legend: { show: false },
        cursor: { show: false },
        scales: {
          x: { time: true, range: (_, first, last) => [Math.min(first, last - AT_FIRST_S), last] },
          y: { range: (_, __, most) => [0, Math.max(most ?? 0, limit ?? 0, least) * 1.1] },
        },
        axes: [
          { ...axis, values: (_, at) => at.map((each) => timeOfDay(each * 1000)), space: 90, size: 26 },
          { ...axis, size: 56, values: (_, at) => at.map(written), space: 34 },
        ],
        series: [
          {},
          ...series.map(({ name }, number) => ({
            label: name,
            stroke: ink(INKS[number % INKS.length] ?? "--accent"),
            width: 2,
            dash: DASHES[number % DASHES.length] ?? [],
            points: { show: false },
            spanGaps: false,
          })),
        ],
        hooks:
          limit === undefined
            ? {}
            : {
                draw: [
                  (drawn) => {
                    const y = drawn.valToPos(limit, "y", true);
                    drawn.ctx.save();
                    drawn.ctx.strokeStyle = ink("--danger");
                    drawn.ctx.setLineDash([2, 4]);
                    drawn.ctx.beginPath();
                    drawn.ctx.moveTo(drawn.bbox.left, y);
                    drawn.ctx.lineTo(drawn.bbox.left + drawn.bbox.width, y);
                    drawn.ctx.stroke();
                    drawn.ctx.restore();
                  },
                ],
              },
      },
      [[], ...series.map(() => [])] as uPlot.AlignedData,
      element,
    );
    plot.current = made;
    const watch = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }));
    watch.observe(element);
    return () => {
      watch.disconnect();
      made.destroy();
      plot.current = undefined;
    };
  }, [names, scheme, limit, least]);

  useEffect(() => {
    plot.current?.setData([times as number[], ...series.map(({ values }) => values as (number | null)[])]);
  }, [times, series, names, scheme]);

  const newest = series.map(({ name, values }) => [name, values.at(-1) ?? null] as const);
  return (
    <Card class="plot">
      <div class="plot-head">
        <h2>{title}</h2>
        <span class="quiet small">{unit}</span>
      </div>
      <ul class="plot-legend">
        {newest.map(([name, value], number) => (
          <li key={name}>
            <svg class={`plot-key plot-key-${(number % INKS.length) + 1}`} viewBox="0 0 20 4" aria-hidden="true">
              <path d="M0 2h20" stroke-dasharray={(DASHES[number % DASHES.length] ?? []).join(" ")} />
            </svg>
            {name} <strong>{value === null ? "–" : written(value)}</strong>
          </li>
        ))}
      </ul>
      <div class="plot-place" ref={place} role="img" aria-label={`${title} over the last minutes; the newest figures stand above`} style={{ height: `${HEIGHT}px` }} />
    </Card>
  );
}

