"""Which of several captioners to train with: how surely each tells an image's text from nearly the same, wrong ones."""
