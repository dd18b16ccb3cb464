// The page loads xterm from vendor/, where vendor.rs puts it.
export * from "@xterm/xterm";
