/** Where the service is no demo: a customer's token, as the retailer's backend signs it, pasted by a developer. */
import { useState } from "preact/hooks";
import { wordsOf } from "../../lib/api";
import { Button, Field, Notice } from "../../lib/ui/parts";
import { signIn } from "../state";

export function SignIn({ why }: { why: string }) {
  const [token, setToken] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");

  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await signIn(token.trim());
    } catch (failure) {
      setError(wordsOf(failure));
      setBusy(false);
    }
  };

  return (
    <main class="alone">
      <form class="card" onSubmit={submit}>
        <h1>Phone</h1>
        <p>
          The customer’s side of the app, against this service. Its developers sign in with a customer’s token, for example the
          one that <code>geoservice token --customer ada</code> prints.
        </p>
        {why && <Notice tone="warning">{why}</Notice>}
        <Field
          label="Customer’s token"
          hint="It stays in this tab, and goes when the tab is closed."
          error={error || undefined}
          control={(ties) => (
            <textarea
              {...ties}
              rows={4}
              autocomplete="off"
              spellcheck={false}
              required
              value={token}
              onInput={(event) => setToken(event.currentTarget.value)}
            />
          )}
        />
        <Button type="submit" look="accent" busy={busy}>
          Sign in
        </Button>
      </form>
    </main>
  );
}
