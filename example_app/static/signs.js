// The signs on buttons, drawn as lines in the colour of the text.
const PATHS = {
  react: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M8.5 14.5a4.5 4.5 0 0 0 7 0M9 9.5v.5M15 9.5v.5",
  reply: "M4 5h16v11H10l-4 4v-4H4z",
  why: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M9.7 9.3a2.4 2.4 0 1 1 3.4 2.6c-.8.4-1.1 1-1.1 1.8M12 16.7v.3",
  regenerate: "M20 5v5h-5M4 19v-5h5M5.5 9.5a7 7 0 0 1 12-3L20 9.5M18.5 14.5a7 7 0 0 1-12 3L4 14.5",
  edit: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
  link: "M10 14a4 4 0 0 0 6 .4l3-3a4 4 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6-.4l-3 3a4 4 0 0 0 6 6l1-1",
  delete: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
};
const SVG = "http://www.w3.org/2000/svg";

export function sign(name) {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", "0 0 24 24");
  drawing.setAttribute("aria-hidden", "true");
  const path = drawing.appendChild(document.createElementNS(SVG, "path"));
  path.setAttribute("d", PATHS[name]);
  return drawing;
}
