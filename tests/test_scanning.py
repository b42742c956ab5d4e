"""Scanners: a real ClamAV, and fake ones that misbehave in each way that there is."""

from contextlib import closing

import pytest

from attachments.errors import ScannerUnavailable
from attachments.scanning import Outcome, clamd, get_scanner
from tests.clamd import (
    EICAR,
    FOUND,
    STREAM_MAX_BYTES,
    answer,
    answer_early,
    nest,
    play,
    read_file,
)
from tests.relay import open_relay


def scan(*chunks):
    return get_scanner().scan(iter(chunks or [b"hello"]))


@pytest.fixture
def impatient(monkeypatch):
    for name in ("CONNECT_SECONDS", "SEND_SECONDS", "ANSWER_SECONDS"):
        monkeypatch.setattr(clamd, name, 0.1)


def test_a_clean_file(real_clamd):
    verdict = scan(b"hello ", b"", b"world")  # an empty chunk is not the end

    assert (verdict.outcome, verdict.reason) == (Outcome.CLEAN, "")
    assert verdict.scanner.startswith("ClamAV ")
    assert verdict.signatures_version is None  # it has no database of ClamAV's


@pytest.mark.parametrize(
    "chunks",
    [[EICAR], [b"\0" * 2**19, EICAR[:20], EICAR[20:], b"\0" * 9], [nest(EICAR, depth=3)]],
    ids=["whole", "across chunks", "in archives"],
)
def test_an_infected_file(real_clamd, chunks):
    verdict = scan(*chunks)

    assert (verdict.outcome, verdict.reason) == (Outcome.INFECTED, FOUND)


def test_a_file_over_the_limit_of_streams(real_clamd):
    chunks = (bytes(2**18) for _ in range(STREAM_MAX_BYTES // 2**18 + 8))
    with closing(chunks):
        verdict = get_scanner().scan(chunks)

    assert (verdict.outcome, verdict.reason) == (
        Outcome.UNSCANNABLE,
        "INSTREAM size limit exceeded",
    )


def test_what_is_nested_too_deep(real_clamd):
    verdict = scan(nest(EICAR, depth=20))

    assert verdict.outcome == Outcome.UNSCANNABLE
    assert verdict.reason == "Heuristics.Limits.Exceeded.MaxRecursion"


def test_clamd_by_tcp(real_clamd, use_scanner):
    with open_relay(real_clamd.connect) as relay:
        use_scanner(f"tcp://localhost:{relay.port}")

        assert scan(EICAR).reason == FOUND
        assert scan().outcome == Outcome.CLEAN


@pytest.mark.parametrize("url", ["", "unix:///nowhere/clamd.sock", "tcp://127.0.0.1:1"])
def test_nobody_listens(use_scanner, url):
    use_scanner(url)

    with pytest.raises(ScannerUnavailable):
        scan()


def test_the_version_of_the_signatures(use_scanner):
    with play(answer(b"stream: OK\0")) as fake:
        use_scanner(fake.url)
        verdict = scan()

    assert (verdict.scanner, verdict.signatures_version) == ("ClamAV 1.4.3", 27500)


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        (b"stream: Win.Test FOUND\0", Outcome.INFECTED),
        (b"stream: Heuristics.Limits.Exceeded.MaxFiles FOUND\0", Outcome.UNSCANNABLE),
        (b"stream: Heuristics.Encrypted.Zip FOUND\0", Outcome.UNSCANNABLE),
        (b"INSTREAM size limit exceeded. ERROR\0", Outcome.UNSCANNABLE),
    ],
)
def test_what_is_not_clean(use_scanner, text, outcome):
    with play(answer(text)) as fake:
        use_scanner(fake.url)

        assert scan().outcome == outcome


@pytest.mark.parametrize(
    "part",
    [
        answer(b""),
        answer(b"stream: OK"),  # and hangs up in the middle of the line
        answer(b"\0"),
        answer(b"OK\0"),
        answer(b"stream: OK FOUND OK\0"),
        answer(b"other: OK\0"),
        answer(b"stream: OK\0stream: Win.Test FOUND\0"),
        answer(b"stream: Can't allocate memory ERROR\0"),
        answer(b"\xff" * 10_000),
        answer(b"HTTP/1.1 200 OK\r\n\r\n"),
        answer_early(b"stream: OK\0"),  # before it has seen all
        answer_early(b""),
        lambda connection: None,
    ],
)
def test_rubbish_is_never_clean(use_scanner, part):
    with play(part) as fake:
        use_scanner(fake.url)

        with pytest.raises(ScannerUnavailable):
            scan(*[bytes(2**18)] * 64)  # more than the buffers of sockets hold


@pytest.mark.parametrize(
    "version",
    [
        b"",
        b"UNKNOWN COMMAND\0",
        b"stream: OK\0",
        b"ClamAV 1\0.4/1/x\0",
        b"ClamAV 1.4.3/" + b"9" * 30 + b"/Mon\0",
    ],
)
def test_a_clamd_that_does_not_tell_its_version(use_scanner, version):
    with play(answer(b"stream: OK\0"), version=version) as fake:
        use_scanner(fake.url)

        with pytest.raises(ScannerUnavailable):
            scan()
    assert fake.scans == 0


def _never_read(connection):
    connection.server.is_over.wait(10)


def _never_answer(connection):
    read_file(connection)
    connection.server.is_over.wait(10)


def _drip(connection):
    """A byte now and then keeps a socket alive, but is no answer."""
    read_file(connection)
    while not connection.server.is_over.wait(0.03):
        connection.wfile.write(b"s")


@pytest.mark.parametrize("part", [_never_read, _never_answer, _drip])
def test_a_slow_clamd(use_scanner, impatient, part):
    with play(part) as fake:
        use_scanner(fake.url)

        with pytest.raises(ScannerUnavailable):
            scan(*[bytes(2**18)] * 64)
        fake.is_over.set()


def test_what_reading_the_file_raises_is_passed_on(real_clamd):
    def chunks():
        yield b"hello"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        get_scanner().scan(chunks())
