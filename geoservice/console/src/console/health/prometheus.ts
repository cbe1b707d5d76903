/** Prometheus' text format: what `/metrics` says at one moment, and what two moments come to. */

export interface Sample {
  name: string;
  labels: Readonly<Record<string, string>>;
  value: number;
}

export interface Look {
  /** Milliseconds, on the page's own clock. */
  at: number;
  samples: readonly Sample[];
}

const LINE = /^(\w+)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

export function parse(text: string): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split("\n")) {
    if (line.startsWith("#")) continue;
    const found = LINE.exec(line);
    if (found?.[1] === undefined || !found[1].startsWith("geoservice_")) continue;
    const labels: Record<string, string> = {};
    for (const [, name, value] of (found[2] ?? "").matchAll(LABEL)) if (name !== undefined) labels[name] = value ?? "";
    samples.push({ name: found[1], labels, value: Number(found[3]) });
  }
  return samples;
}

type Labels = Readonly<Record<string, string>>;

function fits(sample: Sample, name: string, labels: Labels): boolean {
  return sample.name === name && Object.entries(labels).every(([label, value]) => sample.labels[label] === value);
}

/** The sum of all samples of this name with these labels. */
export function total(look: Look, name: string, labels: Labels = {}): number {
  return look.samples.reduce((sum, each) => (fits(each, name, labels) ? sum + each.value : sum), 0);
}

/** By the values of one label. */
export function byLabel(look: Look, name: string, label: string): Map<string, number> {
  const found = new Map<string, number>();
  for (const each of look.samples) {
    const value = each.labels[label];
    if (each.name === name && value !== undefined) found.set(value, (found.get(value) ?? 0) + each.value);
  }
  return found;
}

/** How much a counter grew a second between two looks; null after a restart, which begins at nothing again. */
export function rate(before: Look, now: Look, of: (look: Look) => number): number | null {
  const grown = of(now) - of(before);
  const seconds = (now.at - before.at) / 1000;
  return grown < 0 || seconds <= 0 ? null : grown / seconds;
}

/** A quantile of what a histogram took in between two looks, in its own unit; null when that was nothing. */
export function quantile(before: Look, now: Look, name: string, share: number): number | null {
  const buckets = (look: Look) => {
    const found = new Map<number, number>();
    for (const each of look.samples) {
      if (each.name !== `${name}_bucket`) continue;
      const edge = each.labels.le === "+Inf" ? Number.POSITIVE_INFINITY : Number(each.labels.le);
      found.set(edge, (found.get(edge) ?? 0) + each.value);
    }
    return found;
  };
  const [was, is] = [buckets(before), buckets(now)];
  const edges = [...is.keys()].sort((one, other) => one - other);
  const grown = edges.map((edge) => (is.get(edge) ?? 0) - (was.get(edge) ?? 0));
  const all = grown.at(-1) ?? 0;
  if (all <= 0) return null;
  const place = grown.findIndex((each) => each >= share * all);
  const edge = edges[place] ?? Number.POSITIVE_INFINITY;
  const below = place > 0 ? (grown[place - 1] ?? 0) : 0;
  const low = place > 0 ? (edges[place - 1] ?? 0) : 0;
  if (!Number.isFinite(edge)) return low; // beyond the last bucket: at least that
  const inside = (grown[place] ?? 0) - below;
  return low + (inside > 0 ? (share * all - below) / inside : 1) * (edge - low);
}
