/** Messages: the list with its why, and what became of each on the phone. */
import { ok, type Api, type Schemas } from "./client";

export type Message = Schemas["MessageAnswer"];
export type Feedback = Schemas["FeedbackBody"]["event"];

/** A push as the phone gets it. What is in it was meant for a lock screen; the rest is asked for by its id. */
export interface Push {
  readonly messageId: string;
  readonly title: string;
  readonly body: string;
}

export async function readMessages(api: Api): Promise<Message[]> {
  return (await ok(api.GET("/v1/me/messages", { params: { query: { limit: 50 } } }))).items;
}

/** Reports what happened, when it happened. Sent twice, it counts once. */
export async function tell(api: Api, messageId: string, event: Feedback, at: Date): Promise<void> {
  await ok(
    api.POST("/v1/me/messages/{id}/feedback", {
      params: { path: { id: messageId } },
      body: { event, at: at.toISOString() },
    }),
  );
}

/** What she has said about a message, or done with it, as its timeline has it. */
export function isSaid(message: Message, event: Feedback): boolean {
  return message.timeline.some((each) => each.what === event);
}
