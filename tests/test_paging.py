from datetime import UTC, datetime
from uuid import UUID

import pytest

from attachments.models import Attachment
from attachments.paging import NEWEST_FIRST, InvalidPosition, Position, parse_position
from nodus.messaging.models import Message

ID = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.mark.parametrize("is_newer", [True, False])
@pytest.mark.parametrize("includes_row", [True, False])
def test_a_position_survives_being_written(is_newer, includes_row):
    position = Position(
        values=(datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC), UUID(ID)),
        is_newer=is_newer,
        includes_row=includes_row,
    )

    assert parse_position(position.write(), model=Attachment, names=NEWEST_FIRST) == position


@pytest.mark.parametrize(
    "text",
    [
        "",
        "older",
        "older.",
        f"sideways.2026-01-02T03:04:05+00:00~{ID}",
        f"older.2026-01-02~{ID}",
        f"older.2026-01-02T03:04:05~{ID}",
        f"older.0001-01-01T00:00:00+14:00~{ID}",
        "older.2026-01-02T03:04:05+00:00",
        "older.2026-01-02T03:04:05+00:00~5",
        f"older.2026-01-02T03:04:05+00:00~{ID}~{ID}",
    ],
)
def test_other_text_is_no_position(text):
    with pytest.raises(InvalidPosition):
        parse_position(text, model=Attachment, names=NEWEST_FIRST)


@pytest.mark.django_db
def test_a_number_that_no_row_can_have_is_no_position():
    with pytest.raises(InvalidPosition):
        parse_position(
            f"older.2026-01-02T03:04:05+00:00~{2**80}", model=Message, names=NEWEST_FIRST
        )
