/** One decision: the checks as a ladder with the facts they used, and what became of its message. */
import type { ComponentChildren } from "preact";
import { api, ok, Problem, type Schemas } from "../../lib/api";
import { moment, words } from "../../lib/format";
import { useLoad } from "../../lib/load";
import { href } from "../../lib/router";
import { holds } from "../../lib/session";
import { Icon } from "../../lib/ui/icon";
import { Badge, Card, Empty, Failure, PageHead, Skeleton } from "../../lib/ui/parts";
import { Back } from "../back";
import { factsInWords } from "./facts";
import { OUTCOMES } from "./words";
import { asked, looking } from "./looking";
import { ReasonForm } from "./reason";

type Decision = Schemas["DecisionAnswer"];
type Check = Schemas["CheckAnswer"];

/** The gates in the order in which they count, and what each of them asks. */
const GATES: readonly [Schemas["Gate"], string][] = [
  ["campaign", "Does the campaign speak now?"],
  ["consent", "Has she allowed this?"],
  ["preferences", "Does she want to hear of it?"],
  ["sensitive", "Is nothing delicate drawn upon?"],
  ["context", "Does it fit what she did?"],
  ["already_served", "Has she it already, or heard of it?"],
  ["store", "Is the store open, and has it what she wants?"],
  ["moment", "Is this the right moment?"],
  ["quiet_hours", "Is it no quiet hour?"],
  ["limits", "Has she had few enough messages?"],
  ["render", "Can the message be written and read by anybody?"],
  ["choice", "Is it the best of what could be said?"],
];

export function OneDecision({ id }: { id: string }) {
  const mayLook = holds("support", "officer");
  return (
    <div class="page">
      <Back to={["decisions"]}>All decisions</Back>
      {!mayLook ? (
        <>
          <h1>One decision</h1>
          <Empty title="Your key does not open single decisions">They are about one customer: that needs the role support, and a reason.</Empty>
        </>
      ) : looking.value === null ? (
        <>
          <PageHead title="One decision">It is about one customer, so it is shown after you have said why.</PageHead>
          <Card>
            <ReasonForm customer={false} deed="Show the decision" />
          </Card>
        </>
      ) : (
        <Asked id={id} />
      )}
    </div>
  );
}

function Asked({ id }: { id: string }) {
  const decision = useLoad((signal) => ok(api.GET("/v1/decisions/{id}", { params: { path: { id } }, ...asked(), signal })), [id]);
  if (decision.error !== undefined) {
    const gone = decision.error instanceof Problem && decision.error.status === 404;
    return gone ? (
      <PageHead title="There is no such decision">It was kept for its time, or erased with its customer.</PageHead>
    ) : (
      <>
        <h1>One decision</h1>
        <Failure error={decision.error} retry={decision.reload} />
      </>
    );
  }
  if (!decision.data) {
    return (
      <>
        <h1>One decision</h1>
        <Skeleton lines={12} label="Loading the decision" />
      </>
    );
  }
  return <Shown decision={decision.data} />;
}

function Shown({ decision }: { decision: Decision }) {
  const byGate = new Map(decision.checks.map((check) => [check.gate, check]));
  const refusedBy = decision.checks.find((check) => !check.passed)?.gate;
  return (
    <>
      <PageHead title={`${OUTCOMES[decision.outcome]}${decision.reason ? `: ${words(decision.reason).toLowerCase()}` : ""}`}>
        {decision.sentence ?? "Every check has passed, and nothing better could be said."}
      </PageHead>
      <dl class="particulars">
        <Particular what="When">{moment(decision.at)}</Particular>
        <Particular what="Campaign">
          {holds("ops") ? <a href={href(["campaigns", decision.campaign_id])}>{decision.campaign_id}</a> : decision.campaign_id}, version{" "}
          {decision.campaign_version}
        </Particular>
        <Particular what="Place">
          <Icon name="place" /> {decision.geofence_name ?? decision.geofence_id}
          {decision.store_name && !decision.geofence_name?.includes(decision.store_name) && <span class="quiet"> · {decision.store_name}</span>}
        </Particular>
        <Particular what="Customer">
          <code>{decision.customer_id}</code>
        </Particular>
      </dl>
      <div class="decision">
        <section aria-labelledby="checks-head">
          <h2 id="checks-head">The checks, in their order</h2>
          <ol class="ladder">
            {GATES.map(([gate, asks]) => (
              <Rung key={gate} gate={gate} asks={asks} check={byGate.get(gate)} decided={gate === refusedBy} />
            ))}
          </ol>
        </section>
        <div class="decision-aside">
          {decision.customer_sentence && (
            <Card title="What she is told">
              <p>{decision.customer_sentence}</p>
            </Card>
          )}
          {decision.message_id ? (
            <Message id={decision.message_id} />
          ) : (
            <Card title="The message">
              <p class="quiet">{decision.outcome === "defer" ? "None yet: it waits for its moment." : "None: the service stayed silent."}</p>
            </Card>
          )}
        </div>
      </div>
    </>
  );
}

