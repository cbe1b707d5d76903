/** The messages as Android and iOS show them: what is seen at a glance, and what only after a touch. */
import { useState } from "preact/hooks";
import { count, languageName, words } from "../../lib/format";
import { Card, Field, Notice } from "../../lib/ui/parts";
import type { Looked } from "./editor";

type Preview = Looked["previews"][number];

const nameOf = ({ arm, language }: Preview): string =>
  [arm === "base" ? "Own wording" : `Variant ${arm}`, language ? languageName(language) : ""].filter(Boolean).join(" · ");

export function Phones({ looked, stale }: { looked: Looked; stale: boolean }) {
  const [chosen, setChosen] = useState(0);
  const [open, setOpen] = useState(false);
  const shown = looked.previews[chosen] ?? looked.previews[0];
  if (!shown) return null;
  return (
    <Card title="On the phone" class={stale ? "stale" : ""}>
      {looked.previews.length > 1 && (
        <Field
          label="Wording"
          control={(ties) => (
            <select {...ties} value={String(chosen)} onChange={(event) => setChosen(Number(event.currentTarget.value))}>
              {looked.previews.map((each, number) => (
                <option key={nameOf(each)} value={String(number)}>
                  {nameOf(each)}
                </option>
              ))}
            </select>
          )}
        />
      )}
      {stale && <p class="quiet small">As it was before the last change: what is marked has to be mended first.</p>}
      {shown.refused && (
        <Notice tone="danger" title={`It would not be sent: ${words(shown.refused).toLowerCase()}`}>
          {shown.word ? `“${shown.word}” must not stand where anybody can read it.` : `${count(shown.size_b)} bytes; ${count(shown.limit_b)} are allowed.`}
        </Notice>
      )}
      <div class="switch" role="group" aria-label="How it is shown">
        <button type="button" aria-pressed={!open} onClick={() => setOpen(false)}>
          At a glance
        </button>
        <button type="button" aria-pressed={open} onClick={() => setOpen(true)}>
          Opened
        </button>
      </div>
      <figure class={`push push-android ${open ? "push-open" : ""}`} lang={shown.language ?? undefined}>
        <figcaption>Android</figcaption>
        <div class="push-card">
          <span class="push-app">
            <AppMark /> Your app · now
          </span>
          <strong class="push-title" dir="auto">{shown.title}</strong>
          <span class="push-body" dir="auto">{shown.body}</span>
          {shown.image_url && open && <Picture url={shown.image_url} />}
        </div>
      </figure>
      <figure class={`push push-ios ${open ? "push-open" : ""}`} lang={shown.language ?? undefined}>
        <figcaption>iOS</figcaption>
        <div class="push-card">
          <AppMark />
          <span class="push-texts">
            <span class="push-line">
              <strong class="push-title" dir="auto">{shown.title}</strong> <span class="push-when">now</span>
            </span>
            <span class="push-body" dir="auto">{shown.body}</span>
            {shown.image_url && open && <Picture url={shown.image_url} />}
          </span>
        </div>
      </figure>
      <dl class="measures">
        <Measure what="Title" value={`${shown.title.length} characters`} />
        <Measure what="Text" value={`${shown.body.length} characters`} />
        <Measure what="Size" value={`${count(shown.size_b)} of ${count(shown.limit_b)} bytes`} />
        {shown.deep_link && <Measure what="Opens" value={shown.deep_link} />}
      </dl>
      <p class="quiet small">
        Written with {looked.values["store.name"]} and a customer who just meets the condition. Phones differ: the last words may be cut
        earlier.
      </p>
    </Card>
  );
}

function Measure({ what, value }: { what: string; value: string }) {
  return (
    <div>
      <dt>{what}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function AppMark() {
  return (
    <svg class="push-mark" viewBox="0 0 24 24" aria-hidden="true">
      <rect width="24" height="24" rx="6" />
      <path d="M12 5.5c-3 0-5 2.1-5 4.9 0 3.6 5 8.1 5 8.1s5-4.5 5-8.1c0-2.8-2-4.9-5-4.9Z" />
    </svg>
  );
}

/** Not loaded: what campaigns name lies elsewhere, and pages of ours load nothing from there. */
function Picture({ url }: { url: string }) {
  return <span class="push-picture">Picture: {url}</span>;
}
