"""Data sets: find them, verify them, split them, choose calibration images. Needs numpy only."""
