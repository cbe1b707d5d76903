/** A tiny shop: looking at something is an event, wishing and buying too. */
import { useState } from "preact/hooks";
import { Button, Empty, Failure } from "../../lib/ui/parts";
import { report, type Deed } from "../app/events";
import { happened, lookedAt } from "../demo/story";
import type { Item } from "../demo/service";
import { city, now, type Phone } from "../state";
import { Art } from "./art";
import { AppPage } from "./handset";

export function Shop({ phone }: { phone: Phone }) {
  const [shown, setShown] = useState<Item>();
  const [error, setError] = useState<unknown>();
  const items = city.value?.items ?? [];

  const look = (item: Item) => {
    setShown(item);
    setError(undefined);
    report(phone.api, "product_viewed", item, now()).then(() => {
      if (item.topic === "running") lookedAt(item.id);
    }, setError);
  };

  if (shown) return <Product phone={phone} item={shown} hue={items.indexOf(shown)} error={error} back={() => setShown(undefined)} />;
  if (items.length === 0) {
    return (
      <AppPage title="Shop">
        <Empty title="Nothing on the shelf">This service has no sample shop; your app has its own.</Empty>
      </AppPage>
    );
  }
  return (
    <AppPage title={city.value?.retailer ?? "Shop"}>
      <ul class="goods">
        {items.map((item, index) => (
          <li key={item.id}>
            <button type="button" class="good" onClick={() => look(item)}>
              <Art category={item.category} hue={index} />
              <strong>{item.name}</strong>
              <span>{euros(item.price)}</span>
            </button>
          </li>
        ))}
      </ul>
    </AppPage>
  );
}

interface ProductProps {
  readonly phone: Phone;
  readonly item: Item;
  readonly hue: number;
  readonly error: unknown;
  readonly back: () => void;
}

function Product({ phone, item, hue, error: before, back }: ProductProps) {
  const [done, setDone] = useState<ReadonlySet<Deed>>(new Set());
  const [busy, setBusy] = useState<Deed>();
  const [failed, setFailed] = useState<unknown>();
  const error = failed ?? before;

  const act = async (deed: Deed) => {
    setBusy(deed);
    setFailed(undefined);
    try {
      await report(phone.api, deed, item, now());
      setDone(new Set([...done, deed]));
      if (deed === "purchased" && item.topic === "running") happened("bought");
    } catch (failure) {
      setFailed(failure);
    }
    setBusy(undefined);
  };

  return (
    <AppPage title={item.name} back={back}>
      <Art category={item.category} hue={hue} large />
      <p class="price">{euros(item.price)}</p>
      <p>{item.text}</p>
      <div class="deeds">
        <Button look="accent" busy={busy === "purchased"} onClick={() => act("purchased")}>
          Buy
        </Button>
        <Button busy={busy === "wishlisted"} icon={done.has("wishlisted") ? "check" : "plus"} onClick={() => act("wishlisted")}>
          {done.has("wishlisted") ? "On your wish list" : "Wish list"}
        </Button>
      </div>
      <p role="status" class="said">
        {done.has("purchased") && `Thank you. ${item.name} is yours; nobody will offer it to you again.`}
      </p>
      {error !== undefined && <Failure error={error} />}
      <p class="quiet small">That you looked at it, wished for it or bought it is used only if you allow it in the settings.</p>
    </AppPage>
  );
}

const euros = (price: number) => new Intl.NumberFormat("en-GB", { style: "currency", currency: "EUR" }).format(price);
