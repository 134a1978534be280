#!/usr/bin/env bash
# Zero-shot CLIP; of several seeds only the first is used, for nothing is drawn.
#
# usage: bash scripts/zeroshot_clip/main.sh DATASET CFG ["SEEDS"] [KEY VALUE ...]        --help tells more
exec bash "$(dirname "${BASH_SOURCE[0]}")/../compare.sh" "${1-}" "${2-}" ZeroshotCLIP "${@:3}"
