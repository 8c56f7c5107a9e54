"""The command line: the parser, and a module per command."""
