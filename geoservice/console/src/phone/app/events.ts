/** What she does in the app's shop: it is this, and never a guess, that makes a message relevant. */
import { fields, ok, type Api, type Schemas } from "./client";

export type Deed = "product_viewed" | "wishlisted" | "purchased";

export interface Product {
  readonly id: string;
  readonly category: string;
  readonly price: number;
}

/** Sends one event. The id makes it safe to send again. */
export async function report(api: Api, deed: Deed, product: Product, at: Date): Promise<void> {
  await ok(
    api.POST("/v1/events", {
      body: {
        events: [
          fields<Schemas["EventBody"]>({
            id: crypto.randomUUID(),
            type: deed,
            occurred_at: at.toISOString(),
            product_id: product.id,
            category: product.category,
            ...(deed === "purchased" && { quantity: 1, price: product.price, order_id: `app-${crypto.randomUUID()}` }),
          }),
        ],
      },
    }),
  );
}
