/** The first start: each purpose on its own, with why and what for, and nothing ticked beforehand. */
import { useState } from "preact/hooks";
import { Button, Failure } from "../../lib/ui/parts";
import { answer, type Purpose } from "../app/consents";
import { change, readSettings } from "../app/settings";
import { happened } from "../demo/story";
import { asked, city, phone } from "../state";
import { AppPage } from "./handset";
import { FIRST, NAMES } from "./purposes";
import { Switch } from "./switch";

export function Onboarding() {
  const [granted, setGranted] = useState<Partial<Record<Purpose, boolean>>>({});
  const [topics, setTopics] = useState<Record<string, boolean>>({});
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const hers = phone.value;
  if (!hers) return null;
  const { notice } = hers;
  const offered = Object.entries(city.value?.topics ?? {});

  const save = async () => {
    setBusy(true);
    try {
      for (const purpose of FIRST) await answer(hers.api, notice, purpose, granted[purpose] ?? false, "first start");
      if (Object.values(topics).some(Boolean)) await change(hers.api, await readSettings(hers.api), { topics });
      if (FIRST.every((each) => granted[each]) && topics.running) happened("allowed");
      asked.value = true;
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };

  return (
    <AppPage title={`Welcome${city.value ? ` to ${city.value.retailer}` : ""}`}>
      <p class="notice-text">{notice.intro}</p>
      <ul class="rows">
        {FIRST.map((purpose) => (
          <li key={purpose}>
            <Switch
              label={NAMES[purpose]}
              on={granted[purpose] ?? false}
              onChange={(on) => setGranted({ ...granted, [purpose]: on })}
            >
              <Words purpose={purpose} />
            </Switch>
          </li>
        ))}
      </ul>
      {offered.length > 0 && (
        <>
          <h3>What may we tell you about?</h3>
          <ul class="rows">
            {offered.map(([topic, name]) => (
              <li key={topic}>
                <Switch label={name} on={topics[topic] ?? false} onChange={(on) => setTopics({ ...topics, [topic]: on })} />
              </li>
            ))}
          </ul>
        </>
      )}
      {error !== undefined && <Failure error={error} retry={save} />}
      <div class="foot">
        <Button look="accent" busy={busy} onClick={save}>
          Continue with my answers
        </Button>
        <p class="quiet small">
          Notice {notice.version}
          {notice.controller && `, ${notice.controller}`}. Everything is off until you switch it on.
        </p>
      </div>
    </AppPage>
  );
}

/** Why, and what she has from it, in the words of the notice. */
export function Words({ purpose }: { purpose: Purpose }) {
  const reason = phone.value?.notice.reasons[purpose];
  if (!reason) return null;
  return (
    <>
      <p>{reason.why.replace(/^./, (first) => first.toUpperCase())}</p>
      <p>
        <span class="benefit">For you:</span> {reason.benefit}
      </p>
    </>
  );
}
