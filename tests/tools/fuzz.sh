#!/bin/sh
# fuzz.sh TARGET CORPUS: lets libFuzzer work for MOONGATE_FUZZ_SECONDS (5), starting from CORPUS and what earlier runs found.
# What it finds stays beside TARGET in the build folder; a crash belongs into CORPUS with the fix.
set -eu
target=$1 corpus=$2
[ -d "$corpus" ] || corpus=
mkdir -p "$target.found"
# What only the Lua heap points to, whose pointers are tagged, looks lost: at the end of a run the state is closed anyway.
case $target in *fuzz.dialect) leaks=0 ;; *) leaks=1 ;; esac
exec "$target" -max_total_time="${MOONGATE_FUZZ_SECONDS:-5}" -timeout=10 -detect_leaks="$leaks" -rss_limit_mb=2048 -max_len=65536 \
    -artifact_prefix="$target." "$target.found" ${corpus:+"$corpus"}
