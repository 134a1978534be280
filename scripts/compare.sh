#!/usr/bin/env bash
# Train and evaluate methods with several seeds each, then print one table of them.
#
# usage: bash scripts/compare.sh DATASET CFG "TRAINERS" ["SEEDS"] [KEY VALUE ...]
#        bash scripts/{coop,lmpt}/main.sh DATASET CFG ["SEEDS"] [KEY VALUE ...]
#
# DATASET is a file of configs/datasets without .yaml. CFG is one of configs/backbones (tiny, rn50,
# vit_b16), for each method's recipe there or else its recommended one; a backbone and a recipe of
# configs/trainers/<TRAINER> (vit_b16_paper); or a recipe alone, which then names its backbone.
# SEEDS is "1 2 3" if not given. Runs lie in output/<DATASET>/<TRAINER>/<CFG>/seed<k>; overrides of
# config keys join the name <CFG>. Finished runs are kept, interrupted ones go on.
#
# environment: DATA     folder of the data sets (data)
#              OUTPUT   folder of the runs (output)
#              TAG      joins the name <CFG> instead of the overrides
#              JOBS     runs at a time (1)
#              GPUS     "0 1 2 3": as many runs at a time, each on one of these GPUs
#              ENGINE   ray: on a Ray cluster (docs/clusters.md)
#              PYTHON   an interpreter that is used as it is; without it one is set up
#              DRY_RUN  1: print the commands, run nothing
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
case " $* " in *" -h "* | *" --help "*)
    sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0 ;;
esac

# shellcheck source=scripts/lib/run_names.sh
source "$root/scripts/lib/run_names.sh"

# names PATHS...: their last parts, without .yaml.
names() {
    local paths=("${@%.yaml}")
    echo "${paths[@]##*/}"
}

# registered: the methods that files in trainers/ register.
registered() {
    sed -n '/^@TRAINER_REGISTRY.register()/{n;s/^class \([A-Za-z0-9_]*\).*/\1/p;}' trainers/*.py | sort
}

# cfgs TRAINER: backbones, recipes, and both together.
cfgs() {
    local backbones backbone path recipe
    backbones="$(names configs/backbones/*.yaml)"
    echo "$backbones"
    for path in "configs/trainers/$1"/*.yaml; do
        recipe="$(names "$path")"
        [[ " $backbones recommended " != *" $recipe "* ]] || continue
        echo "$recipe"
        for backbone in $backbones; do echo "${backbone}_$recipe"; done
    done
}

(($# >= 3)) || fail "expected DATASET CFG \"TRAINERS\", got $# words; --help tells more"
dataset="$1" cfg="$2" trainers="$3" seeds="1 2 3"
[[ -n "${trainers// /}" ]] || fail "TRAINERS is empty"
shift 3
if [[ "${1:-}" =~ ^[0-9][0-9\ ]*$ ]]; then
    seeds="$1"
    shift
fi
(($# % 2 == 0)) || fail "overrides come in pairs KEY VALUE, got: $*"
data="$(from_here "${DATA:-}" data)" output="$(from_here "${OUTPUT:-}" output)"
cd "$root"
shopt -s nullglob
# shellcheck disable=SC2046 # names are words without blanks
{
    choice DATASET "$dataset" $(names configs/datasets/*.yaml)
    for trainer in $trainers; do
        choice TRAINER "$trainer" $(registered)
        choice "CFG of $trainer" "$cfg" $(cfgs "$trainer")
    done
}
# Flags for CFG. A whole name comes before a part of it, so that a recipe may be called tiny_mine.
if [[ -e "configs/backbones/$cfg.yaml" ]]; then
    flags=(--backbone "$cfg")
else
    flags=(--config-file "configs/trainers/TRAINER/$cfg.yaml")
    for backbone in $(names configs/backbones/*.yaml); do
        recipe="${cfg#"${backbone}_"}"
        if [[ "$recipe" != "$cfg" && ! -e "configs/trainers/${trainers%% *}/$cfg.yaml" ]]; then
            flags=(--backbone "$backbone" --config-file "configs/trainers/TRAINER/$recipe.yaml")
        fi
    done
fi

variant="$(variant "$cfg" "$@")"

if [[ -n "${DRY_RUN:-}" ]]; then
    PYTHON="${PYTHON:-python3}"
elif [[ -z "${PYTHON:-}" ]]; then
    source scripts/lib/setup_env.sh requirements.txt
fi
export PYTHON
started=$SECONDS failed=

# As many words for each run.
list_runs() {
    for trainer in $trainers; do
        # Nothing is drawn in zero-shot CLIP: one seed is all, unless the pictures are.
        chosen="$seeds"
        [[ "$trainer" != ZeroshotCLIP || " $* " == *" DATASET.DRAW seed "* ]] || chosen="${seeds%% *}"
        for seed in $chosen; do
            printf '%s\0' --output-dir "$output/$dataset/$trainer/$variant/seed$seed" \
                --trainer "$trainer" --seed "$seed" --root "$data" \
                --dataset-config-file "configs/datasets/$dataset.yaml" \
                "${flags[@]/TRAINER/$trainer}" "$@"
        done
    done
}
words_per_run=$((10 + ${#flags[@]} + $#))
list_runs "$@" | "$PYTHON" scripts/lib/run_all.py "$words_per_run" || failed=$?
((${failed:-0} != 2)) || exit 2 # nothing has run, and it was said why
[[ -n "${DRY_RUN:-}" ]] && exit
echo
shopt -s nullglob
results=()
for trainer in $trainers; do
    results+=("$output/$dataset/$trainer/$variant"/seed*/results.json)
done
((${#results[@]} == 0)) || "$PYTHON" scripts/parse_results.py --seconds "${results[@]}" || failed=1
cat <<END
Set-up took ${lmpt_setup_seconds:-0} s, all runs $((SECONDS - started)) s.
Curves:  $PYTHON -m tensorboard.main --logdir $output/$dataset
Results: $output/$dataset/<trainer>/$variant/seed<k>/results.json
END
[[ -z "$failed" ]] || fail "not every run has finished, see above; the same command goes on"
