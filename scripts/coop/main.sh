#!/usr/bin/env bash
# CoOp. What its own script calls CTP, NCTX, SHOTS and CSC are overrides here:
# TRAINER.COOP.CLASS_TOKEN_POSITION, TRAINER.COOP.N_CTX, DATASET.NUM_SHOTS and TRAINER.COOP.CSC.
#
# usage: bash scripts/coop/main.sh DATASET CFG ["SEEDS"] [KEY VALUE ...]        --help tells more
exec bash "$(dirname "${BASH_SOURCE[0]}")/../compare.sh" "${1-}" "${2-}" CoOp "${@:3}"
