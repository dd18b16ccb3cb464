// @ts-check
// The terminal's colours, for light and dark. The sixteen are chosen to be
// readable on their background; programs that set 24-bit colours get those.

const light = {
  background: "#fbfaf7",
  foreground: "#22272b",
  cursor: "#2f6f6a",
  cursorAccent: "#fbfaf7",
  selectionBackground: "#c9dedb",
  black: "#22272b",
  red: "#a8322a",
  green: "#3c7a34",
  yellow: "#8a6410",
  blue: "#2b5fa8",
  magenta: "#8b3f86",
  cyan: "#20757a",
  white: "#b9b4a8",
  brightBlack: "#6c747a",
  brightRed: "#c8453b",
  brightGreen: "#4f9a45",
  brightYellow: "#a87d1c",
  brightBlue: "#3f7bd0",
  brightMagenta: "#a956a3",
  brightCyan: "#2f9499",
  brightWhite: "#8f8a7e",
};

const dark = {
  background: "#14181b",
  foreground: "#d8dcdf",
  cursor: "#6fb7ae",
  cursorAccent: "#14181b",
  selectionBackground: "#2f4a4b",
  black: "#2a3136",
  red: "#e0786c",
  green: "#8fbf7f",
  yellow: "#d9b468",
  blue: "#7ea9e0",
  magenta: "#c592c4",
  cyan: "#6fb7ae",
  white: "#d8dcdf",
  brightBlack: "#6f7a82",
  brightRed: "#f09a90",
  brightGreen: "#aed6a0",
  brightYellow: "#ecd08f",
  brightBlue: "#a3c4f0",
  brightMagenta: "#dcb3db",
  brightCyan: "#97d3cb",
  brightWhite: "#f4f6f7",
};

const preference = matchMedia("(prefers-color-scheme: dark)");

/** The theme now. */
export const current = () => (preference.matches ? dark : light);

/** Calls `apply` with the theme now and whenever the preference changes. @param {(theme: typeof light) => void} apply */
export function follow(apply) {
  const tell = () => apply(current());
  preference.addEventListener("change", tell);
  tell();
}
