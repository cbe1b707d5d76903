/** The form: what most campaigns need. What it does not show it leaves as it is. */
import type { ComponentChildren } from "preact";
import { useEffect, useId, useState } from "preact/hooks";
import { api, type ErrorPlace, ok } from "../../lib/api";
import { useLoad } from "../../lib/load";
import { Button, Card, Field, IconButton } from "../../lib/ui/parts";
import { at, idFrom, interestOf, type Json, KINDS, placeOf, put, type Spec, STATES, texts, TRIGGERS, wrongAt } from "./spec";

export interface FormProps {
  spec: Spec;
  onChange: (spec: Spec) => void;
  onTouch: (place: string) => void;
  errors: readonly ErrorPlace[];
  id: string;
  onId: ((id: string) => void) | undefined;
  onJson: () => void;
}

/** Places that have a control here, which shows what is wrong with them. */
export const SHOWN = [
  ...["name", "topic", "state", "test_customers", "uses", "valid_from", "valid_until", "priority"],
  ...["trigger.on", "trigger.geofence_kind", "trigger.geofence_ids", "trigger.store_ids", "trigger.tags", "trigger.after_s"],
  "context.interest",
  ...["content.title", "content.body", "content.deep_link", "content.image_url", "content.languages"],
  ...["limits.cooldown_s", "limits.per_visit", "limits.per_customer", "limits.hourly_ceiling", "limits.ramp_up_h"],
];

const EVENTS = {
  product_viewed: "looked at a product",
  wishlisted: "put it on the wish list",
  carted: "put it in the basket",
  searched: "searched for it",
} as const;

const USES = {
  browse: "what she looked at",
  purchase: "what she bought",
  loyalty: "her loyalty tier",
  visits: "her visits to stores",
  profile: "what the shop noted about her",
  beacon: "beacons in the store",
} as const;

const DAY_S = 86_400;

export function Form({ spec, onChange, onTouch, errors, id, onId, onJson }: FormProps) {
  const set = (path: readonly string[], value: Json | undefined) => onChange(put(spec, path, value));
  const tools: Tools = { spec, set, touch: onTouch, errors };
  const state = (spec.state as keyof typeof STATES | undefined) ?? "live";
  const named = useSuggestions();

  return (
    <div class="form">
      <Card title="What it is">
        <div class="two">
          <Text tools={tools} path={["name"]} label="Name" hint="For your colleagues; customers do not see it." />
          <Text tools={tools} path={["topic"]} label="Topic" hint="Customers switch topics on and off, such as sneakers." list={named.topics} />
        </div>
        {onId && (
          <Field
            label="Id"
            hint="Stands in decisions and exports, and cannot be changed later."
            control={(ties) => (
              <input {...ties} value={id} spellcheck={false} onInput={(event) => onId(idFrom(event.currentTarget.value))} />
            )}
          />
        )}
        <fieldset class="choices">
          <legend>State</legend>
          {(Object.keys(STATES) as (keyof typeof STATES)[]).map((each) => (
            <label key={each} class="choice">
              <input type="radio" name="state" checked={state === each} onChange={() => set(["state"], each)} />
              <span>
                <strong>{each}</strong> <span class="quiet small">{STATES[each].says}</span>
              </span>
            </label>
          ))}
        </fieldset>
        {state === "test" && (
          <List tools={tools} path={["test_customers"]} label="Test customers" hint="Customer ids, separated by commas; nobody else gets a message or a record." />
        )}
      </Card>

      <Card title="The moment">
        <div class="two">
          <Choice tools={tools} path={["trigger", "on"]} label="When a customer …" options={Object.entries(TRIGGERS)} />
          <Choice
            tools={tools}
            path={["trigger", "geofence_kind"]}
            label="… this place"
            options={[["", "any geofence"], ...Object.entries(KINDS)]}
          />
          <List tools={tools} path={["trigger", "store_ids"]} label="Only at these stores" hint="Ids, separated by commas. None: all stores." list={named.stores} />
          <List tools={tools} path={["trigger", "tags"]} label="Only with these tags" hint="Tags of geofences; any one is enough." />
          <List tools={tools} path={["trigger", "geofence_ids"]} label="Only at these geofences" hint="Ids, separated by commas." />
          <Quantity
            tools={tools}
            path={["trigger", "after_s"]}
            label="Wait (minutes)"
            unit={60}
            hint="Left empty, entering a store waits for 3 minutes, everything else does not."
          />
        </div>
      </Card>

      <Condition tools={tools} onJson={onJson} categories={named.categories} />

      <Card title="The message">
        <Text tools={tools} path={["content", "title"]} label="Title" hint="About 40 characters are seen on every phone." counts={40} />
        <Text
          tools={tools}
          path={["content", "body"]}
          label="Text"
          hint={
            <>
              May name <code>{"{{ store.name }}"}</code>, <code>{"{{ interest.category }}"}</code>, <code>{"{{ interest.date }}"}</code>.
            </>
          }
          counts={140}
          lines={3}
        />
        <Text tools={tools} path={["content", "deep_link"]} label="Link into the app" hint="Opens when it is tapped: https or the app’s own scheme." optional />
        <Text tools={tools} path={["content", "image_url"]} label="Picture" hint="An https address that the phone can reach." optional />
        <Languages tools={tools} />
      </Card>

      <Card title="How often, and until when">
        <div class="two">
          <Quantity tools={tools} path={["limits", "cooldown_s"]} label="Not again within (days)" unit={DAY_S} hint="Per customer. Left empty: as the policy says, usually 7." />
          <Quantity tools={tools} path={["limits", "per_customer"]} label="At most, per customer" hint="In the campaign’s whole life." />
          <Quantity tools={tools} path={["limits", "hourly_ceiling"]} label="At most, each hour" hint="To all customers together." />
          <Quantity tools={tools} path={["limits", "ramp_up_h"]} label="Grow to that over (hours)" hint="From when it goes live." />
          <Instant tools={tools} path={["valid_from"]} label="From" />
          <Instant tools={tools} path={["valid_until"]} label="Until" />
          <Quantity tools={tools} path={["priority"]} label="Priority" hint="Of several that fit, the highest speaks." least={-1000} />
        </div>
        <p class="quiet small">A customer’s own daily cap, quiet hours and consents always hold, whatever stands here.</p>
      </Card>

      <Card title="Data it uses">
        <Checks
          tools={tools}
          path={["uses"]}
          label="Declared uses"
          hint="Each needs the customer’s consent, and her comfort level must allow it."
          options={USES}
        />
      </Card>
    </div>
  );
}

