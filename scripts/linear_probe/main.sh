#!/usr/bin/env bash
# Linear probe: a classifier on the features of the frozen image tower.
#
# usage: bash scripts/linear_probe/main.sh DATASET CFG ["SEEDS"] [KEY VALUE ...]        --help tells more
exec bash "$(dirname "${BASH_SOURCE[0]}")/../compare.sh" "${1-}" "${2-}" LinearProbe "${@:3}"
