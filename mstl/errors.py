"""The one exception a user can cause."""


class InputError(ValueError):
    """Bad input: a file, folder or parameter that cannot be used.

    The message names the file or parameter, says what was expected, and what to do.
    The command line prints it as one line and exits with status 2; a notebook shows
    it as the last line of the traceback.
    """
