/** A file is checked first: what is wrong, each on its feature, or what would change; then it is published. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { api, ok, Problem, type Schemas } from "../../lib/api";
import { count, counted } from "../../lib/format";
import { go } from "../../lib/router";
import { Confirm } from "../../lib/ui/dialog";
import { Icon } from "../../lib/ui/icon";
import { Badge, Button, Failure, Notice, Skeleton } from "../../lib/ui/parts";
import { Back } from "../back";
import { boundsOf, drawable } from "./fences";
import { type Located, locate, readUpload, type UploadFile } from "./file";
import type { MapState } from "./state";

type Report = Schemas["ImportAnswer"];

interface How {
  mode: "merge" | "replace";
  make_valid: boolean;
}

/** What the service said of a file. */
type Verdict = { is: "good"; report: Report } | { is: "bad"; problem: Problem } | { is: "failed"; error: unknown };

interface UploadProps {
  state: MapState;
  file: File | undefined;
  onFile: (file: File | undefined) => void;
}

export function Upload({ state, file, onFile }: UploadProps) {
  const [read, setRead] = useState<UploadFile>();
  const [verdict, setVerdict] = useState<Verdict>();
  const [how, setHow] = useState<How>({ mode: "merge", make_valid: false });
  /** Asks again with each step. */
  const [turn, setTurn] = useState(0);
  const [overtaken, setOvertaken] = useState(false);
  const chooser = useRef<HTMLInputElement>(null);

  useEffect(() => {
    setRead(undefined);
    setVerdict(undefined);
    setOvertaken(false);
    if (!file) return;
    let overtaken = false;
    readUpload(file).then(
      (content) => !overtaken && setRead(content),
      (error: unknown) => !overtaken && setVerdict({ is: "failed", error }),
    );
    return () => {
      overtaken = true;
    };
  }, [file]);

  useEffect(() => {
    if (!read) return;
    let overtaken = false;
    setVerdict(undefined);
    send(read, { ...how, dry_run: true }).then(
      (report) => !overtaken && setVerdict({ is: "good", report }),
      (error: unknown) => !overtaken && setVerdict(isVerdict(error) ? { is: "bad", problem: error } : { is: "failed", error }),
    );
    return () => {
      overtaken = true;
    };
  }, [read, how, turn]);
  const again = () => setTurn((before) => before + 1);

  const places = verdict?.is === "good" ? verdict.report.warnings : verdict?.is === "bad" ? verdict.problem.errors : [];
  const located = useMemo(() => (read ? places.map((each) => locate(read, each)) : []), [read, places]);
  useOverlay(state, read, located);

  return (
    <>
      <Back to={["map"]}>All geofences</Back>
      <h1>Upload</h1>
      <input
        ref={chooser}
        class="visually-hidden"
        type="file"
        aria-label="GeoJSON or CSV file"
        tabIndex={-1}
        accept=".geojson,.json,.csv,.tsv,application/geo+json,application/json,text/csv"
        onChange={(event) => {
          const chosen = event.currentTarget.files?.[0];
          event.currentTarget.value = ""; // so that the same file, mended, can be chosen again
          if (chosen) onFile(chosen);
        }}
      />
      {!file && (
        <button type="button" class="drop-zone" onClick={() => chooser.current?.click()}>
          <Icon name="upload" />
          <strong>Choose a file</strong>
          <span>or drop it onto the map: GeoJSON, or a table (CSV) with id, lat, lon and radius. It is checked first; nothing goes live yet.</span>
        </button>
      )}
      {file && (
        <>
          <div class="file-name">
            <strong>{file.name}</strong>
            <Button onClick={() => chooser.current?.click()}>Another file</Button>
          </div>
          <Options how={how} onChange={setHow} />
        </>
      )}
      {file && !verdict && <Skeleton lines={4} label="Checking the file" />}
      {verdict?.is === "failed" && <Failure error={verdict.error} retry={read && again} />}
      {overtaken && verdict && <Notice tone="warning">Somebody else has published meanwhile: this is what would change now.</Notice>}
      {verdict?.is === "bad" && read && <Errors state={state} problem={verdict.problem} located={located} />}
      {verdict?.is === "good" && read && (
        <Plan
          state={state}
          read={read}
          how={how}
          report={verdict.report}
          located={located}
          onDone={() => onFile(undefined)}
          onOvertaken={() => {
            setOvertaken(true);
            again();
          }}
        />
      )}
    </>
  );
}

function isVerdict(error: unknown): error is Problem {
  return error instanceof Problem && (error.status === 400 || error.status === 422);
}

type Query = How & { dry_run?: boolean; confirm_removed?: number };

function send(file: UploadFile, query: Query): Promise<Report> {
  return ok(
    api.POST("/v1/geofences/import", {
      params: { query },
      body: file.text as never, // as it is in the file: errors name its lines
      bodySerializer: (text: unknown) => text as string,
      headers: { "Content-Type": file.type },
    }),
  );
}

function Options({ how, onChange }: { how: How; onChange: (how: How) => void }) {
  return (
    <fieldset class="options">
      <legend class="visually-hidden">How to take the file</legend>
      <label>
        <input type="radio" name="mode" checked={how.mode === "merge"} onChange={() => onChange({ ...how, mode: "merge" })} />
        <span>Add and change; all others stay</span>
      </label>
      <label>
        <input type="radio" name="mode" checked={how.mode === "replace"} onChange={() => onChange({ ...how, mode: "replace" })} />
        <span>Replace everything by this file</span>
      </label>
      <label>
        <input type="checkbox" checked={how.make_valid} onChange={(event) => onChange({ ...how, make_valid: event.currentTarget.checked })} />
        <span>Mend outlines that cross themselves or are not closed</span>
      </label>
    </fieldset>
  );
}

