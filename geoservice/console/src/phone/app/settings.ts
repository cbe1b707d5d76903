/** Her settings. Each change names the version that she saw, so that another phone's change is not undone unseen. */
import { ok, Problem, type Api, type Schemas } from "./client";

export type Preferences = Schemas["PreferencesAnswer"];
export type Change = Schemas["PreferencesBody"];
export type Attention = Schemas["AttentionAnswer"];
export type Erasure = Schemas["ErasureAnswer"];

export interface Settings {
  readonly preferences: Preferences;
  readonly etag: string;
}

export async function readSettings(api: Api): Promise<Settings> {
  const asked = api.GET("/v1/me/preferences");
  const preferences = await ok(asked);
  return { preferences, etag: (await asked).response.headers.get("ETag") ?? "*" };
}

/** Changes only what is named; null gives a setting back to its default. 412 when another phone was faster. */
export async function change(api: Api, seen: Settings, body: Change): Promise<Settings> {
  const asked = api.PATCH("/v1/me/preferences", { params: { header: { "If-Match": seen.etag } }, body });
  const preferences = await ok(asked);
  return { preferences, etag: (await asked).response.headers.get("ETag") ?? "*" };
}

export function isOvertaken(error: unknown): boolean {
  return error instanceof Problem && error.status === 412;
}

/** The cap in force and how it came about. */
export async function readAttention(api: Api): Promise<Attention> {
  return ok(api.GET("/v1/me/attention"));
}

/** All that is on record of her, as a file to keep. */
export async function takeAlong(api: Api): Promise<Blob> {
  const everything = await ok(api.GET("/v1/me/export"));
  return new Blob([JSON.stringify(everything, null, 2)], { type: "application/json" });
}

/** Has everything erased. From here on nothing is sent to her; the receipt says what the law makes the shop keep. */
export async function erase(api: Api): Promise<Erasure> {
  return ok(api.DELETE("/v1/me"));
}
