/** Asks for an API key, checks it against the service, and keeps it for this tab only. */
import { useEffect, useState } from "preact/hooks";
import { api, ok, Problem, wordsOf } from "../lib/api";
import { ended, keep, keptKey, type Session, session, signOut } from "../lib/session";
import { Button, Field, Notice } from "../lib/ui/parts";

async function check(key: string): Promise<Session> {
  const { name, roles } = await ok(api.GET("/v1/key", { headers: { Authorization: `Bearer ${key}` } }));
  return { key, name, roles };
}

/** Signs in again after a reload, while the key still holds; a service that is away for a moment costs nobody her key. */
export function useKeptKey(): { error: unknown; retry: () => void } {
  const [error, setError] = useState<unknown>();
  const signInAgain = () => {
    const key = keptKey();
    if (key === null) {
      session.value = null;
      return;
    }
    setError(undefined);
    check(key).then(keep, (failure: unknown) => {
      if (failure instanceof Problem && failure.status === 401) signOut(wordsFor(failure));
      else setError(failure);
    });
  };
  useEffect(signInAgain, []);
  return { error, retry: signInAgain };
}

function wordsFor(error: unknown): string {
  if (error instanceof Problem && error.status === 401) {
    return "The service does not know this key. Check for missing characters; it may also have been revoked.";
  }
  return wordsOf(error);
}

export function SignIn() {
  const [key, setKey] = useState("");
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const typed = key.trim();
    if (!typed) return setError("Paste a key first.");
    if (!/^[\x21-\x7e]+$/.test(typed)) return setError("A key has letters, digits and signs only, without spaces.");
    setBusy(true);
    setError("");
    try {
      keep(await check(typed));
    } catch (failure) {
      setError(wordsFor(failure));
      setBusy(false);
    }
  };

  return (
    <main class="sign-in">
      <form onSubmit={submit} noValidate>
        <h1>geoservice console</h1>
        {ended.value && <Notice tone="warning">{ended.value}</Notice>}
        <Field
          label="API key"
          hint="Kept in this tab only, until you close it or sign out."
          error={error}
          control={(ties) => (
            <input
              {...ties}
              type="password"
              name="key"
              autocomplete="off"
              spellcheck={false}
              value={key}
              onInput={(event) => setKey(event.currentTarget.value)}
            />
          )}
        />
        <Button type="submit" look="accent" busy={busy}>
          Sign in
        </Button>
        <p class="quiet">
          No key? Whoever runs the service makes one: <code>geoservice keys create --role ops --name NAME</code>
        </p>
      </form>
    </main>
  );
}
