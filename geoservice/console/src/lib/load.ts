/** Asking for something and showing what came: loading, failed, ready. */
import { useCallback, useEffect, useRef, useState } from "preact/hooks";

export interface Loaded<Data> {
  /** What came last; it stays while it is asked for again. */
  readonly data: Data | undefined;
  readonly error: unknown;
  readonly loading: boolean;
  readonly reload: () => void;
  /** Puts another value in place, for what this page itself has just changed. */
  readonly set: (data: Data) => void;
}

/** Asks at first and whenever a dependency changes; an answer that was overtaken by a later question is dropped. */
export function useLoad<Data>(ask: (signal: AbortSignal) => Promise<Data>, dependencies: readonly unknown[]): Loaded<Data> {
  const [state, setState] = useState<{ data: Data | undefined; error: unknown; loading: boolean }>({
    data: undefined,
    error: undefined,
    loading: true,
  });
  const [turn, setTurn] = useState(0);
  const latest = useRef(ask);
  latest.current = ask;

  useEffect(() => {
    const abort = new AbortController();
    setState((before) => ({ ...before, loading: true }));
    latest.current(abort.signal).then(
      (data) => {
        if (!abort.signal.aborted) setState({ data, error: undefined, loading: false });
      },
      (error: unknown) => {
        if (!abort.signal.aborted) setState((before) => ({ data: before.data, error, loading: false }));
      },
    );
    return () => abort.abort();
  }, [turn, ...dependencies]);

  return {
    ...state,
    reload: useCallback(() => setTurn((before) => before + 1), []),
    set: useCallback((data: Data) => setState({ data, error: undefined, loading: false }), []),
  };
}
