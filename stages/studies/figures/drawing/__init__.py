"""How the figures are drawn: sheets laid out in inches, and as files the same bytes every time."""
