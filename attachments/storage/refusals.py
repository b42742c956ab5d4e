"""What a store refuses, told to an operator: in the store's own words, and what to do."""

from botocore.exceptions import ClientError, NoCredentialsError, ParamValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attachments.conf import conf
from attachments.rules.keys import hide_nonce

# What stores answer to a call that they do not have.
UNSUPPORTED = ("NotImplemented", "MethodNotAllowed", "501", "405")
# What passes by itself, although its status begins with a 4.
_PASSING = ("ConditionalRequestConflict", "OperationAborted", "RequestTimeout", "408", "429")
# What does not pass, beside what begins with a 4: a redirect for good, and what a store cannot do.
_FINAL = (301, 308, 501)
# How stores say that the key is theirs and has no right to this.
DENIED = ("AccessDenied", "403", "AllAccessDisabled", "UnauthorizedAccess")

# The rights whose names are not those of the operations.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
_RIGHTS = {
    "CompleteMultipartUpload": "s3:PutObject",
    "CopyObject": "s3:GetObject, s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "DeleteBucketCors": "s3:PutBucketCORS",
    "DeleteObjects": "s3:DeleteObject",
    "GetBucketCors": "s3:GetBucketCORS",
    "GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration",
    "HeadBucket": "s3:ListBucket",
    "HeadObject": "s3:GetObject",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "ListObjectsV2": "s3:ListBucket",
    "PutBucketCors": "s3:PutBucketCORS",
    "PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
    "UploadPartCopy": "s3:GetObject, s3:PutObject",
}
_OF_EITHER_KEY = ("HeadBucket", "ListObjectsV2")

_UNKNOWN_KEY = gettext_lazy(
    "The store does not know this access key: look at %(keys)s and at S3_ENDPOINT_URL."
)
_OTHER_REGION = gettext_lazy("The bucket is in another region: set S3_REGION to it.")
_ELSEWHERE = gettext_lazy(
    "Something at S3_ENDPOINT_URL sends callers to another address: set it to that one."
)
_NOT_THERE = gettext_lazy("This store does not have it: docs/stores.md has what each store can do.")
_ADVICE: dict[str, str | Promise] = {
    "301": _ELSEWHERE,
    "308": _ELSEWHERE,
    "AuthorizationHeaderMalformed": _OTHER_REGION,
    "BucketAlreadyExists": gettext_lazy(
        "Somebody else has a bucket of this name: choose another S3_BUCKET."
    ),
    "IllegalLocationConstraintException": _OTHER_REGION,
    "InvalidAccessKeyId": _UNKNOWN_KEY,
    "InvalidBucketName": gettext_lazy("Choose another S3_BUCKET: 3 to 63 of a-z, 0-9 and -."),
    "InvalidLocationConstraint": _OTHER_REGION,
    "InvalidToken": _UNKNOWN_KEY,
    "NoSuchBucket": gettext_lazy(
        "Look at S3_BUCKET. If the name is right, setup_storage makes the bucket."
    ),
    "PermanentRedirect": _OTHER_REGION,
    "RequestTimeTooSkewed": gettext_lazy("Set the clock of this machine, or that of the store."),
    "SignatureDoesNotMatch": gettext_lazy(
        "The secret is not that of the key in %(keys)s, or a proxy changes Host or the path."
    ),
    **dict.fromkeys(UNSUPPORTED, _NOT_THERE),
}
_MISSING_RIGHT = gettext_lazy(
    "Give the key of %(keys)s the right %(right)s: setup_storage --print-policies prints its "
    "policy."
)
_BLOCKED = gettext_lazy(
    "On AWS, Block Public Access may refuse a public policy: turn it off for this bucket, or set "
    "S3_PUBLIC_READ=false."
)


def get_code(error: ClientError) -> str:
    """S3's own code; where there was no body to name it, the HTTP status."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_refusal(error: ClientError) -> bool:
    """Whether the same call would be answered the same later."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    is_final = 400 <= status < 500 or status in _FINAL  # noqa: PLR2004
    return is_final and not {get_code(error), str(status)} & set(_PASSING)


def quote_store(error: ClientError) -> str:
    """What the store said: its code and its message."""
    message = error.response.get("Error", {}).get("Message", "")
    return hide_nonce(f"{get_code(error)}: {message}".rstrip(": "))


def explain_refusal(error: ClientError) -> str:
    """What was refused, in the store's words, and what to do."""
    operation = error.operation_name
    said = _("The store refuses %(operation)s (%(words)s).") % {
        "operation": operation,
        "words": quote_store(error),
    }
    return " ".join([said, *_advise(operation, get_code(error))])


def explain_mistake(error: NoCredentialsError | ParamValidationError) -> str:
    """Why boto3 cannot even make the call, and what to do."""
    if isinstance(error, NoCredentialsError):
        return _("There is no key for the store: set S3_ACCESS_KEY and S3_SECRET_KEY.")
    words = hide_nonce(" ".join(str(error).split()))
    advice = _ADVICE["InvalidBucketName"] if "Invalid bucket name" in words else ""
    return f"{words} {advice}".rstrip()


def advise(code: str, *, keys: str = "", right: str = "") -> str:
    """What to do where S3 gives this code to the key that these variables hold; "" if unknown."""
    text = _MISSING_RIGHT if code in DENIED else _ADVICE.get(code, "")
    return str(text) % {"keys": keys, "right": right}


def _advise(operation: str, code: str) -> list[str]:
    right = _RIGHTS.get(operation, f"s3:{operation}")
    advice: list[str | Promise] = [advise(code, keys=_name_keys(operation), right=right)]
    if code in DENIED and operation == "PutBucketPolicy":
        advice.append(_BLOCKED)
    return [str(text) for text in advice if text]


def _name_keys(operation: str) -> str:
    """The variables of nodus that hold the key of this call; without an admin key the main one."""
    if conf.admin_key and operation in _OF_EITHER_KEY:
        return "S3_ACCESS_KEY, S3_ADMIN_ACCESS_KEY"
    is_setup = "Bucket" in operation or operation == "GetObjectLockConfiguration"
    return "S3_ADMIN_ACCESS_KEY" if conf.admin_key and is_setup else "S3_ACCESS_KEY"
