"""Whether files can be decoded on this machine, as workers do it."""

import base64
from tempfile import TemporaryFile

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from attachments.doctor.examination import Examination
from attachments.doctor.findings import Probe, Seen
from attachments.errors import DecodingUnavailable
from attachments.media import inspect_file, translate_host_errors

# One white pixel, as a PNG.
_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJggg=="
)


def decode_picture(case: Examination) -> Seen:
    """A picture is decoded, and made small, by a process like that of a worker."""
    try:
        with translate_host_errors(), TemporaryFile() as file:
            file.write(_PIXEL)
            found = inspect_file(file, content_type="image/png", thumbnail_px=1)
    except DecodingUnavailable as error:
        return Seen("error", error.detail)
    if found.media == {"width": 1, "height": 1} and found.thumbnail:
        return Seen("ok", gettext("a picture was decoded"))
    return Seen("error", gettext("a sound picture could not be decoded"))


PICTURE = Probe(
    name="decoding",
    what=_("decoding a picture on this machine, as workers do"),
    look=decode_picture,
    meaning=_("No file gets its size or a thumbnail, and with STRIP_METADATA images wait."),
    mend=_("Look at the memory, the processes and the temporary folder that a worker may use."),
)
