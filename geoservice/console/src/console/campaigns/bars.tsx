/** Sent and silent by day as stacked bars, with the same figures as a table for whoever prefers to read them. */
import type { Schemas } from "../../lib/api";
import { calendarDay, count, words } from "../../lib/format";
import { Table } from "../../lib/ui/parts";

type Day = Schemas["DryRunDay"];

/** So many reasons have a shade of their own; the rest are together. */
const APART = 4;
const OTHERS = "other reasons";
const HEIGHT = 180;

interface Part {
  name: string;
  shade: string;
  of: (day: Day) => number;
}

export function Bars({ days, suppressed }: { days: readonly Day[]; suppressed: Readonly<Record<string, number>> }) {
  const reasons = Object.entries(suppressed)
    .sort(([, one], [, other]) => other - one)
    .map(([reason]) => reason);
  const apart = reasons.slice(0, APART);
  const rest = reasons.slice(APART);
  const parts: Part[] = [
    { name: "Sent", shade: "sent", of: (day) => day.sent },
    ...apart.map((reason, number) => ({
      name: words(reason),
      shade: `silent-${number + 1}`,
      of: (day: Day) => day.suppressed[reason] ?? 0,
    })),
    ...(rest.length > 0
      ? [{ name: words(OTHERS), shade: "silent-others", of: (day: Day) => rest.reduce((sum, each) => sum + (day.suppressed[each] ?? 0), 0) }]
      : []),
  ];
  const highest = Math.max(1, ...days.map((day) => parts.reduce((sum, part) => sum + part.of(day), 0)));
  return (
    <figure class="bars">
      <figcaption>
        <ul class="legend">
          {parts.map((part) => (
            <li key={part.shade}>
              <span class={`shade shade-${part.shade}`} /> {part.name}{" "}
              <span class="quiet">{count(days.reduce((sum, day) => sum + part.of(day), 0))}</span>
            </li>
          ))}
        </ul>
      </figcaption>
      <div class="bars-frame" aria-hidden="true">
        <div class="bars-scale">
          <span>{count(highest)}</span>
          <span>0</span>
        </div>
        <div class="bars-days" style={{ height: `${HEIGHT + 22}px` }}>
          {days.map((day) => (
            <div class="bars-day" key={day.day} title={`${calendarDay(day.day)}: ${parts.map((part) => `${part.name} ${count(part.of(day))}`).join(", ")}`}>
              <div class="bars-stack" style={{ height: `${HEIGHT}px` }}>
                {[...parts].reverse().map((part) => (
                  <div key={part.shade} class={`shade-${part.shade}`} style={{ height: `${(part.of(day) / highest) * HEIGHT}px` }} />
                ))}
              </div>
              <span class="bars-name">{calendarDay(day.day)}</span>
            </div>
          ))}
        </div>
      </div>
      <details class="figures">
        <summary>The figures</summary>
        <Table caption="Messages and silences by day">
          <thead>
            <tr>
              <th scope="col">Day</th>
              {parts.map((part) => (
                <th scope="col" class="number" key={part.shade}>
                  {part.name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {days.map((day) => (
              <tr key={day.day}>
                <th scope="row">{calendarDay(day.day)}</th>
                {parts.map((part) => (
                  <td class="number" key={part.shade}>
                    {count(part.of(day))}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </Table>
      </details>
    </figure>
  );
}
