"""The paper's figures 2, 5, 6 and 7, of any run: what they show. How it is drawn stands in `drawing`."""
