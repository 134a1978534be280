#!/usr/bin/env bash
# Run LMPT's ablation on the embedded data set and write its table to docs/ablation.md.
#
# usage: bash scripts/ablation/ablate_lmpt.sh ["SEEDS"] [PYTHON ARGUMENTS]
#        e.g. bash scripts/ablation/ablate_lmpt.sh "1 2 3 4 5" --jobs 2
#
# Finished runs in output/ablation are kept; --help lists the other arguments.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
if [[ "${1:-}" == "-h" || "${1:-}" == "--help" ]]; then
    sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
fi
seeds="${1:-1 2 3 4 5}"
source "$root/scripts/lib/setup_env.sh" requirements.txt
cd "$root"
# shellcheck disable=SC2086 # seeds are words
"$PYTHON" scripts/ablation/ablate_lmpt.py --seeds $seeds "${@:2}"
