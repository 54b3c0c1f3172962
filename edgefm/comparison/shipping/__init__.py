"""Which of a record's files to ship, and why: the one answer that every command, page and function shows."""
