/** One campaign: its editor, a dry run of what the editor holds, and its versions. */
import { useEffect, useRef, useState } from "preact/hooks";
import { api, type ErrorPlace, ok, Problem } from "../../lib/api";
import { words } from "../../lib/format";
import { useLoad } from "../../lib/load";
import { go, href } from "../../lib/router";
import { Icon } from "../../lib/ui/icon";
import { Badge, Button, Failure, Notice, PageHead, Skeleton } from "../../lib/ui/parts";
import { Confirm } from "../../lib/ui/dialog";
import { DryRun } from "./dry-run";
import { Editor } from "./editor";
import { pause, resume } from "./deeds";
import { asBody, bodyOf, type Campaign, FRESH, idFrom, type Spec, STATES } from "./spec";
import { Versions } from "./versions";

const TABS = [
  ["edit", "Edit"],
  ["dry-run", "Dry run"],
  ["versions", "Versions"],
] as const;

export function OneCampaign({ id, tab }: { id: string | null; tab: string }) {
  const loaded = useLoad(
    async () => (id === null ? null : await ok(api.GET("/v1/campaigns/{id}", { params: { path: { id } } }))),
    [id],
  );
  if (loaded.error !== undefined && loaded.data === undefined) {
    const gone = loaded.error instanceof Problem && loaded.error.status === 404;
    return (
      <div class="page">
        <Back />
        {gone ? <h1>There is no campaign “{id}”</h1> : <Failure error={loaded.error} retry={loaded.reload} />}
      </div>
    );
  }
  if (loaded.data === undefined) {
    return (
      <div class="page">
        <Back />
        <Skeleton lines={8} label="Loading the campaign" />
      </div>
    );
  }
  return <Loaded saved={loaded.data} tab={tab} onSaved={loaded.set} />;
}

function Back() {
  return (
    <a class="back" href={href(["campaigns"])}>
      <Icon name="back" /> All campaigns
    </a>
  );
}

interface LoadedProps {
  /** As it is stored; null for one that is new. */
  saved: Campaign | null;
  tab: string;
  onSaved: (campaign: Campaign) => void;
}

