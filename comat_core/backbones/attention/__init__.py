"""How attention is read in the different kinds of networks."""
