"""What the bucket is set up to do: policy, CORS, lifecycle, versions."""

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from attachments import storage
from attachments.conf import conf
from attachments.doctor.examination import Examination
from attachments.doctor.findings import Probe, Seen

_SETUP = _("Run “manage.py setup_storage” with the admin key: it says what it cannot do, and why.")


def read_policy(case: Examination) -> Seen:
    step = storage.Policy(storage.Versions()).look()
    return Seen(step.level, step.detail) if step.level == "error" else _judge(step)


def read_lifecycle(case: Examination) -> Seen:
    return _judge(storage.Lifecycle(storage.Versions()).look())


def _judge(step: storage.SetupStep) -> Seen:
    if step.state != "refused":
        return Seen(step.level, step.detail)
    return Seen(
        "warning",
        step.detail,
        gettext("This key may not read the rules: whether they are in force is not known."),
        gettext("Run this where S3_ADMIN_ACCESS_KEY is set."),
    )


def ask_preflights(case: Examination) -> Seen:
    """As browsers do, before they upload and before a script reads."""
    if not conf.cors_allowed_origins:
        return Seen("ok", gettext("no origin (CORS_ALLOWED_ORIGINS is empty)"))
    blocked = [
        f"{origin} {method}"
        for origin in conf.cors_allowed_origins
        for method in ("POST", "GET")
        if not storage.lets_in(
            storage.ask_preflight(origin, method=method, is_public=True), origin=origin
        )
    ]
    if blocked:
        return Seen("error", gettext("not let in: %s") % ", ".join(blocked))
    return Seen("ok", ", ".join(conf.cors_allowed_origins))


def read_versions(case: Examination) -> Seen:
    versions = storage.Versions()
    for step in versions.look():
        return _judge(step)
    if versions.are_kept:
        return Seen("ok", gettext("versions are kept (%s)") % versions.reading.value)
    return Seen("ok", gettext("the bucket keeps no versions"))


PROBES = [
    Probe(
        name="policy",
        what=_("the policy of the bucket"),
        look=read_policy,
        meaning=_("What anybody may read is not what the settings say, or not by our rules."),
        mend=_SETUP,
        needs=("bucket",),
    ),
    Probe(
        name="cors",
        what=_("CORS, by preflight"),
        look=ask_preflights,
        meaning=_("Browsers of these origins can neither upload nor read files in scripts."),
        mend=_(
            "Run “manage.py setup_storage” with the admin key; start MinIO with "
            "MINIO_API_CORS_ALLOW_ORIGIN. A proxy must pass OPTIONS on."
        ),
        needs=("bucket", "endpoint"),
    ),
    Probe(
        name="lifecycle",
        what=_("the lifecycle rules of the bucket"),
        look=read_lifecycle,
        meaning=_("What was never confirmed stays until purge_orphans removes it."),
        mend=_SETUP,
        needs=("bucket",),
    ),
    Probe(
        name="versions",
        what=_("versions of objects"),
        look=read_versions,
        meaning=_("What is deleted may still be there."),
        mend=_("Give the app a bucket without versions and without object lock."),
        needs=("bucket",),
    ),
]
