/** A dry run of what the editor holds: how often it would have spoken on which day, and why it would have been silent. */
import { useState } from "preact/hooks";
import { api, ok, type Schemas } from "../../lib/api";
import { count, moment, words } from "../../lib/format";
import { Badge, Button, Card, Empty, Failure, Field, Notice } from "../../lib/ui/parts";
import { Bars } from "./bars";
import { asBody, type Spec } from "./spec";

const DAY_MS = 86_400_000;

type Report = Schemas["DryRunAnswer"];

export function DryRun({ id, spec }: { id: string; spec: Spec }) {
  const [days, setDays] = useState(14);
  const [busy, setBusy] = useState(false);
  const [report, setReport] = useState<Report>();
  const [error, setError] = useState<unknown>();

  const run = async () => {
    setBusy(true);
    setError(undefined);
    try {
      const params = { path: { id }, query: { days } };
      setReport(await ok(api.POST("/v1/campaigns/{id}/dry-run", { params, body: asBody(spec) })));
    } catch (failure) {
      setError(failure);
      setReport(undefined);
    }
    setBusy(false);
  };

  return (
    <div class="dry-run">
      <Card title="What if it had been live?">
        <p class="quiet">
          The campaign as the editor holds it, saved or not, is decided over what really happened, with the consents and settings of then.
          Nothing is sent or stored.
        </p>
        <div class="dry-run-ask">
          <Field
            label="Over the last"
            control={(ties) => (
              <select {...ties} value={String(days)} onChange={(event) => setDays(Number(event.currentTarget.value))}>
                {[7, 14, 30, 90].map((each) => (
                  <option key={each} value={String(each)}>
                    {each} days
                  </option>
                ))}
              </select>
            )}
          />
          <Button look="accent" icon="play" busy={busy} onClick={run}>
            Run it dry
          </Button>
        </div>
      </Card>
      <div aria-live="polite" class="said">
        {busy && <p class="quiet">Looking at what happened; this takes 30 seconds at most.</p>}
        {error !== undefined && <Failure error={error} />}
        {report && !busy && <Found report={report} />}
      </div>
    </div>
  );
}

function Found({ report }: { report: Report }) {
  const silent = Object.values(report.suppressed).reduce((sum, each) => sum + each, 0);
  if (report.customers === 0) {
    return (
      <Empty title="Nobody was at such a place">
        In these days no customer who allows it was at a geofence that this campaign listens to. Try more days, or look at its trigger.
      </Empty>
    );
  }
  return (
    <>
      {!report.complete && <Notice tone="warning">The time was up: this is about the first {count(report.customers)} customers only.</Notice>}
      <Card>
        <dl class="totals">
          <Total what="Customers at such a place" value={report.customers} />
          <Total what="Messages" value={report.sent} />
          <Total what="Silences" value={silent} />
          {report.waiting > 0 && <Total what="Still waiting" value={report.waiting} />}
        </dl>
        <Bars days={everyDay(report)} suppressed={report.suppressed} />
      </Card>
      {report.examples.length > 0 && (
        <Card title="Examples">
          <ul class="examples">
            {report.examples.map((each, number) => (
              <li key={number}>
                <Badge tone={each.outcome === "send" ? "good" : "neutral"}>{each.outcome === "send" ? "Sent" : words(each.outcome)}</Badge>
                <div>
                  {each.title && (
                    <p>
                      <strong>{each.title}</strong> {each.body}
                    </p>
                  )}
                  {each.sentence && <p>{each.sentence}</p>}
                  <p class="quiet small">
                    {moment(each.at)} · {each.geofence_id}
                  </p>
                </div>
              </li>
            ))}
          </ul>
        </Card>
      )}
    </>
  );
}

/** Days on which nothing happened have their place in the chart, too. */
function everyDay({ since, until, by_day }: Report): Report["by_day"] {
  const known = new Map(by_day.map((each) => [each.day, each]));
  const ends = [since.slice(0, 10), until.slice(0, 10), ...known.keys()].sort();
  const [first, last] = [Date.parse(ends[0] ?? since), Date.parse(ends.at(-1) ?? until)];
  const days = Array.from({ length: Math.round((last - first) / DAY_MS) + 1 }, (_, number) =>
    new Date(first + number * DAY_MS).toISOString().slice(0, 10),
  );
  return days.map((day) => known.get(day) ?? { day, sent: 0, suppressed: {} });
}

function Total({ what, value }: { what: string; value: number }) {
  return (
    <div>
      <dt>{what}</dt>
      <dd>{count(value)}</dd>
    </div>
  );
}

