"""What quantising will cost and why: calibration, saturation, sensitivity, mixed precision."""
