"""`comat study serve`: the page on which raters choose between two images."""
