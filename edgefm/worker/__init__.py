"""What is shipped to boards: the worker process, its clock, its energy counters (Python and numpy only)."""
