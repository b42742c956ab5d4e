"""Sessions in the database, as Django keeps them."""

from django.contrib.sessions.backends import db


class SessionStore(db.SessionStore):
    """Asks the database for no key that Django would not make.

    Django unquotes cookies, so that a key may have a null character. PostgreSQL refuses those, and
    anybody could make any page fail.
    """

    def __init__(self, session_key: str | None = None) -> None:
        is_possible = session_key is not None and session_key.isascii() and session_key.isalnum()
        super().__init__(session_key if is_possible else None)
