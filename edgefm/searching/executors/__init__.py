"""Who does the trials of a search: processes of this machine, or tasks of a Ray cluster."""
