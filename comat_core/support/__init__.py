"""What everything above stands on: errors, numerics, random numbers, loading."""
