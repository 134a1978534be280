"""Dassl compatibility: `bootstrap` picks the Dassl in use, `dassl` is our own core."""
