/** Campaigns: the list, and one of them with its editor, dry run and versions. */
import type { PageProps } from "../pages";
import { CampaignList } from "./list";
import { OneCampaign } from "./one";
import { NEW } from "./spec";
import "./campaigns.css";

export default function CampaignsPage({ path, query }: PageProps) {
  const [id] = path;
  if (id === undefined) return <CampaignList />;
  return <OneCampaign key={id} id={id === NEW ? null : id} tab={query.get("show") ?? "edit"} />;
}
