/** Taking everything along, and going. */
import { useState } from "preact/hooks";
import { Confirm, Dialog } from "../../lib/ui/dialog";
import { Button, Failure } from "../../lib/ui/parts";
import { erase, takeAlong, type Erasure } from "../app/settings";
import { demo, signOut, startOver, type Phone } from "../state";

export function Leaving({ phone }: { phone: Phone }) {
  const [busy, setBusy] = useState(false);
  const [asking, setAsking] = useState(false);
  const [receipt, setReceipt] = useState<Erasure>();
  const [error, setError] = useState<unknown>();

  const download = async () => {
    setBusy(true);
    setError(undefined);
    try {
      const address = URL.createObjectURL(await takeAlong(phone.api));
      const link = document.createElement("a");
      link.href = address;
      link.download = "everything-about-me.json";
      link.click();
      URL.revokeObjectURL(address);
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  };

  return (
    <section aria-labelledby="leaving">
      <h3 id="leaving">Your data</h3>
      <p class="quiet small">
        You are <code>{phone.customer}</code>.
      </p>
      <div class="deeds">
        <Button icon="download" busy={busy} onClick={download}>
          Take it along
        </Button>
        <Button icon="trash" look="danger" onClick={() => setAsking(true)}>
          Erase everything
        </Button>
      </div>
      {demo.value && (
        <div class="deeds">
          <Button onClick={() => startOver().catch(setError)}>Be somebody new</Button>
          <Button onClick={() => startOver("lena").catch(setError)}>Be Lena, from the story</Button>
        </div>
      )}
      {error !== undefined && <Failure error={error} />}
      {asking && (
        <Confirm
          title="Erase everything about you?"
          deed="Erase everything"
          danger
          onConfirm={async () => setReceipt(await erase(phone.api))}
          onClose={() => setAsking(false)}
        >
          <p>
            What you looked at and bought, where you were noticed, your messages and settings. From then on the shop sends you
            nothing. Nobody can undo it.
          </p>
        </Confirm>
      )}
      {receipt && <Receipt receipt={receipt} />}
    </section>
  );
}

/** What was done, and what the shop has to keep. */
function Receipt({ receipt }: { receipt: Erasure }) {
  const leave = () => signOut("You have erased everything. Goodbye.");
  return (
    <Dialog
      title={receipt.state === "done" ? "Everything is erased" : "It is being erased"}
      onClose={leave}
      actions={
        <Button look="accent" onClick={leave}>
          {demo.value ? "Start over as somebody new" : "Sign out"}
        </Button>
      }
    >
      <p>
        Receipt <code>{receipt.id}</code>
      </p>
      {receipt.in_flight.length > 0 && <p>A message had left already; it may still arrive.</p>}
      <p>What must be kept, and how long:</p>
      <dl class="kept">
        {receipt.kept.map((each) => (
          <div key={each.name}>
            <dt>{each.why}</dt>
            <dd>{each.kept}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
