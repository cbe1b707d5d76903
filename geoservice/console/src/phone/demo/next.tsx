/** What to do now, where nobody can overlook it. */
import { next, STEPS } from "./story";

export function Next() {
  const index = STEPS.findIndex(([each]) => each === next.value);
  const step = STEPS[index];
  if (!step) return null;
  const [, title, how] = step;
  return (
    <p class="next" role="status">
      <span class="next-number" aria-hidden="true">
        {index + 1}
      </span>
      <span>
        <strong>{title}.</strong> {how}
      </span>
    </p>
  );
}
