"""Readers of files as data: nothing in a file is ever run."""
