/** Consents: one answer for each purpose, to words that she could read. No answer is a no. */
import { fields, ok, Problem, type Api, type Schemas } from "./client";

export type Purpose = Schemas["Purpose"];
export type Consent = Schemas["ConsentItem"];
export type ConsentChanged = Schemas["ConsentChanged"];

/** What she is told about one purpose. */
export interface Reason {
  readonly why: string;
  readonly benefit: string;
}

/** The notice in force. Its version goes on record with each answer. */
export interface Notice {
  readonly version: string;
  readonly language: string;
  readonly intro: string;
  readonly controller: string | undefined;
  readonly reasons: Partial<Record<Purpose, Reason>>;
}

/** For a retailer who has published no notice: an app brings words of its own then, under a version of its own. */
const OWN_WORDS: Notice = {
  version: "app-1",
  language: "en",
  intro: "We ask before we use anything about you. You can change every answer later, at once.",
  controller: undefined,
  reasons: {
    location: { why: "To notice that you are near one of our stores.", benefit: "You hear of something when you can go and see it." },
    marketing_push: { why: "To send messages to this phone.", benefit: "You need not open the app to learn of something." },
    personalisation: { why: "To use what you look at and buy when we choose what to say.", benefit: "What we say fits." },
    associate_sharing: { why: "To show associates what you noted, when you ask for help.", benefit: "You need not explain it twice." },
    insights: { why: "To count visits and purchases of many people together.", benefit: "Stores that are ready when you come." },
  },
};

export async function readNotice(api: Api): Promise<Notice> {
  try {
    const published = await ok(api.GET("/v1/me/notice"));
    const language = languageOf(Object.keys(published.texts));
    const { intro, reasons } = readText(published.texts[language] ?? "");
    return { version: published.version, language, intro, controller: published.controller ?? undefined, reasons };
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return OWN_WORDS;
    throw error;
  }
}

function languageOf(offered: string[]): string {
  const hers = navigator.languages.map((each) => each.toLowerCase().split("-")[0]);
  return offered.find((each) => hers.includes(each.toLowerCase().split("-")[0])) ?? offered[0] ?? "en";
}

/** A notice may have a section for each purpose: `## location`, then lines that begin with `Why:` and `Benefit:`. */
export function readText(text: string): Pick<Notice, "intro" | "reasons"> {
  const [intro = "", ...sections] = text.split(/^## /m);
  const reasons: Partial<Record<Purpose, Reason>> = {};
  for (const section of sections) {
    const [name = "", ...lines] = section.split("\n");
    const after = (word: string) => lines.find((line) => line.startsWith(word))?.slice(word.length).trim() ?? "";
    reasons[name.trim() as Purpose] = { why: after("Why:"), benefit: after("Benefit:") };
  }
  return { intro: intro.trim(), reasons };
}

/** Every purpose with the answer in force. */
export async function readConsents(api: Api): Promise<Consent[]> {
  return (await ok(api.GET("/v1/me/consents"))).items;
}

/** Says yes or no. It holds when this returns; the answer names messages that were stopped, or may still arrive. */
export async function answer(api: Api, notice: Notice, purpose: Purpose, granted: boolean, source: string): Promise<ConsentChanged> {
  return ok(
    api.PUT("/v1/me/consents/{purpose}", {
      params: { path: { purpose } },
      body: fields<Schemas["ConsentBody"]>({ granted, notice_version: notice.version, language: notice.language, source }),
    }),
  );
}
