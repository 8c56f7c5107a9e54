"""The one exception type for mistakes that a user can mend."""


class UserError(Exception):
    """A mistake in the input, told in one line: what is wrong, where it stands, what to do about it.

    The command line prints it and exits with code 2. Programming errors stay assertions.
    """

    def __init__(self, what: str, where: str, what_to_do: str) -> None:
        self.what = what
        self.where = where
        self.what_to_do = what_to_do
        super().__init__(what, where, what_to_do)

    def __str__(self) -> str:
        line = f"{self.what} ({self.where}): {self.what_to_do}"
        return " ".join(line.split())
