"""The pages of single tools: agreement, profile, calibration, sensitivity."""
