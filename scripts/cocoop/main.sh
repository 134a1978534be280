#!/usr/bin/env bash
# CoCoOp: contexts that are shifted by the image.
#
# usage: bash scripts/cocoop/main.sh DATASET CFG ["SEEDS"] [KEY VALUE ...]        --help tells more
exec bash "$(dirname "${BASH_SOURCE[0]}")/../compare.sh" "${1-}" "${2-}" CoCoOp "${@:3}"
