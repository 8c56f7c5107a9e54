"""The text-to-image models that are trained: loading, encoding, predicting, attention, adapters and their exports."""
