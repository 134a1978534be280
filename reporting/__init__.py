"""Reports on finished runs: one HTML page, and its figures and tables as files."""

from compat.bootstrap import ensure_dassl

ensure_dassl()
