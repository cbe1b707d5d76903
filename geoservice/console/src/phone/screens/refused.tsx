/** A setting that could not be saved: said where she looks, however far down the page she changed it. */
import { useEffect, useRef } from "preact/hooks";
import { Failure } from "../../lib/ui/parts";

export function Refused({ error, retry }: { error: unknown; retry?: () => void }) {
  const said = useRef<HTMLDivElement>(null);
  useEffect(() => said.current?.scrollIntoView({ block: "nearest" }), [error]);
  return (
    <div ref={said}>
      <Failure error={error} retry={retry} />
    </div>
  );
}
