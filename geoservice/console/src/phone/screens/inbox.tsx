/** What the shop said: each message with why she got it, and what she has to say about it. */
import { useEffect, useState } from "preact/hooks";
import { Badge, Button, Empty, Failure, Skeleton } from "../../lib/ui/parts";
import { isSaid, tell, type Feedback, type Message } from "../app/messages";
import { happened } from "../demo/story";
import { messages, now, onHerClock, open, opened, refreshMessages, tab, type Phone } from "../state";
import { AppPage } from "./handset";
import { NAMES } from "./purposes";

export function Inbox({ phone }: { phone: Phone }) {
  const [error, setError] = useState<unknown>();
  const load = () => refreshMessages().then(() => setError(undefined), setError);
  useEffect(() => void load(), [phone]);

  const shown = messages.value?.find((each) => each.id === opened.value);
  if (shown) return <Opened phone={phone} message={shown} />;
  return (
    <AppPage title="Inbox">
      {error !== undefined && <Failure error={error} retry={load} />}
      {messages.value === undefined && error === undefined && <Skeleton lines={4} />}
      {messages.value?.length === 0 && (
        <Empty title="Nothing here">
          That is how it should be, most days. The shop writes when something you looked at is near, and never more than you allow.
        </Empty>
      )}
      <ul class="letters">
        {messages.value?.map((message) => (
          <li key={message.id}>
            <button type="button" class="letter" onClick={() => open(message.id)}>
              <span class="letter-head">
                <strong dir="auto">{message.title}</strong>
                {!isSaid(message, "opened") && <Badge tone="accent">new</Badge>}
              </span>
              <span dir="auto">{message.body}</span>
              <time class="quiet small">{longMoment(message.at)}</time>
            </button>
          </li>
        ))}
      </ul>
    </AppPage>
  );
}

const SAYINGS: readonly { event: Feedback; label: string; thanks: string }[] = [
  { event: "helpful", label: "Helpful", thanks: "Good to know." },
  { event: "creepy", label: "Creepy", thanks: "Sorry. Your comfort level is lower from now on; see the settings." },
  { event: "stop", label: "Stop these", thanks: "This topic is off from now on." },
];

function Opened({ phone, message }: { phone: Phone; message: Message }) {
  const [busy, setBusy] = useState<Feedback>();
  const [error, setError] = useState<unknown>();
  useEffect(() => happened("read"), []);

  const say = async (event: Feedback) => {
    setBusy(event);
    setError(undefined);
    try {
      await tell(phone.api, message.id, event, now());
      await refreshMessages();
    } catch (failure) {
      setError(failure);
    }
    setBusy(undefined);
  };
  const said = SAYINGS.filter(({ event }) => isSaid(message, event));

  return (
    <AppPage title="Message" back={() => (opened.value = undefined)}>
      <article class="message">
        <h3 dir="auto">{message.title}</h3>
        <p dir="auto">{message.body}</p>
        <p class="quiet small">{longMoment(message.at)}</p>
      </article>
      <section class="why" aria-labelledby="why">
        <h3 id="why">Why you got this</h3>
        <p>{message.why.summary}</p>
        <dl>
          <dt>Used</dt>
          {message.why.data_used.map((each) => (
            <dd key={each}>{each}</dd>
          ))}
          <dt>Allowed by you</dt>
          {message.why.consents.map((each) => (
            <dd key={each.purpose}>
              {NAMES[each.purpose]}, since {onHerClock(each.since, { day: "numeric", month: "long", hour: "2-digit", minute: "2-digit" })}
            </dd>
          ))}
        </dl>
        <p>{message.why.how_to_change}</p>
        <Button onClick={() => (tab.value = "settings")}>To the settings</Button>
      </section>
      <section class="say" aria-labelledby="say">
        <h3 id="say">What do you think of it?</h3>
        <div class="deeds">
          {SAYINGS.map(({ event, label }) => (
            <Button key={event} busy={busy === event} aria-pressed={isSaid(message, event)} onClick={() => say(event)}>
              {label}
            </Button>
          ))}
        </div>
        <p role="status" class="said">
          {said.map(({ thanks }) => thanks).join(" ")}
        </p>
        {error !== undefined && <Failure error={error} />}
      </section>
    </AppPage>
  );
}

const longMoment = (at: string) => onHerClock(at, { weekday: "long", day: "numeric", month: "long", hour: "2-digit", minute: "2-digit" });
