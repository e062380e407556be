"""Plain words for a terminal: errors as one paragraph, sizes and times as people say them."""

from __future__ import annotations

from clouddesktop.errors import CloudDesktopError, Code

_UNIT_STEP = 1000
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_MINUTE = 60
_HOUR = 3600
_CODES_FOR_THE_LOG = (Code.INTERNAL, Code.UNKNOWN, Code.DATA_LOSS)


def to_paragraph(error: CloudDesktopError) -> str:
    """Say what went wrong, why, and what to do, in one paragraph."""
    lines = [line.strip() for line in error.message.splitlines() if line.strip()]
    head, rest = (lines or ["Something failed"])[0], lines[1:]
    message = f"{head} {'; '.join(rest)}" if rest else head
    parts = [_as_sentence(message)]
    remedy = error.remedy.strip()
    if remedy and remedy not in message:
        parts.append(_as_sentence(remedy))
    request_id = getattr(error, "request_id", "")
    if request_id and error.code in _CODES_FOR_THE_LOG:
        parts.append(f"The request's id in the server's log: {request_id}.")
    return to_printable(f"Error: {' '.join(parts)}")


def to_printable(text: str) -> str:
    """Show control characters as escapes: a name from elsewhere must not steer the terminal."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def format_size(size: float) -> str:
    """Format bytes with three figures or so: `512 B`, `1.23 GB`."""
    for unit in _UNITS:
        if size < _UNIT_STEP or unit == _UNITS[-1]:
            break
        size /= _UNIT_STEP
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.3g} {unit}"


def format_seconds(seconds: float) -> str:
    """Format a time: `0.24 s`, `47 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < _MINUTE:
        return f"{seconds:.2g} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min {seconds % _MINUTE:.0f} s"
    return f"{seconds // _HOUR:.0f} h {seconds % _HOUR // _MINUTE:.0f} min"


def _as_sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
