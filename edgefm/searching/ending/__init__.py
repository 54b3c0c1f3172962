"""The end of a search: finalists and result."""
