#!/usr/bin/env bash
# Set up, then compare zero-shot CLIP, CoOp and LMPT on the embedded data set and print a table.
#
# usage: bash scripts/quickstart.sh [SEEDS]        default: "1 2 3"
#
# Drawn shapes go to data/, results to output/. Finished runs are kept, interrupted ones go on.
set -euo pipefail
if [[ "${1:-}" == "-h" || "${1:-}" == "--help" ]]; then
    sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
fi
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
source "$root/scripts/setup_env.sh" requirements.txt
cd "$root"
seeds="${1:-1 2 3}"
output=output/shapes_lt
started=$SECONDS
for trainer in ZeroshotCLIP CoOp LMPT; do
    # Nothing is drawn in zero-shot CLIP: one seed is all.
    [[ "$trainer" == ZeroshotCLIP ]] && chosen="${seeds%% *}" || chosen="$seeds"
    for seed in $chosen; do
        folder="$output/$trainer/tiny/seed$seed"
        if [[ -f "$folder/results.json" ]]; then
            echo "== $trainer, seed $seed: finished before (remove $folder to run it again)"
            continue
        fi
        echo "== $trainer, seed $seed"
        "$PYTHON" train.py --root data --trainer "$trainer" --seed "$seed" \
            --dataset-config-file configs/datasets/shapes_lt.yaml \
            --config-file "configs/trainers/$trainer/tiny.yaml" --output-dir "$folder"
    done
done
echo
"$PYTHON" scripts/parse_results.py "$output"
cat <<END
Seconds: set-up $lmpt_setup_seconds, all runs $((SECONDS - started)).
Curves:  $PYTHON -m tensorboard.main --logdir $output
Results: $output/<trainer>/tiny/seed<k>/results.json
END
