/** Controls of the form: each shows and changes one place of the campaign, and what is wrong there. */
import type { ComponentChildren } from "preact";
import { useEffect, useId, useState } from "preact/hooks";
import { type ErrorPlace, wrongAt } from "../../lib/api";
import { Icon } from "../../lib/ui/icon";
import { Field, IconButton } from "../../lib/ui/parts";
import { at, type Json, placeOf, type Spec, texts } from "./spec";

export interface Tools {
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

export function Text({ tools, path, label, hint, optional = false, counts, lines, list }: TextProps) {
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
              dir="auto"
              value={text}
              onInput={(event) => change(event.currentTarget.value)}
              onBlur={() => tools.touch(place)}
            />
          ) : (
            <input
              {...ties}
              dir="auto"
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

export function Choice({ tools, path, label, options }: ControlProps & { options: readonly (readonly [string, string])[] }) {
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
export function List({ tools, path, label, hint, list }: ControlProps & { list?: readonly string[] }) {
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

interface PicksProps extends ControlProps {
  /** Names by id. */
  options: ReadonlyMap<string, string>;
  /** What the control says while it waits for one more. */
  add: string;
}

/** Some of many things that have ids and names: what is chosen stands above, to be taken out again. */
export function Picks({ tools, path, label, hint, options, add }: PicksProps) {
  const chosen = texts(at(tools.spec, path));
  const set = (ids: readonly string[]) => {
    tools.set(path, ids.length > 0 ? [...ids] : undefined);
    tools.touch(placeOf(path));
  };
  return (
    <Field
      label={label}
      hint={hint}
      error={wrongAt(tools.errors, placeOf(path))}
      control={(ties) => (
        <>
          {chosen.length > 0 && (
            <ul class="picks" aria-label={label}>
              {chosen.map((id) => (
                <li key={id}>
                  {options.get(id) ?? id}
                  <IconButton
                    label={`Not ${options.get(id) ?? id}`}
                    icon="close"
                    onClick={() => set(chosen.filter((each) => each !== id))}
                  />
                </li>
              ))}
            </ul>
          )}
          <select {...ties} value="" onChange={(event) => set([...chosen, event.currentTarget.value])}>
            <option value="">{add}</option>
            {[...options].map(
              ([id, name]) =>
                !chosen.includes(id) && (
                  <option key={id} value={id}>
                    {name}
                  </option>
                ),
            )}
          </select>
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

export function Quantity({ tools, path, label, hint, unit = 1, least = 0 }: QuantityProps) {
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
          onBlur={() => tools.touch(placeOf(path))}
        />
      )}
    />
  );
}

/** An instant, in the browser's own time zone. */
export function Instant({ tools, path, label }: ControlProps) {
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
          onBlur={() => tools.touch(placeOf(path))}
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

export function Checks({ tools, path, label, hint, options }: ControlProps & { options: Readonly<Record<string, string>> }) {
  const chosen = texts(at(tools.spec, path));
  const error = wrongAt(tools.errors, placeOf(path));
  const id = useId();
  const described = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ");
  return (
    <fieldset class="choices" aria-describedby={described || undefined}>
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
          <Icon name="alert" /> {error}
        </p>
      )}
    </fieldset>
  );
}
