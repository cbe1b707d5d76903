/** One campaign: its editor, a dry run of what the editor holds, and its versions. */
import { useEffect, useMemo, useState } from "preact/hooks";
import { api, type ErrorPlace, ok, Problem } from "../../lib/api";
import { words } from "../../lib/format";
import { idFrom } from "../../lib/ids";
import { useLoad } from "../../lib/load";
import { go, href } from "../../lib/router";
import { Badge, Button, Failure, Notice, PageHead, Skeleton } from "../../lib/ui/parts";
import { Confirm } from "../../lib/ui/dialog";
import { Back } from "../back";
import { DryRun } from "./dry-run";
import { Editor } from "./editor";
import { pause, resume } from "./deeds";
import { draftOf, keepDraft } from "./drafts";
import { asBody, bodyOf, type Campaign, FRESH, NEW, type Spec, STATES } from "./spec";
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
        <Back to={["campaigns"]}>All campaigns</Back>
        {gone ? <h1>There is no campaign “{id}”</h1> : <Failure error={loaded.error} retry={loaded.reload} />}
      </div>
    );
  }
  if (loaded.data === undefined) {
    return (
      <div class="page">
        <Back to={["campaigns"]}>All campaigns</Back>
        <Skeleton lines={8} label="Loading the campaign" />
      </div>
    );
  }
  return <Loaded saved={loaded.data} tab={tab} onSaved={loaded.set} />;
}

interface Said {
  tone: "good" | "warning";
  words: string;
}

/** Said by the page of a new campaign, for the page of the campaign that it became. */
let news: { id: string; said: Said } | undefined;

function newsOf(id: string): Said | undefined {
  const said = news?.id === id ? news.said : undefined;
  news = undefined;
  return said;
}

const LEFT: Said = { tone: "warning", words: "As you left it: your changes are not saved yet." };

interface LoadedProps {
  /** As it is stored; null for one that is new. */
  saved: Campaign | null;
  tab: string;
  onSaved: (campaign: Campaign) => void;
}

function Loaded({ saved, tab, onSaved }: LoadedProps) {
  const place = saved?.id ?? NEW;
  const stored = saved ? bodyOf(saved) : FRESH;
  const left = useMemo(() => draftOf(place), []);
  const [spec, setSpec] = useState<Spec>(left?.spec ?? stored);
  const [typedId, setTypedId] = useState(left?.id);
  /** The version that the editor began with. */
  const [began, setBegan] = useState(left ? left.version : saved?.version);
  const [errors, setErrors] = useState<readonly ErrorPlace[]>([]);
  const [failure, setFailure] = useState<unknown>();
  const [said, setSaid] = useState<Said | undefined>(() => (left ? LEFT : newsOf(place)));
  const [busy, setBusy] = useState(false);
  const [overtaken, setOvertaken] = useState(false);
  /** False while the JSON cannot be read: then what is held is older than what is shown. */
  const [readable, setReadable] = useState(true);
  const [editor, setEditor] = useState(0);
  const id = saved?.id ?? typedId ?? idFrom(typeof spec.name === "string" ? spec.name : "");
  const changed = JSON.stringify(spec) !== JSON.stringify(stored);
  useEffect(() => keepDraft(place, changed ? { spec, id: typedId, version: began } : undefined), [spec, typedId, began, changed]);

  const isIdle = saved !== null && !changed && readable && !said && failure === undefined;

  /** Shows another campaign than the one that was typed. */
  const take = (next: Spec, words: Said | undefined) => {
    setSpec(next);
    setErrors([]);
    setFailure(undefined);
    setSaid(words);
    setEditor((before) => before + 1);
  };

  const write = async (seen: { "If-Match"?: string; "If-None-Match"?: string }) => {
    const given = saved?.id ?? idFrom(id);
    const campaign = await ok(api.PUT("/v1/campaigns/{id}", { params: { path: { id: given }, header: seen }, body: asBody(spec) }));
    const done: Said = { tone: "good", words: `Saved as version ${campaign.version}. ${STATES[campaign.state].says}` };
    setErrors([]);
    if (saved) {
      setSaid(done);
      setSpec(bodyOf(campaign));
      setBegan(campaign.version);
      onSaved(campaign);
    } else {
      keepDraft(place, undefined);
      news = { id: given, said: done };
      go(["campaigns", given], {}, "replace");
    }
  };

  const save = async () => {
    setFailure(undefined);
    setSaid(undefined);
    setBusy(true);
    try {
      if (!idFrom(id)) throw new Problem(422, { errors: [{ path: "name", code: "empty", message: "must not be empty" }] });
      await write(began === undefined ? { "If-None-Match": "*" } : { "If-Match": `"${began}"` });
    } catch (error) {
      if (error instanceof Problem && error.status === 412) {
        setOvertaken(true);
      } else if (error instanceof Problem && error.errors.length > 0) {
        setErrors(error.errors);
        go(["campaigns", place], {}, "replace"); // to the editor, where they are shown
      } else {
        setFailure(error);
      }
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
      if (began === saved.version) setBegan(done.campaign.version);
      onSaved(done.campaign);
    } catch (error) {
      setFailure(error);
    }
    setBusy(false);
  };

  return (
    <div class="page">
      <Back to={["campaigns"]}>All campaigns</Back>
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
      {saved?.paused_because && saved.state === "paused" && <Notice tone="warning">It paused itself: {saved.paused_because}.</Notice>}
      <nav class="tabs" aria-label="Parts of the campaign">
        {TABS.filter(([key]) => saved || key !== "versions").map(([key, label]) => (
          <a
            key={key}
            href={href(["campaigns", place], { show: key === "edit" ? undefined : key })}
            aria-current={key === tab ? "page" : undefined}
          >
            {label}
          </a>
        ))}
      </nav>
      {/* Kept while another part is shown, so that it is as it was left. */}
      <div hidden={tab !== "edit"}>
        <Editor
          key={editor}
          spec={spec}
          onChange={(next) => {
            setSpec(next);
            setSaid(undefined);
          }}
          id={id}
          onId={saved ? undefined : setTypedId}
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
            take(body, { tone: "warning", words: `The editor holds version ${version} now. Save it to put it in force.` });
            go(["campaigns", saved.id]);
          }}
        />
      )}
      <div class="save-bar" hidden={isIdle}>
        <div class="said" aria-live="polite">
          {said && <Notice tone={said.tone}>{said.words}</Notice>}
          {failure !== undefined && <Failure error={failure} />}
        </div>
        <p class="quiet">{changed && "Not saved yet."}</p>
        {changed && (
          <Button busy={busy} onClick={() => take(stored, undefined)}>
            Discard changes
          </Button>
        )}
        <Button look="accent" busy={busy} disabled={!readable || (!changed && saved !== null)} onClick={save}>
          {saved ? "Save" : "Create campaign"}
        </Button>
      </div>
      {overtaken && (
        <Confirm
          title={saved ? "Somebody else has saved it meanwhile" : "There is such a campaign already"}
          deed={saved ? "Save mine over it" : "Replace it"}
          danger
          onConfirm={() => write({})}
          onClose={() => setOvertaken(false)}
        >
          <p>
            {saved
              ? `You began with version ${began}. Saving replaces what was changed since; it stays among the versions.`
              : `The id “${idFrom(id)}” is taken. Replacing it makes yours its next version; the other one stays among its versions.`}
          </p>
        </Confirm>
      )}
    </div>
  );
}
