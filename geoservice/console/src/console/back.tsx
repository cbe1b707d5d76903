/** The way back from one thing to the list of them. */
import type { ComponentChildren } from "preact";
import { href } from "../lib/router";
import { Icon } from "../lib/ui/icon";

export function Back({ to, children }: { to: readonly string[]; children: ComponentChildren }) {
  return (
    <a class="back" href={href(to)}>
      <Icon name="back" /> {children}
    </a>
  );
}
