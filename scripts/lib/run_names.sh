# shellcheck shell=bash
# Sourced by the scripts that run train.py many times: how they fail, which words they know, and how
# they name folders.

fail() {
    echo "error: $*" >&2
    exit 2
}

# choice WHAT VALUE CHOICES...: fail, with the nearest choice, unless VALUE is one of them.
choice() {
    local what="$1" value="$2" known near
    shift 2
    for known in "$@"; do [[ "$known" == "$value" ]] && return; done
    near="$(python3 - "$value" "$@" 2>/dev/null <<'PY'
import difflib, sys
known = {name.lower(): name for name in sys.argv[2:]}
print(*(known[name] for name in difflib.get_close_matches(sys.argv[1].lower(), known, 1)))
PY
    )" || true
    [[ -z "$near" ]] || near=" Did you mean $near?"
    fail "$what must be one of $*, got $value.$near"
}

# from_here PATH DEFAULT: PATH as the caller means it; the default lies in the project.
from_here() {
    case "$1" in
        "") echo "$2" ;;
        /*) echo "$1" ;;
        *) echo "$PWD/$1" ;;
    esac
}

# variant CFG [KEY VALUE ...]: the folder of runs, named by CFG and TAG, or else the overrides.
variant() {
    local tag="${TAG:-}" cfg="$1"
    shift
    if [[ -z "$tag" ]]; then
        while (($#)); do
            tag+="_${1##*.}$2"
            shift 2
        done
        tag="${tag#_}"
    fi
    echo "$cfg${tag:+_${tag//[^A-Za-z0-9._-]/-}}"
}