// Controls ------------------------------------------------------------------------------------------------------------

interface Tools {
  spec: Spec;
  set: (path: readonly string[], value: Json | undefined) => void;
  touch: (place: string) => void;
  errors: readonly ErrorPlace[];
}

interface ControlProps {
  tools: Tools;
  path: readonly string[];
  label: string;
  hint?: ComponentChildren;
}

interface TextProps extends ControlProps {
  optional?: boolean;
  /** So many characters are well seen. */
  counts?: number;
  lines?: number;
  list?: readonly string[];
}

function Text({ tools, path, label, hint, optional = false, counts, lines, list }: TextProps) {
  const value = at(tools.spec, path);
  const text = typeof value === "string" ? value : "";
  const place = placeOf(path);
  const options = useId();
  const change = (typed: string) => tools.set(path, optional && typed === "" ? undefined : typed);
  return (
    <Field
      label={label}
      hint={hint}
      error={wrongAt(tools.errors, place)}
      class={counts ? "counted" : ""}
      control={(ties) => (
        <>
          {lines ? (
            <textarea
              {...ties}
              rows={lines}
              value={text}
              onInput={(event) => change(event.currentTarget.value)}
              onBlur={() => tools.touch(place)}
            />
          ) : (
            <input
              {...ties}
              value={text}
              list={list ? options : undefined}
              onInput={(event) => change(event.currentTarget.value)}
              onBlur={() => tools.touch(place)}
            />
          )}
          {list && <Suggestions id={options} list={list} />}
          {counts && (
            <span class={`counter ${text.length > counts ? "counter-over" : ""}`} aria-hidden="true">
              {text.length} / {counts}
            </span>
          )}
        </>
      )}
    />
  );
}

function Suggestions({ id, list }: { id: string; list: readonly string[] }) {
  return (
    <datalist id={id}>
      {list.map((each) => (
        <option key={each} value={each} />
      ))}
    </datalist>
  );
}

