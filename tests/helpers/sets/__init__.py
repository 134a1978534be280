"""Small data sets, as files and archives."""
