"""The brake against reward hacking: other eyes choose what a training delivers, and may end it."""
