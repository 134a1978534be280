#!/usr/bin/env bash
# Set up and run every check: formatting, lint, tests. Arguments go to pytest.
#
# usage: bash scripts/test.sh [PYTEST ARGUMENTS]
#
# environment: JOBS     processes that run tests (2)
set -euo pipefail
if [[ "${1:-}" == "-h" || "${1:-}" == "--help" ]]; then
    sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
fi
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
source "$root/scripts/lib/setup_env.sh" requirements-dev.txt
cd "$root"
echo "== Formatting and lint"
"$PYTHON" -m ruff format --check .
"$PYTHON" -m ruff check .
echo "== Tests"
# A file's tests stay together: they share what is trained for them.
"$PYTHON" -m pytest -n "${JOBS:-2}" --dist loadfile "$@"
