#!/bin/sh
# smoke.sh MOCK LOAD: the benchmark's two tools against each other, plain and TLS, whole and streamed, for a second in all.
set -eu
mock=$1 load=$2
dir=$(mktemp -d)
mkfifo "$dir/ports"
"$mock" --certs "$dir" >"$dir/ports" &
pid=$!
trap 'kill $pid; wait $pid || true; rm -rf "$dir"' EXIT
read -r ports <"$dir/ports"
port=$(echo "$ports" | sed 's/.*"port": \([0-9]*\).*/\1/') tls=$(echo "$ports" | sed 's/.*"tls_port": \([0-9]*\).*/\1/')

check() { # NAME WHAT IT MUST SAY, LOAD ARGS...
    name=$1 must=$2
    shift 2
    said=$("$load" --seconds 0.2 --warmup 0.05 "$@")
    echo "$name: $said"
    for each in "$must" '"errors": 0,' '"unfinished": 0,'; do
        echo "$said" | grep -q -- "$each" || { echo "$name: no $each" >&2 && exit 1; }
    done
}
check closed '"requests": [1-9]' --port "$port" --size 8192
check open '"requests": [1-9][0-9]*' --port "$port" --rate 500 --connections 2 --pid $pid
check stream '"events": [1-9]' --port "$port" --rate 100 --chunks 5 --gap-us 1000
check tls '"requests": [1-9]' --port "$tls" --ca "$dir/cert.pem" --size 65536 --connections 2
check tls-stream '"events": [1-9]' --port "$tls" --ca "$dir/cert.pem" --rate 100 --chunks 5 --gap-us 1000 --connections 2
