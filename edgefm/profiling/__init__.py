"""Where a model's time goes, operator by operator: models cut from the file, timed, checked against the whole."""
