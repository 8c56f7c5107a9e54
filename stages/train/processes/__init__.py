"""One training run in one or several processes: started, watched, stopped."""
