"""The one exception that is a message to the user."""


class UserError(Exception):
    """Something the user gave cannot be used.

    The message is whole sentences: what was given, what was expected, what to do. Scripts print it without a traceback
    and exit with code 2; so does a notebook, which stops at the cell.
    """

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class Terminated(KeyboardInterrupt):
    """The program was told to end by SIGTERM, as Ctrl-C tells it."""
