#!/usr/bin/env bash
# Fine-tuned CLIP: the image tower is trained together with the classifier.
#
# usage: bash scripts/finetune_clip/main.sh DATASET CFG ["SEEDS"] [KEY VALUE ...]        --help tells more
exec bash "$(dirname "${BASH_SOURCE[0]}")/../compare.sh" "${1-}" "${2-}" FinetuneCLIP "${@:3}"
