"""What happens to attachments, told once by the services; others listen.

Hosts take the first three from ``attachments.signals``. Each is sent once for each change, after
its commit, with ``attachment_id``, ``user_id`` and ``message_id`` (or None). What a receiver raises
is logged, and stops nothing. A process that dies between the commit and the call sends none: what
must not be missed is looked up in the table.
"""

from django.dispatch import Signal

attachment_ready = Signal()
"""It is served from now on."""

attachment_refused = Signal()
"""It was rejected or found infected, perhaps after it was ready; ``code`` is that of its error."""

attachment_deleted = Signal()
"""Its row is gone. Rows that raw SQL or the database itself deletes are not told."""

work_left = Signal()
"""Attachments wait for background work; ``attachment_ids`` are their ids, as text.

Only a hint that makes it quick: each row says what there is to do, and
``services.process_waiting`` finds it without.
"""

deletions_left = Signal()
"""Objects wait to be deleted, more than a request may delete.

Only a hint, too: the next ``purge_orphans`` deletes them without.
"""