function Errors({ state, problem, located }: { state: MapState; problem: Problem; located: readonly Located[] }) {
  if (located.length === 0) {
    return (
      <Notice tone="danger" title="The file cannot be read">
        <p>{problem.message.replace("The body", "The file")}</p>
      </Notice>
    );
  }
  return (
    <section class="report" aria-labelledby="report-title">
      <Notice tone="danger">
        <strong id="report-title">{counted(located.length, "thing")} to mend; nothing was changed</strong>
        <p>Mend the file and choose it again.</p>
      </Notice>
      <Places state={state} places={located} tone="danger" />
    </section>
  );
}

/** Errors or warnings, each with its feature, the place in the file, and a way to see it on the map. */
function Places({ state, places, tone }: { state: MapState; places: readonly Located[]; tone: "danger" | "warning" }) {
  return (
    <ol class="places">
      {places.map((place, index) => (
        <li key={`${place.path} ${place.code} ${index}`}>
          <span class={`place-number place-${tone}`}>{index + 1}</span>
          <div>
            {place.feature && <Badge tone={tone}>{place.feature}</Badge>}
            <p>{place.message}</p>
            <code>{place.path}</code>
          </div>
          {place.bounds && (
            <Button look="quiet" icon="place" aria-label={`Show on the map: ${place.feature ?? place.path}, ${place.message}`} onClick={() => state.flyTo(place.bounds)}>
              Show
            </Button>
          )}
        </li>
      ))}
    </ol>
  );
}

interface PlanProps {
  state: MapState;
  read: UploadFile;
  how: How;
  report: Report;
  located: readonly Located[];
  onDone: () => void;
  /** What would be removed is no more what the report said. */
  onOvertaken: () => void;
}

function Plan({ state, read, how, report, located, onDone, onOvertaken }: PlanProps) {
  const [busy, setBusy] = useState(false);
  const [asks, setAsks] = useState(false);
  const [error, setError] = useState<unknown>();
  const changes = report.created + report.changed + report.removed;

  const publish = async () => {
    const done = await send(read, { ...how, ...(report.removed && { confirm_removed: report.removed }) }).catch((failure: unknown) => {
      if (failure instanceof Problem && failure.code === "removal_needs_confirmation") return onOvertaken();
      throw failure;
    });
    if (!done) return;
    await state.load();
    state.news.value = `Version ${done.version} is live: ${inWords(done)}.`;
    onDone();
    go(["map"]);
  };
  const publishNow = async () => {
    setBusy(true);
    try {
      await publish();
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };

  return (
    <section class="report" aria-labelledby="report-title">
      <h2 id="report-title">{changes ? "What would change" : "Nothing would change"}</h2>
      <Counts report={report} />
      {located.length > 0 && (
        <>
          <h3>{counted(located.length, "warning")}</h3>
          <Places state={state} places={located} tone="warning" />
        </>
      )}
      {error !== undefined && <Failure error={error} />}
      <div class="panel-actions">
        <Button look="accent" busy={busy} disabled={!changes} onClick={report.removed ? () => setAsks(true) : publishNow}>
          Publish
        </Button>
      </div>
      {asks && (
        <Confirm
          title={`Remove ${counted(report.removed, "geofence")}?`}
          deed={`Publish and remove ${count(report.removed)}`}
          danger
          onConfirm={publish}
          onClose={() => setAsks(false)}
        >
          <p>They are not in {read.name}. Whoever is inside is inside no more, without a message. An earlier version can be restored.</p>
        </Confirm>
      )}
    </section>
  );
}

export function Counts({ report }: { report: Pick<Report, "created" | "changed" | "unchanged" | "removed"> }) {
  const rows = [
    ["Created", report.created, "good"],
    ["Changed", report.changed, "accent"],
    ["Removed", report.removed, "danger"],
    ["Unchanged", report.unchanged, "neutral"],
  ] as const;
  return (
    <dl class="counts">
      {rows.map(([name, value, tone]) => (
        <div key={name} class={value ? `count-${tone}` : ""}>
          <dt>{name}</dt>
          <dd>{count(value)}</dd>
        </div>
      ))}
    </dl>
  );
}

export function inWords({ created, changed, removed }: Pick<Report, "created" | "changed" | "removed">): string {
  const parts = [created && `${count(created)} created`, changed && `${count(changed)} changed`, removed && `${count(removed)} removed`];
  return parts.filter(Boolean).join(", ") || "nothing changed";
}

/** Shows the file over the fences, with its errors marked, for as long as this panel is open. */
function useOverlay(state: MapState, read: UploadFile | undefined, located: readonly Located[]): void {
  const map = state.map.value;
  useEffect(() => {
    if (!read) return;
    const features = [...read.features.values()];
    const marks = located.flatMap(({ mark }, index) => (mark ? [{ number: index + 1, at: mark }] : []));
    state.overlay.value = { features, marks };
    return () => {
      state.overlay.value = undefined;
    };
  }, [read, located]);
  useEffect(() => {
    if (!read) return;
    state.flyTo(boundsOf([...read.features.values()].map((each) => drawable(each.geometry, each.properties?.radius_m))));
  }, [read, map]);
}
