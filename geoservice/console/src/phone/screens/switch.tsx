/** Something that is on or off, with what that means. */
import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";

export interface SwitchProps {
  label: string;
  on: boolean;
  onChange: (on: boolean) => void;
  busy?: boolean;
  children?: ComponentChildren;
}

export function Switch({ label, on, onChange, busy = false, children }: SwitchProps) {
  const id = useId();
  return (
    <div class="switch">
      <label for={id}>{label}</label>
      <input
        id={id}
        type="checkbox"
        role="switch"
        checked={on}
        aria-busy={busy || undefined}
        aria-describedby={children ? `${id}-means` : undefined}
        onChange={(event) => {
          const wanted = event.currentTarget.checked;
          event.currentTarget.checked = on; // it moves when the service has agreed
          if (!busy) onChange(wanted);
        }}
      />
      {children && (
        <div class="switch-means" id={`${id}-means`}>
          {children}
        </div>
      )}
    </div>
  );
}
