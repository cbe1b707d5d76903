/** What to do now, where nobody can overlook it. */
import { done, next, STEPS } from "./story";

export function Next() {
  const step = STEPS.find(([each]) => each === next.value);
  if (!step) return null;
  const [, title, how] = step;
  return (
    <p class="next" role="status">
      <span class="next-number" aria-hidden="true">
        {done.value.size + 1}
      </span>
      <span>
        <strong>{title}.</strong> {how}
      </span>
    </p>
  );
}
