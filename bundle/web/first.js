// @ts-check
// The first screen: what the guest writes is text on the page before the
// terminal has been loaded. It knows what prompts and banners are made of, and
// says so when it meets more; then the page waits for the terminal, which is
// given the same bytes and takes this one's place.

/** Longer output is the terminal's. */
const MOST_BYTES = 64 << 10;
/** In a style, the colour that text or ground has by itself, and that of the other. */
const OWN = -1;
const INVERSE = -2;
/** A cell's style: colours of text and ground by their numbers in SGR, and unless both are 0: bold, underlined. */
const PLAIN = `${OWN},${OWN}`;
/** @typedef {ReturnType<typeof import("./theme.js").current>} Theme */
/** SGR's sixteen by their names in a theme. */
const BASIC = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
const COLOURS = [...BASIC, ...BASIC.map((name) => `bright${name[0].toUpperCase()}${name.slice(1)}`)];

/**
 * Characters that take exactly one cell everywhere: Latin, Greek, Cyrillic, punctuation, arrows, lines and blocks.
 * @param {number} code
 */
function narrow(code) {
  return (
    (code >= 0x20 && code < 0x7f) ||
    (code >= 0xa0 && code < 0x300 && code !== 0xad) ||
    (code >= 0x370 && code < 0x483) ||
    (code >= 0x2010 && code < 0x2028) ||
    (code >= 0x2190 && code < 0x2200) ||
    (code >= 0x2500 && code < 0x25a0)
  );
}

export class FirstScreen {
  /** Of each row its cells, a character and a style. @type {[string, string][][]} */ #rows = [[]];
  #x = 0;
  #y = 0;
  #style = new Map();
  #cursor = true;
  #bytes = 0;
  /** The beginning of a sequence whose end has not come. */
  #rest = "";
  #decoder = new TextDecoder();
  /** Nothing has come yet that is not understood. */
  able = true;

  /**
   * @param {{ rows: number, cols: number }} size
   * @param {boolean} newlines a line feed goes to the line's beginning as well: nobody did that for the guest
   */
  constructor(size, newlines) {
    this.size = size;
    this.newlines = newlines;
  }

  /** Output. @param {Uint8Array} bytes @returns {boolean} {@link able} */
  write(bytes) {
    this.#bytes += bytes.length;
    this.able &&= this.#bytes <= MOST_BYTES && this.#parse(this.#decoder.decode(bytes, { stream: true }));
    return this.able;
  }

