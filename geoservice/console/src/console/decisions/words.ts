/** Outcomes as people say them, and the colours that stand for them. */
export const TONES = { send: "good", defer: "warning", suppress: "neutral" } as const;
export const OUTCOMES = { send: "Sent", defer: "Waiting", suppress: "Silent" } as const;
