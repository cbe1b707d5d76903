/** What a campaign was in each of its versions; an older one can be taken into the editor. */
import { api, ok, type Schemas } from "../../lib/api";
import { moment, words } from "../../lib/format";
import { usePages } from "../../lib/load";
import { Badge, Button, Failure, Skeleton, Table } from "../../lib/ui/parts";
import { bodyOf, type Campaign, type Json, type Spec, STATES } from "./spec";

type Version = Schemas["CampaignVersion"];

export function Versions({ campaign, onTake }: { campaign: Campaign; onTake: (version: number, body: Spec) => void }) {
  const path = { id: campaign.id };
  const { items: versions, error, loading, more } = usePages(async (after, signal) => {
    const query = { limit: 50, ...(after && { before: Number(after) }) };
    return await ok(api.GET("/v1/campaigns/{id}/versions", { params: { path, query }, signal }));
  }, [campaign.id, campaign.version]);
  if (!versions) return error === undefined ? <Skeleton lines={5} label="Loading versions" /> : <Failure error={error} retry={more} />;
  return (
    <>
      <Table caption="Versions, newest first">
        <thead>
          <tr>
            <th scope="col">Version</th>
            <th scope="col">From</th>
            <th scope="col">State</th>
            <th scope="col">What was changed</th>
            <th scope="col">
              <span class="visually-hidden">Actions</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {versions.map((version, number) => (
            <tr key={version.version}>
              <td>{version.version}</td>
              <td class="when">{moment(version.at)}</td>
              <td>
                <Badge tone={STATES[version.state ?? "live"].tone}>{words(version.state ?? "live")}</Badge>
              </td>
              <td>{changes(versions[number + 1], version, !more)}</td>
              <td class="row-actions">
                {version.version !== campaign.version && (
                  <Button onClick={() => onTake(version.version, bodyOf(version))} aria-label={`Take version ${version.version} into the editor`}>
                    Take into the editor
                  </Button>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </Table>
      {error !== undefined && <Failure error={error} />}
      {more && (
        <Button class="start" busy={loading} onClick={more}>
          Older versions
        </Button>
      )}
    </>
  );
}

/** The names of the fields that differ. */
function changes(before: Version | undefined, after: Version, known: boolean) {
  if (before === undefined) return <span class="quiet">{known ? "Created" : "…"}</span>;
  const [was, is] = [flat(bodyOf(before)), flat(bodyOf(after))];
  const names = [...new Set([...was.keys(), ...is.keys()])].filter((name) => was.get(name) !== is.get(name)).sort();
  if (names.length === 0) return <span class="quiet">Nothing</span>;
  return (
    <ul class="changes">
      {names.map((name) => (
        <li key={name}>
          <code>{name}</code> <span class="quiet">{was.get(name) ?? "nothing"}</span> → {is.get(name) ?? "nothing"}
        </li>
      ))}
    </ul>
  );
}

function flat(value: Json, path = "", into = new Map<string, string>()): Map<string, string> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    for (const [key, each] of Object.entries(value)) flat(each, path ? `${path}.${key}` : key, into);
  } else {
    into.set(path, typeof value === "string" ? value : JSON.stringify(value));
  }
  return into;
}
