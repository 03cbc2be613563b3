#!/usr/bin/env bash
# Delete people's supervision from a model: post, wait, verify, keep the certificate. Needs curl and `lethe`
# (pip install ./client), and jq or python3.
#
#   LETHE_URL=https://lethe.example LETHE_API_KEY=lethe_... examples/delete.sh MODEL TASKS IDS [FOLDER]
#
# TASKS: all, or names with commas between. IDS: a file with one id a line. The same call made twice is one
# request. Exit status: 0 verified; 1 refused or failed; 2 badly called; 4 a person has to decide.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
model=$1 tasks=$2 ids=$3 folder=${4:-.} pause=${LETHE_PAUSE:-2}
: "${LETHE_URL:?set it to the address of the service}" "${LETHE_API_KEY:?set it to an API key}"
[ -r "$ids" ] || { echo "$ids cannot be read" >&2; exit 2; }

if command -v jq >/dev/null; then
  request_body() { jq -Rnc --arg model "$model" --arg tasks "$tasks" '{model: $model, instances: [inputs | select(. != "")],
    tasks: (if $tasks == "all" then $tasks else $tasks / "," end)}' <"$ids"; }
  member() { jq -r --arg name "$1" '.[$name] // "none"'; }
else
  request_body() { python3 -c 'import json, sys; model, tasks = sys.argv[1:]; print(json.dumps({"model": model,
    "instances": [i for i in sys.stdin.read().split("\n") if i], "tasks": tasks if tasks == "all" else tasks.split(",")}))' \
    "$model" "$tasks" <"$ids"; }
  member() { python3 -c 'import json, sys; v = json.load(sys.stdin)[sys.argv[1]]; print("none" if v is None else v)' "$1"; }
fi
# The key goes in by a file descriptor: command lines can be read by everybody on the machine.
call() { curl -sS --fail-with-body --retry 5 --retry-connrefused -H @<(printf 'Authorization: Bearer %s' "$LETHE_API_KEY") "$@"; }

mkdir -p "$folder"
new=$(mktemp -d "$folder/.new-XXXXXX")
trap 'rm -rf "$new"' EXIT

request_body >"$new/body.json"
key=$(sha256sum "$new/body.json" | cut -c 1-64)
call "$LETHE_URL/v1/deletion-requests" -H "Idempotency-Key: $key" -H 'Content-Type: application/json' \
  --data-binary @"$new/body.json" -o "$new/request.json" || { cat "$new/request.json" >&2; exit 1; }
id=$(member id <"$new/request.json")
echo "request $id"

while status=$(member status <"$new/request.json"); [[ $status =~ ^(queued|running|cancelling)$ ]]; do
  sleep "$pause"
  call "$LETHE_URL/v1/deletion-requests/$id" -o "$new/request.json"
done
echo "$status, version $(member result_version <"$new/request.json")"
case $status in
  succeeded) ;;
  awaiting_approval) echo "request $id takes more than may go without a person: approve or reject it" >&2; exit 4 ;;
  needs_review) echo "job $(member job <"$new/request.json") missed a gate: approve or reject it" >&2; exit 4 ;;
  *) member error_detail <"$new/request.json" >&2; exit 1 ;;
esac

for _ in {1..60}; do # it is signed seconds after the end
  call "$LETHE_URL/v1/deletion-requests/$id/certificate" -o "$new/certificate.json" 2>/dev/null && break
  sleep "$pause"
done
call "$LETHE_URL/.well-known/lethe-signing-keys.json" -o "$new/keys.json"
lethe verify "$new/certificate.json" --key "$new/keys.json"
mv "$new/certificate.json" "$folder/certificate-$id.json"
mv "$new/keys.json" "$folder/signing-keys.json"
echo "kept $folder/certificate-$id.json"
