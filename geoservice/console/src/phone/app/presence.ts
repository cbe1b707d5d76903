/** Where the service believes this phone to be: by name, never by coordinates. For looking over its shoulder. */
import { ok, type Api, type Schemas } from "./client";

export type Presence = Schemas["PresenceItem"];

export async function readPresence(api: Api, device: string): Promise<Presence[]> {
  const { items } = await ok(api.GET("/v1/me/presence"));
  return items.filter((each) => each.device_id === device);
}
