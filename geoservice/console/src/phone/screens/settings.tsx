/** Her settings, all on one screen. Each change holds when the switch has moved. */
import { useEffect, useRef, useState } from "preact/hooks";
import { Notice, Skeleton } from "../../lib/ui/parts";
import { change, isOvertaken, readAttention, readSettings, type Attention, type Change, type Settings } from "../app/settings";
import { city, type Phone } from "../state";
import { Consents } from "./consents";
import { AppPage } from "./handset";
import { Leaving } from "./leaving";
import { Cap, Comfort, QuietHours, Snooze } from "./moderation";
import { Refused } from "./refused";
import { Switch } from "./switch";

/** What every part of the screen works with. */
export interface Part {
  readonly settings: Settings;
  readonly attention: Attention;
  readonly save: (body: Change) => Promise<void>;
}

export function SettingsScreen({ phone }: { phone: Phone }) {
  const [settings, setSettings] = useState<Settings>();
  const [attention, setAttention] = useState<Attention>();
  const [error, setError] = useState<unknown>();
  const [overtaken, setOvertaken] = useState(false);

  /** As they were last seen: two switches in a row are two changes of hers, and the second knows of the first. */
  const seen = useRef<Settings>(undefined);
  const last = useRef(Promise.resolve());
  const show = (read: Settings) => {
    seen.current = read;
    setSettings(read);
  };

  const load = async () => {
    try {
      const [read, budget] = await Promise.all([readSettings(phone.api), readAttention(phone.api)]);
      show(read);
      setAttention(budget);
      setError(undefined);
    } catch (failure) {
      setError(failure);
    }
  };
  useEffect(() => void load(), [phone]);

  const save = (body: Change) => {
    last.current = last.current.then(() => saveNext(body));
    return last.current;
  };

  const saveNext = async (body: Change) => {
    if (!seen.current) return;
    setOvertaken(false);
    try {
      show(await change(phone.api, seen.current, body));
      setAttention(await readAttention(phone.api));
      setError(undefined);
    } catch (failure) {
      if (isOvertaken(failure)) {
        await load();
        setOvertaken(true);
      } else {
        setError(failure);
      }
    }
  };

  const part = settings && attention && { settings, attention, save };
  return (
    <AppPage title="Settings">
      {error !== undefined && <Refused error={error} retry={load} />}
      {overtaken && (
        <Notice tone="warning" title="Changed meanwhile">
          Another phone of yours was faster. This is how it stands now; change it again if you like.
        </Notice>
      )}
      {!part && error === undefined && <Skeleton lines={10} />}
      {part && (
        <>
          <Consents phone={phone} />
          <Topics {...part} />
          <Channels {...part} />
          <Comfort {...part} />
          <QuietHours {...part} />
          <Cap {...part} />
          <Snooze {...part} />
          <PrivacySignal {...part} />
          <Leaving phone={phone} />
        </>
      )}
    </AppPage>
  );
}

function Topics({ settings, save }: Part) {
  const { topics } = settings.preferences;
  const known = city.value?.topics ?? {};
  const all = [...new Set([...Object.keys(known), ...Object.keys(topics)])].sort();
  return (
    <section aria-labelledby="topics">
      <h3 id="topics">Topics</h3>
      <p class="quiet small">Off until you switch it on.</p>
      <ul class="rows">
        {all.map((topic) => (
          <li key={topic}>
            <Switch label={known[topic] ?? topic} on={topics[topic] ?? false} onChange={(on) => save({ topics: { [topic]: on } })} />
          </li>
        ))}
      </ul>
      {all.length === 0 && <p>None yet: topics come with the shop’s campaigns.</p>}
    </section>
  );
}

function Channels({ settings, save }: Part) {
  const { channels } = settings.preferences;
  return (
    <section aria-labelledby="channels">
      <h3 id="channels">How we reach you</h3>
      <ul class="rows">
        <li>
          <Switch label="Push" on={channels.push ?? true} onChange={(on) => save({ channels: { push: on } })}>
            The phone rings.
          </Switch>
        </li>
        <li>
          <Switch label="Inbox only" on={channels.inbox ?? false} onChange={(on) => save({ channels: { inbox: on } })}>
            With push off, messages wait here in silence.
          </Switch>
        </li>
      </ul>
    </section>
  );
}

function PrivacySignal({ settings, save }: Part) {
  return (
    <section aria-labelledby="signal">
      <h3 id="signal">Privacy signal</h3>
      <ul class="rows">
        <li>
          <Switch
            label="Do not use my data for offers"
            on={settings.preferences.privacy_signal}
            onChange={(on) => save({ privacy_signal: on })}
          >
            Everything that uses what you look at or buy stays silent. Browsers with Global Privacy Control switch it on by
            themselves.
          </Switch>
        </li>
      </ul>
    </section>
  );
}