function Choice({ tools, path, label, options }: ControlProps & { options: readonly (readonly [string, string])[] }) {
  const value = at(tools.spec, path);
  const known = typeof value === "string" ? value : "";
  return (
    <Field
      label={label}
      error={wrongAt(tools.errors, placeOf(path))}
      control={(ties) => (
        <select {...ties} value={known} onChange={(event) => tools.set(path, event.currentTarget.value || undefined)}>
          {!options.some(([each]) => each === known) && <option value={known}>{known || "choose"}</option>}
          {options.map(([each, words]) => (
            <option key={each} value={each}>
              {words}
            </option>
          ))}
        </select>
      )}
    />
  );
}

/** Texts, separated by commas; read when the control is left, so that commas can be typed. */
function List({ tools, path, label, hint, list }: ControlProps & { list?: readonly string[] }) {
  const kept = texts(at(tools.spec, path)).join(", ");
  const [text, setText] = useState(kept);
  useEffect(() => setText(kept), [kept]);
  const options = useId();
  const read = (typed: string) => {
    const found = typed.split(/[\s,]+/).filter(Boolean);
    tools.set(path, found.length > 0 ? found : undefined);
    tools.touch(placeOf(path));
  };
  return (
    <Field
      label={label}
      hint={hint}
      error={wrongAt(tools.errors, placeOf(path))}
      control={(ties) => (
        <>
          <input
            {...ties}
            value={text}
            spellcheck={false}
            list={list ? options : undefined}
            onInput={(event) => setText(event.currentTarget.value)}
            onChange={(event) => read(event.currentTarget.value)}
          />
          {list && <Suggestions id={options} list={list} />}
        </>
      )}
    />
  );
}

interface QuantityProps extends ControlProps {
  /** How many of what is stored make one of what is shown. */
  unit?: number;
  least?: number;
}

function Quantity({ tools, path, label, hint, unit = 1, least = 0 }: QuantityProps) {
  const value = at(tools.spec, path);
  return (
    <Field
      label={label}
      hint={hint}
      error={wrongAt(tools.errors, placeOf(path))}
      control={(ties) => (
        <input
          {...ties}
          type="number"
          min={least}
          step="any"
          inputMode="decimal"
          value={typeof value === "number" ? value / unit : ""}
          onInput={(event) => {
            const typed = event.currentTarget.valueAsNumber;
            tools.set(path, Number.isNaN(typed) ? undefined : Math.round(typed * unit));
          }}
        />
      )}
    />
  );
}

/** An instant, in the browser's own time zone. */
function Instant({ tools, path, label }: ControlProps) {
  const value = at(tools.spec, path);
  const shown = typeof value === "string" ? localText(value) : "";
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return (
    <Field
      label={label}
      hint={`On the clock of ${zone}.`}
      error={wrongAt(tools.errors, placeOf(path))}
      control={(ties) => (
        <input
          {...ties}
          type="datetime-local"
          value={shown}
          onChange={(event) => {
            const typed = event.currentTarget.value;
            tools.set(path, typed ? new Date(typed).toISOString() : undefined);
          }}
        />
      )}
    />
  );
}

