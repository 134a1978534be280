#!/usr/bin/env bash
# DualCoOp++: DualCoOp with evidence contexts.
#
# usage: bash scripts/dualcoop_pp/main.sh DATASET CFG ["SEEDS"] [KEY VALUE ...]        --help tells more
exec bash "$(dirname "${BASH_SOURCE[0]}")/../compare.sh" "${1-}" "${2-}" DualCoOpPP "${@:3}"
