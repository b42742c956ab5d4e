"""A proxy between boto3 and a real store that makes calls late, lost, doubled or different."""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from itertools import repeat
from socket import SHUT_RD
from tempfile import SpooledTemporaryFile
from threading import Event, Thread
from typing import IO, Any, NamedTuple, Self, TypedDict, Unpack
from urllib.parse import parse_qsl, unquote, urlsplit
from wsgiref.headers import Headers

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.loaders import create_loader
from botocore.model import ServiceModel
from django.conf import settings

PIECE_BYTES = 64 * 1024
UPSTREAM_TIMEOUT_SECONDS = 30


class Call(NamedTuple):
    operation: str
    key: str
    """Empty where the path names none, as for PostObject and DeleteObjects."""


def name_operation(method: str, path: str, query: str, headers: Iterable[str]) -> str:
    """The S3 operation, as boto3 names it, of a request whose path begins with the bucket.

    Of the headers only the names count. What S3 does not know, as OPTIONS, keeps its method's name.
    """
    pairs = parse_qsl(query, keep_blank_values=True)
    given = {name.lower() for name in headers}
    given |= {f"?{name}" for name, _ in pairs} | {f"?{name}={value}" for name, value in pairs}
    depth = sum(map(bool, path.split("/", 2)))
    fitting = [
        (len(needs), name)
        for name, *place, needs in _load_operations()
        if place == [method, depth] and needs <= given
    ]
    return max(fitting, key=lambda fit: fit[0], default=(0, method))[1]


@cache
def _load_operations() -> list[tuple[str, str, int, set[str]]]:
    """Each operation with its method, the depth of its path, and what a request of it carries."""
    # Not that of a session: its clients change what they share.
    model = ServiceModel(create_loader().load_service_model("s3", "service-2"), "s3")
    operations = [("PostObject", "POST", 1, set[str]())]  # boto3 signs it and never calls it
    marks = {"querystring": "?", "header": ""}
    for operation in map(model.operation_model, model.operation_names):
        if operation.deprecated:  # another one has its place
            continue
        path, _, query = operation.http["requestUri"].partition("?")
        needs = {f"?{part}" for part in query.split("&") if part}
        shape: Any = operation.input_shape
        for place in (shape.members[name].serialization for name in shape.required_members):
            if place.get("location") in marks:
                needs.add(marks[place["location"]] + place["name"])
        operations.append((operation.name, operation.http["method"], path.count("{"), needs))
    return operations


@dataclass(kw_only=True)
class Answer:
    """What the client gets."""

    status: int
    headers: Headers
    body: Iterable[bytes]
    close: Callable[[], object] = lambda: None

    def discard(self) -> int:
        """Read it to its end, for only then the store is done; give its status."""
        with closing(self):
            deque(self.body, maxlen=0)
        return self.status


