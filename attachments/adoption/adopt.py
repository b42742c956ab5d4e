"""Take over: copy each object to a key of ours, judge the copy, then write the row that names it.

A copy has a note from before it is made until its row is written, so that a run may be killed at
any moment: the next one goes on, and a copy that no row names goes a day later.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from django.db import IntegrityError, transaction

from attachments.adoption.copying import Adoption, judge_original
from attachments.adoption.ids import Targets
from attachments.adoption.originals import Ledger, sort_objects
from attachments.adoption.report import AdoptionReport, LeftAlone, Reason
from attachments.adoption.rows import make_attachment, parse_id
from attachments.adoption.source import OldRow, Source
from attachments.models import Attachment, ObjectDeletion
from attachments.services.deletions import drop_made, keep_made, note_made
from attachments.storage.threads import run_in_order

BATCH_SIZE = 1000
JOBS = 8
# A batch of large files takes its time; what a killed run has copied stays for so long.
ADOPTING_TIME = timedelta(days=1)


def adopt_attachments(
    *,
    source: Source,
    users: Targets,
    messages: Targets,
    is_dry_run: bool = False,
    delete_originals: bool = False,
    batch_size: int = BATCH_SIZE,
    jobs: int = JOBS,
    on_progress: Callable[[int], None] = lambda count: None,
) -> AdoptionReport:
    """Take over the rows that can be, and tell why the others cannot. Safe to repeat.

    A dry run looks at each object where it is, and writes nothing. ``delete_originals`` takes
    nothing over, as it would bring back what was deleted here; it deletes the objects whose copies
    are served, unless a row that was left names them too. ``on_progress`` is called with the number
    of rows just done. Raises ``StorageUnavailable``, ``DecodingUnavailable``: what was taken over
    until then stays.
    """
    run = _Run(
        users=users,
        messages=messages,
        is_dry_run=is_dry_run,
        takes_over=not delete_originals,
        jobs=jobs,
    )
    for batch in source.read(min(batch_size, BATCH_SIZE)):
        run.take(batch)
        on_progress(len(batch))
    must_delete = delete_originals and not is_dry_run
    sort_objects(run.ledger, run.report, delete_originals=must_delete)
    return run.report


@dataclass(kw_only=True)
class _Run:
    users: Targets
    messages: Targets
    is_dry_run: bool
    takes_over: bool
    jobs: int
    report: AdoptionReport = field(default_factory=AdoptionReport)
    ledger: Ledger = field(default_factory=Ledger)

    def take(self, batch: list[OldRow]) -> None:
        """The number of queries does not grow with the batch."""
        self.report.rows += len(batch)
        rows = {row.id: row for row in batch}
        done = self._drop_known(rows)
        attachments = self._make_attachments(rows)
        try:
            done |= self._act(attachments)
        finally:
            self.ledger.add((row.storage_key, row.id not in done) for row in batch)

    def _drop_known(self, rows: dict[str, OldRow]) -> set[str]:
        """Take those out that were adopted before; give the ids of those that are ready."""
        ids = {row_id: pk for row_id, row in rows.items() if (pk := parse_id(row))}
        known = dict(Attachment.objects.filter(pk__in=ids.values()).values_list("pk", "status"))
        for row_id, pk in ids.items():
            if pk in known:
                self.report.known += 1
                del rows[row_id]
        ready = Attachment.Status.READY
        return {row_id for row_id, pk in ids.items() if known.get(pk) == ready}

    def _make_attachments(self, rows: dict[str, OldRow]) -> dict[str, Attachment]:
        """By the old id, which may be spelled in another way than ours."""
        users = self.users.find({row.user_id for row in rows.values()})
        messages = self.messages.find({row.message_id for row in rows.values()} - {None})
        made: dict[str, Attachment] = {}
        seen: set[UUID] = set()
        for row_id, row in rows.items():
            pk = parse_id(row)
            if pk is None or pk in seen:
                self.report.leave(Reason.INVALID_ID, row_id)
                continue
            seen.add(pk)
            try:
                made[row_id] = make_attachment(row, pk, users=users, messages=messages)
            except LeftAlone as error:
                self.report.leave(error.reason, row_id)
        return made

    def _act(self, attachments: dict[str, Attachment]) -> set[str]:
        """Give the old ids of what is ready now."""
        if not self.takes_over:
            for row_id in attachments:
                self.report.leave(Reason.NOT_TAKEN_OVER, row_id)
            return set()
        if self.is_dry_run:
            self._judge(attachments)
            return set()
        return self._adopt(attachments)

    def _judge(self, attachments: dict[str, Attachment]) -> None:
        reasons = run_in_order(judge_original, attachments.values(), threads=self.jobs)
        for (row_id, attachment), reason in zip(attachments.items(), reasons, strict=True):
            self._count(row_id, attachment, reason)

    def _adopt(self, attachments: dict[str, Attachment]) -> set[str]:
        adoptions = {row_id: Adoption.begin(item) for row_id, item in attachments.items()}
        note_made(*(item.key for item in adoptions.values()), within=ADOPTING_TIME)
        ended: dict[str, Adoption] = {}
        copies = run_in_order(Adoption.copy, adoptions.values(), threads=self.jobs)
        try:
            for row_id, adoption in zip(adoptions, copies, strict=True):
                ended[row_id] = adoption
        finally:  # at an outage, what is copied already is kept
            _write_rows([item for item in ended.values() if item.reason is None])
            _drop_copies([item for item in ended.values() if item.reason])
            for row_id, item in ended.items():
                self._count(row_id, item.attachment, item.reason)
        return {row_id for row_id, item in ended.items() if item.is_served}

    def _count(self, row_id: str, attachment: Attachment, reason: Reason | None) -> None:
        if reason:
            self.report.leave(reason, row_id)
            return
        self.report.adopted += 1
        self.report.adopted_bytes += attachment.size_bytes or 0
        self.report.unlinked += attachment.message_id is None


def _write_rows(copied: list[Adoption]) -> None:
    """Let rows name the copies, and drop the notes; give a reason to those that came too late."""
    adoptions = {item.key: item for item in copied}
    kept: set[str] = set()
    try:
        with transaction.atomic():
            kept = keep_made(*adoptions)
            # In the order of the ids: two runs would wait for each other for ever.
            rows = [item.finish() for key, item in adoptions.items() if key in kept]
            Attachment.objects.bulk_create(rows)
    except IntegrityError:  # a user or a message went meanwhile, or another run was faster
        kept = set()
    for key in adoptions.keys() - kept:
        adoptions[key].reason = Reason.CHANGED_MEANWHILE


def _drop_copies(refused: list[Adoption]) -> None:
    never_made = [item.key for item in refused if not item.may_have_copied]
    ObjectDeletion.objects.filter(key__in=never_made).delete()
    drop_made(*(item.key for item in refused if item.may_have_copied))
