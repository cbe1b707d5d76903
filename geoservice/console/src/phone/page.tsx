/** The page: the phone, and beside it the street where it can be carried about. On a phone, one or the other. */
import { lazy, Suspense } from "preact/compat";
import { Failure, Skeleton } from "../lib/ui/parts";
import { Handset } from "./screens/handset";
import { SignIn } from "./screens/sign-in";
import { Next } from "./demo/next";
import { broken, demo, phone, signedOut, view } from "./state";
import "./phone.css";

/** With the map library, which is larger than everything else together. */
const Street = lazy(() => import("./demo/street"));

export function Page() {
  if (broken.value !== undefined) {
    return (
      <main class="alone">
        <h1>Phone</h1>
        <Failure error={broken.value} retry={() => location.reload()} />
      </main>
    );
  }
  if (signedOut.value !== undefined) return <SignIn why={signedOut.value} />;
  const hers = phone.value;
  return (
    <main class="stage" data-view={view.value}>
      <h1 class="visually-hidden">Phone</h1>
      <div class="views" role="group" aria-label="What to show">
        {(["phone", "street"] as const).map((each) => (
          <button key={each} type="button" aria-pressed={view.value === each} onClick={() => (view.value = each)}>
            {each === "phone" ? "Phone" : "Street"}
          </button>
        ))}
      </div>
      {demo.value && <Next />}
      <Handset />
      <section class="street" aria-label="The street">
        {hers && (
          <Suspense fallback={<Skeleton lines={8} />}>
            <Street key={hers.customer} phone={hers} demo={demo.value} />
          </Suspense>
        )}
      </section>
    </main>
  );
}
