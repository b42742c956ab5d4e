"""What the arguments of rules are taken from: literals, because scripts are made of them."""

from hypothesis import strategies as st

from tests.machine import kinds
from tests.machine.kinds import Trouble

USERS = st.integers(0, 1)
NUMBERS = st.integers(0, 2)
FILES = st.sampled_from(
    ["picture", "picture", "picture", "large", "large", "other", "page", "pdf", "virus", "virus"]
)
DECLARED = st.sampled_from(["", "size", "checksum", "size and checksum"])
KEYS = st.sampled_from(["", "", "same"])
MEANWHILE = st.sampled_from(
    ["outlast and confirm", "outlast and work", "outlast and purge"] * 3
    + ["post"] * 3
    + ["confirm", "work", "delete", "purge", "outlast", "carry out", "scan", "presign"]
)
SLOW = st.builds(
    Trouble, st.sampled_from(kinds.SLOW_STORE), st.sampled_from([0, 0, 1, 1, 2, 3]), MEANWHILE
)
DEATHS = st.builds(Trouble, st.sampled_from(kinds.DYING), st.integers(0, 3))
TROUBLES = st.one_of(
    st.none(),
    SLOW,
    SLOW,
    st.builds(Trouble, st.sampled_from(kinds.STORE), st.sampled_from([0, 0, 1, 1, 2, 3, 4])),
    st.builds(Trouble, st.sampled_from(kinds.DATABASE), st.integers(0, 9)),
    st.builds(Trouble, st.sampled_from(kinds.PROCESS), st.integers(0, 24)),
    DEATHS,
)
