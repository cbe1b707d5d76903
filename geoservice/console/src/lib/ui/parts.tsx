/** Small parts that every page is made of. Each brings its labels and states; their looks are in parts.css. */
import type { ButtonHTMLAttributes, ComponentChildren } from "preact";
import { useId } from "preact/hooks";
import { Problem, wordsOf } from "../api";
import { Icon, type IconName } from "./icon";
import "./parts.css";

type Children = { children?: ComponentChildren };

export interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  look?: "plain" | "accent" | "quiet" | "danger";
  icon?: IconName;
  /** Shows that its work is under way, and takes no second click; it keeps the focus. */
  busy?: boolean;
}

export function Button({ look = "plain", icon, busy = false, children, onClick, ...rest }: ButtonProps) {
  return (
    <button
      type="button"
      {...rest}
      class={`button button-${look} ${rest.class ?? ""}`}
      aria-disabled={busy || undefined}
      aria-busy={busy || undefined}
      onClick={busy ? (event) => event.preventDefault() : onClick}
    >
      {icon && <Icon name={icon} />}
      {children}
    </button>
  );
}

/** A button that is only an icon; `label` is read out, and shown as its tooltip. */
export function IconButton({ label, icon, ...rest }: Omit<ButtonProps, "children"> & { label: string; icon: IconName }) {
  return <Button look="quiet" {...rest} icon={icon} aria-label={label} title={label} class={`button-icon ${rest.class ?? ""}`} />;
}

export interface FieldProps extends Children {
  label: string;
  hint?: ComponentChildren;
  error?: string | undefined;
  /** Gets what ties the control to its label, hint and error: spread it on the input. */
  control: (ties: { id: string; "aria-describedby"?: string; "aria-invalid"?: true }) => ComponentChildren;
  class?: string;
}

/** A labelled control with a hint, and with its error below it. */
export function Field({ label, hint, error, control, class: className = "" }: FieldProps) {
  const id = useId();
  const described = [hint ? `${id}-hint` : "", error ? `${id}-error` : ""].filter(Boolean).join(" ");
  return (
    <div class={`field ${className}`}>
      <label for={id}>{label}</label>
      {hint && (
        <p class="field-hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
      {control({
        id,
        ...(described && { "aria-describedby": described }),
        ...(error && { "aria-invalid": true as const }),
      })}
      {error && (
        <p class="field-error" id={`${id}-error`}>
          <Icon name="alert" /> {error}
        </p>
      )}
    </div>
  );
}

/** A box that says something: read out when it comes. */
export function Notice({ tone = "info", title, children }: Children & { tone?: "info" | "good" | "warning" | "danger"; title?: string }) {
  const icons = { info: "info", good: "check", warning: "alert", danger: "alert" } as const;
  return (
    <div class={`notice notice-${tone}`} role={tone === "danger" ? "alert" : "status"}>
      <Icon name={icons[tone]} />
      <div>
        {title && <strong>{title}</strong>}
        <div>{children}</div>
      </div>
    </div>
  );
}

/** What went wrong, with each place that the service names, and a way to try again. */
export function Failure({ error, retry }: { error: unknown; retry?: (() => void) | undefined }) {
  const problem = error instanceof Problem ? error : undefined;
  return (
    <Notice tone="danger" title={problem?.title ?? "Something went wrong"}>
      <p>{wordsOf(error)}</p>
      {problem && problem.errors.length > 0 && (
        <ul class="notice-list">
          {problem.errors.map((each) => (
            <li key={`${each.path} ${each.code}`}>
              {each.path && <code>{each.path}</code>} {each.message}
            </li>
          ))}
        </ul>
      )}
      {retry && (
        <Button onClick={retry} icon="reload">
          Try again
        </Button>
      )}
    </Notice>
  );
}

/** Nothing there yet: says what would be here, and what to do about it. */
export function Empty({ title, children }: Children & { title: string }) {
  return (
    <div class="empty">
      <h2>{title}</h2>
      <div>{children}</div>
    </div>
  );
}

/** Holds the place of rows that are on their way, so that nothing jumps when they come. */
export function Skeleton({ lines = 3, label = "Loading" }: { lines?: number; label?: string }) {
  return (
    <div class="skeleton" role="status" aria-label={label}>
      {Array.from({ length: lines }, (_, line) => (
        <div class="skeleton-line" key={line} />
      ))}
      <p class="skeleton-slow">This takes longer than usual …</p>
    </div>
  );
}

export type Tone = "neutral" | "accent" | "good" | "warning" | "danger";

export function Badge({ tone = "neutral", children }: Children & { tone?: Tone }) {
  return <span class={`badge badge-${tone}`}>{children}</span>;
}

/** The head of a page: its one h1, a sentence, and its actions. */
export function PageHead({ title, children, actions }: Children & { title: string; actions?: ComponentChildren }) {
  return (
    <header class="page-head">
      <div>
        <h1>{title}</h1>
        {children && <p class="page-lead">{children}</p>}
      </div>
      {actions && <div class="page-actions">{actions}</div>}
    </header>
  );
}

/** A table that scrolls by itself where it is wider than the page; the caption names it to screen readers. */
export function Table({ caption, children }: Children & { caption: string }) {
  return (
    <div class="table-frame" role="region" aria-label={caption} tabIndex={0}>
      <table>
        <caption class="visually-hidden">{caption}</caption>
        {children}
      </table>
    </div>
  );
}

export function Card({ title, children, class: className = "" }: Children & { title?: string; class?: string }) {
  return (
    <section class={`card ${className}`}>
      {title && <h2>{title}</h2>}
      {children}
    </section>
  );
}
