/** To whom: one fresh interest, or everybody; whatever combines conditions is edited as JSON. */
import { Button, Card } from "../../lib/ui/parts";
import { Checks, Quantity, Text, type Tools } from "./controls";
import { FRESH_INTEREST, interestOf } from "./spec";

const EVENTS = {
  product_viewed: "looked at a product",
  wishlisted: "put it on the wish list",
  carted: "put it in the basket",
  searched: "searched for it",
} as const;

export function Condition({ tools, onJson, categories }: { tools: Tools; onJson: () => void; categories: readonly string[] }) {
  const interest = interestOf(tools.spec);
  const path = ["context", "interest"];
  if (interest === undefined) {
    return (
      <Card title="To whom">
        <p>This campaign combines several conditions.</p>
        <Button class="start" icon="edit" onClick={onJson}>
          Edit them as JSON
        </Button>
      </Card>
    );
  }
  return (
    <Card title="To whom">
      <fieldset class="choices">
        <legend>It fits</legend>
        <label class="choice">
          <input type="radio" name="fits" checked={interest !== null} onChange={() => tools.set(path, FRESH_INTEREST)} />
          <span>customers with a fresh interest</span>
        </label>
        <label class="choice">
          <input type="radio" name="fits" checked={interest === null} onChange={() => tools.set(["context"], undefined)} />
          <span>everybody who switched the topic on</span>
        </label>
      </fieldset>
      {interest !== null && (
        <>
          <div class="two">
            <Text tools={tools} path={[...path, "category"]} label="In the category" list={categories} />
            <Quantity tools={tools} path={[...path, "min_count"]} label="At least so many times" least={1} />
            <Quantity tools={tools} path={[...path, "within_days"]} label="Within the last (days)" least={1} />
          </div>
          <Checks tools={tools} path={[...path, "events"]} label="What counts" options={EVENTS} />
          <label class="choice">
            <input
              type="checkbox"
              checked={interest.not_purchased !== false}
              onChange={(event) => tools.set([...path, "not_purchased"], event.currentTarget.checked)}
            />
            <span>and she has not bought in that category since</span>
          </label>
        </>
      )}
    </Card>
  );
}
