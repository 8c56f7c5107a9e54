"""A preference study: people choose between images of the base and the tuned model without knowing which is which."""
