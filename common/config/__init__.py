"""Config keys: their rules, values, former spellings, and the yaml files of a run."""