  /** @param {string} text */
  #parse(text) {
    text = this.#rest + text;
    this.#rest = "";
    // A run of text, a control character, CSI, a string (OSC) with its end, or another escape.
    const tokens = /[^\0-\x1f\x7f]+|[\0-\x1a\x1c-\x1f\x7f]|\x1b\[([0-?]*)([ -/]*[@-~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[^[\]]/gy;
    for (;;) {
      const at = tokens.lastIndex;
      const found = tokens.exec(text);
      if (!found) {
        this.#rest = text.slice(at);
        // The end of a sequence may be in the next piece; one that long is none of ours.
        return this.#rest.length < 256;
      }
      const [token, params, final] = found;
      if (final !== undefined ? !this.#sequence(params, final) : !this.#plain(token)) return false;
    }
  }

  /** @param {string} token */
  #plain(token) {
    switch (token[0]) {
      case "\r":
        this.#x = 0;
        return true;
      case "\n":
        if (this.newlines) this.#x = 0;
        this.#feed();
        return true;
      case "\b":
        this.#x = Math.max(0, Math.min(this.#x, this.size.cols - 1) - 1);
        return true;
      case "\t":
        this.#x = Math.min(this.size.cols - 1, (this.#x | 7) + 1);
        return true;
      case "\0":
      case "\x07":
        return true;
      case "\x1b":
        // A title, and modes of the keypad.
        return token[1] === "]" ? /^\x1b\][012];/.test(token) : "=>".includes(token[1]);
    }
    const style = this.#look();
    for (const character of token) {
      if (!narrow(/** @type {number} */ (character.codePointAt(0)))) return false;
      if (this.#x >= this.size.cols) {
        this.#x = 0;
        this.#feed();
      }
      const row = this.#rows[this.#y];
      while (row.length < this.#x) row.push([" ", PLAIN]);
      row[this.#x] = [character, style];
      this.#x += 1;
    }
    return true;
  }

  #feed() {
    this.#y += 1;
    if (this.#y === this.#rows.length) this.#rows.push([]);
    if (this.#rows.length > this.size.rows) {
      this.#rows.shift();
      this.#y -= 1;
    }
  }

  /** A control sequence. @param {string} params @param {string} final */
  #sequence(params, final) {
    if (final === "m") return /^[0-9;]*$/.test(params) && this.#graphics(params.split(";").map(Number));
    if (params.startsWith("?")) return "hl".includes(final) && params.slice(1).split(";").every((mode) => this.#mode(mode, final));
    if (!/^[0-9]*$/.test(params)) return false;
    const count = Number(params) || 1;
    const x = Math.min(this.#x, this.size.cols - 1);
    const { cols } = this.size;
    switch (final) {
      case "A":
        this.#y = Math.max(0, this.#y - count);
        break;
      case "C":
        this.#x = Math.min(cols - 1, x + count);
        return true;
      case "D":
        this.#x = Math.max(0, x - count);
        return true;
      case "G":
        this.#x = Math.min(cols - 1, count - 1);
        return true;
      case "K":
        if (Number(params) !== 0) return false;
        this.#rows[this.#y].length = Math.min(this.#rows[this.#y].length, x);
        break;
      // Questions: the terminal answers them when it has come.
      case "c":
      case "n":
        return true;
      case "J":
        if (Number(params) !== 0) return false;
        this.#rows.length = this.#y + 1;
        this.#rows[this.#y].length = Math.min(this.#rows[this.#y].length, x);
        break;
      default:
        return false;
    }
    this.#x = x;
    return true;
  }

  /** A private mode that does not change what is on the screen, or the cursor. @param {string} mode @param {string} final */
  #mode(mode, final) {
    if (mode === "25") this.#cursor = final === "h";
    return ["1", "12", "25", "1000", "1002", "1004", "1006", "2004"].includes(mode);
  }

  /** SGR. @param {number[]} codes */
  #graphics(codes) {
    const set = this.#style;
    for (const code of codes) {
      if (code === 0) set.clear();
      else if (code >= 30 && code < 38) set.set("colour", code - 30);
      else if (code >= 90 && code < 98) set.set("colour", code - 82);
      else if (code === 39) set.delete("colour");
      else if (code >= 40 && code < 48) set.set("ground", code - 40);
      else if (code >= 100 && code < 108) set.set("ground", code - 92);
      else if (code === 49) set.delete("ground");
      else if (code === 1) set.set("bold", 1);
      else if (code === 22) set.delete("bold");
      else if (code === 4 || code === 24) set.set("line", code === 4 ? 1 : 0);
      else if (code === 7 || code === 27) set.set("inverse", code === 7 ? 1 : 0);
      else return false;
    }
    return true;
  }

  /** The style that is set, as a cell keeps it: colour, ground, bold, underlined. */
  #look() {
    const { colour = OWN, ground = OWN, bold = 0, line = 0, inverse = 0 } = Object.fromEntries(this.#style);
    // Bold text is bright, as terminals have it.
    const bright = bold && colour >= 0 && colour < 8 ? colour + 8 : colour;
    const other = (/** @type {number} */ number) => (number === OWN ? INVERSE : number);
    const [ink, paper] = inverse ? [other(ground), other(bright)] : [bright, ground];
    return bold || line ? `${ink},${paper},${bold},${line}` : `${ink},${paper}`;
  }

  /** Rows of the screen as text. */
  get text() {
    return this.#rows.map((row) => row.map(([character]) => character).join("").trimEnd()).join("\n").trimEnd();
  }

  /** What the screen shows, as nodes. @param {Theme} theme */
  nodes(theme) {
    const shown = document.createDocumentFragment();
    const cursor = Math.min(this.#x, this.size.cols - 1);
    this.#rows.forEach((cells, y) => {
      if (y > 0) shown.append("\n");
      const row = cells.map(([character, style]) => /** @type {const} */ ([character, style]));
      if (y === this.#y && this.#cursor) {
        while (row.length <= cursor) row.push([" ", PLAIN]);
        row[cursor] = [row[cursor][0], "cursor"];
      }
      for (let at = 0; at < row.length; ) {
        const style = row[at][1];
        let text = "";
        for (; at < row.length && row[at][1] === style; at += 1) text += row[at][0];
        shown.append(style === PLAIN ? text : span(text, style, theme));
      }
    });
    return shown;
  }
}

/** @param {string} text @param {string} style @param {Theme} theme */
function span(text, style, theme) {
  const made = document.createElement("span");
  made.textContent = text;
  const css = made.style;
  if (style === "cursor") {
    [css.background, css.color] = [theme.cursor, theme.cursorAccent];
    return made;
  }
  const [ink, paper, bold = 0, line = 0] = style.split(",").map(Number);
  const colour = (/** @type {number} */ number, /** @type {string} */ inverse) =>
    number === INVERSE ? inverse : theme[/** @type {keyof Theme} */ (COLOURS[number])];
  if (ink !== OWN) css.color = colour(ink, theme.background);
  if (paper !== OWN) css.background = colour(paper, theme.foreground);
  if (bold) css.fontWeight = "bold";
  if (line) css.textDecoration = "underline";
  return made;
}
