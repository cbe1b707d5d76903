/** What is done to a campaign with one click, and the words that say what it did. */
import { api, ok } from "../../lib/api";
import { counted } from "../../lib/format";
import type { Campaign } from "./spec";

export interface Done {
  campaign: Campaign;
  words: string;
  tone: "good" | "warning";
}

export async function pause({ id, name }: Campaign): Promise<Done> {
  const campaign = await ok(api.POST("/v1/campaigns/{id}/pause", { params: { path: { id } } }));
  const { cancelled } = campaign;
  const waiting = cancelled > 0 ? ` ${counted(cancelled, "message")} that waited ${cancelled === 1 ? "was" : "were"} cancelled.` : "";
  return {
    campaign,
    tone: "warning",
    words: `“${name}” is paused: from now on no process sends anything of it.${waiting} What Google and Apple have already cannot be called back.`,
  };
}

export async function resume({ id, name }: Campaign): Promise<Done> {
  const campaign = await ok(api.POST("/v1/campaigns/{id}/resume", { params: { path: { id } } }));
  return { campaign, tone: "good", words: `“${name}” is live again, from the next moment on. What was cancelled stays cancelled.` };
}
