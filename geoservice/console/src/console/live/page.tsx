/** What happens now, in all processes: transitions and decisions as they commit, of nobody by name. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { count, timeOfDay, words } from "../../lib/format";
import { href } from "../../lib/router";
import { Icon } from "../../lib/ui/icon";
import { Badge, Button, Empty, Failure, Field, Notice, PageHead } from "../../lib/ui/parts";
import { OUTCOMES, TONES } from "../decisions/words";
import type { PageProps } from "../pages";
import { type Item, type Line, watch } from "./stream";
import "./live.css";

/** So many are kept in the page; older ones stand among the decisions. */
const KEPT = 300;
const MINUTE_MS = 60_000;

type Show = "all" | "transition" | "decision" | "send";

const SHOWS: readonly [Show, string][] = [
  ["all", "everything"],
  ["transition", "transitions"],
  ["decision", "decisions"],
  ["send", "messages only"],
];

interface Seen {
  item: Item;
  /** When it came to this page, for the count of the last minute. */
  came: number;
}

const LINES: Record<Line, { tone: "good" | "warning" | "neutral"; says: string }> = {
  connecting: { tone: "neutral", says: "Connecting" },
  open: { tone: "good", says: "Watching" },
  broken: { tone: "warning", says: "Line broken: trying again" },
};

export default function LivePage(_: PageProps) {
  const [seen, setSeen] = useState<readonly Seen[]>([]);
  const [line, setLine] = useState<Line>("connecting");
  const [skipped, setSkipped] = useState(false);
  const [error, setError] = useState<unknown>();
  const [held, setHeld] = useState<readonly Seen[]>();
  const [show, setShow] = useState<Show>("all");
  const [campaign, setCampaign] = useState("");
  const rate = useRate(seen);

  useEffect(() => {
    const abort = new AbortController();
    const onItems = (items: readonly Item[]) => {
      const came = Date.now();
      const fresh = items.map((item) => ({ item, came })).reverse();
      setSeen((before) => [...fresh, ...before].slice(0, KEPT));
      rate.add(items);
    };
    watch({ onItems, onSkipped: () => setSkipped(true), onLine: setLine }, abort.signal).catch(setError);
    return () => abort.abort();
  }, []);

  const shown = useMemo(
    () => (held ?? seen).filter(({ item }) => fits(item, show, campaign)),
    [held, seen, show, campaign],
  );

  return (
    <div class="page live">
      <PageHead
        title="Live"
        actions={
          <Button icon={held ? "play" : "pause"} aria-pressed={held !== undefined} onClick={() => setHeld(held ? undefined : seen)}>
            {held ? "Go on" : "Hold still"}
          </Button>
        }
      >
        Arrivals and decisions as they happen, in every process. Nobody is named; the place is the geofence.
      </PageHead>
      <div class="live-bar">
        <p role="status" class="live-line">
          <Badge tone={LINES[line].tone}>
            <span class={`dot dot-${line}`} aria-hidden="true" /> {LINES[line].says}
          </Badge>
        </p>
        <dl class="live-rates">
          <Rate what="Transitions a minute" value={rate.transitions} />
          <Rate what="Decisions a minute" value={rate.decisions} />
          <Rate what="Messages a minute" value={rate.sends} />
        </dl>
        <Field
          label="Show"
          control={(ties) => (
            <select {...ties} value={show} onChange={(event) => setShow(event.currentTarget.value as Show)}>
              {SHOWS.map(([value, label]) => (
                <option key={value} value={value}>
                  {label}
                </option>
              ))}
            </select>
          )}
        />
        <Field
          label="Campaign"
          control={(ties) => (
            <input {...ties} value={campaign} spellcheck={false} onInput={(event) => setCampaign(event.currentTarget.value.trim())} />
          )}
        />
      </div>
      {error !== undefined && <Failure error={error} />}
      {skipped && <Notice tone="warning">The line was broken for too long: some of what happened is not shown here.</Notice>}
      {shown.length === 0 ? (
        <Empty title={seen.length > 0 ? "Nothing of this kind yet" : line === "open" ? "Quiet at the moment" : "Nothing is heard from the service"}>
          {seen.length > 0
            ? "Other things have happened; show everything to see them."
            : line === "open"
              ? "As soon as a phone enters or leaves a geofence, it appears here."
              : "As soon as it answers, what happens appears here."}
        </Empty>
      ) : (
        <ol class="feed" aria-label="What happened, newest first">
          {shown.map(({ item }) => (
            <Entry key={`${item.type}${item.id}`} item={item} />
          ))}
        </ol>
      )}
    </div>
  );
}

function fits(item: Item, show: Show, campaign: string): boolean {
  const kind = show === "all" || (show === "send" ? item.type === "decision" && item.outcome === "send" : item.type === show);
  return kind && (campaign === "" || (item.type === "decision" && item.campaign_id.includes(campaign)));
}

function Entry({ item }: { item: Item }) {
  const place = item.geofence_name ?? item.geofence_id;
  return (
    <li class={`entry entry-${item.type}`}>
      <time dateTime={item.at}>{timeOfDay(item.at)}</time>
      {item.type === "transition" ? (
        <>
          <span class="entry-kind">
            <Icon name={item.kind === "exit" || item.kind === "lost" ? "out" : "place"} /> {words(item.kind)}
          </span>
          <span class="entry-what">
            {place}
            <span class="quiet">
              {" "}
              by {item.source}
              {item.late && ", reported late"}
              {item.initial && ", first seen inside"}
            </span>
          </span>
        </>
      ) : (
        <>
          <span class="entry-kind">
            <Badge tone={TONES[item.outcome]}>{OUTCOMES[item.outcome]}</Badge>
          </span>
          <span class="entry-what">
            <a href={href(["decisions", item.id])}>{item.campaign_id}</a> <span class="quiet">at {place}</span>
            {item.sentence && <span class="quiet entry-why">{item.sentence}</span>}
          </span>
        </>
      )}
    </li>
  );
}

function Rate({ what, value }: { what: string; value: number }) {
  return (
    <div>
      <dt>{what}</dt>
      <dd>{count(value)}</dd>
    </div>
  );
}

interface Rates {
  transitions: number;
  decisions: number;
  sends: number;
  add: (items: readonly Item[]) => void;
}

/** What came in the last minute; kept apart from the list, which may hold less than a minute. */
function useRate(seen: unknown): Rates {
  const came = useRef<[number, Item["type"] | "send", number][]>([]);
  const [, setTick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => setTick((before) => before + 1), 1000);
    return () => clearInterval(timer);
  }, []);
  return useMemo(() => {
    const since = Date.now() - MINUTE_MS;
    came.current = came.current.filter(([at]) => at > since);
    const sum = (kind: string) => came.current.reduce((all, [, each, number]) => all + (each === kind ? number : 0), 0);
    return {
      transitions: sum("transition"),
      decisions: sum("decision"),
      sends: sum("send"),
      add: (items) => {
        const now = Date.now();
        const decisions = items.filter((each) => each.type === "decision");
        came.current.push([now, "transition", items.length - decisions.length]);
        came.current.push([now, "decision", decisions.length]);
        came.current.push([now, "send", decisions.filter((each) => each.outcome === "send").length]);
      },
    };
  }, [seen, Math.floor(Date.now() / 1000)]);
}
