/** Words to choose from while a campaign is written. */
import { api, ok } from "../../lib/api";
import { useLoad } from "../../lib/load";

export interface Suggestions {
  topics: readonly string[];
  categories: readonly string[];
  /** Names by id. */
  stores: ReadonlyMap<string, string>;
}

const NONE: Suggestions = { topics: [], categories: [], stores: new Map() };

/** What other campaigns and the shop call things, to choose from while typing. */
export function useSuggestions(): Suggestions {
  const { data } = useLoad(async () => {
    const [campaigns, stores, products] = await Promise.all([
      ok(api.GET("/v1/campaigns")),
      ok(api.GET("/v1/stores")),
      ok(api.GET("/v1/products", { params: { query: { limit: 1000 } } })),
    ]);
    return {
      topics: unique(campaigns.items.map(({ topic }) => topic)),
      categories: unique(products.items.map(({ category }) => category)),
      stores: new Map(stores.items.map(({ id, name }) => [id, name])),
    };
  }, []);
  return data ?? NONE;
}

function unique(values: readonly string[]): string[] {
  return [...new Set(values)].sort();
}
