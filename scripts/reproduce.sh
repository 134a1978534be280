#!/usr/bin/env bash
# Run the rows of the LMPT paper's tables that this project can run; print the published ones beside.
#
# usage: bash scripts/reproduce.sh DATASET BACKBONE ["SEEDS"] [--check] [KEY VALUE ...]
#
# DATASET is voc_lt or coco_lt, BACKBONE is rn50 or vit_b16, SEEDS is "1 2 3 4 5" if not given. What
# the runs need is said first: weights, lists, pictures, hours, gigabytes. If something is absent,
# that is all, with a list of what to fetch. --check says it and runs nothing; exit status 1 if
# something is absent.
#
# Overrides hold for every run. Two are for trials, whose figures are not to be compared:
#     DATASET.MISSING skip         with the pictures that are there
#     MODEL.BACKBONE.NAME FILE     with other weights
#
# environment: TRAINERS  these rows alone ("LMPT CoOp")
#              DATA, OUTPUT, TAG, JOBS, GPUS, ENGINE, PYTHON, DRY_RUN as for compare.sh:
#              finished runs are kept, the same command goes on after an interruption
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
case " $* " in *" -h "* | *" --help "*)
    sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0 ;;
esac
# shellcheck source=scripts/lib/run_names.sh
source "$root/scripts/lib/run_names.sh"

words=() check=
for word in "$@"; do
    [[ "$word" == --check ]] && check=1 || words+=("$word")
done
((${#words[@]} >= 2)) || fail "expected DATASET BACKBONE, got ${#words[@]} words; --help tells more"
dataset="${words[0]}" backbone="${words[1]}" seeds="1 2 3 4 5"
set -- "${words[@]:2}"
if [[ "${1:-}" =~ ^[0-9][0-9\ ]*$ ]]; then
    seeds="$1"
    shift
fi
DATA="$(from_here "${DATA:-}" "$root/data")" OUTPUT="$(from_here "${OUTPUT:-}" "$root/output")"
export DATA OUTPUT
cd "$root"
if [[ -z "${PYTHON:-}" ]]; then
    source scripts/lib/setup_env.sh requirements.txt
fi
export PYTHON

listed="$("$PYTHON" scripts/lib/paper_rows.py "$dataset" "$backbone")"
rows=()
while read -r row; do
    [[ -n "${TRAINERS:-}" && " $TRAINERS " != *" ${row%% *} "* ]] || rows+=("$row")
done <<<"$listed"
((${#rows[@]} > 0)) || fail "TRAINERS names no row; rows are $(cut -d ' ' -f 1 <<<"$listed" | xargs)"

# compare ROW [KEY VALUE ...]: the row's runs, as compare.sh lists them.
compare() {
    local trainer cfg keys
    read -r trainer cfg keys <<<"$1"
    shift
    # shellcheck disable=SC2086 # our own keys and values are words without blanks
    bash scripts/compare.sh "$dataset" "$cfg" "$trainer" "$seeds" $keys "$@"
}

runs="$(for row in "${rows[@]}"; do DRY_RUN=1 compare "$row" "$@" || exit; done)"
complete=1
"$PYTHON" scripts/lib/reproduction_needs.py <<<"$runs" || complete=
[[ -z "$check" ]] || exit "$((${complete:-0} == 0))"
if [[ -n "${DRY_RUN:-}" ]]; then
    echo "$runs"
    exit
fi
[[ -n "$complete" ]] || fail "not all that the runs need is there, see above"

grep '^== ' <<<"$runs" || true # those that have finished
# The runs of all rows are one list, so that none waits for another row.
failed=0
"$PYTHON" scripts/lib/run_all.py <<<"$runs" || failed=$?
((failed != 2)) || exit 2 # nothing has run, and it was said why
results=()
for row in "${rows[@]}"; do
    read -r trainer cfg keys <<<"$row"
    # shellcheck disable=SC2086
    folder="$OUTPUT/$dataset/$trainer/$(variant "$cfg" $keys "$@")"
    for file in "$folder"/seed*/results.json; do
        [[ ! -e "$file" ]] || results+=("$file")
    done
done
echo
((${#results[@]} == 0)) || "$PYTHON" scripts/parse_results.py --published "${results[@]}"
((failed == 0)) || fail "not every run has finished, see above; the same command goes on"
