/** The phone as she holds it: its lock screen, its notifications, and the shop's app. */
import type { ComponentChildren } from "preact";
import { Icon, type IconName } from "../../lib/ui/icon";
import { IconButton, Skeleton } from "../../lib/ui/parts";
import type { Push } from "../app/messages";
import {
  asked,
  city,
  connected,
  demo,
  dismiss,
  locked,
  notifications,
  onHerClock,
  now,
  open,
  phone,
  tab,
  tick,
  unread,
  type Tab,
} from "../state";
import { Inbox } from "./inbox";
import { Onboarding } from "./onboarding";
import { SettingsScreen } from "./settings";
import { Shop } from "./shop";

const NAME = "Our shop";

export function Handset() {
  return (
    <section class="handset" aria-label="The phone">
      <StatusBar />
      <div class="screen">
        {phone.value === undefined ? <Starting /> : <App />}
        {locked.value && <LockScreen />}
        {!locked.value && (
          <div class="heads-up" aria-live="polite">
            {notifications.value.slice(0, 1).map((each) => (
              <Notification key={each.messageId} push={each} />
            ))}
          </div>
        )}
      </div>
    </section>
  );
}

function Starting() {
  return (
    <div class="app-page">
      <Skeleton lines={6} label="Starting" />
    </div>
  );
}

function StatusBar() {
  tick.value; // the clock goes on
  return (
    <div class="status-bar">
      <time>{onHerClock(now(), { hour: "2-digit", minute: "2-digit" })}</time>
      {!connected.value && <span class="status-offline">No connection</span>}
      <svg viewBox="0 0 46 12" aria-hidden="true">
        <path d="M1 8h2v3H1zM5 6h2v5H5zM9 4h2v7H9zM13 1h2v10h-2z" />
        <rect x="23" y="1.5" width="19" height="9" rx="2.5" fill="none" stroke="currentColor" />
        <path d="M25 3.5h11v5H25zM43.5 4.5h1.5v3h-1.5z" />
      </svg>
    </div>
  );
}

/** What others would see of the phone: the time, and what came. */
function LockScreen() {
  tick.value;
  const at = now();
  return (
    <section class="lock-screen" aria-label="Lock screen">
      <p class="lock-day">{onHerClock(at, { weekday: "long", day: "numeric", month: "long" })}</p>
      <p class="lock-time">{onHerClock(at, { hour: "2-digit", minute: "2-digit" })}</p>
      <div class="lock-notifications" aria-live="polite">
        {notifications.value.map((each) => (
          <Notification key={each.messageId} push={each} />
        ))}
      </div>
      <button type="button" class="unlock" onClick={() => (locked.value = false)}>
        Unlock
      </button>
    </section>
  );
}

function Notification({ push }: { push: Push }) {
  return (
    <article class="notification">
      <button type="button" class="notification-tap" onClick={() => open(push.messageId)}>
        <span class="notification-app">
          <Icon name="place" /> {city.value?.retailer ?? NAME} · now
        </span>
        <strong dir="auto">{push.title}</strong>
        <span dir="auto">{push.body}</span>
      </button>
      <IconButton label="Wipe away" icon="close" onClick={() => dismiss(push.messageId)} />
    </article>
  );
}

const TABS: readonly { id: Tab; title: string; icon: IconName }[] = [
  { id: "shop", title: "Shop", icon: "bag" },
  { id: "inbox", title: "Inbox", icon: "inbox" },
  { id: "settings", title: "Settings", icon: "sliders" },
];

function App() {
  if (!asked.value) return <Onboarding />;
  return (
    <>
      <Screen />
      <nav class="tabs" aria-label="App">
        {TABS.filter((each) => demo.value || each.id !== "shop").map((each) => (
          <button key={each.id} type="button" aria-current={tab.value === each.id ? "page" : undefined} onClick={() => (tab.value = each.id)}>
            <Icon name={each.icon} />
            {each.title}
            {each.id === "inbox" && unread.value > 0 && (
              <span class="unread">
                {unread.value}
                <span class="visually-hidden"> unread</span>
              </span>
            )}
          </button>
        ))}
      </nav>
    </>
  );
}

function Screen() {
  const hers = phone.value;
  if (!hers) return null;
  if (tab.value === "inbox") return <Inbox phone={hers} />;
  if (tab.value === "settings") return <SettingsScreen phone={hers} />;
  return <Shop phone={hers} />;
}

/** One screen of the app: a head that stays, and what scrolls below it. */
export function AppPage({ title, back, children }: { title: string; back?: (() => void) | undefined; children?: ComponentChildren }) {
  return (
    <div class="app-page" key={title}>
      <header class="app-head">
        {back && <IconButton label="Back" icon="back" onClick={back} />}
        <h2>{title}</h2>
      </header>
      <div class="app-body">{children}</div>
    </div>
  );
}
