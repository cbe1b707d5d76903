/** The few plots that somebody on call looks at, from `/metrics` while the page is open. */
import { useEffect, useState } from "preact/hooks";
import { api, ok, type Schemas } from "../../lib/api";
import { compact, counted, moment, timeOfDay, words } from "../../lib/format";
import { holds } from "../../lib/session";
import { Badge, Button, Card, Failure, Notice, PageHead, Skeleton } from "../../lib/ui/parts";
import type { PageProps } from "../pages";
import { Plot, type Series } from "./plot";
import { byLabel, type Look, parse, quantile, rate, total } from "./prometheus";
import "./health.css";

const EVERY_MS = 3_000;
/** Ten minutes. */
const KEPT = 200;
/** So many reasons are drawn, the most frequent. */
const REASONS = 5;
const LAG_LIMIT_MS = 50;

interface Health {
  looks: readonly Look[];
  ready: Schemas["ReadyAnswer"] | undefined;
  stops: readonly Schemas["StopItem"][];
  error: unknown;
}

export default function HealthPage(_: PageProps) {
  const { looks: all, ready, stops, error } = useHealth();
  const [held, setHeld] = useState<readonly Look[]>();
  const looks = held ?? all;
  const last = looks.at(-1);
  return (
    <div class="page">
      <PageHead
        title="Health"
        actions={
          <Button icon={held ? "play" : "pause"} aria-pressed={held !== undefined} onClick={() => setHeld(held ? undefined : all)}>
            {held ? "Go on" : "Hold still"}
          </Button>
        }
      >
        Looked at every {EVERY_MS / 1000} seconds while this page is open; what was before is in your own monitoring.
      </PageHead>
      <Standing ready={ready} stops={stops} last={last} isAway={error !== undefined} />
      {error !== undefined && <Failure error={error} />}
      {looks.length < 2 && error === undefined && <Skeleton lines={12} label="Taking the first looks" />}
      {looks.length > 1 && <Plots looks={looks} />}
    </div>
  );
}

function useHealth(): Health {
  const [health, setHealth] = useState<Health>({ looks: [], ready: undefined, stops: [], error: undefined });
  useEffect(() => {
    const abort = new AbortController();
    let looking = false;
    const look = async () => {
      if (looking) return; // a slow service is not asked more often
      looking = true;
      try {
        const [text, ready, stops] = await Promise.all([metrics(abort.signal), readiness(abort.signal), stopsInForce(abort.signal)]);
        const now: Look = { at: Date.now(), samples: parse(text) };
        setHealth((before) => ({ looks: [...before.looks, now].slice(-KEPT), ready, stops, error: undefined }));
      } catch (error) {
        if (!abort.signal.aborted) setHealth((before) => ({ ...before, ready: undefined, error }));
      }
      looking = false;
    };
    void look();
    const second = setTimeout(look, EVERY_MS / 3); // a rate needs two
    const timer = setInterval(() => {
      if (!document.hidden) void look();
    }, EVERY_MS);
    return () => {
      clearTimeout(second);
      clearInterval(timer);
      abort.abort();
    };
  }, []);
  return health;
}

async function metrics(signal: AbortSignal): Promise<string> {
  return await ok(api.GET("/metrics", { parseAs: "text", signal }));
}

/** 503 says what is missing in the same form. */
async function readiness(signal: AbortSignal): Promise<Schemas["ReadyAnswer"]> {
  const { data, error } = await api.GET("/readyz", { signal });
  return (data ?? error) as Schemas["ReadyAnswer"];
}

/** What keeps messages back; for those who may see it. */
async function stopsInForce(signal: AbortSignal): Promise<readonly Schemas["StopItem"][]> {
  return holds("ops") ? (await ok(api.GET("/v1/stop", { signal }))).items : [];
}

interface StandingProps extends Pick<Health, "ready" | "stops"> {
  last: Look | undefined;
  isAway: boolean;
}

