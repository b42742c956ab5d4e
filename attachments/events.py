"""What happens to attachments, told once by the services; others listen."""

from django.dispatch import Signal

work_left = Signal()
"""An attachment waits for background work; ``attachment_id`` is its id.

Only a hint that makes it quick: the row says what there is to do, and
``services.process_waiting`` finds it without.
"""

deletions_left = Signal()
"""Objects wait to be deleted, more than a request may delete.

Only a hint, too: the next ``purge_orphans`` deletes them without.
"""
