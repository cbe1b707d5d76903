/** What she allows: each purpose with why and benefit; taking it back is the same switch. */
import { useEffect, useState } from "preact/hooks";
import { counted } from "../../lib/format";
import { Skeleton } from "../../lib/ui/parts";
import { answer, readConsents, type Consent, type ConsentChanged } from "../app/consents";
import { happened } from "../demo/story";
import { onHerClock, refreshMessages, type Phone } from "../state";
import { Words } from "./onboarding";
import { allowsTheFirst, NAMES } from "./purposes";
import { Refused } from "./refused";
import { Switch } from "./switch";

export function Consents({ phone }: { phone: Phone }) {
  const [consents, setConsents] = useState<readonly Consent[]>();
  const [busy, setBusy] = useState<string>();
  const [said, setSaid] = useState("");
  const [error, setError] = useState<unknown>();
  const load = () =>
    readConsents(phone.api).then((read) => {
      setConsents(read);
      if (allowsTheFirst(read)) happened("allowed");
    }, setError);
  useEffect(() => void load(), [phone]);

  const set = async ({ purpose }: Consent, granted: boolean) => {
    setBusy(purpose);
    setError(undefined);
    try {
      setSaid(effect(await answer(phone.api, phone.notice, purpose, granted, "settings")));
      await Promise.all([load(), refreshMessages()]);
    } catch (failure) {
      setError(failure);
    }
    setBusy(undefined);
  };

  return (
    <section aria-labelledby="consents">
      <h3 id="consents">What you allow</h3>
      {consents === undefined && error === undefined && <Skeleton lines={5} />}
      <ul class="rows">
        {consents?.map((consent) => (
          <li key={consent.purpose}>
            <Switch label={NAMES[consent.purpose]} on={consent.granted} busy={busy === consent.purpose} onChange={(on) => set(consent, on)}>
              <Words purpose={consent.purpose} />
              <p class="quiet">{since(consent)}</p>
            </Switch>
          </li>
        ))}
      </ul>
      <p role="status" class="said">
        {said}
      </p>
      {error !== undefined && <Refused error={error} />}
    </section>
  );
}

function since({ granted, recorded_at, notice_version }: Consent): string {
  if (!recorded_at) return "Never asked, so: no.";
  return `${granted ? "Yes" : "No"} since ${onHerClock(recorded_at, { day: "numeric", month: "long", hour: "2-digit", minute: "2-digit" })}, notice ${notice_version}.`;
}

/** What a change did to messages: those that it stopped, and those that came too late. */
function effect({ granted, cancelled, in_flight }: ConsentChanged): string {
  if (granted) return "Noted; it holds from now on.";
  const stopped = cancelled.length > 0 ? ` ${counted(cancelled.length, "message")} stopped.` : "";
  const left = in_flight.length > 0 ? ` ${counted(in_flight.length, "message")} had left already.` : "";
  return `Taken back; it holds from now on.${stopped}${left}`;
}
