"""Published files: fetched once, resumed where a connection broke, told by their checksums."""
