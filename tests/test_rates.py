"""How often: moving windows in this process and in Redis, whose outages stop nothing."""

import multiprocessing
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from time import sleep

import pytest
import redis

from attachments import rates
from attachments.errors import RateLimitUnavailable
from attachments.rates import process, shared
from attachments.rates.places import RedisPlace, find_redis
from tests.documents import ROOT
from tests.redis_server import RealRedis, is_redis_installed

DJANGO_CACHE = "django.core.cache.backends.redis.RedisCache"
RATE = "10/minute"


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory):
    if not is_redis_installed():
        pytest.skip("redis-server is not installed (Debian: redis-server)")
    server = RealRedis(directory=tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def in_process(monkeypatch):
    monkeypatch.setattr(rates, "_of_this_process", process.ProcessWindows())


@pytest.fixture
def in_redis(redis_server, settings):
    settings.CACHES = {"default": {"BACKEND": DJANGO_CACHE, "LOCATION": redis_server.url}}
    rates._open_redis.cache_clear()
    yield redis_server
    rates._open_redis.cache_clear()


@pytest.fixture
def lost_redis(in_redis, tmp_path, settings):
    """Another one, for a test to stop; asked again at once when it failed."""
    server = RealRedis(directory=tmp_path)
    server.start()
    settings.CACHES = {"default": {"BACKEND": DJANGO_CACHE, "LOCATION": server.url}}
    yield server
    server.stop()


@pytest.fixture(params=["in_process", "in_redis"])
def anywhere(request):
    request.getfixturevalue(request.param)


def take(who="alice", rate=RATE):
    return rates.take(scope="test", who=who, rate=rate)


def count_passed(take_one, requests=50):
    """How many pass of so many at once."""
    barrier = threading.Barrier(requests)

    def go(_):
        barrier.wait()
        return take_one() == 0

    with ThreadPoolExecutor(requests) as threads:
        return sum(threads.map(go, range(requests)))


def test_of_fifty_at_once_ten_pass(anywhere):
    assert count_passed(lambda: take("fifty")) == 10


def test_each_has_their_own_window(anywhere):
    assert [take("carol", "1/minute"), take("dave", "1/minute")] == [0, 0]
    assert take("carol", "1/minute") > 0
    assert rates.take(scope="other", who="carol", rate="1/minute") == 0


def test_what_is_given_back_does_not_count(anywhere):
    assert take("erin", "1/minute") == 0
    rates.give_back(scope="test", who="erin", rate="1/minute")
    rates.give_back(scope="test", who="erin", rate="1/minute")

    assert take("erin", "1/minute") == 0
    assert 0 < take("erin", "1/minute") <= 60


def test_whoever_waits_as_told_passes(anywhere):
    assert take("frank", "1/second") == 0
    seconds = take("frank", "1/second")
    assert seconds in (1, 2)

    sleep(seconds)

    assert take("frank", "1/second") == 0


def test_the_window_moves(monkeypatch):
    """Each hit ceases to count by itself, not all at the end of a minute."""
    now = 1000.0
    monkeypatch.setattr(process, "monotonic", lambda: now)
    windows = process.ProcessWindows()
    rate = rates._parse("2/minute")
    assert [windows.take("a", rate) for _ in range(1)] == [0]
    now += 30.5
    assert [windows.take("a", rate), windows.take("a", rate)] == [0, 30]
    now += 29.4
    assert windows.take("a", rate) == 1
    now += 1
    assert [windows.take("a", rate), windows.take("a", rate)] == [0, 30]


def test_windows_that_are_over_are_forgotten(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(process, "monotonic", lambda: now)
    windows = process.ProcessWindows()
    for number in range(999):
        windows.take(str(number), rates._parse("1/second"))
    windows.take("kept", rates._parse("1/minute"))
    now += 2

    windows.take("new", rates._parse("1/second"))

    assert len(windows._hits) == 2


WORKER = """
import sys
from django.conf import settings
settings.configure()
from tests.test_rates import count_passed
from tests.test_rates import make_place
from attachments.rates.shared import RedisWindows
from limits import parse
windows, rate = RedisWindows(make_place(sys.argv[1])), parse("10/minute")
print("ready", flush=True)
sys.stdin.readline()
print(count_passed(lambda: windows.take("processes", rate), requests=25))
"""


def test_of_fifty_at_once_from_two_processes_ten_pass(redis_server):
    command = [sys.executable, "-c", WORKER, redis_server.url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen(command, cwd=ROOT, **pipes) for _ in range(2)]
    assert [worker.stdout.readline() for worker in workers] == ["ready\n"] * 2

    for worker in workers:
        worker.stdin.write("\n")
        worker.stdin.flush()
    passed = [int(worker.communicate()[0]) for worker in workers]

    assert sum(passed) == 10


# Where they are counted


def make_place(url="redis://a", key_prefix="attachments-rates", options=()):
    return RedisPlace(url=url, key_prefix=key_prefix, options=dict(options))


@pytest.mark.parametrize(
    ("cache", "place"),
    [
        ({"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}, None),
        ({"BACKEND": "django.core.cache.backends.missing.RedisCache"}, None),
        ({"BACKEND": DJANGO_CACHE, "LOCATION": "redis://a:1/2"}, make_place("redis://a:1/2")),
        ({"BACKEND": DJANGO_CACHE, "LOCATION": ["redis://a", "redis://b"]}, make_place()),
        ({"BACKEND": DJANGO_CACHE, "LOCATION": "redis://a;redis://b"}, make_place()),
        ({"BACKEND": DJANGO_CACHE}, make_place("")),
        (
            {"BACKEND": DJANGO_CACHE, "LOCATION": "redis://a", "KEY_PREFIX": "site-2:"},
            make_place(key_prefix="site-2:attachments-rates"),
        ),
        (
            {
                "BACKEND": "tests.test_rates.RedisCache",
                "LOCATION": "redis://a",
                "OPTIONS": {"password": "x", "pool_class": "y", "CLIENT_CLASS": "z"},
            },
            make_place(options={"password": "x"}),
        ),
    ],
)
def test_rates_are_counted_in_the_redis_of_the_cache(settings, cache, place):
    settings.CACHES = {"default": cache}

    assert find_redis() == place


def test_options_of_any_type_are_passed_on(in_redis, settings):
    """They are part of what a connection is kept by."""
    options = {"retry_on_error": [OSError]}
    settings.CACHES["default"]["OPTIONS"] = options

    assert [take(rate="1/minute", who="options") > 0 for _ in range(2)] == [False, True]


def test_sites_that_share_a_redis_count_apart(in_redis, settings):
    assert take(rate="1/minute", who="shared") == 0

    settings.CACHES["default"]["KEY_PREFIX"] = "other-site"

    assert take(rate="1/minute", who="shared") == 0


class RedisCache:
    """A subclass of django-redis's would have one of this name among its bases."""


# Outages


def lose(server):
    server.stop()


def hang(server):
    server.hang()


@pytest.mark.parametrize("fail", [lose, hang])
def test_without_redis_all_pass_by_default(lost_redis, fail, caplog, monkeypatch):
    assert take(rate="1/minute") == 0
    asked = []
    ask = note_calls(shared.RedisWindows._ask_twice, asked)
    monkeypatch.setattr(shared.RedisWindows, "_ask_twice", ask)

    fail(lost_redis)

    assert [take(rate="1/minute") for _ in range(20)] == [0] * 20
    assert len(asked) == 1  # the others do not wait for it
    (record,) = caplog.records
    assert record.message.startswith("Rates cannot be counted, as Redis fails; all passes until")


def test_a_resolver_that_hangs_holds_nobody_up(settings, caplog, monkeypatch):
    url = "redis://redis.invalid:6379"
    settings.CACHES = {"default": {"BACKEND": DJANGO_CACHE, "LOCATION": url}}
    look_up, goes_on, answered = socket.getaddrinfo, threading.Event(), []

    def hang(host, *args, **kwargs):
        if host == "redis.invalid":
            answered.append(goes_on.wait(10))
            raise socket.gaierror
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(shared, "OPEN_SECONDS", 0.05)
    try:
        assert take() == 0
        assert answered == []
        assert "as Redis fails" in caplog.text
    finally:
        goes_on.set()
        rates._open_redis.cache_clear()


@pytest.mark.parametrize("fail", [lose, hang])
def test_without_redis_all_are_refused_if_the_host_wants_it(lost_redis, fail, settings, caplog):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "RATE_LIMIT_FAIL_OPEN": False}
    fail(lost_redis)

    for _ in range(5):
        with pytest.raises(RateLimitUnavailable):
            take()
    rates.give_back(scope="test", who="alice", rate=RATE)

    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_redis_that_is_back_counts_again(lost_redis, caplog, monkeypatch):
    monkeypatch.setattr(shared, "RETRY_SECONDS", 0)
    assert take(rate="1/minute") == 0
    lost_redis.hang()
    assert [take(rate="1/minute"), take(rate="1/minute")] == [0, 0]

    lost_redis.go_on()

    assert take(rate="1/minute") > 0
    _outage, end = find_told(caplog)
    assert end == "Redis works again, and rates are counted."


def test_redis_that_was_restarted_counts_at_once(lost_redis, caplog):
    """The connections that it closed are not tried again."""
    assert take(rate="1/minute") == 0
    lost_redis.stop()
    lost_redis.start()

    assert take(rate="1/minute") == 0
    assert take(rate="1/minute") > 0
    assert find_told(caplog) == []


def find_told(caplog):
    """What was logged of Redis itself."""
    return [record.message for record in caplog.records if record.name == shared.logger.name]


def test_another_redis_takes_over(in_redis, tmp_path, settings, monkeypatch):
    """The one that was the first answers on, on its old connections, and takes no more writes."""
    monkeypatch.setattr(shared, "RETRY_SECONDS", 0)
    first, second = RealRedis(directory=tmp_path), RealRedis(directory=tmp_path)
    first.start()
    settings.CACHES = {"default": {"BACKEND": DJANGO_CACHE, "LOCATION": first.url}}
    try:
        assert take(rate="1/minute") == 0
        redis.from_url(first.url).replicaof("127.0.0.1", 1)
        first.socket_path.unlink()
        second.start()  # at the same address

        passed = [take(who="bob", rate="1/minute") == 0 for _ in range(3)]
        assert passed == [True, True, False]  # the first was not counted
    finally:
        first.stop()
        second.stop()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("place", ["in_process", "in_redis"])
def test_a_forked_process_counts_too(request, place):
    """As of a server that forks while another thread holds the lock, or has used its connection."""
    request.getfixturevalue(place)
    take(who="parent", rate="1/minute")
    lock = rates._of_this_process._lock if place == "in_process" else nullcontext()

    with lock:
        child = multiprocessing.get_context("fork").Process(target=check_counting, daemon=True)
        child.start()
        child.join(30)
        code = child.exitcode
        child.kill()

    assert code == 0
    assert take(who="parent", rate="1/minute") > 0


def check_counting():
    assert [take(who="child", rate="1/minute") > 0 for _ in range(2)] == [False, True]


def note_calls(function, calls):
    def noted(*args, **kwargs):
        calls.append(args)
        return function(*args, **kwargs)

    return noted
