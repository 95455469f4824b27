#!/bin/sh
# e2e.sh FILE [TEST…]: runs one end-to-end test with the SDKs that ./dev test installed in build/.
# MOONGATE_BIN is the binary under test, the one of the dev preset unless told otherwise.
set -eu
source_dir=$(cd "$(dirname "$0")/../.." && pwd)
build=$source_dir/build
export MOONGATE_SOURCE_DIR="$source_dir" MOONGATE_BIN="${MOONGATE_BIN:-$build/dev/moongate}"
case $1 in
*.py)
    export PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PYTHONPATH="$source_dir/tests/support:$source_dir/tests/e2e:$source_dir/tests/e2e/faults"
    python=$build/venv/bin/python
    case $1 in
    */frameworks_test.py) python=$build/venv/frameworks/bin/python ;; # they want older SDKs
    esac
    exec "$python" "$@"
    ;;
*.mjs)
    export MOONGATE_NODE_MODULES="$build/node"
    exec "$build/node/bin/node" --import "$source_dir/tests/tools/node_modules.mjs" --test "$1"
    ;;
esac
echo "e2e.sh: $1 is neither Python nor an ES module" >&2
exit 2
