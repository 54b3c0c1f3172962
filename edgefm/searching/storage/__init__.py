"""Where the trials of a search are kept when its folder is not enough: a database that several machines reach."""
