#!/usr/bin/env bash
# DualCoOp: positive and negative contexts on the regions of an image.
#
# usage: bash scripts/dualcoop/main.sh DATASET CFG ["SEEDS"] [KEY VALUE ...]        --help tells more
exec bash "$(dirname "${BASH_SOURCE[0]}")/../compare.sh" "${1-}" "${2-}" DualCoOp "${@:3}"
