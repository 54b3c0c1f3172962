"""What a report says, as facts: read from a run, not yet worded or drawn."""
