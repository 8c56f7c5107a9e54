"""From a preset to what has to be done: stages, the DAG, settings, keys, and the records of runs."""
