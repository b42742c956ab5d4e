import pytest

from attachments.errors import InvalidMetadata
from attachments.rules.metadata import clean_metadata


def nest(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return {"a": value}


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"caption": "Кот \u2028 👩‍👩‍👧", "n": [1, 2.5, None, True, {"a": {}}]},
        {"a": "\\u0000 is spelled, not meant"},
        {"a": "\x01\x10\x1f"},
        {"a": "x" * (8192 - len('{"a":""}'))},
        {"a": "й" * 4000},
    ],
)
def test_a_json_object_is_kept(value):
    assert clean_metadata(value) == value


@pytest.mark.parametrize(
    "value",
    [
        [],
        "text",
        1,
        None,
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": "\0"},
        {"\0": 1},
        {"a": ["b", {"c": "\\\0"}]},
        {"a": "\ud800"},
        {"a": "x" * 8192},
        {"a": "й" * 4096},
        nest(5000),
    ],
)
def test_what_a_database_cannot_hold_is_refused(value):
    with pytest.raises(InvalidMetadata) as raised:
        clean_metadata(value)

    assert raised.value.attr == "metadata"
    assert raised.value.detail.startswith("Invalid metadata: it ")


@pytest.mark.parametrize("number", [1e307, -1e307, 1e-300])
def test_numbers_count_as_they_are_stored(number):
    """PostgreSQL writes them out: 300 digits each."""
    assert clean_metadata({"a": [number] * 20})
    with pytest.raises(InvalidMetadata):
        clean_metadata({"a": [number] * 40})


def test_its_size_is_counted_to_the_byte_as_it_is_stored():
    """1e22 has 23 digits there, and 5 characters here."""
    value = {"a": "x" * (8192 - len('{"a":"","n":}') - 23), "n": 1e22}

    assert clean_metadata(value)
    with pytest.raises(InvalidMetadata):
        clean_metadata({**value, "a": value["a"] + "x"})


def test_depth_is_bounded():
    assert clean_metadata(nest(30))  # with the object and the innermost list, 32
    with pytest.raises(InvalidMetadata):
        clean_metadata(nest(31))
