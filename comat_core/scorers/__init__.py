"""Networks that judge images: answering models, CLIP, depth, the judge, feature extractors."""
