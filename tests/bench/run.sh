#!/bin/sh
# run.sh [ARGS]: builds the two tools optimised, then bench.py measures. ./dev bench calls it; run.sh --help lists ARGS.
# run.sh compare BASE: what a healthy request costs beside another commit. run.sh outage: how targets fail and come back.
# run.sh search [ROWS [FOLDER]]: what the request log takes and answers when it is large.
# run.sh overshoot: how far past a limit traffic gets that asks for ten times as much.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p build/bench
cmake --preset release -B build/bench --log-level=WARNING -DMG_TESTS=ON >build/bench/configure.log 2>&1 ||
    { cat build/bench/configure.log >&2 && exit 1; }
cmake --build build/bench -t bench_mock bench_load >build/bench/build.log || { cat build/bench/build.log >&2 && exit 1; }
if [ "${1:-}" = search ]; then
    cmake --build build/bench -t search_bench >build/bench/build.log || { cat build/bench/build.log >&2 && exit 1; }
    shift && exec build/bench/search_bench "$@"
fi
what=bench
case ${1:-} in compare | outage | overshoot | translation) what=$1 && shift ;; esac
exec python3 -B "tests/bench/$what.py" --tools build/bench --moongate "${MOONGATE_BIN:-build/release/moongate}" "$@"
