// @ts-check
// Why an app does not run, in words for its user.

/** @typedef {"unsupported" | "damaged" | "not-an-app" | "version" | "memory" | "fetch" | "crash"} Kind */

export class AppError extends Error {
  /** @param {Kind} kind @param {string} message @param {unknown} [cause] */
  constructor(kind, message, cause) {
    super(message, { cause });
    this.name = "AppError";
    this.kind = kind;
  }
}
