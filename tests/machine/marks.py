"""What pytest is told of the tests that drive the machine."""

import pytest

MARKS = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.postgres,
    # Of processes that were killed
    pytest.mark.filterwarnings("ignore:.*ServerCursor.*still open:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]
