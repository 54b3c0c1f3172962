"""Targets that budgets limit the p50 on: predicted there by a cost model, measured there at the end."""
