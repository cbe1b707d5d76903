/** Decisions, newest first: of everybody and nobody by name, or of one customer after a reason was given. */
import { useId } from "preact/hooks";
import { api, ok, type Schemas } from "../../lib/api";
import { moment, words } from "../../lib/format";
import { useLoad, usePages } from "../../lib/load";
import { go, href } from "../../lib/router";
import { holds } from "../../lib/session";
import { Badge, Button, Card, Empty, Failure, Field, IconButton, PageHead, Skeleton, Table } from "../../lib/ui/parts";
import { asked, looking } from "./looking";
import { ReasonForm } from "./reason";
import { OUTCOMES, TONES } from "./words";

type Decision = Schemas["DecisionAnswer"];

const A_PAGE = 50;

type Filters = Record<"campaign" | "outcome" | "reason" | "since", string>;

function filtersOf(query: URLSearchParams): Filters {
  const value = (name: string) => query.get(name) ?? "";
  return { campaign: value("campaign"), outcome: value("outcome"), reason: value("reason"), since: value("since") };
}

const anyOf = (filters: Filters): boolean => Object.values(filters).some(Boolean);

export function DecisionList({ query }: { query: URLSearchParams }) {
  const filters = filtersOf(query);
  const whom = looking.value?.customerId || undefined;
  const mayLook = holds("support", "officer");
  return (
    <div class="page">
      <PageHead title="Decisions">Every moment that a campaign looked at: what it did, and each check that led there.</PageHead>
      <Card title="Find a customer’s decisions">
        {mayLook ? (
          <ReasonForm customer deed="Show her decisions" />
        ) : (
          <p class="quiet">This needs a key with the role support. Below are all decisions, of nobody by name.</p>
        )}
      </Card>
      <section class="found" aria-label={whom ? `Decisions about ${whom}` : "All decisions"}>
        <div class="found-head">
          <h2>
            {whom ? (
              <>
                About <code>{whom}</code>
              </>
            ) : (
              "Of everybody, nobody by name"
            )}
          </h2>
          {whom && (
            <Button
              onClick={() => {
                looking.value = null;
              }}
              icon="close"
            >
              Look no longer
            </Button>
          )}
        </div>
        <FilterBar filters={filters} />
        <Found filters={filters} whom={whom} />
      </section>
    </div>
  );
}

function FilterBar({ filters }: { filters: Filters }) {
  const set = (name: keyof Filters, value: string) => go(["decisions"], { ...filters, [name]: value }, "replace");
  const any = anyOf(filters);
  const id = useId();
  const { data } = useLoad(async () => (holds("ops") ? (await ok(api.GET("/v1/decisions/counts"))).items : []), []);
  const suggested = (values: readonly (string | null)[]) => [...new Set(values)].map((value) => value && <option key={value} value={value} />);
  return (
    <div class="filters">
      <Field
        label="Campaign"
        control={(ties) => (
          <input
            {...ties}
            value={filters.campaign}
            spellcheck={false}
            list={`${id}-campaigns`}
            onChange={(event) => set("campaign", event.currentTarget.value.trim())}
          />
        )}
      />
      <Field
        label="Outcome"
        control={(ties) => (
          <select {...ties} value={filters.outcome} onChange={(event) => set("outcome", event.currentTarget.value)}>
            <option value="">all</option>
            <option value="send">sent</option>
            <option value="suppress">silent</option>
            <option value="defer">waiting</option>
          </select>
        )}
      />
      <Field
        label="Reason"
        control={(ties) => (
          <input
            {...ties}
            value={filters.reason}
            placeholder="daily_cap"
            spellcheck={false}
            list={`${id}-reasons`}
            onChange={(event) => set("reason", event.currentTarget.value.trim())}
          />
        )}
      />
      <Field
        label="Since"
        control={(ties) => (
          <input {...ties} type="date" value={filters.since} onChange={(event) => set("since", event.currentTarget.value)} />
        )}
      />
      <IconButton label="Clear the filters" icon="close" disabled={!any} onClick={() => go(["decisions"], {}, "replace")} />
      <datalist id={`${id}-campaigns`}>{suggested(data?.map(({ campaign_id }) => campaign_id) ?? [])}</datalist>
      <datalist id={`${id}-reasons`}>{suggested(data?.map(({ reason }) => reason) ?? [])}</datalist>
    </div>
  );
}

function Found({ filters, whom }: { filters: Filters; whom: string | undefined }) {
  const { items, error, loading, more } = usePages(
    (after, signal) => {
      const query = {
        order: "newest" as const,
        limit: A_PAGE,
        ...(after && { after: Number(after) }),
        ...(whom && { customer_id: whom }),
        ...(filters.campaign && { campaign_id: filters.campaign }),
        ...(filters.outcome && { outcome: filters.outcome as Decision["outcome"] }),
        ...(filters.reason && { reason: filters.reason as Schemas["Reason"] }),
        ...(filters.since && { since: new Date(`${filters.since}T00:00`).toISOString() }),
      };
      return ok(api.GET("/v1/decisions", { params: { query }, ...(whom && asked()), signal }));
    },
    [JSON.stringify([filters, looking.value])],
  );

  if (!items) return error === undefined ? <Skeleton lines={8} label="Loading decisions" /> : <Failure error={error} retry={more} />;
  if (items.length === 0) {
    return (
      <Empty title="No decisions">
        {whom
          ? "No campaign has looked at a moment of hers with these filters. Check the id; and without consent for location there are no moments."
          : `No campaign has looked at a moment ${anyOf(filters) ? "with these filters" : "yet"}. Drafts leave no record.`}
      </Empty>
    );
  }
  return (
    <>
      <Table caption="Decisions, newest first">
        <thead>
          <tr>
            <th scope="col">When</th>
            <th scope="col">Campaign</th>
            <th scope="col">Place</th>
            <th scope="col">Outcome</th>
          </tr>
        </thead>
        <tbody>
          {items.map((each) => (
            <tr key={each.id}>
              <td class="when">
                <a href={href(["decisions", each.id])} aria-label={`Decision of ${moment(each.at)}: ${each.campaign_id}, ${each.outcome}`}>
                  {moment(each.at)}
                </a>
              </td>
              <td>{each.campaign_id}</td>
              <td>{each.geofence_name ?? each.geofence_id}</td>
              <td>
                <Badge tone={TONES[each.outcome]}>{OUTCOMES[each.outcome]}</Badge>{" "}
                {each.reason && <span class="reason">{words(each.reason)}</span>}
              </td>
            </tr>
          ))}
        </tbody>
      </Table>
      {error !== undefined && <Failure error={error} />}
      {more && (
        <Button class="start" busy={loading} onClick={more}>
          Older decisions
        </Button>
      )}
    </>
  );
}
