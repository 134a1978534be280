#!/usr/bin/env bash
# Set up, then compare zero-shot CLIP, CoOp and LMPT on the embedded data set and print a table.
#
# usage: bash scripts/quickstart.sh [SEEDS]        default: "1 2 3"
#
# Drawn shapes go to data/, results to output/. Finished runs are kept, interrupted ones go on.
#
# environment: JOBS     runs at a time (one for each core, at most 4; on a GPU 1)
#              GPUS, ENGINE as for compare.sh
set -euo pipefail
if [[ "${1:-}" == "-h" || "${1:-}" == "--help" ]]; then
    sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
fi
if [[ -z "${JOBS:-}${GPUS:-}${ENGINE:-}" ]] && ! command -v nvidia-smi >/dev/null; then
    JOBS="$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)"
    export JOBS="$((JOBS > 4 ? 4 : JOBS))"
fi
exec bash "$(dirname "${BASH_SOURCE[0]}")/compare.sh" \
    shapes_lt tiny "ZeroshotCLIP CoOp LMPT" "${1:-1 2 3}"
