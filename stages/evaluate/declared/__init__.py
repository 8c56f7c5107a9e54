"""What every benchmark says of itself, so that plan and pages know none of them by name."""
