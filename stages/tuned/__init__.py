"""A preset's trained model in use: sampled from, compared, exported."""
