/** Asking for something and showing what came: loading, failed, ready; at once, or page by page. */
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

interface Page<Item> {
  readonly items: readonly Item[];
  readonly next?: string | null;
}

export interface Pages<Item> {
  /** All that came so far; undefined until the first page is there. */
  readonly items: readonly Item[] | undefined;
  /** Of the last question; what came before it stays. */
  readonly error: unknown;
  readonly loading: boolean;
  /** Asks for the next page, or again for the one that failed; undefined when there is none. */
  readonly more: (() => void) | undefined;
}

interface Reached<Item> {
  readonly items?: readonly Item[];
  readonly next?: string | undefined;
  readonly error: unknown;
  readonly loading: boolean;
}

/** Asks for the first page at first and whenever a dependency changes, and for each further one when it is wanted. */
export function usePages<Item>(
  ask: (after: string | undefined, signal: AbortSignal) => Promise<Page<Item>>,
  dependencies: readonly unknown[],
): Pages<Item> {
  const [state, setState] = useState<Reached<Item>>({ error: undefined, loading: true });
  const latest = useRef(ask);
  latest.current = ask;
  const abort = useRef(new AbortController());

  const load = (after: string | undefined, before: readonly Item[]) => {
    const { signal } = abort.current;
    setState((known) => ({ ...known, error: undefined, loading: true }));
    latest.current(after, signal).then(
      ({ items, next }) => {
        if (!signal.aborted) setState({ items: [...before, ...items], next: next ?? undefined, error: undefined, loading: false });
      },
      (error: unknown) => {
        if (!signal.aborted) setState((known) => ({ ...known, error, loading: false }));
      },
    );
  };

  useEffect(() => {
    abort.current = new AbortController();
    setState({ error: undefined, loading: true });
    load(undefined, []);
    return () => abort.current.abort();
  }, dependencies);

  const { items, next, error, loading } = state;
  const hasMore = next !== undefined || (items === undefined && error !== undefined);
  return { items, error, loading, more: hasMore ? () => load(next, items ?? []) : undefined };
}
