/** Dialogs on the browser's own <dialog>: it holds the focus inside, Escape closes it, and the focus goes back. */
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { Button, Failure, IconButton } from "./parts";

export interface DialogProps {
  title: string;
  onClose: () => void;
  children?: ComponentChildren;
  /** Buttons at its foot. */
  actions?: ComponentChildren;
}

/** Is open while it is rendered. */
export function Dialog({ title, onClose, children, actions }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = element.current;
    dialog?.showModal();
    return () => dialog?.close();
  }, []);
  return (
    <dialog
      ref={element}
      class="dialog"
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      <header class="dialog-head">
        <h2 id={id}>{title}</h2>
        <IconButton label="Close" icon="close" onClick={onClose} />
      </header>
      <div class="dialog-body">{children}</div>
      {actions && <footer class="dialog-foot">{actions}</footer>}
    </dialog>
  );
}

export interface ConfirmProps {
  title: string;
  /** What the button says: the deed by its name, never "OK". */
  deed: string;
  danger?: boolean;
  children?: ComponentChildren;
  /** Does it; what it throws is shown in the dialog, which then stays open. */
  onConfirm: () => Promise<void>;
  onClose: () => void;
}

/** Asks before something that others will notice. */
export function Confirm({ title, deed, danger = false, children, onConfirm, onClose }: ConfirmProps) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const confirm = async () => {
    setBusy(true);
    try {
      await onConfirm();
      onClose();
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };
  return (
    <Dialog
      title={title}
      onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button look={danger ? "danger" : "accent"} busy={busy} onClick={confirm}>
            {deed}
          </Button>
        </>
      }
    >
      {children}
      {error !== undefined && <Failure error={error} />}
    </Dialog>
  );
}
