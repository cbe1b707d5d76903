/** Line icons on a grid of 24; decoration only: whatever they stand for is said in words beside them. */

const PATHS = {
  alert: "M12 8v5m0 3.5v.5M10.3 4.2 2.6 17.5A2 2 0 0 0 4.3 20.5h15.4a2 2 0 0 0 1.7-3L13.7 4.2a2 2 0 0 0-3.4 0Z",
  back: "m14 6-6 6 6 6",
  bag: "M6 8h12l1 12H5L6 8Zm3 3V7a3 3 0 0 1 6 0v4",
  campaign: "M4 10v4l11 5V5L4 10Zm0 0v4m14-4.5a3.5 3.5 0 0 1 0 5M6.5 14.8l1 4.2h2.5l-.8-3",
  check: "m5 12.5 4.5 4.5L19 7.5",
  circle: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16Z",
  close: "M6 6l12 12M18 6 6 18",
  decision: "M5 5h9M5 12h6M5 19h4m5-5 2.5 2.5L21 12m-4-9v4",
  download: "M12 4v11m-5-4 5 5 5-5M5 20h14",
  edit: "M4 20l1-4L16 5l3 3L8 19l-4 1Zm10-13 3 3",
  health: "M3 12h4l2.5-6 4.5 12 2.5-6h4.5",
  history: "M4 12a8 8 0 1 0 2.5-5.8M4 4v4h4m4 0v4.5l3 2",
  inbox: "M4 13l3-8h10l3 8v6H4v-6Zm0 0h5l1 2.5h4l1-2.5h5",
  info: "M12 11v6m0-10v.5M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18Z",
  key: "M14.5 9.5 4 20m3-3 2.5 2.5m.5-5.5 2 2M16 3.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9Z",
  live: "M12 10.5a1.5 1.5 0 1 0 0 3 1.5 1.5 0 0 0 0-3Zm-4 5.7a6 6 0 0 1 0-8.4m8 0a6 6 0 0 1 0 8.4M5.2 19a10 10 0 0 1 0-14m13.6 0a10 10 0 0 1 0 14",
  map: "M9 5 3 7.5v12L9 17l6 2.5 6-2.5V5l-6 2.5L9 5Zm0 0v12m6-9.5v12",
  minus: "M5 12h14",
  next: "m10 6 6 6-6 6",
  out: "M14 4h5v16h-5m-4-4-4-4 4-4m-4 4h9",
  pause: "M8 5v14m8-14v14",
  phone: "M8 3h8a1.5 1.5 0 0 1 1.5 1.5v15A1.5 1.5 0 0 1 16 21H8a1.5 1.5 0 0 1-1.5-1.5v-15A1.5 1.5 0 0 1 8 3Zm3 15h2",
  place: "M12 21s-6.5-6-6.5-11a6.5 6.5 0 0 1 13 0c0 5-6.5 11-6.5 11Zm0-13.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5Z",
  play: "M8 5v14l11-7L8 5Z",
  plus: "M12 5v14m-7-7h14",
  polygon: "M12 4 4.5 10l3 9h9l3-9L12 4Z",
  reload: "M20 12a8 8 0 1 1-2.5-5.8M20 4v4h-4",
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14Zm5 12 4.5 4.5",
  sliders: "M4 7h9m4 0h3M4 17h3m4 0h9M15 4.8v4.4M9 14.8v4.4",
  trash: "M5 7h14M10 7V4.5h4V7m-7.5 0 1 13h9l1-13M10.5 11v5.5m3-5.5v5.5",
  upload: "M12 16V5m-5 4 5-5 5 5M5 20h14",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
