#!/bin/bash
# node.tar: Debian's node, and a large program for it from npm.
. "$(dirname "$0")/lib.sh"
bash "$here/debian.sh" node-base nodejs
root=$WORK/roots/node
rm -rf "$root" "$WORK/build/node"
mkdir -p "$root" "$WORK/build/node"
cd "$WORK/build/node"
npm pack --silent @anthropic-ai/claude-code@2.1.39
tar xzf anthropic-ai-claude-code-*.tgz
tar xf "$WORK/images/node-base.tar" -C "$root"
modules=$root/usr/lib/node_modules/@anthropic-ai
mkdir -p "$modules"
cp -a package "$modules/claude-code"
chmod +x "$modules/claude-code/cli.js"
ln -s ../lib/node_modules/@anthropic-ai/claude-code/cli.js "$root/usr/bin/claude"
rm -rf "$modules/claude-code/vendor" "$WORK/images/node-base.tar"
pack_root "$root" "$WORK/images/node.tar"