function localText(instant: string): string {
  const there = new Date(instant);
  if (Number.isNaN(there.getTime())) return "";
  return new Date(there.getTime() - there.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

function Checks({ tools, path, label, hint, options }: ControlProps & { options: Readonly<Record<string, string>> }) {
  const chosen = texts(at(tools.spec, path));
  const error = wrongAt(tools.errors, placeOf(path));
  const id = useId();
  return (
    <fieldset class="choices" aria-describedby={`${id}-hint ${id}-error`}>
      <legend>{label}</legend>
      {hint && (
        <p class="field-hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
      <div class="checks">
        {Object.entries(options).map(([each, words]) => (
          <label key={each} class="choice">
            <input
              type="checkbox"
              checked={chosen.includes(each)}
              onChange={(event) => {
                const rest = chosen.filter((other) => other !== each);
                tools.set(path, event.currentTarget.checked ? [...rest, each] : rest);
              }}
            />
            <span>{words}</span>
          </label>
        ))}
      </div>
      {error && (
        <p class="field-error" id={`${id}-error`}>
          {error}
        </p>
      )}
    </fieldset>
  );
}

// Parts of their own --------------------------------------------------------------------------------------------------

function Condition({ tools, onJson, categories }: { tools: Tools; onJson: () => void; categories: readonly string[] }) {
  const interest = interestOf(tools.spec);
  const path = ["context", "interest"];
  if (interest === undefined) {
    return (
      <Card title="To whom">
        <p>This campaign combines several conditions.</p>
        <Button class="start" icon="edit" onClick={onJson}>
          Edit them as JSON
        </Button>
      </Card>
    );
  }
  const fresh: Spec = { category: "", events: ["product_viewed", "wishlisted"], min_count: 2, within_days: 14, not_purchased: true };
  return (
    <Card title="To whom">
      <fieldset class="choices">
        <legend>It fits</legend>
        <label class="choice">
          <input type="radio" name="fits" checked={interest !== null} onChange={() => tools.set(path, fresh)} />
          <span>customers with a fresh interest</span>
        </label>
        <label class="choice">
          <input type="radio" name="fits" checked={interest === null} onChange={() => tools.set(["context"], undefined)} />
          <span>everybody who switched the topic on</span>
        </label>
      </fieldset>
      {interest !== null && (
        <>
          <div class="two">
            <Text tools={tools} path={[...path, "category"]} label="In the category" list={categories} />
            <Quantity tools={tools} path={[...path, "min_count"]} label="At least so many times" least={1} />
            <Quantity tools={tools} path={[...path, "within_days"]} label="Within the last (days)" least={1} />
          </div>
          <Checks tools={tools} path={[...path, "events"]} label="What counts" options={EVENTS} />
          <label class="choice">
            <input
              type="checkbox"
              checked={interest.not_purchased !== false}
              onChange={(event) => tools.set([...path, "not_purchased"], event.currentTarget.checked)}
            />
            <span>and she has not bought in that category since</span>
          </label>
        </>
      )}
    </Card>
  );
}

function Languages({ tools }: { tools: Tools }) {
  const path = ["content", "languages"];
  const there = at(tools.spec, path);
  const languages = typeof there === "object" && there !== null && !Array.isArray(there) ? there : {};
  const [tag, setTag] = useState("");
  const add = () => {
    if (!tag.trim() || tag in languages) return;
    tools.set([...path, tag.trim()], { title: "", body: "" });
    setTag("");
  };
  return (
    <fieldset class="languages">
      <legend>Other languages</legend>
      {Object.keys(languages).map((each) => (
        <div key={each} class="language">
          <div class="language-head">
            <strong>{languageName(each)}</strong>
            <IconButton label={`Remove ${languageName(each)}`} icon="trash" onClick={() => tools.set([...path, each], undefined)} />
          </div>
          <Text tools={tools} path={[...path, each, "title"]} label={`Title in ${languageName(each)}`} counts={40} />
          <Text tools={tools} path={[...path, each, "body"]} label={`Text in ${languageName(each)}`} counts={140} lines={2} />
        </div>
      ))}
      <div class="language-add">
        <Field
          label="Add a language"
          hint="A tag such as de or fr-CH."
          control={(ties) => <input {...ties} value={tag} spellcheck={false} onInput={(event) => setTag(event.currentTarget.value)} />}
        />
        <Button icon="plus" onClick={add}>
          Add
        </Button>
      </div>
    </fieldset>
  );
}

export function languageName(tag: string): string {
  try {
    return new Intl.DisplayNames(undefined, { type: "language" }).of(tag) ?? tag;
  } catch {
    return tag;
  }
}

/** What other campaigns and the shop call things, to choose from while typing. */
function useSuggestions(): { topics: string[]; categories: string[]; stores: string[] } {
  const { data } = useLoad(async () => {
    const [campaigns, stores, products] = await Promise.all([
      ok(api.GET("/v1/campaigns")),
      ok(api.GET("/v1/stores")),
      ok(api.GET("/v1/products", { params: { query: { limit: 1000 } } })),
    ]);
    return {
      topics: unique(campaigns.items.map(({ topic }) => topic)),
      categories: unique(products.items.map(({ category }) => category)),
      stores: unique(stores.items.map(({ id }) => id)),
    };
  }, []);
  return data ?? { topics: [], categories: [], stores: [] };
}

function unique(values: readonly string[]): string[] {
  return [...new Set(values)].sort();
}
