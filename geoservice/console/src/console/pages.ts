/** The pages of the console: each lies in a folder of its own, and is loaded when it is first opened. */
import type { ComponentType } from "preact";
import type { Role } from "../lib/session";
import type { IconName } from "../lib/ui/icon";

export interface PageProps {
  /** What follows the page's own name in the address: #/map/ID gives ["ID"]. */
  path: readonly string[];
  query: URLSearchParams;
}

export interface Page {
  readonly id: string;
  readonly title: string;
  readonly icon: IconName;
  /** Whose keys open it: any one of these roles. */
  readonly roles: readonly Role[];
  readonly load: () => Promise<{ default: ComponentType<PageProps> }>;
}

export const PAGES: readonly Page[] = [
  { id: "map", title: "Map", icon: "map", roles: ["ops"], load: () => import("./map/page") },
  { id: "campaigns", title: "Campaigns", icon: "campaign", roles: ["ops"], load: () => import("./campaigns/page") },
  { id: "decisions", title: "Decisions", icon: "decision", roles: ["ops", "support", "officer"], load: () => import("./decisions/page") },
  { id: "live", title: "Live", icon: "live", roles: ["ops"], load: () => import("./live/page") },
  { id: "health", title: "Health", icon: "health", roles: ["ops", "support", "officer", "server"], load: () => import("./health/page") },
];
