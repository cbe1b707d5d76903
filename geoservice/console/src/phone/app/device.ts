/** The phone itself: an id of its own that outlives restarts, and its address for pushes. */
import { fields, ok, type Api, type Schemas } from "./client";

const PLACE = "geoservice.phone.device";

/** The same as long as this tab is open; an app keeps it as long as it is installed. */
export function deviceId(): string {
  const kept = sessionStorage.getItem(PLACE);
  if (kept !== null) return kept;
  const made = `web-${crypto.randomUUID()}`;
  sessionStorage.setItem(PLACE, made);
  return made;
}

/** Call it when the app starts, and whenever the token or a permission changes: it replaces all that was known. */
export async function register(api: Api, id: string, pushToken: string, timezone: string, locale: string): Promise<void> {
  await ok(
    api.PUT("/v1/devices/{id}", {
      params: { path: { id } },
      body: fields<Schemas["DeviceBody"]>({
        platform: "android",
        push_token: pushToken,
        timezone,
        locale,
        os_location_permission: "always",
      }),
    }),
  );
}

/** Signing out ends everything that the service does for this phone. */
export async function unregister(api: Api, id: string): Promise<void> {
  await ok(api.DELETE("/v1/devices/{id}", { params: { path: { id } } }));
}
