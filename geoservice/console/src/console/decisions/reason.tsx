/** Asks whom to look at and why, before anything of hers is read; says that it goes on record. */
import { useState } from "preact/hooks";
import { session } from "../../lib/session";
import { Button, Field } from "../../lib/ui/parts";
import { looking } from "./looking";

const CUSTOMER_ID = /^[A-Za-z0-9._:\-|@]{1,128}$/;

interface ReasonProps {
  /** Whether the customer is asked for, too; else only the reason. */
  customer: boolean;
  deed: string;
}

export function ReasonForm({ customer, deed }: ReasonProps) {
  const [customerId, setCustomerId] = useState(looking.value?.customerId ?? "");
  const [reason, setReason] = useState(looking.value?.reason ?? "");
  const [wrong, setWrong] = useState<{ customer?: string; reason?: string }>({});

  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const found: typeof wrong = {};
    const whom = customerId.trim();
    if (customer && !CUSTOMER_ID.test(whom)) found.customer = whom ? "An id has 1 to 128 letters, digits and . _ : - | @" : "Whose decisions?";
    if (reason.trim().length < 4) found.reason = "Say why, in a few words.";
    setWrong(found);
    if (found.customer || found.reason) return;
    looking.value = { customerId: whom, reason: reason.trim() };
  };

  return (
    <form class="ask" onSubmit={submit} noValidate>
      {customer && (
        <Field
          label="Customer"
          hint="The id that your app and shop use."
          error={wrong.customer}
          control={(ties) => (
            <input
              {...ties}
              value={customerId}
              spellcheck={false}
              autocomplete="off"
              onInput={(event) => setCustomerId(event.currentTarget.value)}
            />
          )}
        />
      )}
      <Field
        label="Why do you look?"
        hint="For example: she asks in ticket 4711 why she got a message."
        error={wrong.reason}
        control={(ties) => (
          <input {...ties} value={reason} maxLength={300} onInput={(event) => setReason(event.currentTarget.value)} />
        )}
      />
      <Button type="submit" look="accent" icon="search">
        {deed}
      </Button>
      <p class="quiet small ask-record">
        It goes on record: “{session.value?.name}”, the customer, your reason and the time. The privacy officer reads that record.
      </p>
    </form>
  );
}
