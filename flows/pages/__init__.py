"""What the local pages of `comat view` and `comat study serve` share: the server, safe headers, answers of one line."""
