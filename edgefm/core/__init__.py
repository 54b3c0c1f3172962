"""What every floor stands on: errors, progress, files written whole or not at all, the environment, run folders."""
