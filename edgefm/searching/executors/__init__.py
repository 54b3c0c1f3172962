"""Who does the trials of a search where one process is not enough."""
