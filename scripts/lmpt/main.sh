#!/usr/bin/env bash
# LMPT: contexts and a class-specific embedding loss on captions.
#
# usage: bash scripts/lmpt/main.sh DATASET CFG ["SEEDS"] [KEY VALUE ...]        --help tells more
exec bash "$(dirname "${BASH_SOURCE[0]}")/../compare.sh" "${1-}" "${2-}" LMPT "${@:3}"
