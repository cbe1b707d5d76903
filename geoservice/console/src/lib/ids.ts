/** Ids that the service takes, made of what people call things. */

const LONGEST = 128;

/** "Schulterblatt, Größe 44" -> "schulterblatt-grosse-44". */
export function idFrom(text: string): string {
  const plain = text.replace(/ß/g, "ss").normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  return plain.replace(/[^a-z0-9._:]+/g, "-").slice(0, LONGEST).replace(/^-+|-+$/g, "");
}
