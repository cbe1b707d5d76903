/** How much, how personal, and when: comfort level, quiet hours, cap with its arithmetic, snooze. */
import { useState } from "preact/hooks";
import { counted } from "../../lib/format";
import { Button } from "../../lib/ui/parts";
import type { Attention } from "../app/settings";
import { now, onHerClock } from "../state";
import type { Part } from "./settings";

const LEVELS = [
  [1, "Only what I asked for", "Topics you chose. Nothing you looked at or bought is used."],
  [2, "Helpful", "Also what you looked at, when you are near it."],
  [3, "Everything", "Also what you bought before."],
] as const;

export function Comfort({ settings, save }: Part) {
  return (
    <fieldset class="choices">
      <legend>
        <h3>How personal may it be?</h3>
      </legend>
      {LEVELS.map(([level, name, means]) => (
        <label key={level} class="choice">
          <input
            type="radio"
            name="comfort"
            checked={settings.preferences.comfort_level === level}
            onChange={() => save({ comfort_level: level })}
          />
          <span>
            <strong>{name}</strong>
            <span class="quiet small">{means}</span>
          </span>
        </label>
      ))}
    </fieldset>
  );
}

export function QuietHours({ settings, save }: Part) {
  const kept = settings.preferences.quiet_hours;
  const [start, setStart] = useState(kept?.start ?? "20:00");
  const [end, setEnd] = useState(kept?.end ?? "09:00");
  return (
    <section aria-labelledby="quiet">
      <h3 id="quiet">Quiet hours</h3>
      <p class="quiet small">The shop is silent at night anyway. These are yours on top, on your own clock.</p>
      <form
        class="times"
        onSubmit={(event) => {
          event.preventDefault();
          void save({ quiet_hours: { start, end } });
        }}
      >
        <label>
          From
          <input type="time" required value={start} onInput={(event) => setStart(event.currentTarget.value)} />
        </label>
        <label>
          To
          <input type="time" required value={end} onInput={(event) => setEnd(event.currentTarget.value)} />
        </label>
        <Button type="submit">{kept ? "Change" : "Switch on"}</Button>
      </form>
      <p role="status" class="said">
        {kept ? `Silent from ${kept.start} to ${kept.end}.` : "None of your own."}
      </p>
      {kept && <Button onClick={() => save({ quiet_hours: null })}>Switch off</Button>}
    </section>
  );
}

export function Cap({ settings, attention, save }: Part) {
  const own = settings.preferences.daily_cap;
  const most = attention.ladder[0]?.messages ?? 0;
  const choices = [...Array.from({ length: most + 1 }, (_, index) => index), null];
  return (
    <fieldset class="choices">
      <legend>
        <h3>How many messages a day?</h3>
      </legend>
      <div class="segments">
        {choices.map((choice) => (
          <label key={String(choice)} class="segment">
            <input type="radio" name="cap" checked={own === choice} onChange={() => save({ daily_cap: choice })} />
            <span>{choice === null ? "As the shop has it" : choice === 0 ? "None" : choice}</span>
          </label>
        ))}
      </div>
      <p role="status" class="cap-sentence">
        {attention.sentence}
      </p>
      <Arithmetic attention={attention} own={own} />
    </fieldset>
  );
}

function Arithmetic({ attention, own }: { attention: Attention; own: number | null }) {
  const rung = attention.ladder.findIndex((each) => each.messages === attention.level.messages && each.days === attention.level.days);
  return (
    <details>
      <summary>How that number comes about</summary>
      <ol class="ladder">
        {attention.ladder.map((level, index) => (
          <li key={index} aria-current={index === rung ? "step" : undefined}>
            {counted(level.messages, "message")} in {counted(level.days, "day")}
            {index === rung && <strong> – you are here</strong>}
          </li>
        ))}
      </ol>
      <p>
        Three messages without an answer are one step down; opening one, or “helpful”, is one step up; “creepy” and “stop” are two
        down. Unanswered since the last step: {attention.misses}.
      </p>
      {own !== null && <p>Your own limit of {own} a day goes before, where it is lower.</p>}
      {attention.steps.length > 0 && (
        <ul class="steps">
          {attention.steps.map((step) => (
            <li key={`${step.at} ${step.what}`}>
              <time>{onHerClock(step.at, { day: "numeric", month: "short" })}</time> {step.what.replace(/_/g, " ")}:{" "}
              {counted(step.level.messages, "message")} in {counted(step.level.days, "day")}
            </li>
          ))}
        </ul>
      )}
    </details>
  );
}

export function Snooze({ settings, save }: Part) {
  const until = settings.preferences.snooze_until;
  const active = until !== null && new Date(until) > now();
  const snooze = (hours: number) => save({ snooze_until: new Date(now().getTime() + hours * 3_600_000).toISOString() });
  return (
    <section aria-labelledby="snooze">
      <h3 id="snooze">Leave me alone for a while</h3>
      <div class="deeds">
        <Button onClick={() => snooze(24)}>A day</Button>
        <Button onClick={() => snooze(7 * 24)}>A week</Button>
        {active && <Button onClick={() => save({ snooze_until: null })}>Not any more</Button>}
      </div>
      <p role="status" class="said">
        {active
          ? `Nothing until ${onHerClock(until, { weekday: "long", day: "numeric", month: "long", hour: "2-digit", minute: "2-digit" })}.`
          : "Not snoozed."}
      </p>
    </section>
  );
}
