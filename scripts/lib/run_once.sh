#!/usr/bin/env bash
# One run of train.py for compare.sh, unless it has been finished before.
#
# usage: bash scripts/lib/run_once.sh --output-dir FOLDER --trainer NAME --seed N [TRAIN.PY'S WORDS]
#
# environment: PYTHON, the interpreter; JOBS, above 1 of which the output goes to
#              FOLDER/console.txt; DRY_RUN, for a look at the command.
set -euo pipefail
folder="$2" title="$4, seed $6"
command=("$PYTHON" train.py "$@")
if [[ -f "$folder/results.json" ]]; then
    echo "== $title: finished before (remove $folder to run it again)"
elif [[ -n "${DRY_RUN:-}" ]]; then
    printf '%q ' "${command[@]}"
    echo
elif ((${JOBS:-1} > 1)); then
    console="$folder/console.txt"
    echo "== $title: $console"
    mkdir -p "$folder"
    "${command[@]}" >"$console" 2>&1 || {
        tail -n 3 "$console" >&2
        exit 1
    }
    echo "== $title: done"
else
    echo "== $title"
    "${command[@]}"
fi
