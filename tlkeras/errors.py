"""The one exception that is a message to the user."""


class UserError(Exception):
    """Something the user gave cannot be used.

    The message is whole sentences: what was given, what was expected, what to do. Scripts print it
    without a traceback and leave with exit code 2; in a notebook it is an ordinary exception.
    """


class Terminated(KeyboardInterrupt):
    """The program was told to end by SIGTERM, as Ctrl-C tells it."""
