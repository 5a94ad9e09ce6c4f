"""The one exception a user can cause."""

LONGEST = 2000  # characters of a message; a file can hold a name of any length


class InputError(ValueError):
    """Bad input: a file, folder or parameter that cannot be used.

    The message names the file or parameter, says what was expected, and what to do.
    The command line prints it as one line and exits with status 2; a notebook shows
    it as the last line of the traceback.
    """

    def __str__(self) -> str:
        return one_line(super().__str__())


def shown(value: object) -> str:
    """``value`` as a message shows it: as Python writes it, the middle of a long one left out."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of more than 4300 digits
        return "a number of thousands of digits"
    return text if len(text) <= 100 else f"{text[:50]} ... {text[-45:]}"


def one_line(text: str) -> str:
    """``text`` as one line that a terminal shows as it is.

    Names of files and cells of tables come from outside: line breaks, control sequences and characters that
    turn the direction of reading are written as ``\\n``, ``\\x1b``, ``\\u202e``; a very long text loses its
    middle.
    """
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
