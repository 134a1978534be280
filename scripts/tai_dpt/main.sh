#!/usr/bin/env bash
# TaI-DPT: contexts learnt from sentences in the place of images.
#
# usage: bash scripts/tai_dpt/main.sh DATASET CFG ["SEEDS"] [KEY VALUE ...]        --help tells more
exec bash "$(dirname "${BASH_SOURCE[0]}")/../compare.sh" "${1-}" "${2-}" TaIDPT "${@:3}"
