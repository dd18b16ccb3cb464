#!/bin/sh
# A script: $1 is its first argument.
name=$1
echo "Hello, ${name}. It is $(date)."
echo "This directory has $(ls | wc -l) entries." | sort
