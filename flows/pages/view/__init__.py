"""`comat view`: a page for the browser of this machine that compares the base and the tuned model."""
