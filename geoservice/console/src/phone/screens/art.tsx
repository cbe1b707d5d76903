/** Pictures of what is sold: drawn, so that nothing is loaded. Decoration. */

const SHAPES: Readonly<Record<string, readonly string[]>> = {
  "running-shoes": [
    "M14 58c-2-9 1-19 4-24 6 5 12 4 17-2 9 9 18 16 32 18 12 2 18 5 19 14z",
    "M13 62h73c1 5-1 8-6 8H22c-6 0-9-3-9-8z",
    "M38 38l-5 5m11-1-5 5m12 0-5 5m13 0-5 5",
  ],
  "rain-jackets": [
    "M40 16h20l14 10 10 38-12 3-6-22v41H34V45l-6 22-12-3 10-38z",
    "M40 16c1 10 19 10 20 0l5 4c-2 14-28 14-30 0z",
    "M50 28v56",
  ],
  backpacks: [
    "M28 40c0-14 9-22 22-22s22 8 22 22v38c0 5-3 8-8 8H36c-5 0-8-3-8-8z",
    "M36 56h28v22H36z",
    "M42 18c0-10 16-10 16 0M36 64h28M28 46h44",
  ],
};

export interface ArtProps {
  readonly category: string;
  /** Which of the four colours. */
  readonly hue: number;
  readonly large?: boolean;
}

export function Art({ category, hue, large = false }: ArtProps) {
  const [body, second, lines] = SHAPES[category] ?? [];
  return (
    <svg class={`art art-${hue % 4} ${large ? "art-large" : ""}`} viewBox="5 8 90 80" aria-hidden="true">
      <path class="art-body" d={body} />
      <path class="art-second" d={second} />
      <path class="art-lines" d={lines} />
    </svg>
  );
}
