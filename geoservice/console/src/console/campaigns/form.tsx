/** The form: what most campaigns need. What it does not show it leaves as it is. */
import type { ErrorPlace } from "../../lib/api";
import { idFrom } from "../../lib/ids";
import { Card, Field } from "../../lib/ui/parts";
import { Condition } from "./condition";
import { Checks, Choice, Instant, List, Picks, Quantity, Text, type Tools } from "./controls";
import { Languages } from "./languages";
import { type Json, KINDS, put, type Spec, STATES, TRIGGERS } from "./spec";
import { useSuggestions } from "./suggestions";

interface FormProps {
  spec: Spec;
  onChange: (spec: Spec) => void;
  onTouch: (place: string) => void;
  errors: readonly ErrorPlace[];
  id: string;
  onId: ((id: string) => void) | undefined;
  onJson: () => void;
}

/** Places that have a control here, which shows what is wrong with them. */
export const SHOWN = [
  ...["name", "topic", "state", "test_customers", "uses", "valid_from", "valid_until", "priority"],
  ...["trigger.on", "trigger.geofence_kind", "trigger.geofence_ids", "trigger.store_ids", "trigger.tags", "trigger.after_s"],
  "context.interest",
  ...["content.title", "content.body", "content.deep_link", "content.image_url", "content.languages"],
  ...["limits.cooldown_s", "limits.per_customer", "limits.hourly_ceiling", "limits.ramp_up_h"],
];

const USES = {
  browse: "what she looked at",
  purchase: "what she bought",
  loyalty: "her loyalty tier",
  visits: "her visits to stores",
  profile: "what the shop noted about her",
  beacon: "beacons in the store",
} as const;

const DAY_S = 86_400;

export function Form({ spec, onChange, onTouch, errors, id, onId, onJson }: FormProps) {
  const set = (path: readonly string[], value: Json | undefined) => onChange(put(spec, path, value));
  const tools: Tools = { spec, set, touch: onTouch, errors };
  const state = (spec.state as keyof typeof STATES | undefined) ?? "live";
  const named = useSuggestions();

  return (
    <div class="form">
      <Card title="What it is">
        <div class="two">
          <Text tools={tools} path={["name"]} label="Name" hint="For your colleagues; customers do not see it." />
          <Text tools={tools} path={["topic"]} label="Topic" hint="Customers switch topics on and off, such as sneakers." list={named.topics} />
        </div>
        {onId && (
          <Field
            label="Id"
            hint="Stands in decisions and exports, and cannot be changed later."
            control={(ties) => (
              <input
                {...ties}
                value={id}
                spellcheck={false}
                onInput={(event) => onId(event.currentTarget.value)}
                onBlur={(event) => onId(idFrom(event.currentTarget.value))}
              />
            )}
          />
        )}
        <fieldset class="choices">
          <legend>State</legend>
          {(Object.keys(STATES) as (keyof typeof STATES)[]).map((each) => (
            <label key={each} class="choice">
              <input type="radio" name="state" checked={state === each} onChange={() => set(["state"], each)} />
              <span>
                <strong>{each}</strong> <span class="quiet small">{STATES[each].says}</span>
              </span>
            </label>
          ))}
        </fieldset>
        {state === "test" && (
          <List tools={tools} path={["test_customers"]} label="Test customers" hint="Customer ids, separated by commas; nobody else gets a message or a record." />
        )}
      </Card>

      <Card title="The moment">
        <div class="two">
          <Choice tools={tools} path={["trigger", "on"]} label="When a customer …" options={Object.entries(TRIGGERS)} />
          <Choice
            tools={tools}
            path={["trigger", "geofence_kind"]}
            label="… this place"
            options={[["", "any geofence"], ...Object.entries(KINDS)]}
          />
          <Picks
            tools={tools}
            path={["trigger", "store_ids"]}
            label="Only at these stores"
            hint="None: at all of them."
            options={named.stores}
            add="Add a store …"
          />
          <List tools={tools} path={["trigger", "tags"]} label="Only with these tags" hint="Tags of geofences, separated by commas; any one is enough." />
          <List tools={tools} path={["trigger", "geofence_ids"]} label="Only at these geofences" hint="Ids, separated by commas." />
          <Quantity
            tools={tools}
            path={["trigger", "after_s"]}
            label="Wait (minutes)"
            unit={60}
            hint="Left empty, entering a store waits for 3 minutes, everything else does not."
          />
        </div>
      </Card>

      <Condition tools={tools} onJson={onJson} categories={named.categories} />

      <Card title="The message">
        <Text tools={tools} path={["content", "title"]} label="Title" hint="About 40 characters are seen on every phone." counts={40} />
        <Text
          tools={tools}
          path={["content", "body"]}
          label="Text"
          hint={
            <>
              May name <code>{"{{ store.name }}"}</code>, <code>{"{{ interest.category }}"}</code>, <code>{"{{ interest.date }}"}</code>.
            </>
          }
          counts={140}
          lines={3}
        />
        <Text tools={tools} path={["content", "deep_link"]} label="Link into the app" hint="Opens when it is tapped: https or the app’s own scheme." optional />
        <Text tools={tools} path={["content", "image_url"]} label="Picture" hint="An https address that the phone can reach." optional />
        <Languages tools={tools} />
      </Card>

      <Card title="How often, and until when">
        <div class="two">
          <Quantity tools={tools} path={["limits", "cooldown_s"]} label="Not again within (days)" unit={DAY_S} hint="Per customer. Left empty: as the policy says, usually 7." />
          <Quantity tools={tools} path={["limits", "per_customer"]} label="At most, per customer" hint="In the campaign’s whole life." />
          <Quantity tools={tools} path={["limits", "hourly_ceiling"]} label="At most, each hour" hint="To all customers together." />
          <Quantity tools={tools} path={["limits", "ramp_up_h"]} label="Grow to that over (hours)" hint="From when it goes live." />
          <Instant tools={tools} path={["valid_from"]} label="From" />
          <Instant tools={tools} path={["valid_until"]} label="Until" />
          <Quantity tools={tools} path={["priority"]} label="Priority" hint="Of several that fit, the highest speaks." least={-1000} />
        </div>
        <p class="quiet small">A customer’s own daily cap, quiet hours and consents always hold, whatever stands here.</p>
      </Card>

      <Card title="Data it uses">
        <Checks
          tools={tools}
          path={["uses"]}
          label="Declared uses"
          hint="Each needs the customer’s consent, and her comfort level must allow it."
          options={USES}
        />
      </Card>
    </div>
  );
}
