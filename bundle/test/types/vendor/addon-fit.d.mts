// As xterm.d.mts.
export * from "@xterm/addon-fit";