@dataclass(kw_only=True)
class Exchange:
    """A request of a client on its way to the store."""

    call: Call
    method: str
    target: str
    headers: Headers
    incoming: Iterator[bytes]
    proxy: "StoreProxy"
    _record: IO[bytes] | None = None

    def record(self) -> None:
        """Take over the body: it can be sent when the client has left, and more than once."""
        if self._record is None:
            file = SpooledTemporaryFile(PIECE_BYTES)  # noqa: SIM115 - the proxy closes it
            self._record = self.proxy.records.enter_context(file)
            for piece in self.incoming:
                self._record.write(piece)

    def drain(self) -> None:
        """Let the client send its whole body: before, it looks at no answer."""
        deque(self.incoming, maxlen=0)

    def ask_store(self) -> Answer:
        with ExitStack() as stack:
            connection = HTTPConnection(self.proxy.upstream, timeout=UPSTREAM_TIMEOUT_SECONDS)
            stack.callback(connection.close)
            connection.putrequest(
                self.method, self.target, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            with suppress(BrokenPipeError):  # refused before its end: the answer says why
                for piece in _frame(self._read_body(), self.headers):
                    connection.send(piece)
            response = stack.enter_context(connection.getresponse())
            return Answer(
                status=response.status,
                headers=Headers(response.getheaders()),
                body=_read_response(response),
                close=stack.pop_all().close,
            )

    def sign_again(self) -> None:
        """Sign the headers as they are now, if the signature is one of them.

        boto3's is; that of a presigned address or form signs none that a rewrite would change.
        """
        if "Authorization" not in self.headers:
            return
        options = settings.STORAGES["attachments"]["OPTIONS"]
        credentials = Credentials(options["access_key"], options["secret_key"])
        signed = {
            name: value
            for name, value in self.headers.items()
            if name.lower().startswith(("host", "content-md5", "content-type", "x-amz-"))
        }
        url = f"{self.proxy.url}{self.target}"
        request = AWSRequest(method=self.method, url=url, headers=signed)
        request.context["payload"] = self.headers["x-amz-content-sha256"]
        _Signer(credentials, "s3", options["region_name"]).add_auth(request)
        for name, value in request.headers.items():
            self.headers[name] = value

    def _read_body(self) -> Iterator[bytes]:
        if self._record is None:
            return self.incoming
        self._record.seek(0)
        return iter(partial(self._record.read, PIECE_BYTES), b"")


class _Signer(S3SigV4Auth):
    def payload(self, request: AWSRequest) -> str:
        """The hash that the client gave: the body is the same."""
        return str(request.context["payload"])


Forward = Callable[[], Answer]
Fault = Callable[[Exchange, Forward], Answer]
"""Gets a request and what passes it on, and gives what the client gets.

A ``ConnectionError`` closes the client's connection.
"""
_Rule = tuple[Callable[[Call], bool], Fault]
Keys = str | Callable[[str], bool]
"""What a key begins with, or a predicate."""


class Which(TypedDict, total=False):
    """Which calls of an operation: the next ``times`` (1; None is all) with such keys (any)."""

    times: int | None
    keys: Keys


@dataclass
class Hold:
    """Calls that wait for the test. When it has released them, none waits any more."""

    reached: Event = field(default_factory=Event)
    """A call arrived at the proxy."""
    done: Event = field(default_factory=Event)
    """The store answered all that arrived."""
    _released: Event = field(default_factory=Event)
    _unanswered: list[Call] = field(default_factory=list)

    def release(self) -> None:
        self._released.set()

    def keep_request(self, exchange: Exchange, forward: Forward) -> Answer:
        exchange.record()
        self._note(exchange)
        self._released.wait()
        return self._ask(forward)

    def keep_answer(self, exchange: Exchange, forward: Forward) -> Answer:
        self._note(exchange)
        answer = self._ask(forward)
        self._released.wait()
        return answer

    def _note(self, exchange: Exchange) -> None:
        self._unanswered.append(exchange.call)
        self.reached.set()

    def _ask(self, forward: Forward) -> Answer:
        answer = forward()
        self._unanswered.pop()
        if not self._unanswered:
            self.done.set()
        return answer


class Replay:
    """A call that the test can send to the store again, once it was made."""

    def remember(self, exchange: Exchange, forward: Forward) -> Answer:
        exchange.record()
        self._forward = forward
        return forward()

    def send_again(self) -> int:
        """Gives the status."""
        return self._forward().discard()


class StoreProxy(ThreadingHTTPServer):
    """Passes everything on, but for the faults that a test asks for.

    A call may meet several faults: the one asked for first is outermost, and one that does not
    pass the call on leaves the others for the next. An error of a test's own function closes the
    client's connection and is raised at the end.
    """

    request_queue_size = 128

    def __init__(self, upstream_url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.upstream = urlsplit(upstream_url).netloc
        self.calls: list[Call] = []
        """All that arrived. Threads append to it, which is atomic."""
        self.records = ExitStack()
        self._rules: list[_Rule] = []
        self._holds: list[Hold] = []
        self._errors: list[BaseException] = []
        self._connections: list[tuple[Thread, Any]] = []
        self._serving = Thread(target=self.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Self:
        self._serving.start()
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        for held in self._holds:
            held.release()
        self._end_connections()
        self.shutdown()
        self._end_connections()  # that came meanwhile
        self._serving.join()
        self.server_close()
        self.records.close()
        if self._errors and kind is None:
            raise self._errors[0]

    def add(self, operation: str, fault: Fault, **which: Unpack[Which]) -> None:
        """Let the fault take such calls. All the verbs below are made of this."""
        times, keys = which.get("times", 1), which.get("keys", "")
        is_wanted = keys if callable(keys) else lambda key: key.startswith(keys)
        turns = repeat(True) if times is None else repeat(True, times)

        def takes(call: Call) -> bool:
            wanted = call.operation == operation and is_wanted(call.key)
            return wanted and next(turns, False)  # atomic: threads share the turns

        self._rules.append((takes, fault))

    def hold(self, operation: str, **which: Unpack[Which]) -> Hold:
        """Keep it from the store until released, even when the client has given up and left."""
        self._holds.append(held := Hold())
        self.add(operation, held.keep_request, **which)
        return held

    def hold_answer(self, operation: str, **which: Unpack[Which]) -> Hold:
        """Let the store do it at once, and the client wait until released."""
        self._holds.append(held := Hold())
        self.add(operation, held.keep_answer, **which)
        return held

    def drop(self, operation: str, **which: Unpack[Which]) -> None:
        """Close the client's connection; the store never hears of the call."""

        def close(exchange: Exchange, forward: Forward) -> Answer:
            exchange.drain()
            raise ConnectionAbortedError

        self.add(operation, close, **which)

    def drop_answer(self, operation: str, **which: Unpack[Which]) -> None:
        """Let the store do it, and close the client's connection."""

        def close(exchange: Exchange, forward: Forward) -> Answer:
            forward().discard()
            raise ConnectionAbortedError

        self.add(operation, close, **which)

    def repeat(
        self, operation: str, times: int = 2, *, calls: int | None = 1, keys: Keys = ""
    ) -> None:
        """Send each of the next ``calls`` several times; the client gets the last answer."""

        def send(exchange: Exchange, forward: Forward) -> Answer:
            exchange.record()
            for _ in range(times - 1):
                forward().discard()
            return forward()

        self.add(operation, send, times=calls, keys=keys)

    def repeat_later(self, operation: str, **which: Unpack[Which]) -> Replay:
        """Keep what was sent, so that the test can send it again."""
        replay = Replay()
        self.add(operation, replay.remember, **which)
        return replay

    def answer(
        self,
        operation: str,
        status: int,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        **which: Unpack[Which],
    ) -> None:
        """Answer in the store's place, which never hears of the call."""
        given = {"Content-Length": str(len(body)), **(headers or {})}

        def give(exchange: Exchange, forward: Forward) -> Answer:
            return Answer(status=status, headers=Headers([*given.items()]), body=[body])

        self.add(operation, give, **which)

    def rewrite(
        self,
        operation: str,
        request: Callable[[Headers], object] | None = None,
        response: Callable[[Headers], object] | None = None,
        **which: Unpack[Which],
    ) -> None:
        """Let the functions change the headers in place. The request is signed again."""

        def change(exchange: Exchange, forward: Forward) -> Answer:
            if request:
                request(exchange.headers)
                exchange.sign_again()
            answer = forward()
            if response:
                response(answer.headers)
            return answer

        self.add(operation, change, **which)

    def on(
        self, operation: str, function: Callable[[Exchange], object], **which: Unpack[Which]
    ) -> None:
        """Call the function when the request is here and not yet at the store."""

        def call(exchange: Exchange, forward: Forward) -> Answer:
            function(exchange)
            return forward()

        self.add(operation, call, **which)

    def let_in_all_origins(self, known: str) -> None:
        """Answer browsers of any origin as the store answers those of ``known``."""

        def rewrite(exchange: Exchange, forward: Forward) -> Answer:
            origin = exchange.headers["Origin"]
            if origin is None:
                return forward()
            exchange.headers["Origin"] = known
            answer = forward()
            del answer.headers["Access-Control-Allow-Origin"]
            answer.headers["Access-Control-Allow-Origin"] = origin
            return answer

        for operation in ("OPTIONS", "PostObject"):
            self.add(operation, rewrite, times=None)

    def pass_on(self, exchange: Exchange, rules: Sequence[_Rule] | None = None) -> Answer:
        """Through the faults that take it, to the store."""
        rules = self._rules[:] if rules is None else rules
        for number, (takes, fault) in enumerate(rules, start=1):
            if takes(exchange.call):
                return fault(exchange, partial(self.pass_on, exchange, rules[number:]))
        return exchange.ask_store()

    def process_request(self, request: Any, client_address: Any) -> None:
        arguments = (request, client_address)
        thread = Thread(target=self.process_request_thread, args=arguments, daemon=True)
        thread.start()
        self._connections.append((thread, request))

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        if error and not isinstance(error, ConnectionError | HTTPException):
            self._errors.append(error)

    def _end_connections(self) -> None:
        for thread, connection in self._connections:
            with suppress(OSError):  # closed already
                connection.shutdown(SHUT_RD)  # an idle thread ends, a busy one answers first
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: StoreProxy

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        key = url.path.removeprefix("/").partition("/")[2]
        operation = name_operation(self.command, url.path, url.query, self.headers)
        exchange = Exchange(
            call=Call(operation, unquote(key)),
            method=self.command,
            target=self.path,
            headers=Headers(self.headers.items()),
            incoming=_read_request(self.rfile, self.headers),
            proxy=self.server,
        )
        self.server.calls.append(exchange.call)
        with closing(self.server.pass_on(exchange)) as answer:
            exchange.drain()
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD" and answer.status not in {204, 304}:
                for piece in _frame(answer.body, answer.headers):
                    self.wfile.write(piece)
                if not (
                    "Content-Length" in answer.headers or "Transfer-Encoding" in answer.headers
                ):
                    self.close_connection = True  # nothing else tells the end

    do_HEAD = do_PUT = do_POST = do_DELETE = do_OPTIONS = do_GET  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


def _read_request(source: BufferedIOBase, headers: Any) -> Iterator[bytes]:
    if "Transfer-Encoding" not in headers:
        yield from _read_exactly(source, int(headers.get("Content-Length", 0)))
        return
    while size := int(_read_line(source), 16):
        yield from _read_exactly(source, size)
        _read_line(source)
    while _read_line(source).strip():  # trailers
        pass


def _read_line(source: BufferedIOBase) -> bytes:
    if line := source.readline():
        return line
    raise ConnectionAbortedError


def _read_exactly(source: BufferedIOBase, size: int) -> Iterator[bytes]:
    while size:
        piece = source.read1(min(size, PIECE_BYTES))
        if not piece:
            raise ConnectionAbortedError
        size -= len(piece)
        yield piece


def _read_response(response: HTTPResponse) -> Iterator[bytes]:
    while piece := response.read(PIECE_BYTES):
        yield piece
    if response.length:
        raise ConnectionAbortedError


def _frame(pieces: Iterable[bytes], headers: Any) -> Iterator[bytes]:
    """Give the pieces as they travel: http.client and the handler read chunks, and write none."""
    if "Transfer-Encoding" not in headers:
        yield from pieces
        return
    for piece in pieces:
        yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"
