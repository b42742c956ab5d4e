"""Attempts to publish an upload: whose it is now, and whose result counts."""

from collections.abc import Iterator, Set
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, NoReturn

from django.db import transaction
from django.utils import timezone

from attachments import events
from attachments.conf import conf
from attachments.errors import Infected, NotFound, RejectedUpload, UploadInProgress
from attachments.models import Attachment
from attachments.rules.keys import QUARANTINE
from attachments.services.deletions import (
    carry_out_notes_of,
    note_deletions,
    note_late_copy,
)
from attachments.services.leases import (
    IS_FREE_FOR_REQUEST,
    IS_FREE_FOR_WORKER,
    LEASE,
    LEASE_ENDS,
    NOW,
    SCAN_LEASE,
    put_off,
)
from attachments.services.news import tell_ready, tell_refused


class AttemptLost(Exception):
    """The row belongs to another attempt now, or is gone."""


@dataclass(kw_only=True)
class Attempt:
    """One attempt to bring a file further: it makes a copy at a key of its own.

        pending    -- take -----> verifying    the row names the key, then a copy is made there
        verifying  -- settle ---> ready        the copy was judged, and is served
                   -- settle ---> scanning     the copy was judged, and waits in quarantine
                   -- reject ---> rejected     the copy is deleted
                   -- release --> pending      the copy is deleted, whenever it comes
                   -- hand over > verifying    the same, and a worker makes the next attempt
                   -- take -----> verifying    by the next attempt, once the lease is over
        scanning   -- take -----> scanning     the row names the key, then the scanner is asked
                   -- settle ---> ready        a copy was made there, and is served
                   -- reject ---> infected     both objects are deleted

    Each arrow is one UPDATE, which counts only while the row names the key of this attempt. An
    attempt that lost its row therefore changes nothing, however late it wakes up, and its copy
    lands where nobody serves it. The lease saves work; no promise rests on it.

    Whoever ends an attempt, or takes its row away, notes its key in the same transaction: a copy
    that lands after that is deleted too.
    """

    attachment: Attachment
    key: str
    """Of the copy. That of what is copied stays on the row until the attempt is settled."""
    in_background: bool
    """Whether a worker makes it; kept apart from the row, which may be rolled back."""
    may_have_copied: bool = False
    """Whether a copy may be, or may yet come, at the key."""
    _upload_id: str = ""
    _is_over: bool = False
    _renewed_at: float = field(default_factory=monotonic)

    @classmethod
    def take(cls, attachment: Attachment) -> "Attempt":
        """Own the row until the lease is over. Raises ``UploadInProgress`` if it is not free."""
        old_key, old_upload_id = attachment.copy_key, attachment.copy_upload_id  # of one that died
        is_quarantined = attachment.is_quarantined
        must_wait = bool(conf.scanner) and not is_quarantined
        key = attachment.make_quarantine_key() if must_wait else attachment.make_key()
        with transaction.atomic() if old_key else nullcontext():
            # As it was read: not, for instance, one that was handed over to a worker meanwhile.
            is_taken = attachment.change(
                where={"status": attachment.status, "copy_key": old_key},
                and_where=(IS_FREE_FOR_WORKER if attachment.in_background else IS_FREE_FOR_REQUEST),
                status=attachment.status if is_quarantined else Attachment.Status.VERIFYING,
                copy_key=key,
                copy_upload_id="",
                lease_expires_at=LEASE_ENDS[SCAN_LEASE if is_quarantined else LEASE],
            )
            if not is_taken:
                raise UploadInProgress
            if old_key:
                note_late_copy(old_key, upload_id=old_upload_id)
                events.lease_taken_over.tell(attachment_id=attachment.pk)
        return cls(attachment=attachment, key=key, in_background=attachment.in_background)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Do the work; what is neither published nor handed over is rejected or released.

        Raises what the work raises, and ``NotFound`` or ``UploadInProgress`` if the row was lost.
        """
        try:
            try:
                yield
            except RejectedUpload as error:
                self.reject(error)
                raise
        except AttemptLost:
            self._give_way()
        finally:
            if not self._is_over:
                self._give_up()

    def renew(self) -> None:
        """Prolong the lease when a good part of it is over. Raises ``AttemptLost``."""
        if monotonic() - self._renewed_at > LEASE.total_seconds() / 4:
            self.check_is_held()

    def check_is_held(self) -> None:
        """Begin the lease anew. Raises ``AttemptLost`` if another took the row, or it is gone."""
        lease = SCAN_LEASE if self.attachment.is_quarantined else LEASE
        self._change(lease_expires_at=LEASE_ENDS[lease])
        self._renewed_at = monotonic()

    def name_upload(self, upload_id: str) -> None:
        """Keep the multipart upload of the copy on the row, for whoever has to abort it."""
        self._upload_id = upload_id
        self._change(copy_upload_id=upload_id)

    def settle(self, **fields: Any) -> None:
        """Serve the copy, or leave it to the scanner. Raises ``AttemptLost``."""
        if self.key.startswith(QUARANTINE):
            self._end(
                status=Attachment.Status.SCANNING,
                storage_key=self.key,
                lease_expires_at=NOW,
                waiting_since=self.attachment.waiting_since or timezone.now(),
                **fields,
            )
        else:
            self._end(
                doomed={self.attachment.key} if self.attachment.is_quarantined else frozenset(),
                status=Attachment.Status.READY,
                storage_key=self.key,
                confirmed_at=timezone.now(),
                lease_expires_at=None,
                waiting_since=None,
                is_inspected=not self.attachment.is_inspectable,
                **fields,
            )
            tell_ready(self.attachment)

    def reject(self, error: RejectedUpload, **fields: Any) -> None:
        """Keep the reason on the row and delete the objects. Raises ``AttemptLost``."""
        is_infected = isinstance(error, Infected)
        pending_key = self.attachment.pending_key
        self._end(
            doomed={self.key, self.attachment.key, pending_key},
            status=Attachment.Status.INFECTED if is_infected else Attachment.Status.REJECTED,
            error={"code": error.code, "params": error.params},
            storage_key=pending_key,
            lease_expires_at=None,
            waiting_since=None,
            **fields,
        )
        tell_refused(self.attachment)

    def hand_over(self, **fields: Any) -> None:
        """Leave the work of a request to a worker. Raises ``AttemptLost``."""
        self._let_go(waiting_since=timezone.now(), lease_expires_at=NOW, **fields)

    def release(self) -> None:
        """Let the next confirm have the row at once. Raises ``AttemptLost``."""
        self._let_go(status=Attachment.Status.PENDING, waiting_since=None, lease_expires_at=None)

    def _end(self, *, doomed: Set[str] = frozenset(), **fields: Any) -> None:
        """With a result, and notes of the objects that it needs no more. Raises ``AttemptLost``."""
        with transaction.atomic() if doomed else nullcontext():
            self._change(copy_key="", copy_upload_id="", tries=0, **fields)
            if doomed:
                note_deletions(sorted(doomed))
        self._is_over = True
        if doomed:
            carry_out_notes_of(self.attachment.pk)

    def _let_go(self, **fields: Any) -> None:
        """Give the row back without a result, with a note of the copy that may be there."""
        with transaction.atomic():
            self._change(copy_key="", copy_upload_id="", **fields)
            if self.may_have_copied:
                note_late_copy(self.key, upload_id=self._upload_id)
        self._is_over = True

    def _give_up(self) -> None:
        """Something else failed: a client may try again at once, a worker later each time."""
        with suppress(AttemptLost):
            if self.in_background:
                self._let_go(**put_off(self.attachment))
            else:
                self.release()

    def _give_way(self) -> NoReturn:
        """Tell the client what became of the row, and delete the copy at once.

        Its key is noted already, but may have been carried out before the copy came.
        """
        self._is_over = True
        row = Attachment.find(self.attachment.pk)
        if self.may_have_copied and (row is None or self.key not in (row.key, row.copy_key)):
            note_deletions([self.key])
            carry_out_notes_of(self.attachment.pk)
        raise NotFound if row is None else UploadInProgress

    def _change(self, **fields: Any) -> None:
        """Change the row if it is still this attempt's. Raises ``AttemptLost``."""
        if not self.attachment.change(where={"copy_key": self.key}, **fields):
            raise AttemptLost
