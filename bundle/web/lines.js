// @ts-check
// For a guest whose standard input is not a terminal: nobody echoes keys or
// edits the line for it, so this does, as a terminal in cooked mode would.

export class LineInput {
  /** @type {string[]} */ #line = [];

  /**
   * @param {(text: string) => void} echo
   * @param {{ input: (text: string) => void, end: () => void, signal: (number: number) => void }} guest
   */
  constructor(echo, guest) {
    this.echo = echo;
    this.guest = guest;
  }

  /** What was typed or pasted. @param {string} text */
  type(text) {
    // Escape sequences of keys that mean nothing here.
    for (const key of text.replace(/\x1b(\[[0-9;?]*[ -/]*[@-~]|O?.)/g, "")) this.#key(key);
  }

  /** @param {string} key */
  #key(key) {
    switch (key) {
      case "\r":
      case "\n":
        this.echo("\r\n");
        this.guest.input(this.#line.join("") + "\n");
        this.#line = [];
        break;
      case "\x7f":
      case "\b":
        if (this.#line.pop() !== undefined) this.echo("\b \b");
        break;
      case "\x15":
        this.echo("\b \b".repeat(this.#line.length));
        this.#line = [];
        break;
      case "\x03":
        this.echo("^C\r\n");
        this.#line = [];
        this.guest.signal(2);
        break;
      case "\x04":
        if (this.#line.length > 0) this.guest.input(this.#line.join(""));
        else this.guest.end();
        this.#line = [];
        break;
      default:
        if (key >= " " || key === "\t") {
          this.#line.push(key);
          this.echo(key);
        }
    }
  }
}
