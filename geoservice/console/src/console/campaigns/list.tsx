/** Every campaign with its state and what it did in the last 24 hours; pausing takes one click. */
import { useState } from "preact/hooks";
import { api, ok } from "../../lib/api";
import { count, counted, words } from "../../lib/format";
import { useLoad } from "../../lib/load";
import { href } from "../../lib/router";
import { Badge, Button, Empty, Failure, Notice, PageHead, Skeleton, Table } from "../../lib/ui/parts";
import { Icon } from "../../lib/ui/icon";
import { type Done, pause, resume } from "./deeds";
import { type Campaign, NEW, STATES, triggerInWords } from "./spec";

interface Lately {
  sent: number;
  waiting: number;
  suppressed: number;
  /** The most frequent reason for silence. */
  mostly: string | undefined;
}

const NOTHING: Lately = { sent: 0, waiting: 0, suppressed: 0, mostly: undefined };

async function ask(): Promise<{ campaigns: Campaign[]; lately: Map<string, Lately> }> {
  const [campaigns, counts] = await Promise.all([ok(api.GET("/v1/campaigns")), ok(api.GET("/v1/decisions/counts"))]);
  const lately = new Map<string, Lately>();
  const most = new Map<string, number>();
  for (const { campaign_id, outcome, reason, count: number } of counts.items) {
    const soFar = { ...(lately.get(campaign_id) ?? NOTHING) };
    if (outcome === "send") soFar.sent += number;
    else if (outcome === "defer") soFar.waiting += number;
    else {
      soFar.suppressed += number;
      if (number > (most.get(campaign_id) ?? 0)) {
        most.set(campaign_id, number);
        soFar.mostly = reason ?? undefined;
      }
    }
    lately.set(campaign_id, soFar);
  }
  return { campaigns: campaigns.items, lately };
}

export function CampaignList() {
  const loaded = useLoad(ask, []);
  const [busy, setBusy] = useState("");
  const [done, setDone] = useState<Done>();
  const [error, setError] = useState<unknown>();

  const act = async (campaign: Campaign, deed: typeof pause) => {
    setBusy(campaign.id);
    setError(undefined);
    try {
      const result = await deed(campaign);
      setDone(result);
      if (loaded.data) {
        const campaigns = loaded.data.campaigns.map((each) => (each.id === campaign.id ? result.campaign : each));
        loaded.set({ ...loaded.data, campaigns });
      }
    } catch (failure) {
      setError(failure);
    }
    setBusy("");
  };

  return (
    <div class="page">
      <PageHead
        title="Campaigns"
        actions={
          <a class="button button-accent" href={href(["campaigns", NEW])}>
            <Icon name="plus" /> New campaign
          </a>
        }
      >
        What is said to whom, and what came of it in the last 24 hours.
      </PageHead>
      {/* Always there, so that what is said in it is read out. */}
      <div class="said" aria-live="polite">
        {done && (
          <Notice tone={done.tone}>
            <p>{done.words}</p>
            {done.campaign.state === "paused" && (
              <Button icon="play" onClick={() => act(done.campaign, resume)} busy={busy === done.campaign.id}>
                Resume it
              </Button>
            )}
          </Notice>
        )}
        {error !== undefined && <Failure error={error} />}
      </div>
      {loaded.error !== undefined && <Failure error={loaded.error} retry={loaded.reload} />}
      {loaded.loading && !loaded.data && <Skeleton lines={6} label="Loading campaigns" />}
      {loaded.data?.campaigns.length === 0 && (
        <Empty title="No campaigns yet">
          <p>A campaign says one thing at one kind of moment, to customers who asked for it and whom it fits.</p>
          <p>
            <a href={href(["campaigns", NEW])}>Write the first one</a>: it starts as a draft and speaks to nobody.
          </p>
        </Empty>
      )}
      {loaded.data && loaded.data.campaigns.length > 0 && (
        <div class="campaigns-table">
          <Table caption="Campaigns, with the last 24 hours">
            <thead>
              <tr>
                <th scope="col">Campaign</th>
                <th scope="col">State</th>
                <th scope="col" class="number">
                  Sent
                </th>
                <th scope="col" class="number">
                  Silent
                </th>
                <th scope="col">
                  <span class="visually-hidden">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {loaded.data.campaigns.map((campaign) => (
                <Row
                  key={campaign.id}
                  campaign={campaign}
                  lately={loaded.data?.lately.get(campaign.id) ?? NOTHING}
                  busy={busy === campaign.id}
                  act={act}
                />
              ))}
            </tbody>
          </Table>
        </div>
      )}
    </div>
  );
}

interface RowProps {
  campaign: Campaign;
  lately: Lately;
  busy: boolean;
  act: (campaign: Campaign, deed: typeof pause) => void;
}

function Row({ campaign, lately, busy, act }: RowProps) {
  const state = STATES[campaign.state];
  return (
    <tr>
      <td>
        <a class="campaign-name" href={href(["campaigns", campaign.id])}>
          {campaign.name}
        </a>
        <div class="quiet small">
          {triggerInWords(campaign)} · topic {campaign.topic}
        </div>
        {campaign.paused_because && <div class="small paused-because">Paused by itself: {campaign.paused_because}</div>}
      </td>
      <td>
        <Badge tone={state.tone}>{words(campaign.state)}</Badge>
      </td>
      <td class="number figure" data-label="Sent">{count(lately.sent)}</td>
      <td class="number" data-label="Silent">
        <a
          class="figure"
          href={href(["decisions"], { campaign: campaign.id, outcome: "suppress" })}
          aria-label={`${counted(lately.suppressed, "silence")} of ${campaign.name}: see them`}
        >
          {count(lately.suppressed)}
        </a>
        {lately.mostly && <div class="quiet small">mostly {words(lately.mostly).toLowerCase()}</div>}
        {lately.waiting > 0 && <div class="quiet small">{count(lately.waiting)} waiting</div>}
      </td>
      <td class="row-actions">
        {campaign.state === "paused" ? (
          <Button icon="play" busy={busy} onClick={() => act(campaign, resume)} aria-label={`Resume ${campaign.name}`}>
            Resume
          </Button>
        ) : (
          campaign.state !== "draft" && (
            <Button icon="pause" busy={busy} onClick={() => act(campaign, pause)} aria-label={`Pause ${campaign.name}`}>
              Pause
            </Button>
          )
        )}
      </td>
    </tr>
  );
}
