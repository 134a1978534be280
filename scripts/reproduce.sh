#!/usr/bin/env bash
# Run a paper's table with the methods of this project; print the published figures beside.
#
# usage: bash scripts/reproduce.sh TABLE BACKBONE ["SEEDS"] [--check] [KEY VALUE ...]
#
# TABLE             BACKBONE
# voc_lt, coco_lt   rn50, vit_b16                   the LMPT paper's
# voc07-partial     rn101                           10% to 90% of the labels, and their mean: DualCoOp,
# coco14-partial    rn101                           with TaI-DPT; so also nus-partial
# coco14-zero-shot  rn50, rn101                     48 seen classes and 17 unseen ones: DualCoOp
# nus-zero-shot     rn50                            925 and 81
# voc07-text-only   rn50, rn101, vit_b16, vit_b32   zero-shot CLIP and, with rn50, TaI-DPT; so also
#                                                   coco14-text-only and nus-text-only
# coco14-few-shot   rn50                            16 novel classes; 1 to 16 shots of all: CoOp, TaI-DPT
#
# SEEDS is "1 2 3" if not given, of voc_lt and coco_lt "1 2 3 4 5". What the runs need is said first:
# weights, lists, pictures, hours, gigabytes. If something is absent, that is all, with a list of
# what to fetch. --check says it and runs nothing; exit status 1 if something is absent. Rows are
# listed in scripts/lib/paper_tables.py.
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
((${#words[@]} >= 2)) || fail "expected TABLE BACKBONE, got ${#words[@]} words; --help tells more"
table="${words[0]}" backbone="${words[1]}" seeds=
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

listed="$("$PYTHON" scripts/lib/paper_rows.py "$table" "$backbone")"
rows=() mixes=()
while read -r kind rest; do
    case "$kind" in
        seeds) seeds="${seeds:-$rest}" ;;
        run) rows+=("$rest") ;;
        mix) mixes+=("$rest") ;;
    esac
done <<<"$listed"

# read_row ROW [KEY VALUE ...]: set what the row's line says, and the folder of its runs.
read_row() {
    read -r dataset trainer cfg mark keys <<<"$1"
    shift
    tag="${TAG:-}"
    [[ -z "$tag" || "$mark" == - ]] || tag="${mark}_$tag"
    # shellcheck disable=SC2086 # our own keys and values are words without blanks
    folder="$OUTPUT/$dataset/$trainer/$(TAG="$tag" variant "$cfg" $keys "$@")"
}

# compare ROW [KEY VALUE ...]: the row's runs, as compare.sh lists them.
compare() {
    read_row "$@"
    shift
    # shellcheck disable=SC2086
    TAG="$tag" bash scripts/compare.sh "$dataset" "$cfg" "$trainer" "$seeds" $keys "$@"
}

# mix WEIGHT FIRST SECOND [KEY VALUE ...]: combine two rows, seed by seed; leaves their folder.
mix() {
    local weight="$1" first second name seed command
    read_row "${rows[$3]}" "${@:4}"
    second="$folder" name="$trainer"
    read_row "${rows[$2]}" "${@:4}"
    first="$folder" folder="$OUTPUT/$dataset/$trainer+$name/${folder##*/}"
    for seed in $seeds; do
        command=("$PYTHON" scripts/ensemble_scores.py "$first/seed$seed" "$second/seed$seed"
            --weight "$weight" --output "$folder/seed$seed")
        if [[ -n "${DRY_RUN:-}" ]]; then
            echo "${command[*]}"
        elif [[ -e "$first/seed$seed/results.json" && -e "$second/seed$seed/results.json" ]]; then
            "${command[@]}" || return
        fi
    done
}

# collect: add the results in the folder of a row.
collect() {
    local file
    for file in "$folder"/seed*/results.json; do
        [[ ! -e "$file" ]] || results+=("$file")
    done
}

runs="$(for row in "${rows[@]}"; do DRY_RUN=1 compare "$row" "$@" || exit; done)"
complete=1
"$PYTHON" scripts/lib/reproduction_needs.py <<<"$runs" || complete=
[[ -z "$check" ]] || exit "$((${complete:-0} == 0))"
if [[ -n "${DRY_RUN:-}" ]]; then
    echo "$runs"
    for line in ${mixes[@]+"${mixes[@]}"}; do
        # shellcheck disable=SC2086
        mix $line "$@"
    done
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
    read_row "$row" "$@"
    collect
done
for line in ${mixes[@]+"${mixes[@]}"}; do
    # shellcheck disable=SC2086
    mix $line "$@" || failed=1
    collect
done
echo
((${#results[@]} == 0)) || "$PYTHON" scripts/parse_results.py --published "${results[@]}"
((failed == 0)) || fail "not every run has finished, see above; the same command goes on"
