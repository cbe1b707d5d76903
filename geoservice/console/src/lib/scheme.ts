/** Whether the reader wants it dark; whatever is drawn on a canvas is drawn anew when that changes. */
import { signal } from "@preact/signals";

const scheme = matchMedia("(prefers-color-scheme: dark)");
export const dark = signal(scheme.matches);
scheme.addEventListener("change", () => {
  dark.value = scheme.matches;
});
