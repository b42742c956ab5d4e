"""Texts in any encoding, and formats that are texts."""

import codecs
import json
import re

from attachments.rules.signatures import HEAD_BYTES

# No text has these in any encoding of 8 bits. Real texts have tabs, newlines, form feeds, bells,
# backspaces, escapes and DOS's end of file. Nearly all other files have a NUL.
_BINARY = re.compile(r"[\x00-\x06\x0e-\x19\x1c-\x1f]")
_BOMS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
# UTF-16 without a mark: a space or the end of a line tells which. In 8 bits no text has a NUL.
_UNMARKED = {
    "utf-16-le": re.compile(rb"(?:..)*?[ \n]\0", re.DOTALL),
    "utf-16-be": re.compile(rb"(?:..)*?\0[ \n]", re.DOTALL),
}
_PROLOG = r"(?:[\s\ufeff]++|<\?xml.*?\?>|<!--.*?-->)*+"
_OTHER_LANGUAGE = re.compile(
    _PROLOG
    # Markdown may begin with an element, too, but not with one of these.
    + r"(?:<(?:!doctype\s+(?:html|svg)|(?:\w+:)?(?:html|head|body|script|svg)"
    r"|title|meta|link|base|iframe|object|embed|frameset)\b"
    r"|<[a-z][^<>]*[\s/]on\w+\s*=|<\?(?!xml\b)|<%|%PDF-)",
    re.IGNORECASE | re.DOTALL,
)
_TAG = re.compile(r"<[!?a-zA-Z]")
_XML = re.compile(r"\s*<[?!\w]")
_DOCTYPE = r"<!DOCTYPE[^>\[]*(?:\[.*?\]\s*)?>"
_SVG = re.compile(rf"(?:{_PROLOG}{_DOCTYPE})?+{_PROLOG}<(?:\w+:)?svg\b", re.DOTALL)
_JSON_TOKENS = re.compile(
    r'(?:[\s{}\[\],:]|"(?:[^"\\\x00-\x1f]|\\.)*+"|-?\d[\d.eE+-]*+|true|false|null)*+'
)
_CUT_JSON_TOKEN = re.compile(r'(?:"[^"\x00-\x1f]*(?:\\"[^"\x00-\x1f]*)*|-|[a-z]{1,4})?')


def is_text(head: bytes) -> bool:
    """Text in any language, markup and programs too."""
    return _decode(head) is not None


def is_plain_text(head: bytes) -> bool:
    """Text that is not plainly a web page, SVG, PHP or PDF."""
    text = _decode(head)
    return text is not None and not _OTHER_LANGUAGE.match(text)


def is_html(head: bytes) -> bool:
    """Text with a tag."""
    text = _decode(head)
    return text is not None and bool(_TAG.search(text))


def is_xml(head: bytes) -> bool:
    text = _decode(head)
    return text is not None and bool(_XML.match(text))


def is_svg(head: bytes) -> bool:
    text = _decode(head)
    return text is not None and bool(_SVG.match(text))


def is_json(head: bytes) -> bool:
    """JSON, read whole if the head is all of it; else its first tokens are."""
    text = _decode(head, encoding="utf-8")  # RFC 8259, section 8.1
    if text is None:
        return False
    if len(head) >= HEAD_BYTES:
        tokens = _JSON_TOKENS.match(text)
        return tokens is not None and bool(_CUT_JSON_TOKEN.fullmatch(text, tokens.end()))
    try:
        json.loads(text, parse_int=str)  # Python refuses to make numbers of many digits
    except (ValueError, RecursionError):
        return False
    return True


def _decode(head: bytes, *, encoding: str | None = None) -> str | None:
    """The text, by its byte order mark or in ``encoding``; None if this is no text.

    Without both it is UTF-16, or of 8 bits, of which only ASCII is read as it is meant.
    """
    encoding = encoding or _guess_encoding(head)
    for mark, marked_encoding in _BOMS.items():
        if head.startswith(mark):
            head, encoding = head[len(mark) :], marked_encoding
            break
    try:
        # This decoder leaves a character that is cut at the end.
        text = codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return None
    return text if text and not _BINARY.search(text) else None


def _guess_encoding(head: bytes) -> str:
    found = (name for name, pattern in _UNMARKED.items() if pattern.match(head))
    return next(found, "latin-1")
