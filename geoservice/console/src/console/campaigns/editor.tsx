/** The editor: a form for what most campaigns need, their JSON for all of it, and the messages as phones show them. */
import { useEffect, useRef, useState } from "preact/hooks";
import { api, type ErrorPlace, isAt, ok, Problem, type Schemas } from "../../lib/api";
import { Icon } from "../../lib/ui/icon";
import { Card, Failure, Notice } from "../../lib/ui/parts";
import { Form, SHOWN } from "./form";
import { Phones } from "./phones";
import { asBody, type Spec } from "./spec";

export type Looked = Schemas["PreviewAnswer"];

const AFTER_MS = 350;

interface EditorProps {
  spec: Spec;
  onChange: (spec: Spec) => void;
  id: string;
  /** Given while the campaign has none yet. */
  onId: ((id: string) => void) | undefined;
  /** What saving was refused for. */
  refused: readonly ErrorPlace[];
  /** A newer answer than that refusal is there. */
  onLooked: () => void;
  onReadable: (readable: boolean) => void;
}

export function Editor({ spec, onChange, id, onId, refused, onLooked, onReadable }: EditorProps) {
  const [as, setAs] = useState<"form" | "json">("form");
  const looked = useLooked(id, spec, onLooked);
  const [touched, setTouched] = useState<ReadonlySet<string>>(new Set());
  const tried = refused.length > 0;
  const [everything, setEverything] = useState(onId === undefined);
  const [readable, setReadable] = useState(true);
  const form = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (tried) setEverything(true);
  }, [tried]);
  useEffect(() => {
    if (tried && everything) form.current?.querySelector<HTMLElement>("[aria-invalid]")?.focus();
  }, [refused, everything]);

  const wrong = [...refused, ...looked.errors.filter(({ path }) => !refused.some((each) => each.path === path))];
  // A new campaign is full of holes: what she has not come to yet is not held against her.
  const shown = everything ? wrong : wrong.filter(({ path }) => [...touched].some((each) => isAt(path, each)));
  // What cannot be read was not looked at: what is known of it is about the text before.
  const inJson = readable ? shown : [];
  const elsewhere = as === "json" ? inJson : shown.filter(({ path }) => !SHOWN.some((place) => isAt(path, place)));

  return (
    <div class="editor">
      <div class="editor-main" ref={form}>
        <div class="switch" role="group" aria-label="Edit as">
          <button type="button" aria-pressed={as === "form"} onClick={() => setAs("form")}>
            Form
          </button>
          <button type="button" aria-pressed={as === "json"} onClick={() => setAs("json")}>
            JSON
          </button>
        </div>
        {elsewhere.length > 0 && (
          <Notice tone="danger" title={as === "json" ? "This is not a campaign yet" : "Not in this form"}>
            <ul class="notice-list">
              {elsewhere.map(({ path, message }) => (
                <li key={path + message}>
                  {path && <code>{path}</code>} {message}
                </li>
              ))}
            </ul>
          </Notice>
        )}
        {as === "form" ? (
          <Form
            spec={spec}
            onChange={onChange}
            onTouch={(place) => setTouched((before) => new Set(before).add(place))}
            errors={shown}
            id={id}
            onId={onId}
            onJson={() => setAs("json")}
          />
        ) : (
          <RawJson
            spec={spec}
            onChange={onChange}
            onReadable={(now) => {
              setReadable(now);
              onReadable(now);
            }}
          />
        )}
      </div>
      <aside class="editor-aside" aria-label="Preview">
        {looked.failure !== undefined && <Failure error={looked.failure} />}
        {looked.data ? (
          <>
            {looked.data.warnings.map(({ path, message }) => (
              <Notice key={path} tone="warning">
                {message.charAt(0).toUpperCase() + message.slice(1)}.
              </Notice>
            ))}
            <Phones looked={looked.data} stale={looked.errors.length > 0} />
          </>
        ) : (
          <Card title="On the phone">
            <p class="quiet">
              <Icon name="phone" /> The message appears here as soon as the campaign is complete: a name, a topic, a moment, a
              title and a text.
            </p>
          </Card>
        )}
        <p class="verdict" role="status">
          {looked.errors.length === 0 && looked.data ? (
            <>
              <Icon name="check" /> The service would take it as it is.
            </>
          ) : (
            looked.errors.length > 0 && (
              <>
                <Icon name="alert" /> {looked.errors.length === 1 ? "One thing is" : `${looked.errors.length} things are`} missing or wrong.
              </>
            )
          )}
        </p>
      </aside>
    </div>
  );
}

interface LookedOver {
  /** What the last campaign without errors looked like. */
  data: Looked | undefined;
  errors: readonly ErrorPlace[];
  failure: unknown;
}

/** Has the service look the campaign over, a moment after the last change. */
function useLooked(id: string, spec: Spec, onLooked: () => void): LookedOver {
  const [state, setState] = useState<LookedOver>({ data: undefined, errors: [], failure: undefined });
  const first = useRef(true);
  useEffect(() => {
    const abort = new AbortController();
    const wait = first.current ? 0 : AFTER_MS;
    first.current = false;
    const timer = setTimeout(async () => {
      try {
        const params = { path: { id: id || "new" } };
        const data = await ok(api.POST("/v1/campaigns/{id}/preview", { params, body: asBody(spec), signal: abort.signal }));
        setState({ data, errors: [], failure: undefined });
      } catch (error) {
        if (abort.signal.aborted) return;
        const errors = error instanceof Problem && error.status === 422 ? error.errors : [];
        setState((before) => ({ data: before.data, errors, failure: errors.length > 0 ? undefined : error }));
      }
      onLooked();
    }, wait);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [id, spec]);
  return state;
}

function RawJson({ spec, onChange, onReadable }: Pick<EditorProps, "spec" | "onChange" | "onReadable">) {
  const [text, setText] = useState(() => JSON.stringify(spec, null, 2));
  const [error, setError] = useState("");
  const change = (typed: string) => {
    setText(typed);
    try {
      const parsed: unknown = JSON.parse(typed);
      if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) throw new Error("A campaign is a JSON object: { … }.");
      setError("");
      onReadable(true);
      onChange(parsed as Spec);
    } catch (failure) {
      setError(failure instanceof Error ? failure.message : String(failure));
      onReadable(false);
    }
  };
  useEffect(() => () => onReadable(true), []);
  return (
    <Card title="The campaign as JSON">
      <p class="quiet" id="json-hint">
        All that a campaign can have: several languages, experiments, combined conditions, schedules.{" "}
        <a href="/docs" target="_blank" rel="noreferrer">
          What each field means
        </a>
      </p>
      <textarea
        class="json"
        aria-label="The campaign as JSON"
        aria-describedby="json-hint json-error"
        aria-invalid={error ? true : undefined}
        spellcheck={false}
        rows={28}
        value={text}
        onInput={(event) => change(event.currentTarget.value)}
      />
      <p class="field-error" id="json-error" role="status">
        {error && (
          <>
            <Icon name="alert" /> {error}
          </>
        )}
      </p>
    </Card>
  );
}