function Standing({ ready, stops, last, isAway }: StandingProps) {
  const breakers = last ? [...byLabel(last, "geoservice_channel_breaker", "channel")] : [];
  return (
    <Card class="standing">
      <div class="standing-head">
        <h2>Now</h2>
        {isAway ? (
          <Badge tone="danger">No answer</Badge>
        ) : ready === undefined ? (
          <Badge>Asking</Badge>
        ) : ready.ready ? (
          <Badge tone="good">Takes requests</Badge>
        ) : (
          <Badge tone="danger">Not ready</Badge>
        )}
        {breakers.map(([channel, state]) => (
          <Badge key={channel} tone={BREAKERS[state]?.tone ?? "neutral"}>
            {words(channel)}: {BREAKERS[state]?.says ?? "unknown"}
          </Badge>
        ))}
        {last && (
          <span class="quiet small">
            {counted(total(last, "geoservice_geofences"), "geofence")} · looked at {timeOfDay(last.at)}
          </span>
        )}
      </div>
      {[...(ready?.missing ?? []), ...(ready?.warnings ?? [])].map((each) => (
        <Notice key={each} tone={ready?.ready ? "warning" : "danger"}>
          {each}
        </Notice>
      ))}
      {stops.map((stop) => (
        <p key={stop.scope} class="small">
          Stopped: <code>{stop.scope}</code> by {stop.actor}, {moment(stop.at)}
          {stop.reason && `: ${stop.reason}`}
        </p>
      ))}
    </Card>
  );
}

const BREAKERS: Record<number, { tone: "good" | "warning" | "danger"; says: string }> = {
  0: { tone: "good", says: "provider answers" },
  1: { tone: "warning", says: "trying the provider again" },
  2: { tone: "danger", says: "provider fails, sending waits" },
};

const perSecond = (value: number): string => (value >= 100 ? compact(Math.round(value)) : value.toFixed(value >= 10 ? 0 : 1));
const inMs = (value: number): string => `${value >= 10 || value === 0 ? Math.round(value) : value.toFixed(1)} ms`;
const whole = (value: number): string => compact(value);

function Plots({ looks }: { looks: readonly Look[] }) {
  const times = looks.map(({ at }) => at / 1000);
  const over = (of: (before: Look, now: Look) => number | null) =>
    looks.map((now, number) => {
      const before = looks[number - 1];
      return before ? of(before, now) : null;
    });
  const growth = (name: string, labels: Record<string, string> = {}) => over((before, now) => rate(before, now, (look) => total(look, name, labels)));
  const spread = (name: string, share: number) =>
    over((before, now) => {
      const found = quantile(before, now, name, share);
      return found === null ? null : found * 1000;
    });
  const states = ["pending", "claimed", "sending", "retry_wait"];
  const ended = ["accepted", "failed", "expired", "cancelled", "unknown"];
  const named = (names: readonly string[], of: (name: string) => readonly (number | null)[]): Series[] =>
    names.map((name) => ({ name: name === "none" ? "Sent" : words(name), values: of(name) }));

  return (
    <div class="plots">
      <Plot
        title="Pings"
        unit="a second"
        times={times}
        written={perSecond}
        least={1}
        series={[
          { name: "Accepted", values: growth("geoservice_pings_total", { outcome: "accepted" }) },
          { name: "All", values: growth("geoservice_pings_total") },
        ]}
      />
      <Plot
        title="Event-loop lag"
        unit="how late everything is"
        times={times}
        written={inMs}
        least={10}
        limit={LAG_LIMIT_MS}
        series={[
          { name: "Median", values: spread("geoservice_event_loop_lag_seconds", 0.5) },
          { name: "99 of 100", values: spread("geoservice_event_loop_lag_seconds", 0.99) },
        ]}
      />
      <Plot
        title="Decisions by reason"
        unit="a second; sent has none"
        times={times}
        written={perSecond}
        least={1}
        series={named(frequentReasons(looks), (reason) => growth("geoservice_decisions_total", { reason }))}
      />
      <Plot
        title="Messages under way"
        unit="by state"
        times={times}
        written={whole}
        least={4}
        series={named(states, (state) => looks.map((look) => total(look, "geoservice_messages", { state })))}
      />
      <Plot
        title="Messages ended"
        unit="a second"
        times={times}
        written={perSecond}
        least={1}
        series={named(ended, (state) => growth("geoservice_messages_ended_total", { state }))}
      />
      <Plot
        title="Push provider"
        unit="time of one call"
        times={times}
        written={inMs}
        least={10}
        series={[
          { name: "Median", values: spread("geoservice_push_seconds", 0.5) },
          { name: "95 of 100", values: spread("geoservice_push_seconds", 0.95) },
        ]}
      />
    </div>
  );
}

/** The most frequent since the service started, sent first. */
function frequentReasons(looks: readonly Look[]): string[] {
  const last = looks.at(-1);
  const counts = last ? byLabel(last, "geoservice_decisions_total", "reason") : new Map<string, number>();
  const frequent = [...counts].filter(([reason]) => reason !== "none").sort(([, one], [, other]) => other - one);
  return ["none", ...frequent.slice(0, REASONS).map(([reason]) => reason)];
}
