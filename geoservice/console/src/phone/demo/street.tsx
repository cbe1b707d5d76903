/** The street: where the phone is carried about, what time it is there, and what the service makes of it. */
import type { FeatureCollection } from "geojson";
import { useEffect, useMemo, useState } from "preact/hooks";
import { wordsOf } from "../../lib/api";
import { Icon } from "../../lib/ui/icon";
import { Button, Notice } from "../../lib/ui/parts";
import { ok } from "../app/client";
import { city, now, onHerClock, setTime, tick, type Phone } from "../state";
import { belief, Carrier } from "./carrier";
import { letPass, readCity, untilOpen, type Moment, type Store } from "./service";
import { done, happened, next, STEPS } from "./story";
import { StreetMap } from "./street-map";
import { moved, prepared, START_M, type Place, type Way } from "./walks";

const HOURS = 3_600;
const DAYS = 24 * HOURS;
const STORE = "hh-moenckebergstrasse";
/** Where there is no sample city: the middle of Hamburg. */
const NOWHERE: Place = { lon: 9.998, lat: 53.5511 };
const NO_FENCES: FeatureCollection = { type: "FeatureCollection", features: [] };

export default function Street({ phone, demo }: { phone: Phone; demo: boolean }) {
  const [storeId, setStoreId] = useState(STORE);
  const stores = city.value?.stores ?? [];
  const store = stores.find((each) => each.id === storeId) ?? stores[0];
  const carrier = useMemo(() => new Carrier(phone, moved(stores.find((each) => each.id === STORE) ?? NOWHERE, ...START_M)), [phone]);
  const [fences, setFences] = useState<FeatureCollection>(city.value?.geofences ?? NO_FENCES);

  useEffect(() => {
    if (!demo) nearby(phone, carrier.at.peek()).then(setFences, () => undefined);
    return () => carrier.stop();
  }, [carrier]);

  return (
    <>
      {demo && store && <TimeBar phone={phone} store={store} carrier={carrier} />}
      <div class="street-frame">
        <StreetMap carrier={carrier} fences={fences} around={store ?? NOWHERE} />
        <p class="belief" role="status">
          <Icon name="place" />
          <span>
            <span class="quiet">The service believes: </span>
            {belief(carrier.presence.value)}
          </span>
        </p>
      </div>
      <Controls carrier={carrier} stores={stores} store={store} onStore={setStoreId} />
      <div class="street-cards">
        {demo && <Story />}
        <Happened carrier={carrier} demo={demo} />
      </div>
    </>
  );
}

/** Without a sample city: the circles that a phone would watch here. */
async function nearby(phone: Phone, { lon, lat }: Place): Promise<FeatureCollection> {
  const { items } = await ok(phone.api.POST("/v1/geofences/nearby", { body: { lon, lat, accuracy_m: 0, limit: 100 } }));
  return {
    type: "FeatureCollection",
    features: items.map((each) => ({
      type: "Feature",
      properties: { kind: "approach", name: each.geofence_id, radius_m: each.radius_m },
      geometry: { type: "Point", coordinates: [each.lon, each.lat] },
    })),
  };
}

// The time ---------------------------------------------------------------------------------------------------------

function TimeBar({ phone, store, carrier }: { phone: Phone; store: Store; carrier: Carrier }) {
  tick.value; // the clock goes on
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  const at = now();

  const pass = async (step: () => Promise<Moment>) => {
    setBusy(true);
    setError("");
    const before = now().getTime();
    try {
      const moment = await step();
      setTime(moment);
      city.value = await readCity();
      await carrier.look();
      const days = (new Date(moment.now).getTime() - before) / (DAYS * 1000);
      if (days > 5 && done.peek().has("looked")) happened("waited");
    } catch (failure) {
      setError(wordsOf(failure));
    }
    setBusy(false);
  };
  const forward = (seconds: number) => pass(() => letPass(phone.token, seconds));

  return (
    <header class="time-bar">
      <div>
        <p class="time-now">
          <strong>{onHerClock(at, { weekday: "long", day: "numeric", month: "long", year: "numeric" })}</strong>
          <time>{onHerClock(at, { hour: "2-digit", minute: "2-digit" })}</time>
        </p>
        <p class="quiet small">
          In Hamburg, in this demo. {opening(store)}
        </p>
      </div>
      <div class="deeds" role="group" aria-label="Let time pass">
        <Button busy={busy} onClick={() => forward(HOURS)}>
          An hour
        </Button>
        <Button busy={busy} onClick={() => forward(DAYS)}>
          A day
        </Button>
        <Button look="accent" busy={busy} icon="history" onClick={() => forward(7 * DAYS)}>
          A week passes
        </Button>
        <Button busy={busy} disabled={store.is_open} onClick={() => pass(() => untilOpen(phone.token, store.id))}>
          Until it opens
        </Button>
      </div>
      {error && <Notice tone="danger">{error}</Notice>}
    </header>
  );
}

