/** The frame of the console: sign-in, navigation, and the page that the address names. */
import { Component, type ComponentChildren, type ComponentType, type RefObject } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { place, go, href } from "../lib/router";
import { holds, session, signOut } from "../lib/session";
import { Icon } from "../lib/ui/icon";
import { Empty, Failure, IconButton, Skeleton } from "../lib/ui/parts";
import { PAGES, type Page, type PageProps } from "./pages";
import "./common.css";
import "./shell.css";
import { SignIn, useKeptKey } from "./sign-in";

const FIRST = PAGES[0];

export function Console() {
  const { error, retry } = useKeptKey();
  if (session.value === undefined) {
    return (
      <main class="waiting" aria-busy={error === undefined} aria-label="Loading">
        {error !== undefined && <Failure error={error} retry={retry} />}
      </main>
    );
  }
  if (session.value === null) return <SignIn />;
  return <Shell />;
}

function Shell() {
  const page = PAGES.find((each) => each.id === place.value.page);
  const main = useRef<HTMLElement>(null);

  useEffect(() => {
    if (place.value.page === "" && FIRST) go([FIRST.id], {}, "replace");
    document.title = `${page?.title ?? "Not found"} · geoservice`;
  }, [page, place.value]);
  useNewPage(main);

  return (
    <div class="shell">
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault(); // what stands after # is the page's address
          main.current?.focus();
        }}
      >
        Skip to the page
      </a>
      <Bar current={page?.id} />
      <main id="main" ref={main} tabIndex={-1} class="shell-main">
        {page ? <Opened key={page.id} page={page} /> : place.value.page !== "" && <NotFound />}
      </main>
    </div>
  );
}

/** After a step to another address all is as with a new document: from its top, and with the focus on it. */
function useNewPage(main: RefObject<HTMLElement | null>): void {
  const address = [place.value.page, ...place.value.path].join("/");
  const shown = useRef(address);
  useEffect(() => {
    const before = shown.current;
    shown.current = address;
    if (before === address || before === "") return; // "" is on its way to the first page
    main.current?.scrollTo(0, 0);
    main.current?.focus({ preventScroll: true });
  }, [address]);
}

function Bar({ current }: { current: string | undefined }) {
  const key = session.value;
  return (
    <header class="bar">
      <a class="brand" href={href([FIRST?.id ?? ""])}>
        <Mark /> <span>geoservice</span>
      </a>
      <nav class="nav" aria-label="Pages">
        <ul>
          {PAGES.map((page) => (
            <li key={page.id}>
              <a href={href([page.id])} aria-current={page.id === current ? "page" : undefined}>
                <Icon name={page.icon} />
                <span>{page.title}</span>
              </a>
            </li>
          ))}
        </ul>
      </nav>
      <div class="who">
        <span class="who-name" title={`This key’s roles: ${key?.roles.join(", ") ?? ""}`}>
          <Icon name="key" /> <span class="visually-hidden">Signed in with the key</span> {key?.name}
        </span>
        <IconButton label="Sign out" icon="out" onClick={() => signOut()} />
      </div>
    </header>
  );
}

function Mark() {
  return (
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
      <circle cx="16" cy="16" r="12" />
      <circle cx="16" cy="16" r="4" />
    </svg>
  );
}

function Opened({ page }: { page: Page }) {
  const [Content, setContent] = useState<ComponentType<PageProps>>();
  const [error, setError] = useState<unknown>();
  const allowed = holds(...page.roles);

  useEffect(() => {
    if (allowed) page.load().then((loaded) => setContent(() => loaded.default), setError);
  }, [page, allowed]);

  if (!allowed) {
    return (
      <div class="page">
        <h1>{page.title}</h1>
        <Empty title="Your key does not open this page">
          It needs the role {page.roles.join(" or ")}; yours has {session.value?.roles.join(", ") || "none"}. Whoever runs
          the service makes keys.
        </Empty>
      </div>
    );
  }
  if (error !== undefined) {
    return (
      <div class="page">
        <h1>{page.title}</h1>
        <Failure error={new Error("This page could not be loaded; perhaps the service was just updated.")} retry={() => location.reload()} />
      </div>
    );
  }
  if (!Content) {
    return (
      <div class="page">
        <h1>{page.title}</h1>
        <Skeleton lines={6} />
      </div>
    );
  }
  return (
    <Caught key={page.id}>
      <Content path={place.value.path} query={place.value.query} />
    </Caught>
  );
}

/** A page that breaks says so; the others go on. */
class Caught extends Component<{ children?: ComponentChildren }, { error: unknown }> {
  override state: { error: unknown } = { error: undefined };

  override componentDidCatch(error: unknown): void {
    console.error(error);
    this.setState({ error });
  }

  render() {
    if (this.state.error === undefined) return this.props.children;
    return (
      <div class="page">
        <Failure error={this.state.error} retry={() => this.setState({ error: undefined })} />
      </div>
    );
  }
}

function NotFound() {
  return (
    <div class="page">
      <h1>There is no such page</h1>
      <p>
        {FIRST && <a href={href([FIRST.id])}>To the {FIRST.title.toLowerCase()}</a>}
      </p>
    </div>
  );
}
