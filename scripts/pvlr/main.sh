#!/usr/bin/env bash
# PVLR: prompts from knowledge and from context, fused with the image.
#
# usage: bash scripts/pvlr/main.sh DATASET CFG ["SEEDS"] [KEY VALUE ...]        --help tells more
exec bash "$(dirname "${BASH_SOURCE[0]}")/../compare.sh" "${1-}" "${2-}" PVLR "${@:3}"