function Particular({ what, children }: { what: string; children: ComponentChildren }) {
  return (
    <div>
      <dt>{what}</dt>
      <dd>{children}</dd>
    </div>
  );
}

interface RungProps {
  gate: Schemas["Gate"];
  asks: string;
  check: Check | undefined;
  /** Whether it is the one that the outcome is due to. */
  decided: boolean;
}

function Rung({ gate, asks, check, decided }: RungProps) {
  const state = check === undefined ? "none" : check.passed ? "passed" : "failed";
  const says = { none: "Not reached", passed: "Passed", failed: decided ? "Refused: this decided" : "Would have refused, too" }[state];
  const facts = check ? factsInWords(check.facts) : [];
  return (
    <li class={`rung rung-${state}`}>
      <span class="rung-mark">
        <Icon name={state === "passed" ? "check" : state === "failed" ? "close" : "minus"} />
      </span>
      <div class="rung-body">
        <h3>
          {words(gate)} <span class="rung-says">{says}</span>
        </h3>
        <p class="quiet small">{asks}</p>
        {check?.reason && (
          <p class="rung-reason">
            <Badge tone="danger">{words(check.reason)}</Badge>
          </p>
        )}
        {facts.length > 0 && (
          <dl class="rung-facts">
            {facts.map(({ name, value }) => (
              <div key={name}>
                <dt>{name}</dt>
                <dd>{value}</dd>
              </div>
            ))}
          </dl>
        )}
      </div>
    </li>
  );
}

const STATE_TONES: Record<string, "good" | "warning" | "danger" | "neutral"> = {
  accepted: "good",
  unknown: "warning",
  retry_wait: "warning",
  failed: "danger",
};

function Message({ id }: { id: string }) {
  const message = useLoad((signal) => ok(api.GET("/v1/messages/{id}", { params: { path: { id } }, ...asked(), signal })), [id]);
  if (message.error !== undefined) {
    return (
      <Card title="The message">
        <Failure error={message.error} retry={message.reload} />
      </Card>
    );
  }
  if (!message.data) {
    return (
      <Card title="The message">
        <Skeleton lines={5} label="Loading the message" />
      </Card>
    );
  }
  const { title, body, state, channel, timeline, failure, in_doubt } = message.data;
  return (
    <Card title="The message">
      <blockquote class="quoted">
        <strong>{title}</strong>
        <br />
        {body}
      </blockquote>
      <p>
        <Badge tone={STATE_TONES[state] ?? "neutral"}>{words(state)}</Badge> by {channel}
        {failure && <span class="quiet"> · {words(failure)}</span>}
        {in_doubt && <span class="quiet"> · it may have arrived</span>}
      </p>
      <h3>Its way</h3>
      <ol class="timeline">
        {timeline.map((step) => (
          <li key={`${step.at} ${step.what}`}>
            <time dateTime={step.at}>{moment(step.at)}</time>
            <span>
              {words(step.what)}
              {step.detail && <span class="quiet"> · {words(step.detail)}</span>}
            </span>
          </li>
        ))}
      </ol>
    </Card>
  );
}
