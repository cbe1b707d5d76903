/** The way back to the list. */
import { href } from "../../lib/router";
import { Icon } from "../../lib/ui/icon";

export function Back({ to = ["map"], children = "All geofences" }: { to?: readonly string[]; children?: string }) {
  return (
    <a class="back" href={href(to)}>
      <Icon name="back" /> {children}
    </a>
  );
}