function Loaded({ saved, tab, onSaved }: LoadedProps) {
  const [spec, setSpec] = useState<Spec>(() => (saved ? bodyOf(saved) : FRESH));
  const [newId, setNewId] = useState<string>();
  const [errors, setErrors] = useState<readonly ErrorPlace[]>([]);
  const [failure, setFailure] = useState<unknown>();
  const [said, setSaid] = useState<{ tone: "good" | "warning"; words: string }>();
  const [busy, setBusy] = useState(false);
  const [overtaken, setOvertaken] = useState<number>();
  /** False while the JSON cannot be read: then what is held is older than what is shown. */
  const [readable, setReadable] = useState(true);
  const id = saved?.id ?? newId ?? idFrom(typeof spec.name === "string" ? spec.name : "");
  const changed = JSON.stringify(spec) !== JSON.stringify(saved ? bodyOf(saved) : FRESH);
  useWarnBeforeLeaving(changed);

  const write = async () => {
    const campaign = await ok(api.PUT("/v1/campaigns/{id}", { params: { path: { id } }, body: asBody(spec) }));
    setErrors([]);
    setSaid({ tone: "good", words: `Saved as version ${campaign.version}. ${STATES[campaign.state].says}` });
    if (saved) {
      setSpec(bodyOf(campaign));
      onSaved(campaign);
    } else {
      setSpec(FRESH); // nothing is unsaved any more
      go(["campaigns", id], {}, "replace");
    }
  };

  const save = async () => {
    setFailure(undefined);
    setSaid(undefined);
    if (!id) return setErrors([{ path: "name", code: "empty", message: "must not be empty" } as ErrorPlace]);
    setBusy(true);
    try {
      const there = await stored(id);
      if (there !== saved?.version) {
        if (there !== undefined) setOvertaken(there);
        else await write();
      } else {
        await write();
      }
    } catch (error) {
      if (error instanceof Problem && error.errors.length > 0) setErrors(error.errors);
      else setFailure(error);
    }
    setBusy(false);
  };

  const act = async (deed: typeof pause) => {
    if (!saved) return;
    setBusy(true);
    setFailure(undefined);
    try {
      const done = await deed(saved);
      setSaid(done);
      setSpec((before) => ({ ...before, state: done.campaign.state }));
      onSaved(done.campaign);
    } catch (error) {
      setFailure(error);
    }
    setBusy(false);
  };

  return (
    <div class="page">
      <Back />
      <PageHead
        title={saved?.name ?? "New campaign"}
        actions={
          <>
            {saved && saved.state === "paused" && (
              <Button icon="play" busy={busy} onClick={() => act(resume)}>
                Resume
              </Button>
            )}
            {saved && (saved.state === "live" || saved.state === "test") && (
              <Button icon="pause" busy={busy} onClick={() => act(pause)}>
                Pause
              </Button>
            )}
            <Button look="accent" busy={busy} disabled={!readable || (!changed && saved !== null)} onClick={save}>
              {saved ? "Save" : "Create campaign"}
            </Button>
          </>
        }
      >
        {saved ? (
          <>
            <Badge tone={STATES[saved.state].tone}>{words(saved.state)}</Badge> version {saved.version}. {STATES[saved.state].says}
          </>
        ) : (
          "It starts as a draft, which speaks to nobody. Try it on the last days before it goes live."
        )}
      </PageHead>
      <div class="said" aria-live="polite">
        {said && <Notice tone={said.tone}>{said.words}</Notice>}
        {failure !== undefined && <Failure error={failure} />}
        {saved?.paused_because && saved.state === "paused" && (
          <Notice tone="warning">It paused itself: {saved.paused_because}.</Notice>
        )}
      </div>
      <nav class="tabs" aria-label="Parts of the campaign">
        {TABS.filter(([key]) => saved || key !== "versions").map(([key, label]) => (
          <a
            key={key}
            href={href(["campaigns", saved?.id ?? "+new"], { show: key === "edit" ? undefined : key })}
            aria-current={key === tab ? "page" : undefined}
          >
            {label}
          </a>
        ))}
      </nav>
      {/* Kept while another part is shown, so that nothing that was typed is lost. */}
      <div hidden={tab !== "edit"}>
        <Editor
          spec={spec}
          onChange={(next) => {
            setSpec(next);
            setSaid(undefined);
          }}
          id={id}
          onId={saved ? undefined : setNewId}
          refused={errors}
          onLooked={() => setErrors([])}
          onReadable={setReadable}
        />
      </div>
      {tab === "dry-run" && <DryRun id={id || "new"} spec={spec} />}
      {tab === "versions" && saved && (
        <Versions
          campaign={saved}
          onTake={(version, body) => {
            setSpec(body);
            setSaid({ tone: "warning", words: `The editor holds version ${version} now. Save it to put it in force.` });
            go(["campaigns", saved.id]);
          }}
        />
      )}
      {overtaken !== undefined && (
        <Confirm
          title={saved ? "Somebody else has saved it meanwhile" : "There is such a campaign already"}
          deed={saved ? "Save mine over it" : "Replace it"}
          danger
          onConfirm={write}
          onClose={() => setOvertaken(undefined)}
        >
          <p>
            {saved
              ? `It is at version ${overtaken}; you began with version ${saved.version}. Saving replaces what they changed; it stays among the versions.`
              : `The id “${id}” is taken. Replacing it makes yours its next version; the other one stays among its versions.`}
          </p>
        </Confirm>
      )}
    </div>
  );
}

/** Which version is stored under this id now. */
async function stored(id: string): Promise<number | undefined> {
  try {
    return (await ok(api.GET("/v1/campaigns/{id}", { params: { path: { id } } }))).version;
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return undefined;
    throw error;
  }
}

function useWarnBeforeLeaving(changed: boolean): void {
  const latest = useRef(changed);
  latest.current = changed;
  useEffect(() => {
    const warn = (event: BeforeUnloadEvent) => {
      if (latest.current) event.preventDefault();
    };
    addEventListener("beforeunload", warn);
    return () => removeEventListener("beforeunload", warn);
  }, []);
}