function opening(store: Store): string {
  const name = short(store);
  if (!store.changes_at) return `${name} is ${store.is_open ? "open" : "closed"}.`;
  const when = onHerClock(store.changes_at, { weekday: "short", hour: "2-digit", minute: "2-digit" });
  return store.is_open ? `${name} is open until ${when}.` : `${name} is closed; it opens ${when}.`;
}

const short = (store: Store) => store.name.replace(city.value?.retailer ?? "", "").trim();

// Walks ------------------------------------------------------------------------------------------------------------

const WAYS: readonly { way: Way; label: string }[] = [
  { way: "past", label: "Walk past the store" },
  { way: "into", label: "Walk in and stay" },
  { way: "away", label: "Walk away" },
];

interface ControlsProps {
  readonly carrier: Carrier;
  readonly stores: readonly Store[];
  readonly store: Store | undefined;
  readonly onStore: (id: string) => void;
}

function Controls({ carrier, stores, store, onStore }: ControlsProps) {
  const walking = carrier.walking.value;
  return (
    <div class="walks">
      <div class="deeds">
        {store ? (
          WAYS.map(({ way, label }) => (
            <Button
              key={way}
              icon="play"
              look={way === "past" ? "accent" : "plain"}
              disabled={walking}
              onClick={() => carrier.play(prepared(way, carrier.at.peek(), store))}
            >
              {label}
            </Button>
          ))
        ) : (
          <Button icon="place" disabled={walking} onClick={() => carrier.here()}>
            Send this position
          </Button>
        )}
        {store && (
          <Button icon="pause" disabled={!walking} onClick={() => carrier.stop()}>
            Stop
          </Button>
        )}
      </div>
      <div class="walk-settings">
        {store && (
          <label>
            Store
            <select value={store.id} onChange={(event) => onStore(event.currentTarget.value)}>
              {stores.map((each) => (
                <option key={each.id} value={each.id}>
                  {short(each)}
                </option>
              ))}
            </select>
          </label>
        )}
        <label>
          Accuracy: ± {carrier.accuracyM.value} m
          <input
            type="range"
            min={5}
            max={150}
            step={5}
            value={carrier.accuracyM.value}
            onInput={(event) => (carrier.accuracyM.value = Number(event.currentTarget.value))}
          />
        </label>
      </div>
    </div>
  );
}

// What happens -----------------------------------------------------------------------------------------------------

function Story() {
  return (
    <section class="card story" aria-labelledby="story">
      <h2 id="story">The shoe story, in two minutes</h2>
      <ol>
        {STEPS.map(([step, title, how]) => (
          <li key={step} class={done.value.has(step) ? "story-done" : ""} aria-current={step === next.value ? "step" : undefined}>
            <Icon name={done.value.has(step) ? "check" : "circle"} />
            <span>
              {title}
              {done.value.has(step) && <span class="visually-hidden"> (done)</span>}
              {step === next.value && <span class="quiet small">{how}</span>}
            </span>
          </li>
        ))}
      </ol>
      {next.value === undefined && (
        <p class="said">That is the whole of it: one message when it mattered, silence when it did not, and a reason for both.</p>
      )}
    </section>
  );
}

function Happened({ carrier, demo }: { carrier: Carrier; demo: boolean }) {
  return (
    <section class="card happened" aria-labelledby="happened">
      <h2 id="happened">What happened</h2>
      <div class="log" role="log" aria-labelledby="happened" tabIndex={0}>
        <ol>
          {carrier.entries.value.map((entry) => (
            <li key={entry.key} class={`entry entry-${entry.kind}`}>
              <time class="quiet small">{onHerClock(entry.at, { weekday: "short", hour: "2-digit", minute: "2-digit" })}</time>
              <div>
                <p>{entry.text}</p>
                {entry.detail && <p class="quiet small">{entry.detail}</p>}
                {entry.decision && demo && (
                  <a class="small" href={`/console/#/decisions/${entry.decision}`} target="_blank" rel="noopener">
                    The checks, as operations see them
                  </a>
                )}
              </div>
            </li>
          ))}
          {carrier.entries.value.length === 0 && (
            <li class="quiet">Nothing yet. Carry the phone about: every position goes to the service, and what it decides stands here.</li>
          )}
        </ol>
      </div>
    </section>
  );
}
