"""Attack on a prompt (ATM, arXiv 2306.02583): words added to it by gradient, so that its object is no longer drawn."""
