"""What a parse says of words: nouns and their phrases, number, pronouns."""
