"""How the bytes of each format are known. Pure functions; rules.content_types is their table.

A signature takes the first bytes of a file and gives a bool. A ``skip`` takes them too, and gives
how many bytes lie before those that decide.
"""

HEAD_BYTES = 16 * 1024
