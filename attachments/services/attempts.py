"""Attempts to publish an upload: whose it is now, and whose result counts."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import Any, NoReturn

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from attachments.errors import NotFound, RejectedUpload, UploadInProgress
from attachments.models import Attachment
from attachments.services.deletions import (
    carry_out_notes_of,
    note_deletions,
    note_late_copy,
)

# A dead attempt keeps others waiting for so long; a living one renews its lease.
LEASE = timedelta(minutes=2)
# When a worker could not finish, others may try after so long.
RETRY_AFTER = timedelta(minutes=1)
# By the clock of the database, as those who compete may run on several machines.
_LEASE_END = Now() + LEASE
_RETRY_TIME = Now() + RETRY_AFTER
_NOW = Now()
_IS_FREE = Q(status=Attachment.Status.PENDING) | Q(
    status=Attachment.Status.VERIFYING, lease_expires_at__lte=Now()
)


class AttemptLost(Exception):
    """The row belongs to another attempt now, or is gone."""


@dataclass(kw_only=True)
class Attempt:
    """One attempt to publish an upload: it freezes a copy at a key of its own, and judges that.

        pending    -- take -----> verifying    the row names the new key, then a copy is made there
        verifying  -- publish --> ready        the row names the copy that was judged
                   -- reject ---> rejected     the copy is deleted
                   -- release --> pending      the copy is deleted, whenever it comes
                   -- hand over > verifying    the same, and a worker makes the next attempt
                   -- take -----> verifying    by the next attempt, once the lease is over

    Each arrow is one UPDATE, which counts only while the row names the key of this attempt. An
    attempt that lost its row therefore changes nothing, however late it wakes up, and its copy
    lands where nobody serves it. The lease saves work; no promise rests on it.

    Whoever ends an attempt, or takes its row away, notes its key in the same transaction: a copy
    that lands after that is deleted too.
    """

    attachment: Attachment
    key: str
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
        old_key, old_upload_id = attachment.key, attachment.copy_upload_id
        has_predecessor = old_key != attachment.pending_key  # which died
        key = attachment.make_key()
        with transaction.atomic() if has_predecessor else nullcontext():
            # As it was read: not, for instance, one that was handed over to a worker meanwhile.
            is_taken = attachment.change(
                where={"storage_key": old_key, "in_background": attachment.in_background},
                and_where=_IS_FREE,
                status=Attachment.Status.VERIFYING,
                storage_key=key,
                copy_upload_id="",
                lease_expires_at=_LEASE_END,
            )
            if not is_taken:
                raise UploadInProgress
            if has_predecessor:
                note_late_copy(old_key, upload_id=old_upload_id)
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
                self._reject(error)
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
        self._change(lease_expires_at=_LEASE_END)
        self._renewed_at = monotonic()

    def name_upload(self, upload_id: str) -> None:
        """Keep the multipart upload of the copy on the row, for whoever has to abort it."""
        self._upload_id = upload_id
        self._change(copy_upload_id=upload_id)

    def publish(self, **fields: Any) -> None:
        """Serve the copy. Raises ``AttemptLost``."""
        self._change(
            status=Attachment.Status.READY,
            confirmed_at=timezone.now(),
            lease_expires_at=None,
            in_background=False,
            copy_upload_id="",
            **fields,
        )
        self._is_over = True

    def hand_over(self, **fields: Any) -> None:
        """Leave the work to a worker. Raises ``AttemptLost``."""
        self._let_go(in_background=True, lease_expires_at=_NOW, **fields)

    def release(self) -> None:
        """Let the next confirm have the row at once. Raises ``AttemptLost``."""
        self._let_go(status=Attachment.Status.PENDING, in_background=False, lease_expires_at=None)

    def _let_go(self, **fields: Any) -> None:
        """Give the row back without a result, with a note of the copy that may be there."""
        with transaction.atomic():
            self._change(storage_key=self.attachment.pending_key, copy_upload_id="", **fields)
            if self.may_have_copied:
                note_late_copy(self.key, upload_id=self._upload_id)
        self._is_over = True

    def _reject(self, error: RejectedUpload) -> None:
        """Keep the reason on the row and delete the objects. Raises ``AttemptLost``."""
        with transaction.atomic():
            self._change(
                status=Attachment.Status.REJECTED,
                error={"code": error.code, "params": error.params},
                storage_key=self.attachment.pending_key,
                lease_expires_at=None,
                in_background=False,
                copy_upload_id="",
            )
            note_deletions([self.key, self.attachment.pending_key])
        self._is_over = True
        carry_out_notes_of(self.attachment.pk)

    def _give_up(self) -> None:
        """Something else failed: a client may try again at once, a worker a little later."""
        with suppress(AttemptLost):
            if self.in_background:
                self._let_go(lease_expires_at=_RETRY_TIME)
            else:
                self.release()

    def _give_way(self) -> NoReturn:
        """Tell the client what became of the row, and delete the copy at once.

        Its key is noted already, but may have been carried out before the copy came.
        """
        self._is_over = True
        row = Attachment.find(self.attachment.pk)
        if self.may_have_copied and (row is None or row.key != self.key):
            note_deletions([self.key])
            carry_out_notes_of(self.attachment.pk)
        raise NotFound if row is None else UploadInProgress

    def _change(self, **fields: Any) -> None:
        """Change the row if it is still this attempt's. Raises ``AttemptLost``."""
        mine = {"status": Attachment.Status.VERIFYING, "storage_key": self.key}
        if not self.attachment.change(where=mine, **fields):
            raise AttemptLost
